CREATE INDEX subscription_by_account ON subscription (account);
CREATE INDEX removed_by_account ON removed (account, at);
