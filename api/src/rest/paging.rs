//! `count`, `offset`, `sort`, `fields` and `query`, as every list takes them.

use std::collections::HashSet;
use std::sync::Arc;

use hansard_commands::caller::Caller as Asking;
use hansard_domain::free::{self, Bounds};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::failure::Failure;
use super::rate_limit::building::{Builder, Client, Permit};
use crate::app::App;
use crate::operations::contract::Contract;
use crate::operations::request::{Input, Params, Request};

/// The most that a list gives when the workspace sets no sensible limit, and what it gives when
/// nothing is asked for.
const FALLBACK_LIMIT: u64 = 100;
const FALLBACK_COUNT: u64 = 50;

/// Whoever asks for more at once waits until others have been given what they asked for; see
/// [`building`](super::rate_limit::building).
const USUAL: u64 = 100;

/// Which part of a list is asked for, in which order.
#[derive(Debug, Clone)]
pub struct Paging {
    /// At most so many; `None` for all, where the workspace allows that.
    pub count: Option<u64>,
    pub offset: u64,
    /// Names as the client wrote them, the most significant first; a view orders by those it knows.
    pub sort: Vec<(String, Direction)>,
    /// The members that the client wants, `None` for all.
    pub fields: Option<Fields>,
    /// The client's filter, unread.
    pub query: Option<Map<String, Value>>,
    /// Who asks.
    pub client: Client,
    /// To make a list that may be long.
    pub(super) permit: Option<Arc<Permit>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// A projection: only these members, or all but these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// By the first part of their paths.
    Only(HashSet<String>),
    Without(HashSet<String>),
}

/// How many members a projection may name.
const MAX_FIELDS: usize = 64;

/// By how many names a list is sorted at most.
const MAX_SORT: usize = 8;

/// The query parameters, for the document; operations take [`Paging`].
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PagingParams {
    /// At most so many; 0 for all, where the workspace allows that. A list of messages ends at 32 MiB
    /// even so, between two times: the rest is asked for as the next page is.
    #[param(value_type = Option<u64>, minimum = 0)]
    count: Option<i64>,
    /// Skip so many.
    #[param(value_type = Option<u64>, minimum = 0)]
    offset: Option<i64>,
    /// A JSON object: up to 8 names with 1 (ascending) or -1 (descending).
    #[param(example = json!("{\"name\":1}"))]
    sort: Option<String>,
    /// A JSON object: names with 1 (only these) or 0 (all but these).
    #[param(example = json!("{\"name\":1}"))]
    fields: Option<String>,
    /// A JSON object: a filter in a safe subset of MongoDB's language.
    #[param(example = json!("{\"name\":{\"$regex\":\"^gen\"}}"))]
    query: Option<String>,
}

impl Request for Paging {
    async fn read(app: &App, asking: &Asking, input: &mut Input) -> Result<Self, Failure> {
        let Params(asked) = Params::<PagingParams>::read(app, asking, input).await?;
        let limits = Limits {
            upper: app.setting("API_Upper_Count_Limit").as_i64(),
            usual: app.setting("API_Default_Count").as_i64(),
            endless: app
                .setting("API_Allow_Infinite_Count")
                .as_bool()
                .unwrap_or(false),
        };
        let client = Client::of(asking);
        let mut paging = Self::new(asked, &limits, client.clone())?;
        if paging.count.is_none_or(|count| count > USUAL) {
            paging.whole(Builder::of(app, client)).await?;
        }
        Ok(paging)
    }

    fn describe(contract: &mut Contract) {
        contract.query::<PagingParams>();
    }
}

/// What the workspace's settings say about lists.
struct Limits {
    upper: Option<i64>,
    usual: Option<i64>,
    endless: bool,
}

impl Paging {
    fn new(asked: PagingParams, limits: &Limits, client: Client) -> Result<Self, Failure> {
        let positive = |limit: Option<i64>, otherwise| match limit {
            Some(limit @ 1..) => limit as u64,
            _ => otherwise,
        };
        let natural = |number: i64| {
            u64::try_from(number).map_err(|_| Failure::invalid_params("must be >= 0"))
        };
        let upper = positive(limits.upper, FALLBACK_LIMIT);
        let usual = positive(limits.usual, FALLBACK_COUNT).min(upper);
        let count = match asked.count.map(natural).transpose()? {
            Some(0) if limits.endless => None,
            Some(0) | None => Some(usual),
            Some(count) => Some(count.min(upper)),
        };
        Ok(Self {
            count,
            offset: asked.offset.map(natural).transpose()?.unwrap_or(0),
            sort: asked
                .sort
                .as_deref()
                .map(sort)
                .transpose()?
                .unwrap_or_default(),
            fields: asked.fields.as_deref().map(fields).transpose()?.flatten(),
            query: asked.query.as_deref().map(query).transpose()?,
            client,
            permit: None,
        })
    }

    /// Waits to make a list that may be long, whatever `count` says. It is the client's turn until the
    /// last clone of this is dropped. 429 where enough of the client wait already.
    pub async fn whole(&mut self, builder: Builder) -> Result<(), Failure> {
        if self.permit.is_none() {
            self.permit = Some(Arc::new(builder.enter().await?));
        }
        Ok(())
    }

    /// The part of a list in memory that is asked for.
    pub fn slice<T>(&self, list: Vec<T>) -> Vec<T> {
        let count = self.count.map_or(usize::MAX, |count| count as usize);
        list.into_iter()
            .skip(self.offset as usize)
            .take(count)
            .collect()
    }
}

impl Fields {
    /// Leaves of an object what is asked for; `_id` stays in any case.
    pub fn project(&self, object: &mut Map<String, Value>) {
        match self {
            Self::Only(names) => object.retain(|name, _| name == "_id" || names.contains(name)),
            Self::Without(names) => object.retain(|name, _| !names.contains(name)),
        }
    }
}

fn sort(text: &str) -> Result<Vec<(String, Direction)>, Failure> {
    let invalid = || {
        let reason = format!("Invalid sort parameter provided: \"{text}\"");
        Failure::refused("error-invalid-sort", &reason)
    };
    let object = object(text).ok_or_else(invalid)?;
    if object.len() > MAX_SORT {
        let reason = format!("The sort parameter names more than {MAX_SORT} fields");
        return Err(Failure::refused("error-invalid-sort", &reason));
    }
    object
        .into_iter()
        .map(|(name, direction)| match direction.as_i64() {
            Some(1) => Ok((name, Direction::Ascending)),
            Some(-1) => Ok((name, Direction::Descending)),
            _ => Err(invalid()),
        })
        .collect()
}

fn fields(text: &str) -> Result<Option<Fields>, Failure> {
    let invalid = || {
        let reason = format!("Invalid fields parameter provided: \"{text}\"");
        Failure::refused("error-invalid-fields", &reason)
    };
    let object = object(text).ok_or_else(invalid)?;
    if object.len() > MAX_FIELDS {
        let reason = format!("The fields parameter names more than {MAX_FIELDS} fields");
        return Err(Failure::refused("error-invalid-fields", &reason));
    }
    let (mut only, mut without) = (HashSet::new(), HashSet::new());
    for (name, wanted) in object {
        match wanted.as_i64() {
            Some(1) => {
                let first = name.split('.').next().unwrap_or_default();
                only.insert(first.to_owned());
            }
            Some(0) => {
                without.insert(name);
            }
            _ => return Err(invalid()),
        }
    }
    Ok(match (only.is_empty(), without.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Fields::Without(without)),
        (false, _) => Some(Fields::Only(only)),
    })
}

fn query(text: &str) -> Result<Map<String, Value>, Failure> {
    object(text).ok_or_else(|| {
        let reason = format!("Invalid query parameter provided: \"{text}\"");
        Failure::refused("error-invalid-query", &reason)
    })
}

/// What a parameter that is a JSON object may hold.
const BOUNDS: Bounds = Bounds {
    levels: 16,
    values: 1_000,
};

fn object(text: &str) -> Option<Map<String, Value>> {
    match free::read(text.as_bytes(), &BOUNDS) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::lenient;

    fn read(encoded: &str) -> Paging {
        let limits = Limits {
            upper: Some(100),
            usual: Some(50),
            endless: false,
        };
        let asked = lenient::read_query(encoded.as_bytes()).unwrap();
        Paging::new(asked, &limits, Client::Account("mary".into())).unwrap()
    }

    #[test]
    fn a_list_gives_no_more_than_the_workspace_allows() {
        assert_eq!(read("").count, Some(50));
        assert_eq!(read("count=7&offset=3").offset, 3);
        assert_eq!(read("count=1000").count, Some(100));
        assert_eq!(read("count=0").count, Some(50));
    }

    #[test]
    fn nothing_is_everything_where_that_is_allowed() {
        let limits = Limits {
            upper: Some(100),
            usual: Some(50),
            endless: true,
        };
        let asked = lenient::read_query(b"count=0").unwrap();
        let paging = Paging::new(asked, &limits, Client::Account("mary".into()));
        assert_eq!(paging.unwrap().count, None);
    }

    #[test]
    fn sorting_keeps_the_order_of_the_names() {
        let sort = read("sort=%7B%22t%22%3A-1%2C%22name%22%3A1%7D").sort;
        assert_eq!(
            sort,
            [
                ("t".into(), Direction::Descending),
                ("name".into(), Direction::Ascending)
            ]
        );
    }

    #[test]
    fn what_is_no_sort_is_refused() {
        for text in ["{", "[]", "{\"name\":2}", "{\"name\":\"1\"}"] {
            assert!(sort(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_is_sorted_by_a_few_names() {
        let by = |names: usize| {
            let names: Vec<_> = (0..names).map(|name| format!("\"n{name}\":1")).collect();
            format!("{{{}}}", names.join(","))
        };
        assert_eq!(sort(&by(MAX_SORT)).unwrap().len(), MAX_SORT);
        assert!(sort(&by(MAX_SORT + 1)).is_err());
    }
}
