-- One row: which of these scripts have been run.
CREATE TABLE format (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    format integer NOT NULL
);
INSERT INTO format (format) VALUES (0);

-- The event log. Nothing is ever changed or deleted here.
CREATE TABLE events (
    position    bigint   NOT NULL PRIMARY KEY,
    stream      text     NOT NULL COLLATE "C",
    version     bigint   NOT NULL,
    id          bytea    NOT NULL,
    type        text     NOT NULL,
    schema      integer  NOT NULL,
    at          bigint   NOT NULL,
    actor       text     NOT NULL,
    correlation text,
    causation   bytea,
    origin      text,
    payload     text     NOT NULL,
    UNIQUE (stream, version)
);

-- The vault: data keys in 64 parts, 1024 numbers in a row each, so that wiping deleted keys writes
-- only a part of the others anew.
CREATE TABLE keys (
    part    smallint NOT NULL,
    id      bigint   NOT NULL,
    wrapped bytea    NOT NULL,
    PRIMARY KEY (part, id)
) PARTITION BY LIST (part);
DO $$
BEGIN
    FOR part IN 0..63 LOOP
        EXECUTE format('CREATE TABLE keys_%s PARTITION OF keys FOR VALUES IN (%s)', part, part);
        -- Bytes that stand aside in another table would be left behind; these are short.
        EXECUTE format('ALTER TABLE keys_%s ALTER wrapped SET STORAGE PLAIN', part);
    END LOOP;
END $$;
-- The last number given out is kept by itself: that of a shredded key never comes back.
CREATE SEQUENCE key_numbers;
CREATE TABLE secrets (
    name    text  NOT NULL PRIMARY KEY,
    wrapped bytea NOT NULL
);
-- One row: what tells the right master key.
CREATE TABLE vault (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    proof bytea NOT NULL
);

-- Snapshot and cursors.
CREATE TABLE state (
    name    text  NOT NULL PRIMARY KEY,
    content bytea NOT NULL
);
-- Sealed or packed already, it gets no smaller.
ALTER TABLE state ALTER content SET STORAGE EXTERNAL;
