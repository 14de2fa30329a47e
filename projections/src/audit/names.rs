//! Numbers for what stands in many rows: the first name in the log is 1, the next other one 2.
//!
//! They follow from the order of the events alone, so that a rebuild gives the same.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::{AnyConnection, Row as _};

use crate::rows::{ByKey, Insert};
use crate::sql;
use crate::view::ViewError;

const FIND: ByKey = ByKey::new("SELECT name, number FROM name WHERE name IN");
const NAME: Insert = Insert::into("name", &["number", "name"]);

/// The names in a batch of events.
#[derive(Default)]
pub struct Names<'a> {
    places: HashMap<Cow<'a, str>, Place>,
    /// In the order in which they came.
    names: Vec<Cow<'a, str>>,
}

/// Which name of a batch it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(usize);

/// The numbers of the names in a batch.
pub struct Numbers(Vec<i64>);

impl<'a> Names<'a> {
    pub fn add(&mut self, name: impl Into<Cow<'a, str>>) -> Place {
        let mut name = name.into();
        if name.contains('\0') {
            name = sql::clean(name.into_owned()).into();
        }
        if let Some(place) = self.places.get(&name) {
            return *place;
        }
        let place = Place(self.names.len());
        self.names.push(name.clone());
        self.places.insert(name, place);
        place
    }

    /// Looks the numbers up, and gives the next ones to names that have none.
    pub async fn number(self, tables: &mut AnyConnection) -> Result<Numbers, ViewError> {
        let known = find(tables, &self.names).await?;
        if known.len() == self.names.len() {
            let numbers = self.names.iter().filter_map(|name| known.get(&**name));
            return Ok(Numbers(numbers.copied().collect()));
        }
        let greatest = sql::query("SELECT coalesce(max(number), 0) FROM name")
            .fetch_one(&mut *tables)
            .await?;
        let mut greatest: i64 = greatest.try_get(0)?;
        let mut numbers = Vec::with_capacity(self.names.len());
        let mut new = Vec::new();
        for name in &self.names {
            numbers.push(known.get(&**name).copied().unwrap_or_else(|| {
                greatest += 1;
                new.push((greatest, name));
                greatest
            }));
        }
        NAME.write(tables, &new, |(number, name), values| {
            values.number(*number);
            values.text(name);
        })
        .await?;
        Ok(Numbers(numbers))
    }
}

impl Numbers {
    pub fn of(&self, place: Place) -> i64 {
        self.0[place.0]
    }
}

/// The numbers of those names that have one.
pub async fn find(
    tables: &mut AnyConnection,
    names: &[impl AsRef<str>],
) -> Result<HashMap<String, i64>, ViewError> {
    let rows = FIND.fetch(tables, names).await?;
    let read = |row: &sqlx::any::AnyRow| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(read).collect()
}
