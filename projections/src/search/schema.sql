-- What can be found. The number says when a message was sent and where it stands in the log, so that
-- the order of the index is the order of time.
CREATE TABLE entry (
    number integer PRIMARY KEY,
    id text NOT NULL,
    text text NOT NULL,
    -- For what is no text: the room, the sender, what the message has; see `Row`.
    scope text NOT NULL
);

CREATE UNIQUE INDEX entry_id ON entry (id);
