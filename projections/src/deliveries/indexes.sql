CREATE INDEX delivery_by_state ON delivery (state, queued_at);

CREATE INDEX delivery_by_message ON delivery (message);
