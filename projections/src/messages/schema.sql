-- One message. Clustered by room and time, so that a page of history is one stretch of the table.
CREATE TABLE message (
    room text NOT NULL,
    -- The time it shows, in milliseconds.
    at bigint NOT NULL,
    -- Where it stands in the log: tells apart messages of one millisecond.
    position bigint NOT NULL,
    id text NOT NULL,
    -- When it was sent or changed last; `changed` only once it has changed after it was sent.
    updated bigint NOT NULL,
    changed bigint,
    sender text NOT NULL,
    -- The key its text is sealed under.
    key_id bigint NOT NULL,
    -- The kind of a system message, and whom it is about.
    system text,
    about text,
    -- The message that its thread hangs on.
    thread text,
    -- Shown in the room, not in its thread alone.
    main bigint NOT NULL,
    pinned bigint NOT NULL,
    discussion bigint NOT NULL,
    has_files bigint NOT NULL,
    -- How many users starred it.
    stars bigint NOT NULL,
    -- It is one of the replies of its thread: it was sent while the thread's first message was there,
    -- and says something still.
    counts bigint NOT NULL,
    -- Of the thread that hangs on it: how many replies count, and when the last of them was sent.
    replies bigint NOT NULL,
    last_reply bigint,
    -- `[[reaction, user], …]` in the order they were given.
    reactions text,
    -- The finished message but for its author: `{"_id": …}`; or without what other columns say of it, see
    -- `Columns` in `wire.rs`.
    wire text NOT NULL,
    PRIMARY KEY (room, at, position)
) WITHOUT ROWID;

CREATE UNIQUE INDEX message_id ON message (id);
-- Looked through when a thread loses its last reply.
CREATE INDEX message_thread ON message (thread, at) WHERE thread IS NOT NULL;

-- Who wrote, as every message shows it: `{"_id": …, "username": …, "name": …}`.
CREATE TABLE author (
    id text PRIMARY KEY,
    username text NOT NULL,
    wire text NOT NULL
) WITHOUT ROWID;

CREATE TABLE star (
    room text NOT NULL,
    user_id text NOT NULL,
    at bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (room, user_id, at, position)
) WITHOUT ROWID;

CREATE TABLE mention (
    room text NOT NULL,
    user_id text NOT NULL,
    at bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (room, user_id, at, position)
) WITHOUT ROWID;

-- Which messages name a user in their wire beside the author (mentioned, reacting, told of, …), to be
-- written anew with a new name.
CREATE TABLE named (
    user_id text NOT NULL,
    id text NOT NULL,
    PRIMARY KEY (user_id, id)
) WITHOUT ROWID;

-- Who took another name, while the messages that name it are written anew: up to which of their ids they
-- are, in how many parts, and whether they shall be once more, from the beginning, because it took yet
-- another name.
CREATE TABLE renaming (
    user_id text PRIMARY KEY,
    reached text NOT NULL,
    parts bigint NOT NULL,
    again bigint NOT NULL
) WITHOUT ROWID;

CREATE INDEX named_message ON named (id);
CREATE INDEX star_message ON star (position);
CREATE INDEX mention_message ON mention (position);

CREATE TABLE deleted (
    id text PRIMARY KEY,
    room text NOT NULL,
    thread text,
    at bigint NOT NULL,
    position bigint NOT NULL
) WITHOUT ROWID;

-- How many messages a room has: counting them would read them all.
CREATE TABLE total (
    room text PRIMARY KEY,
    messages bigint NOT NULL
) WITHOUT ROWID;

-- Messages out of sight whose text can still be read in the log: deleted with their history kept, or
-- gone with their room. They stand here until a prune names their keys.
CREATE TABLE remains (
    id text PRIMARY KEY,
    room text NOT NULL,
    sender text NOT NULL,
    key_id bigint NOT NULL
) WITHOUT ROWID;

CREATE INDEX remains_room ON remains (room);
