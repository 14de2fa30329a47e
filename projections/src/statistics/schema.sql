-- How many messages there are in a room.
CREATE TABLE room (
    id text PRIMARY KEY,
    -- `c`, `p`, `d`.
    kind text NOT NULL,
    discussion bigint NOT NULL,
    messages bigint NOT NULL
) WITHOUT ROWID;

-- What happened on a day (days since 1970, UTC).
CREATE TABLE day (
    day bigint PRIMARY KEY,
    messages bigint NOT NULL,
    logins bigint NOT NULL,
    registrations bigint NOT NULL
) WITHOUT ROWID;

-- Who wrote or logged in on a day.
CREATE TABLE active (
    day bigint NOT NULL,
    user_id text NOT NULL,
    PRIMARY KEY (day, user_id)
) WITHOUT ROWID;

-- The time of the newest event of a kind.
CREATE TABLE newest (
    what text PRIMARY KEY,
    at bigint NOT NULL
) WITHOUT ROWID;
