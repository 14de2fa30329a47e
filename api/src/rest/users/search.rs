//! Users whose name somebody begins to type.

use hansard_domain::free;
use hansard_projections::accounts::{self, Filter, Page, Search, SearchFields, User as Row};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::{User, user};
use crate::app::App;
use crate::operations::Operation;
use crate::rest::answer::{Answer, answer};
use crate::rest::aside;
use crate::rest::body::Params;
use crate::rest::caller::Caller;
use crate::rest::failure::Failure;
use crate::rest::lenient;
use crate::rest::query::Query;
use crate::rest::rate_limit::building::Client;

pub const OPERATIONS: &[Operation] = &[AUTOCOMPLETE];

/// How many are suggested.
const SUGGESTED: usize = 10;

/// What conditions may ask about.
const QUERIED: &[&str] = &[
    "_id", "username", "name", "type", "roles", "status", "active",
];

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Autocomplete {
    /// A JSON object: `term`, and optionally `exceptions` (usernames) and `conditions` (a query).
    #[param(example = json!("{\"term\":\"ma\"}"))]
    selector: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Selector {
    term: String,
    exceptions: Vec<String>,
    conditions: Map<String, Value>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Suggestions {
    items: Vec<Suggestion>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SuggestedUser)]
struct Suggestion {
    #[serde(rename = "_id")]
    id: String,
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    status: &'static str,
}

pub const AUTOCOMPLETE: Operation = Operation::get("users.autocomplete", &autocomplete)
    .tells("Active users whose name contains a text.")
    .notes(
        "Without `view-outside-room`, only others who are in a room with the caller, where it may see \
         who is.",
    );

async fn autocomplete(
    app: App,
    caller: Caller,
    Params(asked): Params<Autocomplete>,
) -> Answer<Suggestions> {
    let selector = free::read(asked.selector.as_bytes(), &free::REQUEST)
        .map_err(|_| Failure::invalid_params("selector must be a JSON object"))?;
    let selector: Selector = lenient::read(selector)?;
    let conditions = match selector.conditions {
        conditions if conditions.is_empty() => None,
        conditions => {
            let client = Client::Account(caller.user().clone());
            Some(Query::read(&client, conditions, QUERIED).await?)
        }
    };
    let model = app.commands.model();
    let outside = model.allows(&caller, "view-outside-room", None);
    let filter = Filter {
        active: Some(true),
        search: (!selector.term.is_empty()).then_some(Search {
            text: selector.term,
            fields: SearchFields {
                username: true,
                name: true,
                ..SearchFields::default()
            },
        }),
        ..Filter::default()
    };
    let mut tables = match conditions {
        Some(_) => app.views.accounts.walk().await?,
        None => accounts::reading(&app.views.accounts, &filter).await?,
    };
    // Where nobody is left out afterwards but the exceptions, the first few will do.
    let few = SUGGESTED + selector.exceptions.len();
    let page = Page {
        limit: (outside && conditions.is_none()).then_some(few as u64),
        ..Page::default()
    };
    let mut rows = accounts::some(&mut tables, &filter, &page).await?;
    drop(tables);
    if let Some(conditions) = conditions {
        let model = model.clone();
        let shown = move |row: &Row| User::public(&model, row).into_object();
        rows = conditions.filter(rows, shown).await?;
    }
    let user = caller.user().clone();
    let suggested = move || {
        let places = (!outside).then(|| model.meeting_places(&user));
        let met = |row: &&Row| match &places {
            Some(places) => row.id != user && model.is_in_one_of(&row.id, places),
            None => true,
        };
        let items = rows
            .iter()
            .filter(|row| !selector.exceptions.contains(&row.profile.username))
            .filter(met)
            .take(SUGGESTED);
        let items = items.map(|row| Suggestion {
            id: row.id.to_string(),
            username: row.profile.username.clone(),
            name: row.profile.name.clone(),
            status: user::status(row),
        });
        items.collect()
    };
    // Whoever meets few goes through many.
    let items = if outside {
        suggested()
    } else {
        aside::work(&Client::Account(caller.user().clone()), suggested).await?
    };
    answer(Suggestions { items })
}
