//! `groups.*`: private groups, which only their members see.

use hansard_commands::authorization::sight::ADMINISTRATION;
use hansard_domain::room::RoomKind;
use hansard_projections::rooms::RoomFilter;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::answer::{Answer, Nothing, answer, done};
use super::body::Body;
use super::caller::Caller;
use super::failure::Failure;
use super::paging::Paging;
use super::rooms::endpoints::{self, Kind};
use super::rooms::section::*;
use super::rooms::{RoomList, administered, rooms};
use crate::app::App;
use crate::operations::Operation;
use crate::wire::room::Room;

pub const OPERATIONS: &[&[Operation]] = &[
    SHARED,
    &[KICK_MEMBER, LEAVE_GROUP, LIST, LIST_ALL, CHANGE_ENCRYPTED],
];

const SHARED: &[Operation] = &endpoints::operations::<Groups>();

struct Groups;

impl Kind for Groups {
    const SECTION: Section = Section::Groups;
    const RESOURCE: &'static str = "groups";
    type Room = GroupAnswer;
}

/// A private group.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupAnswer {
    #[schema(value_type = Room)]
    group: Map<String, Value>,
}

impl From<Map<String, Value>> for GroupAnswer {
    fn from(group: Map<String, Value>) -> Self {
        Self { group }
    }
}

/// A page of private groups.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupsAnswer {
    #[schema(value_type = Vec<Room>)]
    groups: Vec<Map<String, Value>>,
    count: usize,
    offset: u64,
    total: usize,
}

impl GroupsAnswer {
    fn of(list: RoomList, paging: &Paging) -> Self {
        Self {
            count: list.rooms.len(),
            groups: list.rooms,
            offset: paging.offset,
            total: list.total,
        }
    }
}

pub const KICK_MEMBER: Operation =
    Operation::post("groups.kick", &kick_member).tells("Sends a member away. Needs `remove-user`.");

async fn kick_member(app: App, caller: Caller, Body(asked): Body<MemberRef>) -> Answer<Nothing> {
    kick(&app, &caller, Section::Groups, &asked).await?;
    done()
}

pub const LEAVE_GROUP: Operation = Operation::post("groups.leave", &leave_group)
    .tells("The caller leaves a private group. Needs `leave-p`.");

async fn leave_group(app: App, caller: Caller, Body(asked): Body<RoomRef>) -> Answer<Nothing> {
    leave(&app, &caller, Section::Groups, &asked).await?;
    done()
}

pub const LIST: Operation =
    Operation::get("groups.list", &list).tells("The private groups that the caller is in.");

async fn list(app: App, caller: Caller, paging: Paging) -> Answer<GroupsAnswer> {
    let paging = Paging {
        query: None,
        ..paging
    };
    let filter = RoomFilter {
        kind: Some(RoomKind::Group),
        member: Some(caller.user().clone()),
        ..RoomFilter::default()
    };
    let list = rooms(&app, caller.user(), filter, &paging).await?;
    answer(GroupsAnswer::of(list, &paging))
}

pub const LIST_ALL: Operation = Operation::get("groups.listAll", &list_all).tells(
    "All private groups, without what is said in those that the caller may not read. Needs \
         `view-room-administration`; what it shows that the caller is not in goes on the audit.",
);

async fn list_all(app: App, caller: Caller, paging: Paging) -> Answer<GroupsAnswer> {
    if !app.commands.model().allows(&caller, ADMINISTRATION, None) {
        return Err(Failure::forbidden_because("unauthorized"));
    }
    let filter = RoomFilter {
        kind: Some(RoomKind::Group),
        ..RoomFilter::default()
    };
    let list = administered(&app, &caller, filter, false, &paging).await?;
    answer(GroupsAnswer::of(list, &paging))
}

pub const CHANGE_ENCRYPTED: Operation = Operation::post("groups.setEncrypted", &change_encrypted)
    .tells(
        "Switches end-to-end encryption in a group on or off. Needs `edit-room` and \
         `toggle-room-e2e-encryption`.",
    );

async fn change_encrypted(
    app: App,
    caller: Caller,
    Body(asked): Body<SetSwitch>,
) -> Answer<GroupAnswer> {
    answer(
        set_encrypted(&app, &caller, Section::Groups, asked)
            .await?
            .into(),
    )
}
