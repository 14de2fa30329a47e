-- Every three letters in a row of names and texts, which are folded already, and of what lists ask for
-- beside a text; by the number of the account. See `fragments.rs`.
CREATE VIRTUAL TABLE fragment USING fts5 (
    username,
    name,
    email,
    bio,
    nickname,
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
    username,
    name,
    email,
    bio,
    nickname,
    iif(active = 1, 'act', 'off') || ' ' || substr(kind, 1, 3)
    || ' ' || iif(last_login IS NULL, 'new', 'log') AS tags
FROM account;

CREATE TRIGGER account_found AFTER INSERT ON account BEGIN
    INSERT INTO fragment (rowid, username, name, email, bio, nickname, tags)
    SELECT * FROM fragment_of WHERE number = new.number;
END;

CREATE TRIGGER account_lost BEFORE DELETE ON account BEGIN
    INSERT INTO fragment (fragment, rowid, username, name, email, bio, nickname, tags)
    SELECT 'delete', * FROM fragment_of WHERE number = old.number;
END;

-- Most changes are of a document alone.
CREATE TRIGGER account_changes BEFORE UPDATE ON account
WHEN (old.username, old.name, old.email, old.bio, old.nickname, old.active, old.last_login IS NULL)
    IS NOT (new.username, new.name, new.email, new.bio, new.nickname, new.active, new.last_login IS NULL)
BEGIN
    INSERT INTO fragment (fragment, rowid, username, name, email, bio, nickname, tags)
    SELECT 'delete', * FROM fragment_of WHERE number = old.number;
END;

CREATE TRIGGER account_changed AFTER UPDATE ON account
WHEN (old.username, old.name, old.email, old.bio, old.nickname, old.active, old.last_login IS NULL)
    IS NOT (new.username, new.name, new.email, new.bio, new.nickname, new.active, new.last_login IS NULL)
BEGIN
    INSERT INTO fragment (rowid, username, name, email, bio, nickname, tags)
    SELECT * FROM fragment_of WHERE number = new.number;
END;
