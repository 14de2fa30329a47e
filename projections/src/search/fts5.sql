CREATE VIRTUAL TABLE words USING fts5 (
    text,
    scope,
    content = 'entry',
    content_rowid = 'number',
    tokenize = 'unicode61 remove_diacritics 2'
);

-- What is erased is gone from the index, too, and not just marked.
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
