//! Who is in a room.

use hansard_domain::account::Presence;
use hansard_domain::id::{RoleId, RoomId, Timestamp, UserId};
use hansard_domain::pace::each_row;
use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use super::queries::Paging;
use crate::folding::containing;
use crate::sql;
use crate::view::ViewError;

/// A member of a room, as answers list them.
#[derive(Debug, Clone)]
pub struct Member {
    pub id: UserId,
    pub username: Option<String>,
    pub name: Option<String>,
    pub nickname: Option<String>,
    /// What they want to be seen as.
    pub presence: String,
    pub updated: Timestamp,
    pub roles: Vec<RoleId>,
}

/// A page of members, and how many there are in all.
#[derive(Debug, Clone)]
pub struct MemberPage {
    pub members: Vec<Member>,
    pub total: i64,
}

/// What a list of members is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MemberOrder {
    #[default]
    Username,
    UsernameDescending,
    Name,
}

impl MemberOrder {
    fn sql(self) -> &'static str {
        match self {
            Self::Username => " ORDER BY c.username NULLS FIRST, c.id",
            Self::UsernameDescending => " ORDER BY c.username DESC NULLS LAST, c.id DESC",
            Self::Name => " ORDER BY c.name NULLS FIRST, c.username NULLS FIRST, c.id",
        }
    }
}

const FILTERED: &str = " FROM member m JOIN account c ON c.id = m.account \
    WHERE m.room = $1 AND c.active = 1 \
    AND ($2 = '' OR c.username_folded LIKE $2 ESCAPE '\\' OR c.name_folded LIKE $2 ESCAPE '\\') \
    AND ($3 = '' OR c.presence IN ($3, $4, $5, $6))";

const PRESENCES: [Presence; 4] = [
    Presence::Online,
    Presence::Away,
    Presence::Busy,
    Presence::Offline,
];

const COLUMNS: &str = "SELECT c.id, c.username, c.name, c.nickname, c.presence, c.updated, m.roles";

/// The active members of a room, those with a text in their name and of a presence only if asked.
pub async fn members(
    tables: &mut AnyConnection,
    room: &RoomId,
    filter: &str,
    presences: &[String],
    order: MemberOrder,
    paging: Paging,
) -> Result<MemberPage, ViewError> {
    let filter = containing(filter);
    let among = PRESENCES.map(Presence::as_str).map(|known| {
        presences
            .iter()
            .any(|asked| asked == known)
            .then_some(known)
    });
    // Where none of those that are asked for is one, nobody is found.
    let other = if presences.is_empty() { "" } else { "none" };
    let first = among.into_iter().flatten().next().unwrap_or(other);
    let bound = |sql: String| {
        let query = sql::query(AssertSqlSafe(sql))
            .bind(room.as_str().to_owned())
            .bind(filter.clone());
        // Naming one twice changes nothing.
        among.into_iter().fold(query, |query, presence| {
            query.bind(presence.unwrap_or(first))
        })
    };
    // A page and its total are of one moment.
    let mut moment = tables.begin().await?;
    let total = bound(format!("SELECT count(*){FILTERED}"))
        .fetch_one(&mut moment)
        .await?
        .try_get(0)?;
    let order = order.sql();
    let members = bound(format!("{COLUMNS}{FILTERED}{order} LIMIT $7 OFFSET $8"))
        .bind(paging.limit())
        .bind(paging.offset)
        .fetch_all(&mut moment)
        .await?;
    let members = each_row(&members, Member::read).await?;
    moment.commit().await?;
    Ok(MemberPage { members, total })
}

/// The members of a room who do not want to be seen as offline.
pub async fn online(tables: &mut AnyConnection, room: &RoomId) -> Result<Vec<Member>, ViewError> {
    sql::query(
        "SELECT c.id, c.username, c.name, c.nickname, c.presence, c.updated, m.roles \
         FROM member m JOIN account c ON c.id = m.account \
         WHERE m.room = $1 AND c.active = 1 AND c.presence <> 'offline' ORDER BY c.username NULLS FIRST",
    )
    .bind(room.as_str().to_owned())
    .fetch_all(tables)
    .await?
    .iter()
    .map(Member::read)
    .collect()
}

impl Member {
    fn read(row: &AnyRow) -> Result<Self, ViewError> {
        Ok(Self {
            id: UserId::new(row.try_get::<String, _>(0)?),
            username: row.try_get(1)?,
            name: row.try_get(2)?,
            nickname: row.try_get(3)?,
            presence: row.try_get(4)?,
            updated: Timestamp(row.try_get(5)?),
            roles: hansard_domain::json::from_str(&row.try_get::<String, _>(6)?)?,
        })
    }

    /// As Rocket.Chat writes a member.
    pub fn wire(&self) -> Value {
        let mut wire = Map::from_iter([
            ("_id".to_owned(), json!(self.id)),
            ("username".to_owned(), json!(self.username)),
        ]);
        if let Some(name) = &self.name {
            wire.insert("name".into(), json!(name));
        }
        if let Some(nickname) = &self.nickname {
            wire.insert("nickname".into(), json!(nickname));
        }
        wire.insert("status".into(), json!(self.presence));
        wire.insert("_updatedAt".into(), json!(self.updated.iso()));
        Value::Object(wire)
    }
}
