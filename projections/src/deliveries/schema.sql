CREATE TABLE delivery (
    id text PRIMARY KEY,
    integration text NOT NULL,
    -- What set it off: the trigger, where its event stands, and what it is about.
    trigger_name text NOT NULL,
    position bigint NOT NULL,
    room text,
    message text,
    account text,
    -- Which of the integration's URLs, from 0.
    url bigint NOT NULL,
    -- pending, delivered, dead
    state text NOT NULL,
    attempts bigint NOT NULL,
    queued_at bigint NOT NULL,
    -- The next attempt; none once it is delivered or dead.
    due bigint,
    updated_at bigint NOT NULL,
    -- Why it was given up without an attempt.
    abandoned text,
    -- The last attempt: its status and, until the key that seals it is deleted, what was said.
    status bigint,
    -- Why what the receiver answered was posted nowhere.
    answer_held_back text,
    exchange_key text,
    exchange_url text,
    request text,
    response text
);

CREATE INDEX delivery_by_integration ON delivery (integration, queued_at);

CREATE INDEX delivery_by_key ON delivery (exchange_key);
