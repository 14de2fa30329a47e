//! `groups.*`: private groups, which only their members see.

use axum::extract::State;
use hansard_commands::authorization::sight::ADMINISTRATION;
use hansard_domain::room::RoomKind;
use hansard_projections::rooms::RoomFilter;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, Nothing, Success, answer, done};
use super::body::{Body, Params};
use super::caller::Caller;
use super::failure::Failure;
use super::paging::{Paging, PagingParams};
use super::rooms::{RoomList, administered, rooms, shape};
use crate::app::App;

section_endpoints!("groups", Section::Groups, GroupAnswer);

pub fn routes() -> OpenApiRouter<App> {
    shared_routes()
        .routes(routes!(kick_member))
        .routes(routes!(leave_group))
        .routes(routes!(list))
        .routes(routes!(list_all))
        .routes(routes!(change_encrypted))
}

/// A private group.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupAnswer {
    #[schema(value_type = shape::Room)]
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
    #[schema(value_type = Vec<shape::Room>)]
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

/// Sends a member away. Needs `remove-user`.
#[utoipa::path(
    post, path = "/api/v1/groups.kick", operation_id = "groups.kick", tag = "groups",
    request_body = MemberRef, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn kick_member(
    caller: Caller,
    State(app): State<App>,
    Body(asked): Body<MemberRef>,
) -> Answer<Nothing> {
    kick(&app, &caller, Section::Groups, &asked).await?;
    done()
}

/// The caller leaves a private group. Needs `leave-p`.
#[utoipa::path(
    post, path = "/api/v1/groups.leave", operation_id = "groups.leave", tag = "groups",
    request_body = RoomRef, responses((status = 200, body = Success<Nothing>), Failure)
)]
async fn leave_group(
    caller: Caller,
    State(app): State<App>,
    Body(asked): Body<RoomRef>,
) -> Answer<Nothing> {
    leave(&app, &caller, Section::Groups, &asked).await?;
    done()
}

/// The private groups that the caller is in.
#[utoipa::path(
    get, path = "/api/v1/groups.list", operation_id = "groups.list", tag = "groups",
    params(PagingParams), responses((status = 200, body = Success<GroupsAnswer>), Failure)
)]
async fn list(caller: Caller, State(app): State<App>, paging: Paging) -> Answer<GroupsAnswer> {
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

/// All private groups, without what is said in those that the caller may not read. Needs
/// `view-room-administration`; what it shows that the caller is not in goes on the audit.
#[utoipa::path(
    get, path = "/api/v1/groups.listAll", operation_id = "groups.listAll", tag = "groups",
    params(PagingParams), responses((status = 200, body = Success<GroupsAnswer>), Failure)
)]
async fn list_all(caller: Caller, State(app): State<App>, paging: Paging) -> Answer<GroupsAnswer> {
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

/// Switches end-to-end encryption in a group on or off. Needs `edit-room` and
/// `toggle-room-e2e-encryption`.
#[utoipa::path(
    post, path = "/api/v1/groups.setEncrypted", operation_id = "groups.setEncrypted",
    tag = "groups", request_body = SetSwitch,
    responses((status = 200, body = Success<GroupAnswer>), Failure)
)]
async fn change_encrypted(
    caller: Caller,
    State(app): State<App>,
    Body(asked): Body<SetSwitch>,
) -> Answer<GroupAnswer> {
    answer(
        set_encrypted(&app, &caller, Section::Groups, asked)
            .await?
            .into(),
    )
}
