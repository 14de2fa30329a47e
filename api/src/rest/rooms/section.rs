//! What `channels.*` and `groups.*` share: they differ in the kind of room and in what they call it.

use std::sync::Arc;

use hansard_commands::after::RoomAfter;
use hansard_commands::authorization::sight::{ADMINISTRATION, Purpose, Right};
use hansard_commands::bus::Done;
use hansard_commands::inspection::{self, Inspection};
pub use hansard_commands::room::RoomRole;
use hansard_commands::room::{self, Changes, NewRoom};
use hansard_domain::event::Entry;
use hansard_domain::id::{RoomId, UserId};
use hansard_domain::room::{Room, RoomKind};
use hansard_projections::rooms::{self as view, MemberOrder, Paging as Stretch, RoomFilter};
use hansard_projections::subscriptions;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

pub use super::history::{HistoryAnswer, HistoryParams};
pub use super::request::{MembersParams, RoomRef, UserRef, UsersRef};
use super::{history, list, shape};
use crate::app::App;
use crate::rest::body::free_object;
use crate::rest::caller::Caller;
use crate::rest::decided::{self, Listed};
use crate::rest::failure::Failure;
use crate::rest::lenient::{self, Invalid};
pub use crate::rest::message_shape::Written;
use crate::rest::paging::{Direction, Paging};
use crate::rest::query::Query;
use crate::wire;
use crate::wire::AnyObject;
use crate::wire::message::MessagesAnswer;

/// One of the two resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Channels,
    Groups,
}

/// A room of a section.
pub struct Found {
    pub id: RoomId,
    pub room: Room,
}

/// The rights to change who is in any group, which need not be one that the caller sees.
const ADD_TO_ANY: &str = "add-user-to-any-p-room";
const KICK_FROM_ANY: &str = "kick-user-from-any-p-room";

/// A room as answers hold it.
pub type Wire = Map<String, Value>;

impl Section {
    fn kind(self) -> RoomKind {
        match self {
            Self::Channels => RoomKind::Channel,
            Self::Groups => RoomKind::Group,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Channels => "channel",
            Self::Groups => "private group",
        }
    }

    fn not_found(self) -> Failure {
        let noun = match self {
            Self::Channels => "channel",
            Self::Groups => "group",
        };
        Failure::refused(
            "error-room-not-found",
            &format!(
                "The required \"roomId\" or \"roomName\" param provided does not match any {noun}"
            ),
        )
    }

    /// A room that the caller may see, archived or not.
    pub fn find(self, app: &App, caller: &Caller, wanted: &RoomRef) -> Result<Found, Failure> {
        self.find_for(app, caller, wanted, Purpose::Particulars)
    }

    /// A room that is not archived, which the caller may see.
    pub fn find_live(self, app: &App, caller: &Caller, wanted: &RoomRef) -> Result<Found, Failure> {
        self.check_live(self.find(app, caller, wanted)?)
    }

    fn check_live(self, found: Found) -> Result<Found, Failure> {
        if found.room.archived {
            let (noun, name) = (self.noun(), found.name());
            let reason = format!("The {noun}, {name}, is archived");
            return Err(Failure::refused("error-room-archived", &reason));
        }
        Ok(found)
    }

    /// A room that the caller may see, or may do something in wherever it is (`permission`).
    fn find_or_reach(
        self,
        app: &App,
        caller: &Caller,
        wanted: &RoomRef,
        permission: &str,
    ) -> Result<Found, Failure> {
        if app.commands.model().allows(caller, permission, None) {
            return self.find_unseen(app, wanted);
        }
        self.find(app, caller, wanted)
    }

    fn find_for(
        self,
        app: &App,
        caller: &Caller,
        wanted: &RoomRef,
        purpose: Purpose,
    ) -> Result<Found, Failure> {
        let model = app.commands.model();
        let found = self.find_unseen(app, wanted).map_err(|failure| {
            // What is no channel may be a group that the caller does not know of.
            let other = wanted.find(&model);
            match other.filter(|id| model.hides(caller, id)) {
                Some(id) => failure.denied_in(&id),
                None => failure,
            }
        })?;
        if model.sees(caller, &found.id, purpose) {
            return Ok(found);
        }
        // It is there, and the caller may not know.
        Err(self.not_found().denied_in(&found.id))
    }

    /// A room, whether the caller may see it or not.
    fn find_unseen(self, app: &App, wanted: &RoomRef) -> Result<Found, Failure> {
        if self == Self::Groups && wanted.is_missing() {
            return Err(Failure::refused(
                "error-room-param-not-provided",
                "The parameter \"roomId\" or \"roomName\" is required",
            ));
        }
        let model = app.commands.model();
        let id = wanted.find(&model).ok_or_else(|| self.not_found())?;
        let room = model.room(&id).filter(|room| room.kind == self.kind());
        let room = room.ok_or_else(|| self.not_found())?.state.clone();
        Ok(Found { id, room })
    }
}

impl Found {
    /// Discussions have their name to show only.
    fn name(&self) -> &str {
        match self.room.parent {
            Some(_) => &self.room.details.fname,
            None => &self.room.details.name,
        }
    }
}

/// A channel or private group to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = CreateRoom)]
pub struct Create {
    #[schema(value_type = Option<String>)]
    name: Value,
    /// Usernames.
    #[schema(value_type = Option<Vec<String>>)]
    members: Value,
    read_only: Option<bool>,
    /// Whoever makes it does not become a member.
    exclude_self: Option<bool>,
    #[schema(value_type = Option<AnyObject>)]
    custom_fields: Value,
    /// `broadcast`, `encrypted`, `topic`, `description`, `announcement`.
    #[schema(value_type = Option<AnyObject>)]
    extra_data: Value,
}

/// What else may be said of a room that is to be made.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ExtraData {
    topic: Option<String>,
    description: Option<String>,
    announcement: Option<String>,
    broadcast: Option<bool>,
    encrypted: Option<bool>,
}

pub async fn create(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: Create,
) -> Result<Wire, Failure> {
    let label = match section {
        Section::Channels => "Param",
        Section::Groups => "Body param",
    };
    if section == Section::Channels && !app.commands.model().allows(caller, "create-c", None) {
        return Err(Failure::forbidden_because("unauthorized"));
    }
    let name: String = match lenient::read(asked.name) {
        Err(Invalid::OutOfBounds(excess)) => return Err(excess.of("name").into()),
        read => read.unwrap_or_default(),
    };
    if name.is_empty() {
        return Err(Failure::plain(format!("{label} \"name\" is required")));
    }
    let must_be = |field: &str, what: &str| {
        Failure::plain(format!("{label} \"{field}\" must be {what} if provided"))
    };
    let members = match asked.members {
        Value::Null => Vec::new(),
        Value::Array(members) => members,
        _ => return Err(must_be("members", "an array")),
    };
    let object = |field: &str, value: Value| match value {
        Value::Null => Ok(Map::new()),
        Value::Object(members) => Ok(members),
        _ => Err(must_be(field, "an object")),
    };
    let custom_fields = object("customFields", asked.custom_fields)?;
    let extra: ExtraData = lenient::read(object("extraData", asked.extra_data)?.into())?;
    let new = NewRoom {
        kind: section.kind(),
        name,
        // What is no name is nobody's.
        members: members
            .into_iter()
            .filter_map(|member| lenient::read(member).ok())
            .collect(),
        read_only: asked.read_only.unwrap_or_default(),
        exclude_self: asked.exclude_self.unwrap_or_default(),
        custom_fields: free_object("customFields", custom_fields)?,
        topic: extra.topic,
        description: extra.description,
        announcement: extra.announcement,
        broadcast: extra.broadcast.unwrap_or_default(),
        encrypted: extra.encrypted,
    };
    let done = room::create(&app.commands, caller, new).await?;
    Ok(decided::room(app, caller, &done).await)
}

pub async fn info(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
) -> Result<Wire, Failure> {
    let found = section.find(app, caller, wanted)?;
    shape::room(app, caller.user(), &found.id).await
}

/// Whom to add to a room.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InviteToRoom)]
pub struct Invite {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    room: RoomRef,
    #[serde(flatten, deserialize_with = "lenient::beside")]
    users: UsersRef,
}

pub async fn invite(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: &Invite,
) -> Result<Wire, Failure> {
    let found = match section {
        Section::Channels => section.find_live(app, caller, &asked.room)?,
        // Whoever may add people to any group need not see it.
        Section::Groups => section.find_or_reach(app, caller, &asked.room, ADD_TO_ANY)?,
    };
    let users = asked.users.find(&app.commands.model())?;
    if users.is_empty() {
        return Err(match section {
            Section::Channels => Failure::refused(
                "Cannot invite if no users are provided",
                "invalid-user-invite-list",
            ),
            Section::Groups => Failure::refused(
                "error-empty-invite-list",
                "Cannot invite if no valid users are provided",
            ),
        });
    }
    let done = room::invite(&app.commands, caller, found.id.clone(), users).await?;
    looked(app, caller, &found.id, ADD_TO_ANY, done.entries()).await?;
    Ok(decided::room(app, caller, &done).await)
}

/// Everybody is to be added to a room.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddAll {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    room: RoomRef,
    /// Not those whose account is not active.
    active_users_only: Option<bool>,
}

pub async fn add_all(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: &AddAll,
) -> Result<Wire, Failure> {
    let found = section.find_live(app, caller, &asked.room)?;
    let active_only = asked.active_users_only.unwrap_or_default();
    let done = room::add_everybody(&app.commands, caller, found.id, active_only).await?;
    Ok(decided::room(app, caller, &done).await)
}

/// Somebody in a room.
#[derive(Debug, Deserialize, ToSchema)]
pub struct MemberRef {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    room: RoomRef,
    #[serde(flatten, deserialize_with = "lenient::beside")]
    user: UserRef,
}

/// Sends a member away; answers the room.
pub async fn kick(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: &MemberRef,
) -> Result<Done<RoomAfter>, Failure> {
    let found = match section {
        Section::Channels => section.find_live(app, caller, &asked.room)?,
        Section::Groups => section.find_or_reach(app, caller, &asked.room, KICK_FROM_ANY)?,
    };
    let user = asked.user.find(&app.commands.model())?;
    let done = room::kick(&app.commands, caller, found.id.clone(), user).await?;
    looked(app, caller, &found.id, KICK_FROM_ANY, done.entries()).await?;
    Ok(done)
}

/// Puts on the audit that somebody was shown a room that it sees only by a permission to change any, and
/// changed nothing there that would be on the record.
async fn looked(
    app: &App,
    caller: &Caller,
    room: &RoomId,
    permission: &'static str,
    changed: &[Arc<Entry>],
) -> Result<(), Failure> {
    if !changed.is_empty()
        || app
            .commands
            .model()
            .sees(caller, room, Purpose::Particulars)
    {
        return Ok(());
    }
    let inspection = Inspection {
        permission,
        room: Some(room.clone()),
        user: None,
        shown: 1,
    };
    Ok(inspection::record(&app.commands, caller, inspection).await?)
}

/// The caller leaves; answers the room.
pub async fn leave(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
) -> Result<Done<RoomAfter>, Failure> {
    let found = section.find_live(app, caller, wanted)?;
    Ok(room::leave(&app.commands, caller, found.id).await?)
}

pub async fn grant(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: &MemberRef,
    role: RoomRole,
) -> Result<(), Failure> {
    let found = section.find_live(app, caller, &asked.room)?;
    let user = asked.user.find(&app.commands.model())?;
    Ok(room::grant_role(&app.commands, caller, found.id, user, role).await?)
}

pub async fn revoke(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: &MemberRef,
    role: RoomRole,
) -> Result<(), Failure> {
    let found = section.find_live(app, caller, &asked.room)?;
    let user = asked.user.find(&app.commands.model())?;
    Ok(room::revoke_role(&app.commands, caller, found.id, user, role).await?)
}

pub async fn archive(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
) -> Result<(), Failure> {
    let found = section.find_live(app, caller, wanted)?;
    Ok(room::archive(&app.commands, caller, found.id).await?)
}

pub async fn unarchive(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
) -> Result<(), Failure> {
    let found = section.find(app, caller, wanted)?;
    if section == Section::Channels && !found.room.archived {
        let name = found.name();
        return Err(Failure::plain(format!(
            "The channel, {name}, is not archived"
        )));
    }
    Ok(room::unarchive(&app.commands, caller, found.id).await?)
}

pub async fn delete(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
) -> Result<(), Failure> {
    let found = section.find(app, caller, wanted)?;
    let deleted = room::delete(&app.commands, caller, found.id).await?;
    app.erasure.follows(&app.commands, deleted).await;
    Ok(())
}

pub async fn open(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
) -> Result<(), Failure> {
    let found = section.find(app, caller, wanted)?;
    let name = found.name();
    match (
        section,
        decided::listed(app, &found.id, caller.user()).await,
    ) {
        (Section::Channels, Listed::No) => Err(Failure::plain(format!(
            "The user/callee is not in the channel \"{name}\"."
        ))),
        (Section::Channels, Listed::Open) => Err(Failure::plain(format!(
            "The channel, {name}, is already open to the sender"
        ))),
        (Section::Groups, Listed::Open) => Err(Failure::plain(format!(
            "The private group, {name}, is already open for the sender"
        ))),
        _ => Ok(room::open(&app.commands, caller, found.id).await?),
    }
}

pub async fn close(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
) -> Result<(), Failure> {
    let found = section.find(app, caller, wanted)?;
    let (noun, name) = (section.noun(), found.name());
    match (
        section,
        decided::listed(app, &found.id, caller.user()).await,
    ) {
        (Section::Channels, Listed::No) => Err(Failure::plain(format!(
            "The user/callee is not in the channel \"{name}."
        ))),
        (_, Listed::Open | Listed::Unknown) => {
            Ok(room::close(&app.commands, caller, found.id).await?)
        }
        (_, Listed::No | Listed::Hidden) => Err(Failure::plain(format!(
            "The {noun}, {name}, is already closed to the sender"
        ))),
    }
}

/// A new value for one thing of a room.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetText {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    room: RoomRef,
    name: Option<String>,
    topic: Option<String>,
    description: Option<String>,
    purpose: Option<String>,
    announcement: Option<String>,
    join_code: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// One thing that rooms say about themselves, by the name of its parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    Topic,
    Description,
    Purpose,
    Announcement,
}

impl Text {
    fn parameter(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Description => "description",
            Self::Purpose => "purpose",
            Self::Announcement => "announcement",
        }
    }
}

/// The text as it is now, under the name of its parameter.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = wire::room::Text)]
pub struct TextAnswer(pub Wire);

/// Sets a text of a room; answers it under the name of its parameter.
pub async fn set_text(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: SetText,
    text: Text,
) -> Result<Wire, Failure> {
    let parameter = text.parameter();
    let given = match text {
        Text::Topic => asked.topic,
        Text::Description => asked.description,
        Text::Purpose => asked.purpose,
        Text::Announcement => asked.announcement,
    };
    let given = given.ok_or_else(|| required(parameter))?;
    let found = section.find_live(app, caller, &asked.room)?;
    let details = &found.room.details;
    let (before, noun) = match text {
        Text::Topic => (&details.topic, "topic"),
        Text::Description => (&details.description, "description"),
        Text::Purpose => (&details.description, "purpose (description)"),
        Text::Announcement => (&details.announcement, "announcement"),
    };
    let checked = section == Section::Channels && text != Text::Announcement;
    if checked && before.as_deref() == Some(given.as_str()) {
        return Err(unchanged(section, noun));
    }
    let value = Some(given.clone());
    let changes = match text {
        Text::Topic => Changes {
            topic: value,
            ..Changes::default()
        },
        Text::Description | Text::Purpose => Changes {
            description: value,
            ..Changes::default()
        },
        Text::Announcement => Changes {
            announcement: value,
            ..Changes::default()
        },
    };
    room::change(&app.commands, caller, found.id, changes).await?;
    Ok(Map::from_iter([(parameter.to_owned(), json!(given))]))
}

fn required(parameter: &str) -> Failure {
    Failure::plain(format!("The bodyParam \"{parameter}\" is required"))
}

fn unchanged(section: Section, what: &str) -> Failure {
    let noun = section.noun();
    Failure::plain(format!(
        "The {noun} {what} is the same as what it would be changed to."
    ))
}

async fn changed(
    app: &App,
    caller: &Caller,
    room: RoomId,
    changes: Changes,
) -> Result<Wire, Failure> {
    let done = room::change(&app.commands, caller, room, changes).await?;
    Ok(decided::room(app, caller, &done).await)
}

pub async fn rename(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: SetText,
) -> Result<Wire, Failure> {
    let name = asked.name.filter(|name| !name.trim().is_empty());
    let name = name.ok_or_else(|| required("name"))?;
    let found = section.find_live(app, caller, &asked.room)?;
    if section == Section::Channels && found.room.details.name == name {
        return Err(Failure::plain(
            "The channel name is the same as what it would be renamed to.",
        ));
    }
    let changes = Changes {
        name: Some(name),
        ..Changes::default()
    };
    changed(app, caller, found.id, changes).await
}

pub async fn set_type(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: SetText,
) -> Result<Wire, Failure> {
    let kind = asked.kind.filter(|kind| !kind.trim().is_empty());
    let kind = kind.ok_or_else(|| required("type"))?;
    let found = section.find_live(app, caller, &asked.room)?;
    if found.room.kind.letter() == kind {
        return Err(unchanged(section, "type"));
    }
    let changes = Changes {
        kind: Some(kind),
        ..Changes::default()
    };
    changed(app, caller, found.id, changes).await
}

pub async fn set_join_code(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: SetText,
) -> Result<Wire, Failure> {
    let code = asked.join_code.filter(|code| !code.trim().is_empty());
    let code = code.ok_or_else(|| required("joinCode"))?;
    let found = section.find_live(app, caller, &asked.room)?;
    let changes = Changes {
        join_code: Some(code),
        ..Changes::default()
    };
    changed(app, caller, found.id, changes).await
}

/// A new state of a switch of a room.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetSwitch {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    room: RoomRef,
    read_only: Option<bool>,
    /// New users join the room.
    #[schema(value_type = Option<bool>)]
    default: Option<Value>,
    #[schema(value_type = Option<bool>)]
    encrypted: Option<Value>,
}

pub async fn set_read_only(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: SetSwitch,
) -> Result<Wire, Failure> {
    let read_only = asked.read_only.ok_or_else(|| required("readOnly"))?;
    let found = section.find_live(app, caller, &asked.room)?;
    if found.room.switches.read_only == read_only {
        return Err(unchanged(section, "read only setting"));
    }
    let changes = Changes {
        read_only: Some(read_only),
        ..Changes::default()
    };
    changed(app, caller, found.id, changes).await
}

pub async fn set_default(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: SetSwitch,
) -> Result<Wire, Failure> {
    let default = asked
        .default
        .filter(|value| !value.is_null())
        .ok_or_else(|| {
            Failure::refused(
                "error-channels-setdefault-is-same",
                "The bodyParam \"default\" is required",
            )
        })?;
    let found = section.find_live(app, caller, &asked.room)?;
    if default == json!(found.room.switches.default) {
        return Err(Failure::refused(
            "error-channels-setdefault-missing-default-param",
            "The channel default setting is the same as what it would be changed to.",
        ));
    }
    let text = default
        .as_str()
        .map_or_else(|| default.to_string(), str::to_lowercase);
    let default = matches!(text.as_str(), "true" | "1");
    let changes = Changes {
        default: Some(default),
        ..Changes::default()
    };
    changed(app, caller, found.id, changes).await
}

pub async fn set_encrypted(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: SetSwitch,
) -> Result<Wire, Failure> {
    let encrypted: Option<bool> = asked.encrypted.and_then(|value| lenient::read(value).ok());
    let encrypted = encrypted.ok_or_else(|| required("encrypted"))?;
    let found = section.find_live(app, caller, &asked.room)?;
    let changes = Changes {
        encrypted: Some(encrypted),
        ..Changes::default()
    };
    changed(app, caller, found.id, changes).await
}

/// New custom fields of a room.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetCustomFields {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    room: RoomRef,
    #[serde(default)]
    #[schema(value_type = Option<AnyObject>)]
    custom_fields: Value,
}

pub async fn set_custom_fields(
    app: &App,
    caller: &Caller,
    section: Section,
    asked: SetCustomFields,
) -> Result<Wire, Failure> {
    let Value::Object(fields) = asked.custom_fields else {
        return Err(Failure::plain(
            "The bodyParam \"customFields\" is required with a type like object.",
        ));
    };
    let found = section.find_live(app, caller, &asked.room)?;
    let changes = Changes {
        custom_fields: Some(free_object("customFields", fields)?),
        ..Changes::default()
    };
    changed(app, caller, found.id, changes).await
}

/// A page of members.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoomMembers)]
pub struct Members {
    #[schema(value_type = Vec<wire::room::Member>)]
    members: Vec<Value>,
    count: usize,
    offset: u64,
    total: i64,
}

/// The members of a room, whoever asks.
pub async fn members_of(
    app: &App,
    room: &RoomId,
    asked: &MembersParams,
    paging: &Paging,
) -> Result<Members, Failure> {
    let by_username = paging.sort.iter().find(|(name, _)| name == "username");
    let order = match by_username {
        Some((_, Direction::Descending)) => MemberOrder::UsernameDescending,
        Some(_) => MemberOrder::Username,
        None if app.commands.model().flag("UI_Use_Real_Name") => MemberOrder::Name,
        None => MemberOrder::Username,
    };
    let stretch = paging.into();
    let filter = asked.filter.as_deref().unwrap_or_default();
    let mut reading = app.views.rooms.walk().await?;
    let page = view::members(&mut reading, room, filter, &asked.status, order, stretch).await?;
    let members: Vec<_> = page.members.iter().map(view::Member::wire).collect();
    Ok(Members {
        count: members.len(),
        members,
        offset: paging.offset,
        total: page.total,
    })
}

pub async fn members(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
    asked: &MembersParams,
    paging: &Paging,
) -> Result<Members, Failure> {
    let found = match section {
        Section::Channels => section.find(app, caller, wanted)?,
        Section::Groups => section.find_live(app, caller, wanted)?,
    };
    let model = app.commands.model();
    if !model.sees(caller, &found.id, Purpose::Members) {
        return Err(Failure::forbidden_because("unauthorized"));
    }
    members_of(app, &found.id, asked, paging).await
}

/// Somebody, as short answers name it.
fn person(app: &App, user: &UserId) -> Value {
    let model = app.commands.model();
    let mut person = Map::from_iter([("_id".to_owned(), json!(user))]);
    if let Some(account) = model.account(user) {
        person.insert("username".to_owned(), json!(account.profile.username));
        if let Some(name) = &account.profile.name {
            person.insert("name".to_owned(), json!(name));
        }
    }
    Value::Object(person)
}

/// The moderators of a room.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoomModerators)]
pub struct Moderators {
    #[schema(value_type = Vec<wire::Person>)]
    moderators: Vec<Value>,
}

pub async fn moderators(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
) -> Result<Moderators, Failure> {
    let found = section.find_live(app, caller, wanted)?;
    let moderators = found
        .room
        .holders("moderator")
        .map(|user| person(app, user))
        .collect();
    Ok(Moderators { moderators })
}

/// Who has roles in a room.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoomRoles)]
pub struct Roles {
    #[schema(value_type = Vec<wire::room::HeldRoles>)]
    roles: Vec<Value>,
}

pub async fn roles(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
) -> Result<Roles, Failure> {
    let found = section.find_live(app, caller, wanted)?;
    let mut holders: Vec<_> = found.room.roles.iter().collect();
    holders.sort_by_key(|(_, roles)| *roles);
    let roles = holders
        .into_iter()
        .map(|(user, roles)| {
            json!({
                "_id": format!("{}/{user}", found.id),
                "rid": found.id,
                "u": person(app, user),
                "roles": roles,
            })
        })
        .collect();
    Ok(Roles { roles })
}

/// Members who are online.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoomOnline)]
pub struct Online {
    #[schema(value_type = Vec<wire::Person>)]
    online: Vec<Value>,
}

/// Who is online in the first room that `query` finds among those whose members the caller may know.
pub async fn online(
    app: &App,
    caller: &Caller,
    section: Section,
    paging: &Paging,
) -> Result<Online, Failure> {
    let query = paging.query.clone().filter(|query| !query.is_empty());
    let query = query.ok_or_else(|| Failure::plain("Invalid query"))?;
    let query = Query::read(&paging.client, query, list::MEMBERS).await?;
    let rooms = RoomFilter {
        kind: Some(section.kind()),
        ..RoomFilter::default()
    };
    let mut reading = app.views.rooms.walk().await?;
    let mut rooms = view::some(&mut reading, &rooms, Stretch::ALL).await?;
    drop(reading);
    // Before the query: whether a room passes tells of what is in it.
    let model = app.commands.model();
    rooms.retain(|room| {
        let sight = model.sight_in_list(caller, &room.id, Purpose::Members);
        sight.is_some()
    });
    let rooms = query.filter(rooms, view::Room::wire).await?;
    let found = rooms.into_iter().next().map(|room| room.id);
    // Whether there is such a group that the caller does not see is not told.
    let found = found.ok_or_else(|| match section {
        Section::Channels => Failure::plain("Channel does not exists"),
        Section::Groups => Failure::refused("error-not-allowed", "Not Allowed"),
    })?;
    if !app.commands.model().sees(caller, &found, Purpose::Members) {
        return Err(Failure::forbidden_because("unauthorized"));
    }
    let mut reading = app.views.rooms.read().await?;
    let online = view::online(&mut reading, &found).await?;
    let online = online
        .iter()
        .map(|member| json!({ "_id": member.id, "username": member.username }))
        .collect();
    Ok(Online { online })
}

/// Whose counters.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct CountersParams {
    /// Somebody else's, with `view-room-administration`.
    pub user_id: Option<String>,
}

/// How much is in a room, and how much of it is new.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoomCounters)]
pub struct Counters {
    joined: bool,
    members: Option<i64>,
    unreads: Option<u64>,
    unreads_from: Option<String>,
    msgs: Option<i64>,
    latest: Option<String>,
    user_mentions: Option<i64>,
}

/// Whose counters a caller asks for; 403 if they are not its own and it may not see others'.
pub fn counted(app: &App, caller: &Caller, asked: &CountersParams) -> Result<UserId, Failure> {
    match &asked.user_id {
        None => Ok(caller.user().clone()),
        Some(user) if app.commands.model().allows(caller, ADMINISTRATION, None) => {
            Ok(UserId::new(user))
        }
        Some(_) => Err(Failure::forbidden_because("unauthorized")),
    }
}

/// Puts counters on the audit that the caller does not see as somebody who may see the room, or that
/// are not its own.
pub async fn inspected(
    app: &App,
    caller: &Caller,
    room: &RoomId,
    user: &UserId,
) -> Result<(), Failure> {
    let others = user != caller.user();
    let sight = app
        .commands
        .model()
        .sight(caller, room, Purpose::Administration)
        .map(|sight| sight.right);
    if !others && !sight.is_some_and(Right::is_audited) {
        return Ok(());
    }
    let inspection = Inspection {
        permission: ADMINISTRATION,
        room: Some(room.clone()),
        user: others.then(|| user.clone()),
        shown: 1,
    };
    Ok(inspection::record(&app.commands, caller, inspection).await?)
}

/// The counters of a room for a user.
pub async fn counters(
    app: &App,
    caller: &Caller,
    id: &RoomId,
    user: &UserId,
) -> Result<Counters, Failure> {
    let mut reading = app.views.rooms.read().await?;
    let room = view::by_ids(&mut reading, std::slice::from_ref(id))
        .await?
        .pop();
    drop(reading);
    let room = room.ok_or_else(|| Failure::refused("error-invalid-room", "Invalid room"))?;
    let mut reading = app.views.subscriptions.read().await?;
    let own = subscriptions::one(&mut reading, id, user).await?;
    drop(reading);
    let latest = room.spoken.unwrap_or(room.updated);
    let mut counters = Counters::default();
    if let Some(own) = own.filter(|own| own.open) {
        let from = own.seen.unwrap_or(own.since);
        let before = from.previous();
        let unread = app.views.messages.count_between(id, before, latest).await?;
        counters.joined = true;
        counters.unreads = Some(unread);
        counters.unreads_from = Some(from.iso());
        counters.user_mentions = Some(own.user_mentions);
    }
    if counters.joined || app.commands.model().allows(caller, ADMINISTRATION, None) {
        counters.msgs = Some(room.messages);
        counters.latest = Some(latest.iso());
        counters.members = Some(room.members);
    }
    Ok(counters)
}

pub async fn counters_in(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
    asked: &CountersParams,
) -> Result<Counters, Failure> {
    let user = counted(app, caller, asked)?;
    let found = match section {
        Section::Channels => section.find_live(app, caller, wanted)?,
        Section::Groups => {
            let found = section.find_for(app, caller, wanted, Purpose::Administration)?;
            section.check_live(found)?
        }
    };
    inspected(app, caller, &found.id, &user).await?;
    counters(app, caller, &found.id, &user).await
}

pub async fn history_of(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
    asked: &HistoryParams,
    paging: &Paging,
) -> Result<Written<HistoryAnswer>, Failure> {
    let found = section.find(app, caller, wanted)?;
    let threads = section == Section::Groups;
    history::history(app, caller, &found.id, asked, threads, paging).await
}

pub async fn messages_of(
    app: &App,
    caller: &Caller,
    section: Section,
    wanted: &RoomRef,
    paging: &Paging,
) -> Result<Written<MessagesAnswer>, Failure> {
    let found = match section {
        Section::Channels => section.find(app, caller, wanted)?,
        Section::Groups => section.find_live(app, caller, wanted)?,
    };
    if !app
        .commands
        .model()
        .sees(caller, &found.id, Purpose::Messages)
    {
        return Err(Failure::forbidden_because("unauthorized"));
    }
    let page = history::messages(app, caller.user(), &found.id, paging).await?;
    Ok(Written::new().page("messages", &page, paging.offset))
}
