
-- Messages that went, so that each is taken off once however often it is told of: by a person and by a
-- prune, or by two prunes at once.
CREATE TABLE gone (
    message text PRIMARY KEY,
    room text NOT NULL,
    -- When it went; nothing while a prune is still to name it, because a person deleted it and left its
    -- text or a place holder.
    position bigint
) WITHOUT ROWID;

CREATE INDEX gone_room ON gone (room);
CREATE INDEX gone_position ON gone (position) WHERE position IS NOT NULL;
