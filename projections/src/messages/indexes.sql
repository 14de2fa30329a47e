CREATE INDEX message_updated ON message (room, updated, position);
CREATE INDEX message_pinned ON message (pinned, room, at) WHERE pinned = 1;
CREATE INDEX message_threads ON message (room, last_reply) WHERE last_reply IS NOT NULL;
CREATE INDEX deleted_room ON deleted (room, at);
CREATE INDEX deleted_thread ON deleted (thread, at) WHERE thread IS NOT NULL;
