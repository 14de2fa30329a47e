CREATE INDEX room_by_name ON room (kind, name);
CREATE INDEX member_by_account ON member (account, room);
CREATE INDEX member_by_room ON member (room);
CREATE INDEX removed_by_time ON removed (at);
CREATE INDEX room_in_order ON room (name, id);
CREATE INDEX activity_by_members ON activity (members);
