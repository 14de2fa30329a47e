CREATE TABLE room (
  id text PRIMARY KEY,
  kind text NOT NULL,
  name text,
  fname text,
  parent text,
  archived bigint NOT NULL,
  -- JSON list of user ids; for direct conversations.
  participants text
);

-- Who takes part in direct conversations, which are named after them.
CREATE TABLE participant (
  room text NOT NULL,
  account text NOT NULL,
  PRIMARY KEY (room, account)
);

-- How much was said in a room. Unread counters are differences to these.
CREATE TABLE flow (
  room text PRIMARY KEY,
  -- Messages that count as unread: those outside threads.
  counted bigint NOT NULL,
  -- Messages that call attention: those shown in the room.
  shown bigint NOT NULL,
  -- When the last one shown was recorded; 0 for never.
  heard bigint NOT NULL
);

-- The same for what one account said: nobody's own message is unread. `id` is room/account.
CREATE TABLE own (
  id text PRIMARY KEY,
  counted bigint NOT NULL,
  shown bigint NOT NULL
);

-- `id` is room/account.
CREATE TABLE subscription (
  id text PRIMARY KEY,
  room text NOT NULL,
  account text NOT NULL,
  since bigint NOT NULL,
  -- JSON list.
  roles text NOT NULL,
  favourite bigint NOT NULL,
  hidden bigint NOT NULL,
  -- Attention is called whatever was said since: new here, marked unread, renamed.
  alert bigint NOT NULL,
  -- Up to when the room was read; 0 for never.
  seen bigint NOT NULL,
  -- What had been said, and by the account itself, when it was last read.
  counted_read bigint NOT NULL,
  own_counted_read bigint NOT NULL,
  -- The same when it was last read or hidden.
  shown_read bigint NOT NULL,
  own_shown_read bigint NOT NULL,
  -- Being added calls like a mention, until it is read.
  called bigint NOT NULL,
  -- JSON list of user ids, JSON object.
  ignored text NOT NULL,
  preferences text NOT NULL,
  updated bigint NOT NULL
);

-- Who was mentioned, by the number of the message among those counted.
CREATE TABLE mention (
  room text NOT NULL,
  account text NOT NULL,
  number bigint NOT NULL,
  PRIMARY KEY (room, account, number)
);

-- Everybody was called.
CREATE TABLE summons (
  room text NOT NULL,
  sender text NOT NULL,
  number bigint NOT NULL,
  PRIMARY KEY (room, number)
);

-- Who follows a thread; `id` is thread/account.
CREATE TABLE follower (
  id text PRIMARY KEY,
  thread text NOT NULL,
  account text NOT NULL
);

-- Threads with replies that a follower has not read; `id` is thread/account.
CREATE TABLE unread_thread (
  id text PRIMARY KEY,
  room text NOT NULL,
  account text NOT NULL,
  thread text NOT NULL,
  mentioned bigint NOT NULL,
  summoned bigint NOT NULL
);

CREATE TABLE account (
  id text PRIMARY KEY,
  username text,
  name text
);

-- Subscriptions that ended, for clients that keep a copy.
CREATE TABLE removed (
  id text PRIMARY KEY,
  account text NOT NULL,
  at bigint NOT NULL
);

-- Looked through by `apply`.
CREATE INDEX subscription_by_room ON subscription (room);
CREATE INDEX subscription_by_account ON subscription (account);
CREATE INDEX participant_by_account ON participant (account);
CREATE INDEX follower_by_thread ON follower (thread);
CREATE INDEX unread_thread_by_member ON unread_thread (account, room);
CREATE INDEX unread_thread_by_thread ON unread_thread (thread);
