CREATE INDEX room_by_name ON room (kind, name);
CREATE INDEX member_by_account ON member (account, room);
CREATE INDEX member_by_room ON member (room);
CREATE INDEX removed_by_time ON removed (at);
-- With what a name is looked for in: what a page has not is not looked up.
CREATE INDEX room_in_order ON room (name, id, kind, name_folded, fname_folded);
CREATE INDEX room_by_number ON room (number, name, id, kind, name_folded, fname_folded);
CREATE INDEX activity_by_members ON activity (members);
