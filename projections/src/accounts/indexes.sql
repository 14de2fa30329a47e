-- With what lists ask for beside the order: who is left out is not looked up.
CREATE INDEX account_by_username ON account (username, id, active, kind, name);
CREATE INDEX account_by_name ON account (name, username, id, active, kind);
-- What a text is found in is sorted, and a page of it is all that is looked up.
CREATE INDEX account_by_number ON account (number, username, name, id, active, kind);
CREATE INDEX account_by_created_at ON account (created_at);
CREATE INDEX account_by_last_login ON account (last_login);
CREATE INDEX account_role_by_account ON account_role (account);
