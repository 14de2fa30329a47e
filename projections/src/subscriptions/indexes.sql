CREATE INDEX removed_by_account ON removed (account, at);
