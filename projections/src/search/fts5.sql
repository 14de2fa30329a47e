-- By the numbers of entries. What stands in it is told where it is forgotten, and nobody asks how long it is.
CREATE VIRTUAL TABLE words USING fts5 (
    text,
    scope,
    content = '',
    columnsize = 0,
    tokenize = 'unicode61 remove_diacritics 2'
);

-- What is erased is gone from the index, too, and not just marked.
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
