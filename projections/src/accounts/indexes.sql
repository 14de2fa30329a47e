CREATE INDEX account_by_username ON account (username);
CREATE INDEX account_by_name ON account (name);
CREATE INDEX account_by_created_at ON account (created_at);
CREATE INDEX account_by_last_login ON account (last_login);
CREATE INDEX account_role_by_account ON account_role (account);
