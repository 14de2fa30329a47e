//! The operations that `channels.*` and `groups.*` both have. What they do stands in
//! [`section`](super::section).

use hansard_commands::room::RoomRole;
use serde::Serialize;
use utoipa::ToSchema;

use super::section::*;
use crate::app::App;
use crate::operations::Operation;
use crate::operations::reply::{Answer, Nothing, Success, answer, done};
use crate::operations::request::{Body, Caller, Params};
use crate::rest::failure::Failure;
use crate::rest::paging::Paging;
use crate::wire::message::MessagesAnswer;

/// One of the two resources, and how it answers a room.
pub trait Kind: Send + Sync + 'static {
    const SECTION: Section;
    const RESOURCE: &'static str;
    type Room: From<Wire> + Serialize + ToSchema + Send + 'static;
}

type RoomAnswer<K> = Result<Success<<K as Kind>::Room>, Failure>;

fn room<K: Kind>(wire: Wire) -> RoomAnswer<K> {
    answer(wire.into())
}

/// The operations of one resource.
pub const fn operations<K: Kind>() -> [Operation; 30] {
    [
        Operation::post("channels.create", &create_room::<K>)
            .under(K::RESOURCE)
            .tells("Makes a room. Needs `create-c` for channels, `create-p` for groups."),
        Operation::get("channels.info", &room_info::<K>)
            .under(K::RESOURCE)
            .tells("What a room is."),
        Operation::post("channels.invite", &add_members::<K>)
            .under(K::RESOURCE)
            .tells("Adds users to a room.")
            .notes(
                "Needs `add-user-to-joined-room` for a caller in the room, otherwise \
                 `add-user-to-any-c-room` or `add-user-to-any-p-room`.",
            ),
        Operation::post("channels.addAll", &add_everybody::<K>)
            .under(K::RESOURCE)
            .tells("Adds everybody to a room. Needs `add-all-to-room`."),
        Operation::post("channels.archive", &archive_room::<K>)
            .under(K::RESOURCE)
            .tells("Archives a room: nothing more is said in it. Needs `archive-room`."),
        Operation::post("channels.unarchive", &unarchive_room::<K>)
            .under(K::RESOURCE)
            .tells("Opens an archived room again. Needs `unarchive-room`."),
        Operation::post("channels.delete", &delete_room::<K>)
            .under(K::RESOURCE)
            .tells(
                "Deletes a room with everything said in it, for good. Needs `delete-c` or `delete-p`.",
            ),
        Operation::post("channels.open", &open_room::<K>)
            .under(K::RESOURCE)
            .tells("Puts a room back into the caller's list."),
        Operation::post("channels.close", &close_room::<K>)
            .under(K::RESOURCE)
            .tells("Takes a room out of the caller's list until something is said in it."),
        Operation::post("channels.rename", &rename_room::<K>)
            .under(K::RESOURCE)
            .tells("Renames a room. Needs `edit-room`."),
        Operation::post("channels.setTopic", &change_topic::<K>)
            .under(K::RESOURCE)
            .tells("Says what a room is talking about. Needs `edit-room`."),
        Operation::post("channels.setDescription", &change_description::<K>)
            .under(K::RESOURCE)
            .tells("Says what a room is for. Needs `edit-room`."),
        Operation::post("channels.setPurpose", &change_purpose::<K>)
            .under(K::RESOURCE)
            .tells("Says what a room is for, under its older name. Needs `edit-room`."),
        Operation::post("channels.setAnnouncement", &change_announcement::<K>)
            .under(K::RESOURCE)
            .tells("Announces something in a room. Needs `edit-room`."),
        Operation::post("channels.setReadOnly", &change_read_only::<K>)
            .under(K::RESOURCE)
            .tells("Makes a room read-only, or not. Needs `edit-room`."),
        Operation::post("channels.setType", &change_type::<K>)
            .under(K::RESOURCE)
            .tells("Makes a channel of a group, or a group of a channel.")
            .notes("Needs `edit-room`, and `create-c` or `create-p`."),
        Operation::post("channels.setCustomFields", &change_custom_fields::<K>)
            .under(K::RESOURCE)
            .tells("Replaces the custom fields of a room. Needs `edit-room`."),
        Operation::post("channels.addOwner", &add_owner::<K>)
            .under(K::RESOURCE)
            .tells("Makes a member an owner. Needs `set-owner`."),
        Operation::post("channels.removeOwner", &remove_owner::<K>)
            .under(K::RESOURCE)
            .tells("Takes ownership from a member. Needs `set-owner`."),
        Operation::post("channels.addModerator", &add_moderator::<K>)
            .under(K::RESOURCE)
            .tells("Makes a member a moderator. Needs `set-moderator`."),
        Operation::post("channels.removeModerator", &remove_moderator::<K>)
            .under(K::RESOURCE)
            .tells("Makes a moderator a plain member. Needs `set-moderator`."),
        Operation::post("channels.addLeader", &add_leader::<K>)
            .under(K::RESOURCE)
            .tells("Makes a member a leader. Needs `set-leader`."),
        Operation::post("channels.removeLeader", &remove_leader::<K>)
            .under(K::RESOURCE)
            .tells("Makes a leader a plain member. Needs `set-leader`."),
        Operation::get("channels.members", &list_members::<K>)
            .under(K::RESOURCE)
            .tells("The members of a room."),
        Operation::get("channels.moderators", &list_moderators::<K>)
            .under(K::RESOURCE)
            .tells("The moderators of a room."),
        Operation::get("channels.roles", &list_roles::<K>)
            .under(K::RESOURCE)
            .tells("Who has which roles in a room."),
        Operation::get("channels.online", &list_online::<K>)
            .under(K::RESOURCE)
            .tells("Who is online in the room that `query` finds."),
        Operation::get("channels.counters", &room_counters::<K>)
            .under(K::RESOURCE)
            .tells("How much is in a room, and how much of it is new."),
        Operation::get("channels.history", &room_history::<K>)
            .under(K::RESOURCE)
            .tells("A page of a room's history, the newest message first.")
            .notes(
                "A page does not end between two messages of the same time: it holds more than `count` \
                 messages, by a thousand at most, where the last of them share a time. So whoever reads \
                 on with the time of the last message as `latest` misses nothing.",
            ),
        Operation::get("channels.messages", &room_messages::<K>)
            .under(K::RESOURCE)
            .tells("A page of all messages of a room.")
            .notes(
                "It does not end between two messages of the same time, and so can hold more than \
                 `count`.",
            ),
    ]
}

async fn create_room<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<Create>,
) -> RoomAnswer<K> {
    room::<K>(create(&app, &caller, K::SECTION, asked).await?)
}

async fn room_info<K: Kind>(
    app: App,
    caller: Caller,
    Params(wanted): Params<RoomRef>,
) -> RoomAnswer<K> {
    room::<K>(info(&app, &caller, K::SECTION, &wanted).await?)
}

async fn add_members<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<Invite>,
) -> RoomAnswer<K> {
    room::<K>(invite(&app, &caller, K::SECTION, &asked).await?)
}

async fn add_everybody<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<AddAll>,
) -> RoomAnswer<K> {
    room::<K>(add_all(&app, &caller, K::SECTION, &asked).await?)
}

async fn rename_room<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<SetText>,
) -> RoomAnswer<K> {
    room::<K>(rename(&app, &caller, K::SECTION, asked).await?)
}

async fn change_read_only<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<SetSwitch>,
) -> RoomAnswer<K> {
    room::<K>(set_read_only(&app, &caller, K::SECTION, asked).await?)
}

async fn change_type<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<SetText>,
) -> RoomAnswer<K> {
    room::<K>(set_type(&app, &caller, K::SECTION, asked).await?)
}

async fn change_custom_fields<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<SetCustomFields>,
) -> RoomAnswer<K> {
    room::<K>(set_custom_fields(&app, &caller, K::SECTION, asked).await?)
}

async fn change_topic<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<SetText>,
) -> Answer<TextAnswer> {
    let text = set_text(&app, &caller, K::SECTION, asked, Text::Topic).await?;
    answer(TextAnswer(text))
}

async fn change_description<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<SetText>,
) -> Answer<TextAnswer> {
    let text = set_text(&app, &caller, K::SECTION, asked, Text::Description).await?;
    answer(TextAnswer(text))
}

async fn change_purpose<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<SetText>,
) -> Answer<TextAnswer> {
    let text = set_text(&app, &caller, K::SECTION, asked, Text::Purpose).await?;
    answer(TextAnswer(text))
}

async fn change_announcement<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<SetText>,
) -> Answer<TextAnswer> {
    let text = set_text(&app, &caller, K::SECTION, asked, Text::Announcement).await?;
    answer(TextAnswer(text))
}

async fn archive_room<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<RoomRef>,
) -> Answer<Nothing> {
    archive(&app, &caller, K::SECTION, &asked).await?;
    done()
}

async fn unarchive_room<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<RoomRef>,
) -> Answer<Nothing> {
    unarchive(&app, &caller, K::SECTION, &asked).await?;
    done()
}

async fn delete_room<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<RoomRef>,
) -> Answer<Nothing> {
    delete(&app, &caller, K::SECTION, &asked).await?;
    done()
}

async fn open_room<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<RoomRef>,
) -> Answer<Nothing> {
    open(&app, &caller, K::SECTION, &asked).await?;
    done()
}

async fn close_room<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<RoomRef>,
) -> Answer<Nothing> {
    close(&app, &caller, K::SECTION, &asked).await?;
    done()
}

async fn add_owner<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<MemberRef>,
) -> Answer<Nothing> {
    grant(&app, &caller, K::SECTION, &asked, RoomRole::Owner).await?;
    done()
}

async fn remove_owner<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<MemberRef>,
) -> Answer<Nothing> {
    revoke(&app, &caller, K::SECTION, &asked, RoomRole::Owner).await?;
    done()
}

async fn add_moderator<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<MemberRef>,
) -> Answer<Nothing> {
    grant(&app, &caller, K::SECTION, &asked, RoomRole::Moderator).await?;
    done()
}

async fn remove_moderator<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<MemberRef>,
) -> Answer<Nothing> {
    revoke(&app, &caller, K::SECTION, &asked, RoomRole::Moderator).await?;
    done()
}

async fn add_leader<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<MemberRef>,
) -> Answer<Nothing> {
    grant(&app, &caller, K::SECTION, &asked, RoomRole::Leader).await?;
    done()
}

async fn remove_leader<K: Kind>(
    app: App,
    caller: Caller,
    Body(asked): Body<MemberRef>,
) -> Answer<Nothing> {
    revoke(&app, &caller, K::SECTION, &asked, RoomRole::Leader).await?;
    done()
}

async fn list_members<K: Kind>(
    app: App,
    caller: Caller,
    (Params(room), Params(asked), paging): (Params<RoomRef>, Params<MembersParams>, Paging),
) -> Answer<Members> {
    answer(members(&app, &caller, K::SECTION, &room, &asked, &paging).await?)
}

async fn list_moderators<K: Kind>(
    app: App,
    caller: Caller,
    Params(room): Params<RoomRef>,
) -> Answer<Moderators> {
    answer(moderators(&app, &caller, K::SECTION, &room).await?)
}

async fn list_roles<K: Kind>(
    app: App,
    caller: Caller,
    Params(room): Params<RoomRef>,
) -> Answer<Roles> {
    answer(roles(&app, &caller, K::SECTION, &room).await?)
}

async fn list_online<K: Kind>(app: App, caller: Caller, paging: Paging) -> Answer<Online> {
    answer(online(&app, &caller, K::SECTION, &paging).await?)
}

async fn room_counters<K: Kind>(
    app: App,
    caller: Caller,
    (Params(room), Params(asked)): (Params<RoomRef>, Params<CountersParams>),
) -> Answer<Counters> {
    answer(counters_in(&app, &caller, K::SECTION, &room, &asked).await?)
}

async fn room_history<K: Kind>(
    app: App,
    caller: Caller,
    (Params(room), Params(asked), paging): (Params<RoomRef>, Params<HistoryParams>, Paging),
) -> Result<Written<HistoryAnswer>, Failure> {
    history_of(&app, &caller, K::SECTION, &room, &asked, &paging).await
}

async fn room_messages<K: Kind>(
    app: App,
    caller: Caller,
    (Params(room), paging): (Params<RoomRef>, Paging),
) -> Result<Written<MessagesAnswer>, Failure> {
    messages_of(&app, &caller, K::SECTION, &room, &paging).await
}
