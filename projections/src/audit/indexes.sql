CREATE INDEX audit_actor ON audit (actor, position);
CREATE INDEX audit_target ON audit (target, position);
CREATE INDEX audit_room ON audit (room, position) WHERE room IS NOT NULL;
-- Most events are messages; they are found by walking along the positions.
CREATE INDEX audit_action ON audit (action, position) WHERE action <> 'MessageSent';
CREATE INDEX audit_refused ON audit (outcome, position) WHERE outcome <> 'done';
CREATE INDEX audit_fault ON audit (fault, position) WHERE fault IS NOT NULL;
CREATE INDEX audit_origin ON audit (origin, position) WHERE origin IS NOT NULL;
CREATE INDEX origin_address ON origin (address);
CREATE INDEX origin_key ON origin (key_id);
