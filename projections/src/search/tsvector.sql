CREATE TABLE words (
    number bigint PRIMARY KEY,
    words tsvector NOT NULL
);

-- Without a list of what is still to be entered: that would keep what was erased.
CREATE INDEX words_found ON words USING gin (words) WITH (fastupdate = off);
