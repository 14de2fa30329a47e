//! `rooms.*` about one room or a caller's own.

use std::collections::HashMap;

use hansard_commands::authorization::sight::{ADMINISTRATION, Purpose};
use hansard_commands::inspection::{self, Inspection};
use hansard_commands::room;
use hansard_domain::id::{RoomId, Timestamp};
use hansard_domain::room::RoomKind;
use hansard_projections::rooms::{self as view, RoomFilter};
use hansard_projections::subscriptions;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::request::{RoomRef, UserRef};
use super::{list, shape};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::answer::{Answer, Nothing, answer, done};
use crate::rest::body::{Body, Params};
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::lenient;
use crate::rest::paging::Paging;
use crate::rest::rate_limit::building::Builder;
use crate::wire::Removed;
use crate::wire::room::Room;

pub const OPERATIONS: &[Operation] = &[
    GET,
    INFO,
    NAME_EXISTS,
    ADMIN_ROOMS,
    ADMIN_ROOM,
    FAVORITE,
    LEAVE,
    DELETE,
    CHANGE_ARCHIVATION_STATE,
    MUTE_USER,
    UNMUTE_USER,
    SAVE_NOTIFICATION,
];

/// The room that is meant, if the caller knows of it and it is not archived.
fn find(app: &App, caller: &Caller, wanted: &RoomRef) -> Result<RoomId, Failure> {
    if wanted.is_missing() {
        return Err(Failure::refused(
            "error-roomid-param-not-provided",
            "The parameter \"roomId\" or \"roomName\" is required",
        ));
    }
    let model = app.commands.model();
    let known = wanted.find(&model).and_then(|id| {
        let sight = model.sight(caller, &id, Purpose::Existence)?;
        Some((id, sight.room))
    });
    let Some((id, room)) = known else {
        let failure = Failure::refused(
            "error-room-not-found",
            "The required \"roomId\" or \"roomName\" param provided does not match any channel",
        );
        return Err(match wanted.find(&model) {
            Some(unseen) => failure.denied_in(&unseen),
            None => failure,
        });
    };
    if room.archived {
        let name = &room.details.name;
        let reason = format!("The channel, {name}, is archived");
        return Err(Failure::refused("error-room-archived", &reason));
    }
    Ok(id)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct Since {
    /// Only what changed after this time.
    updated_since: Option<String>,
}

/// What changed, and what is gone.
#[derive(Debug, Serialize, ToSchema)]
struct RoomChanges {
    #[schema(value_type = Vec<Room>)]
    update: Vec<Map<String, Value>>,
    #[schema(value_type = Vec<Removed>)]
    remove: Vec<Value>,
}

/// Who is in more rooms gets them when it is its turn.
const MANY: usize = 100;

pub const GET: Operation = Operation::get("rooms.get", &get)
    .tells("The rooms that the caller is in, and those it was in that were deleted.");

async fn get(
    app: App,
    caller: Caller,
    (builder, Params(asked)): (Builder, Params<Since>),
) -> Answer<RoomChanges> {
    let since = asked.updated_since.filter(|since| !since.is_empty());
    let since = since.map(|since| {
        Timestamp::parse(&since).ok_or_else(|| {
            Failure::refused(
                "error-updatedSince-param-invalid",
                "The \"updatedSince\" query parameter must be a valid date.",
            )
        })
    });
    let since = since.transpose()?;
    // Others may have put the caller into any number of rooms.
    let many = {
        let model = app.commands.model();
        model.rooms_of(caller.user()).nth(MANY).is_some()
    };
    let _permit = if many {
        Some(builder.enter().await?)
    } else {
        None
    };
    let left = match since {
        Some(since) => left_since(&app, &caller, since).await?,
        None => HashMap::new(),
    };
    let gone: Vec<_> = left.keys().cloned().collect();
    let (found, removed) = match since {
        Some(since) if many || !gone.is_empty() => {
            let mut reading = app.views.rooms.moment().await?;
            let found = view::of_member(&mut reading, caller.user(), Some(since)).await?;
            let removed = view::removed_among(&mut reading, &gone, since).await?;
            (found, removed)
        }
        _ => {
            let mine = view::mine(&app.views.rooms, caller.user()).await?;
            let changed = mine
                .iter()
                .filter(|room| since.is_none_or(|since| since.0 == 0 || room.updated > since));
            (changed.cloned().collect(), Vec::new())
        }
    };
    // What became of a room after one was put out of it is not told.
    let remove = removed
        .into_iter()
        .filter(|(room, at)| left.get(room).is_some_and(|left| left >= at))
        .map(|(room, at)| json!({ "_id": room, "_deletedAt": at.iso() }))
        .collect();
    answer(RoomChanges {
        update: shape::listed(&app, caller.user(), found, None).await?,
        remove,
    })
}

/// The rooms that the caller ceased to be in after a time, those that were deleted among them, and when.
async fn left_since(
    app: &App,
    caller: &Caller,
    since: Timestamp,
) -> Result<HashMap<RoomId, Timestamp>, Failure> {
    let mine = subscriptions::mine(&app.views.subscriptions, caller.user()).await?;
    if mine.ended.is_none_or(|ended| ended <= since) {
        return Ok(HashMap::new());
    }
    let mut reading = app.views.subscriptions.read().await?;
    let ended = subscriptions::removed_since(&mut reading, caller.user(), since).await?;
    let room = |(id, at): &(String, Timestamp)| {
        let (room, _) = id.split_once('/')?;
        Some((RoomId::new(room), *at))
    };
    Ok(ended.iter().filter_map(room).collect())
}

/// A room.
#[derive(Debug, Serialize, ToSchema)]
struct RoomAnswer {
    #[schema(value_type = Room)]
    room: Map<String, Value>,
}

pub const INFO: Operation =
    Operation::get("rooms.info", &info).tells("What a room is, for whoever may see it.");

async fn info(
    app: App,
    caller: Caller,
    (Params(wanted), paging): (Params<RoomRef>, Paging),
) -> Answer<RoomAnswer> {
    let id = find(&app, &caller, &wanted)?;
    if !app
        .commands
        .model()
        .sees(&caller, &id, Purpose::Particulars)
    {
        return Err(not_allowed());
    }
    let mut room = shape::room(&app, caller.user(), &id).await?;
    if let Some(fields) = &paging.fields {
        fields.project(&mut room);
    }
    answer(RoomAnswer { room })
}

/// `not-allowed`, whose words stand where others have their code.
fn not_allowed() -> Failure {
    Failure::with_body(json!({
        "success": false, "error": "not-allowed", "errorType": "Not Allowed",
    }))
    .denied(None)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct NameParams {
    /// The name of a room.
    room_name: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoomExists)]
struct Exists {
    exists: bool,
}

pub const NAME_EXISTS: Operation =
    Operation::get("rooms.nameExists", &name_exists).tells("Whether a room has a name.");

async fn name_exists(
    app: App,
    _caller: Caller,
    Params(asked): Params<NameParams>,
) -> Answer<Exists> {
    let exists = room::name_exists(&app.commands.model(), &asked.room_name);
    answer(Exists { exists })
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AdminFilter {
    /// Rooms with this in their name only.
    filter: Option<String>,
    /// `c`, `p`, `d`, `discussions`; all if absent.
    #[serde(default)]
    types: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AdminRooms {
    #[schema(value_type = Vec<Room>)]
    rooms: Vec<Map<String, Value>>,
    count: usize,
    offset: u64,
    total: usize,
}

fn require_administration(app: &App, caller: &Caller) -> Result<(), Failure> {
    if app.commands.model().allows(caller, ADMINISTRATION, None) {
        return Ok(());
    }
    Err(Failure::plain("error-not-authorized").denied(Some(ADMINISTRATION)))
}

pub const ADMIN_ROOMS: Operation = Operation::get("rooms.adminRooms", &admin_rooms)
    .tells("All rooms, for administrators. Needs `view-room-administration`.");

async fn admin_rooms(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<AdminFilter>, Paging),
) -> Answer<AdminRooms> {
    require_administration(&app, &caller)?;
    let mut kinds = Vec::new();
    for kind in [RoomKind::Channel, RoomKind::Group, RoomKind::Direct] {
        if asked.types.iter().any(|asked| asked == kind.letter()) {
            kinds.push(json!(kind));
        }
    }
    let mut query = Map::new();
    if asked.types.iter().any(|kind| kind == "discussions") {
        let any = json!([{ "t": { "$in": kinds } }, { "prid": { "$exists": true } }]);
        query.insert("$or".to_owned(), any);
    } else if !kinds.is_empty() {
        query.insert("t".to_owned(), json!({ "$in": kinds }));
    }
    let name = asked
        .filter
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty());
    let paging = Paging {
        query: Some(query),
        fields: None,
        ..paging
    };
    let filter = RoomFilter {
        name,
        ..RoomFilter::default()
    };
    let open = asked.types == [RoomKind::Channel.letter()];
    let found = list::administered(&app, &caller, filter, open, &paging).await?;
    answer(AdminRooms {
        count: found.rooms.len(),
        rooms: found.rooms.into_iter().map(without_message).collect(),
        offset: paging.offset,
        total: found.total,
    })
}

/// Who administers rooms need not see what is said in them.
fn without_message(mut room: Map<String, Value>) -> Map<String, Value> {
    room.shift_remove("lastMessage");
    room
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AdminRoomParams {
    /// The room's id.
    rid: String,
}

/// A room as its answer itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Room)]
struct BareRoom(Map<String, Value>);

pub const ADMIN_ROOM: Operation = Operation::get("rooms.adminRooms.getRoom", &admin_room)
    .tells("A room, for administrators. Needs `view-room-administration`.");

async fn admin_room(
    app: App,
    caller: Caller,
    Params(asked): Params<AdminRoomParams>,
) -> Answer<BareRoom> {
    require_administration(&app, &caller)?;
    let id = RoomId::new(&asked.rid);
    let right = app
        .commands
        .model()
        .sight(&caller, &id, Purpose::Administration)
        .map(|sight| sight.right);
    if right.ok_or_else(not_allowed)?.is_audited() {
        let inspection = Inspection {
            permission: ADMINISTRATION,
            room: Some(id.clone()),
            user: None,
            shown: 1,
        };
        inspection::record(&app.commands, &caller, inspection).await?;
    }
    answer(BareRoom(without_message(
        shape::room(&app, caller.user(), &id).await?,
    )))
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FavoriteRoom)]
struct Favorite {
    #[serde(flatten, deserialize_with = "lenient::beside")]
    room: RoomRef,
    favorite: Option<bool>,
}

pub const FAVORITE: Operation = Operation::post("rooms.favorite", &favorite)
    .tells("Makes a room one of the caller's favourites, or not.");

async fn favorite(app: App, caller: Caller, Body(asked): Body<Favorite>) -> Answer<Nothing> {
    let favorite = asked
        .favorite
        .ok_or_else(|| Failure::plain("The 'favorite' param is required"))?;
    let id = find(&app, &caller, &asked.room)?;
    room::favour(&app.commands, &caller, id, favorite).await?;
    done()
}

pub const LEAVE: Operation = Operation::post("rooms.leave", &leave)
    .tells("The caller leaves a room. Needs `leave-c` or `leave-p`.");

async fn leave(app: App, caller: Caller, Body(asked): Body<RoomRef>) -> Answer<Nothing> {
    let id = find(&app, &caller, &asked)?;
    room::leave(&app.commands, &caller, id).await?;
    done()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeleteRoom)]
struct Delete {
    /// The room's id.
    #[serde(default)]
    room_id: String,
}

pub const DELETE: Operation = Operation::post("rooms.delete", &delete).tells(
    "Deletes a room with everything said in it, for good. Needs `delete-c`, `delete-p` or \
         `delete-d`.",
);

async fn delete(app: App, caller: Caller, Body(asked): Body<Delete>) -> Answer<Nothing> {
    if asked.room_id.is_empty() {
        return Err(Failure::plain("The 'roomId' param is required"));
    }
    let deleted = room::delete(&app.commands, &caller, RoomId::new(&asked.room_id)).await?;
    app.erasure.follows(&app.commands, deleted).await;
    done()
}

#[derive(Debug, Deserialize, ToSchema)]
struct ChangeArchivationState {
    /// The room's id.
    #[serde(default)]
    rid: String,
    /// `archive`; anything else opens the room again.
    action: Option<String>,
}

pub const CHANGE_ARCHIVATION_STATE: Operation =
    Operation::post("rooms.changeArchivationState", &change_archivation_state)
        .tells("Archives a room or opens it again. Needs `archive-room` or `unarchive-room`.");

async fn change_archivation_state(
    app: App,
    caller: Caller,
    Body(asked): Body<ChangeArchivationState>,
) -> Answer<Nothing> {
    let id = RoomId::new(&asked.rid);
    match asked.action.as_deref() {
        Some("archive") => room::archive(&app.commands, &caller, id).await?,
        _ => room::unarchive(&app.commands, &caller, id).await?,
    }
    done()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SilenceMember)]
struct Silence {
    /// The room's id.
    room_id: String,
    #[serde(flatten, deserialize_with = "lenient::beside")]
    user: UserRef,
}

pub const MUTE_USER: Operation =
    Operation::post("rooms.muteUser", &mute_user).tells("Silences a member. Needs `mute-user`.");

async fn mute_user(app: App, caller: Caller, Body(asked): Body<Silence>) -> Answer<Nothing> {
    let user = asked.user.find(&app.commands.model())?;
    room::mute(&app.commands, &caller, RoomId::new(&asked.room_id), user).await?;
    done()
}

pub const UNMUTE_USER: Operation = Operation::post("rooms.unmuteUser", &unmute_user)
    .tells("Lets a silenced member speak again. Needs `mute-user`.");

async fn unmute_user(app: App, caller: Caller, Body(asked): Body<Silence>) -> Answer<Nothing> {
    let user = asked.user.find(&app.commands.model())?;
    room::unmute(&app.commands, &caller, RoomId::new(&asked.room_id), user).await?;
    done()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SaveNotification {
    /// The room's id.
    #[serde(default)]
    room_id: String,
    /// Preferences by name.
    #[serde(default)]
    notifications: Map<String, Value>,
}

/// Preferences that are `"1"` for on and `"0"` for off.
const SWITCHES: &[&str] = &[
    "disableNotifications",
    "hideUnreadStatus",
    "hideMentionStatus",
    "muteGroupMentions",
];

/// Preferences with a value of their own.
const CHOICES: &[&str] = &[
    "desktopNotifications",
    "mobilePushNotifications",
    "emailNotifications",
    "audioNotificationValue",
    "unreadAlert",
];

pub const SAVE_NOTIFICATION: Operation =
    Operation::post("rooms.saveNotification", &save_notification)
        .tells("Changes how the caller is told of what happens in a room.");

async fn save_notification(
    app: App,
    caller: Caller,
    Body(asked): Body<SaveNotification>,
) -> Answer<Nothing> {
    if asked.room_id.is_empty() {
        return Err(Failure::plain("The 'roomId' param is required"));
    }
    if asked.notifications.is_empty() {
        return Err(Failure::plain("The 'notifications' param is required"));
    }
    let mut preferences = Map::new();
    for (name, value) in asked.notifications {
        if SWITCHES.contains(&name.as_str()) {
            let on = lenient::read(value).unwrap_or(false);
            preferences.insert(name, json!(on));
        } else if CHOICES.contains(&name.as_str()) && value.is_string() {
            preferences.insert(name, value);
        } else {
            return Err(Failure::refused(
                "error-invalid-settings",
                "Invalid settings field",
            ));
        }
    }
    room::notify(
        &app.commands,
        &caller,
        RoomId::new(&asked.room_id),
        preferences,
    )
    .await?;
    done()
}
