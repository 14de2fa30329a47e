-- One row an event. What a message says, and what somebody is called, never stands here.
CREATE TABLE audit (
    position bigint PRIMARY KEY,
    at bigint NOT NULL,
    -- As in the log: `user:<id>`, `integration:<id>`, `policy:<name>`, `system`, `anonymous`.
    actor text NOT NULL,
    -- The event's type.
    action text NOT NULL,
    target_kind text NOT NULL,
    target text NOT NULL,
    room text,
    -- `done`, `denied`, `failed`.
    outcome text NOT NULL,
    -- Where the request came from; none where nothing is known, or the person has been erased.
    origin bigint,
    -- Why a part of the event can't be read though its key is there: `forged`, `malformed`.
    fault text,
    correlation text,
    causation text,
    -- A JSON object, where there is more to say.
    details text
) WITHOUT ROWID;

-- Where requests came from; sealed in the log under `key_id`, and gone when that is erased.
CREATE TABLE origin (
    -- A digest of the rest.
    id bigint PRIMARY KEY,
    key_id bigint NOT NULL,
    address text NOT NULL,
    user_agent text NOT NULL
) WITHOUT ROWID;
