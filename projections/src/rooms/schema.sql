-- What a room is. What changes with every message or member is in `activity`.
CREATE TABLE room (
  id text PRIMARY KEY,
  -- The position in the log of what made it.
  number bigint NOT NULL,
  kind text NOT NULL,
  name text,
  fname text,
  -- The names without their case.
  name_folded text,
  fname_folded text,
  creator text,
  created bigint NOT NULL,
  updated bigint NOT NULL,
  is_default bigint NOT NULL,
  read_only bigint NOT NULL,
  archived bigint NOT NULL,
  parent text,
  -- JSON lists of user ids.
  participants text,
  muted text NOT NULL,
  unmuted text NOT NULL,
  -- JSON: the rarer fields of the answer, finished; `listed` is what of them stands in lists, where that is
  -- less. It comes first, so that nobody who reads it has to pass the other.
  listed text,
  more text NOT NULL
);

CREATE TABLE activity (
  room text PRIMARY KEY,
  messages bigint NOT NULL,
  members bigint NOT NULL,
  -- The time of the last message that was said in it; 0 for none.
  spoken bigint NOT NULL,
  -- When a count changed last, or what the room shows of its last message.
  changed bigint NOT NULL
);

-- `id` is room/account.
CREATE TABLE member (
  id text PRIMARY KEY,
  room text NOT NULL,
  account text NOT NULL,
  since bigint NOT NULL,
  -- JSON list.
  roles text NOT NULL
);

CREATE TABLE account (
  id text PRIMARY KEY,
  username text,
  name text,
  username_folded text,
  name_folded text,
  nickname text,
  active bigint NOT NULL,
  presence text NOT NULL,
  updated bigint NOT NULL
);

-- Deleted rooms, for clients that keep a copy.
CREATE TABLE removed (
  room text PRIMARY KEY,
  at bigint NOT NULL
);

-- Whom a room names: who made it, who takes part in it, and who was silenced in it or given a voice.
CREATE TABLE named (
  room text NOT NULL,
  account text NOT NULL,
  PRIMARY KEY (room, account)
);

-- Looked through by `apply`.
CREATE INDEX named_by_account ON named (account);
