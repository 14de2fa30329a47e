CREATE TABLE account (
    id text PRIMARY KEY,
    -- The position of its registration in the log.
    number bigint NOT NULL,
    -- Names and texts without their case, which is how they are compared and sorted.
    username text NOT NULL,
    name text NOT NULL,
    nickname text NOT NULL,
    bio text NOT NULL,
    -- All addresses, the first one in front, parted by spaces.
    email text NOT NULL,
    kind text NOT NULL,
    active bigint NOT NULL,
    status text NOT NULL,
    created_at bigint NOT NULL,
    last_login bigint,
    -- The whole account as JSON.
    document text NOT NULL
);

CREATE TABLE account_role (
    role text NOT NULL,
    account text NOT NULL,
    PRIMARY KEY (role, account)
);

-- How many accounts there are, by what lists ask for.
CREATE TABLE tally (
    active bigint NOT NULL,
    kind text NOT NULL,
    logged_in bigint NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (active, kind, logged_in)
);
