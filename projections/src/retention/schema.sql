-- How much was pruned from a room, by reason: `requested`, `retention`, `deletion`.
CREATE TABLE pruned (
    room text NOT NULL,
    reason text NOT NULL,
    messages bigint NOT NULL,
    -- When it happened last.
    last_at bigint NOT NULL,
    PRIMARY KEY (room, reason)
) WITHOUT ROWID;

-- Messages that people deleted and that left something for a prune: their text, or a place holder.
CREATE TABLE deleted (
    message text PRIMARY KEY,
    room text NOT NULL
) WITHOUT ROWID;

CREATE INDEX deleted_room ON deleted (room);

-- Rooms that are gone: a prune of what is left is named without being asked for.
CREATE TABLE ended (
    room text PRIMARY KEY
) WITHOUT ROWID;
