-- SQLite's indexes are in the order of positions as they are: the position is the row's own number.
CREATE INDEX audit_actor ON audit (actor /* PostgreSQL: , position */);
CREATE INDEX audit_target ON audit (target /* PostgreSQL: , position */) WHERE target IS NOT NULL;
CREATE INDEX audit_target_id ON audit (target_id /* PostgreSQL: , position */) WHERE target_id IS NOT NULL;
CREATE INDEX audit_room ON audit (room /* PostgreSQL: , position */) WHERE room IS NOT NULL;
-- Most events are messages; they are found by walking along the positions.
CREATE INDEX audit_action ON audit (action /* PostgreSQL: , position */) WHERE action IS NOT NULL;
CREATE INDEX audit_refused ON audit (outcome /* PostgreSQL: , position */) WHERE outcome IS NOT NULL;
CREATE INDEX audit_fault ON audit (fault /* PostgreSQL: , position */) WHERE fault IS NOT NULL;
CREATE INDEX audit_origin ON audit (origin /* PostgreSQL: , position */) WHERE origin IS NOT NULL;
CREATE INDEX origin_address ON origin (address);
