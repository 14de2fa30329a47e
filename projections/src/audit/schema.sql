-- What is called something, by numbers in the order of the log: actors, actions, kinds, rooms, and what
-- things are done to. Ids, never what somebody is called.
CREATE TABLE name (
    number integer PRIMARY KEY,
    name text NOT NULL UNIQUE
);

-- One row an event. What a message says, and what somebody is called, never stands here. `actor`, `action`,
-- `target_kind`, `target`, `room` and `usual_details` are numbers of names.
CREATE TABLE audit (
    position integer PRIMARY KEY,
    at bigint NOT NULL,
    -- As in the log: `user:<id>`, `integration:<id>`, `policy:<name>`, `system`, `anonymous`.
    actor bigint NOT NULL,
    -- The event's type; none for `MessageSent`.
    action bigint,
    -- None for `message`.
    target_kind bigint,
    -- Either a name or, of what there is about as much as there are events, the packed id.
    target bigint,
    target_id blob,
    room bigint,
    -- 1 denied, 2 failed; none where it was done.
    outcome bigint,
    -- Where the request came from; none where nothing is known, or the person has been erased.
    origin bigint,
    -- Why a part of the event can't be read though its key is there: 1 forged, 2 malformed.
    fault bigint,
    -- Packed, as is the id of the event that caused it.
    correlation blob,
    causation blob,
    -- A JSON object, where there is more to say: a name, if many rows say the same.
    usual_details bigint,
    details text
);

-- Where requests came from; sealed in the log under `key_id`, and gone when that is erased.
CREATE TABLE origin (
    -- The position of the first event from there: a number that does not depend on what was erased.
    number integer PRIMARY KEY,
    -- Of all that follows, to find it by.
    digest bigint NOT NULL UNIQUE,
    key_id bigint NOT NULL,
    address text NOT NULL,
    user_agent text NOT NULL
);

CREATE INDEX origin_key ON origin (key_id);
