CREATE TABLE change (
    -- role, permission, setting, workspace
    category text NOT NULL,
    id text NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (category, id)
);
