-- Every three letters in a row of names, which are folded already, and of the kind; by the number of the
-- room. See `fragments.rs`.
CREATE VIRTUAL TABLE fragment USING fts5 (
    name_folded,
    fname_folded,
    tags,
    content = '',
    detail = column,
    tokenize = 'trigram case_sensitive 1'
);

-- What is erased is gone from the index, too, and not just marked.
INSERT INTO fragment (fragment, rank) VALUES ('secure-delete', 1);

CREATE VIEW fragment_of AS
SELECT
    number,
    name_folded,
    fname_folded,
    'is ' || kind AS tags
FROM room;

CREATE TRIGGER room_found AFTER INSERT ON room BEGIN
    INSERT INTO fragment (rowid, name_folded, fname_folded, tags)
    SELECT * FROM fragment_of WHERE number = new.number;
END;

CREATE TRIGGER room_lost BEFORE DELETE ON room BEGIN
    INSERT INTO fragment (fragment, rowid, name_folded, fname_folded, tags)
    SELECT 'delete', * FROM fragment_of WHERE number = old.number;
END;

CREATE TRIGGER room_changes BEFORE UPDATE OF name_folded, fname_folded, kind ON room BEGIN
    INSERT INTO fragment (fragment, rowid, name_folded, fname_folded, tags)
    SELECT 'delete', * FROM fragment_of WHERE number = old.number;
END;

CREATE TRIGGER room_changed AFTER UPDATE OF name_folded, fname_folded, kind ON room BEGIN
    INSERT INTO fragment (rowid, name_folded, fname_folded, tags)
    SELECT * FROM fragment_of WHERE number = new.number;
END;
