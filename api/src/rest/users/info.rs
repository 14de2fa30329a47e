//! Users as others see them: one, or a list.

use hansard_commands::authorization::sight::OTHERS_ROOMS;
use hansard_commands::inspection::{self, Inspection};
use hansard_commands::model::WriteModel;
use hansard_domain::id::{RoleId, UserId};
use hansard_projections::accounts::{self, Filter, Order, Page, Search, SearchFields, User as Row};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{User, UserParam, row};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::answer::{Answer, answer};
use crate::rest::aside;
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::paging::{Direction, Fields, Paging};
use crate::rest::query::Query;

pub const OPERATIONS: &[Operation] = &[INFO, LIST, LIST_BY_STATUS];

pub const FULL_INFO: &str = "view-full-other-user-info";

#[derive(Debug, Serialize, ToSchema)]
struct Shown {
    #[schema(value_type = User)]
    user: Map<String, Value>,
}

pub const INFO: Operation = Operation::get("users.info", &info)
    .tells("A user, by id or by name.")
    .notes(
        "With `view-full-other-user-info`, and of the caller itself, everything; else what is public. \
         With `fields={\"userRooms\":1}` also the rooms the user is in, for those who may know.",
    );

async fn info(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<UserParam>, Paging),
) -> Answer<Shown> {
    if !asked.names_somebody() {
        return Err(Failure::plain("Invalid search query."));
    }
    let user = asked
        .find(&app)
        .map_err(|_| Failure::plain("User not found."))?;
    let row = row(&app, &user).await?;
    let model = app.commands.model();
    let own = user == *caller.user();
    let mut shown = if own || model.allows(&caller, FULL_INFO, None) {
        User::full(&model, &row)
    } else {
        User::public(&model, &row)
    };
    if own {
        shown.services = Some(json!({ "password": row.has_password, "resume": {} }));
    }
    let rooms_wanted =
        matches!(&paging.fields, Some(Fields::Only(names)) if names.contains("userRooms"));
    let may_see_rooms = own || model.allows(&caller, OTHERS_ROOMS, None);
    if rooms_wanted && may_see_rooms {
        if !own {
            inspected(&app, &caller, &user).await?;
        }
        shown.rooms = Some(rooms_of(&app, &user).await?);
    }
    answer(Shown {
        user: shown.into_object(),
    })
}

/// Puts on the audit that somebody asked which rooms another user is in.
async fn inspected(app: &App, caller: &Caller, user: &UserId) -> Result<(), Failure> {
    let inspection = Inspection {
        permission: OTHERS_ROOMS,
        room: None,
        user: Some(user.clone()),
        shown: app.commands.model().rooms_of(user).count() as u64,
    };
    Ok(inspection::record(&app.commands, caller, inspection).await?)
}

/// The rooms a user is in, with what is unread in them.
async fn rooms_of(app: &App, user: &UserId) -> Result<Vec<Value>, Failure> {
    use hansard_projections::subscriptions::{self, Counting};

    const SHOWN: [&str; 6] = ["_id", "rid", "name", "t", "roles", "unread"];
    let model = app.commands.model();
    let counting = |setting| Counting::parse(&model.text(setting));
    let (rooms, direct) = (counting("Unread_Count"), counting("Unread_Count_DM"));
    let mut tables = app.views.subscriptions.read().await?;
    let all = subscriptions::of_account(&mut tables, user).await?;
    let rooms = all.iter().map(|subscription| {
        let mut wire = subscription.wire(rooms, direct);
        if let Value::Object(members) = &mut wire {
            members.retain(|name, _| SHOWN.contains(&name.as_str()));
        }
        wire
    });
    Ok(rooms.collect())
}

#[derive(Debug, Serialize, ToSchema)]
struct Users {
    #[schema(value_type = Vec<User>)]
    users: Vec<Map<String, Value>>,
    count: usize,
    offset: u64,
    total: u64,
}

/// What those who may not see everything never see, whatever `fields` says.
const PRIVILEGED: [&str; 11] = [
    "emails",
    "statusConnection",
    "createdAt",
    "lastLogin",
    "services",
    "requirePasswordChange",
    "roles",
    "statusDefault",
    "_updatedAt",
    "settings",
    "reason",
];

/// What a list shows where `fields` does not say.
const LISTED: [&str; 9] = [
    "_id",
    "username",
    "name",
    "emails",
    "roles",
    "status",
    "active",
    "lastLogin",
    "type",
];

/// What a `query` may ask about.
const QUERIED: &[&str] = &[
    "_id",
    "username",
    "name",
    "emails",
    "roles",
    "status",
    "active",
    "lastLogin",
    "type",
    "customFields",
    "createdAt",
    "nickname",
    "bio",
];

fn check_may_list(model: &WriteModel, caller: &Caller) -> Result<(), Failure> {
    let outside = model.flag("API_Apply_permission_view-outside-room_on_users-list");
    let may = |permission| model.allows(caller, permission, None);
    if !may("view-d-room") || (outside && !may("view-outside-room")) {
        return Err(Failure::forbidden_because("unauthorized"));
    }
    Ok(())
}

/// The order that is asked for; who does not see everything is not told by the order either.
fn order(paging: &Paging, privileged: bool) -> (Order, bool) {
    let known = paging.sort.iter().find_map(|(name, direction)| {
        let order = match name.as_str() {
            "username" => Order::Username,
            "name" => Order::Name,
            "bio" => Order::Bio,
            "active" => Order::Active,
            "status" => Order::Status,
            "emails" | "emails.address" | "email" if privileged => Order::Email,
            "createdAt" if privileged => Order::CreatedAt,
            "lastLogin" if privileged => Order::LastLogin,
            _ => return None,
        };
        Some((order, *direction == Direction::Descending))
    });
    known.unwrap_or_default()
}

fn page(paging: &Paging, privileged: bool) -> Page {
    let (order, descending) = order(paging, privileged);
    Page {
        order,
        descending,
        offset: paging.offset,
        limit: paging.count,
    }
}

pub const LIST: Operation = Operation::get("users.list", &list)
    .tells("Users, a page of them.")
    .notes(
        "Needs `view-d-room`. Who does not have `view-full-other-user-info` sees what is public.",
    );

async fn list(app: App, caller: Caller, paging: Paging) -> Answer<Users> {
    let model = app.commands.model();
    check_may_list(&model, &caller)?;
    let privileged = model.allows(&caller, FULL_INFO, None);
    let query = paging.query.clone().filter(|query| !query.is_empty());
    let query = match query {
        Some(query) => Some(Query::read(&paging.client, query, QUERIED).await?),
        None => None,
    };
    let page = page(&paging, privileged);

    let mut tables = match query {
        Some(_) => app.views.accounts.walk().await?,
        None => app.views.accounts.moment().await?,
    };
    let (rows, total) = if let Some(query) = query {
        // A query may ask about anything: everybody is looked at.
        let everybody = Page {
            offset: 0,
            limit: None,
            ..page
        };
        let rows = accounts::some(&mut tables, &Filter::default(), &everybody).await?;
        let shown = {
            let model = model.clone();
            move |row: &Row| object(&model, row, privileged)
        };
        let rows = query.filter(rows, shown).await?;
        let total = rows.len() as u64;
        (paging.slice(rows), total)
    } else {
        accounts::list(&mut tables, &Filter::default(), &page).await?
    };
    drop(tables);
    let fields = paging.fields.clone();
    let shown = move |row: &Row| {
        let mut user = object(&model, row, privileged);
        match &fields {
            Some(fields) => fields.project(&mut user),
            None => user.retain(|name, _| LISTED.contains(&name.as_str())),
        }
        user
    };
    let users = aside::each(&paging.client, rows, shown).await?;
    answer(Users {
        count: users.len(),
        offset: paging.offset,
        total,
        users,
    })
}

fn object(model: &WriteModel, row: &Row, privileged: bool) -> Map<String, Value> {
    let mut user = User::full(model, row).into_object();
    user.remove("canViewAllInfo");
    if !privileged {
        user.retain(|name, _| !PRIVILEGED.contains(&name.as_str()));
        let public = User::public(model, row).custom_fields;
        user.remove("customFields");
        if let Some(fields) = public {
            user.insert("customFields".to_owned(), fields.into());
        }
    }
    user
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct ByStatus {
    /// `active` or `deactivated`; all if it is not said.
    status: Option<String>,
    has_logged_in: Option<bool>,
    /// `user`, `bot` or `app`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// One of these roles; a list of one.
    #[serde(default)]
    roles: Vec<String>,
    search_term: Option<String>,
}

pub const LIST_BY_STATUS: Operation = Operation::get("users.listByStatus", &list_by_status)
    .tells("Users by whether they may log in and ever did.")
    .notes(
        "Needs `view-d-room`. Who does not have `view-full-other-user-info` sees what is public.",
    );

async fn list_by_status(
    app: App,
    caller: Caller,
    (Params(asked), paging): (Params<ByStatus>, Paging),
) -> Answer<Users> {
    use hansard_domain::account::AccountKind;

    let model = app.commands.model();
    model.require(&caller, "view-d-room", None)?;
    check_may_list(&model, &caller)?;
    let active = match asked.status.as_deref() {
        None | Some("") => None,
        Some("active") => Some(true),
        Some("deactivated") => Some(false),
        Some(_) => {
            return Err(Failure::invalid_params(
                "must be equal to one of the allowed values",
            ));
        }
    };
    let privileged = model.allows(&caller, FULL_INFO, None);
    let term = asked.search_term.filter(|term| !term.is_empty());
    let filter = Filter {
        active,
        kind: match asked.kind.as_deref() {
            Some("user") => Some(AccountKind::User),
            Some("bot") => Some(AccountKind::Bot),
            Some("app") => Some(AccountKind::App),
            _ => None,
        },
        role: asked
            .roles
            .iter()
            .find(|role| *role != "all" && !role.is_empty())
            // What the caller is not shown it does not filter by.
            .filter(|_| privileged)
            .map(RoleId::new),
        logged_in: asked.has_logged_in.filter(|_| privileged),
        search: term.map(|text| Search {
            text,
            fields: SearchFields {
                username: true,
                name: true,
                email: privileged,
                ..SearchFields::default()
            },
        }),
    };
    let mut tables = accounts::reading(&app.views.accounts, &filter).await?;
    let page = page(&paging, privileged);
    let (rows, total) = accounts::list(&mut tables, &filter, &page).await?;
    drop(tables);
    let shown = move |row: &Row| {
        let mut user = object(&model, row, privileged);
        user.retain(|name, _| LISTED.contains(&name.as_str()) || name == "reason");
        user
    };
    let users = aside::each(&paging.client, rows, shown).await?;
    answer(Users {
        count: users.len(),
        offset: paging.offset,
        total,
        users,
    })
}
