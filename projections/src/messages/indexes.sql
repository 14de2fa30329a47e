-- What shows in a room, beside the replies that show in their threads alone: however many there are, none
-- of them is passed over. Nobody needs a row's other columns to tell which messages a page has.
CREATE INDEX message_main ON message (room, at, position, system) WHERE main = 1;
CREATE INDEX message_updated ON message (room, updated, position);
CREATE INDEX message_pinned ON message (pinned, room, at) WHERE pinned = 1;
CREATE INDEX message_threads ON message (room, last_reply) WHERE last_reply IS NOT NULL;
CREATE INDEX deleted_room ON deleted (room, at);
CREATE INDEX deleted_thread ON deleted (thread, at) WHERE thread IS NOT NULL;
