-- The vault in two levels: shredding a key writes its block anew, and a part of the few keys of blocks.
CREATE TABLE key_blocks (
    block  bigint NOT NULL PRIMARY KEY,
    -- The keys of 64 numbers in a row, encrypted under a key of the block's own.
    sealed bytea  NOT NULL
);
-- Bytes that stand aside in another table would only be in the way.
ALTER TABLE key_blocks ALTER sealed SET STORAGE PLAIN;

CREATE TABLE key_roots (
    part   smallint NOT NULL,
    root   bigint   NOT NULL,
    -- The keys of 32 blocks in a row, encrypted under the master key.
    sealed bytea    NOT NULL,
    PRIMARY KEY (part, root)
) PARTITION BY LIST (part);
DO $$
BEGIN
    FOR part IN 0..63 LOOP
        EXECUTE format('CREATE TABLE key_roots_%s PARTITION OF key_roots FOR VALUES IN (%s)', part, part);
        -- Here they would be left behind.
        EXECUTE format('ALTER TABLE key_roots_%s ALTER sealed SET STORAGE PLAIN', part);
    END LOOP;
END $$;

-- Writes a part of the roots into a fresh file: those that have not changed, and these. The lock comes
-- in a statement of its own, so that the one after it sees all that was written before.
CREATE FUNCTION rewrite_key_roots(of_part smallint, changed bigint[], roots bigint[], with_sealed bytea[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    kept        bigint[];
    kept_sealed bytea[];
BEGIN
    SET LOCAL lock_timeout = '1s';
    EXECUTE format('LOCK TABLE key_roots_%s IN ACCESS EXCLUSIVE MODE', of_part);
    EXECUTE format('SELECT array_agg(root), array_agg(sealed) FROM key_roots_%s WHERE root <> ALL ($1)',
                   of_part)
        INTO kept, kept_sealed USING changed;
    EXECUTE format('TRUNCATE key_roots_%s', of_part);
    EXECUTE format('INSERT INTO key_roots_%s SELECT $1, written.* FROM unnest($2, $3) AS written', of_part)
        USING of_part, kept || roots, kept_sealed || with_sealed;
END $$;

-- The last root whose numbers were given out is kept by itself: those of shredded keys never come back.
ALTER TABLE vault ADD last_root bigint NOT NULL DEFAULT 0;
UPDATE vault SET last_root = (SELECT last_value FROM key_numbers) / 2048;

-- What earlier versions kept, a row each; where there is none yet, there is nothing to be moved.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM keys) THEN
        DROP TABLE keys;
        DROP SEQUENCE key_numbers;
    END IF;
END $$;
