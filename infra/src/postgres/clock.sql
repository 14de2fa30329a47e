-- The clock of the node that recorded an event, where it was behind the log's time.
ALTER TABLE events ADD COLUMN clock bigint;
