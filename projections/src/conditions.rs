//! The conditions of a list. Only what is asked for stands in the statement, so that the database can use
//! the index that leads to it.

use crate::sql::Query;

/// Conditions that all have to hold, and their parameters.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    sql: String,
    values: Vec<Bound>,
}

/// The value of a parameter.
#[derive(Debug)]
pub(crate) enum Bound {
    Number(i64),
    Text(String),
}

impl From<i64> for Bound {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Bound {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Conditions {
    /// Adds a condition that has no parameter.
    pub fn hold(&mut self, condition: &str) {
        self.sql.push_str(if self.sql.is_empty() {
            " WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(condition);
    }

    /// Adds a condition about a value, for which each `$` in it stands.
    pub fn with(&mut self, condition: &str, value: impl Into<Bound>) {
        let parameter = self.parameter(value);
        self.hold(&condition.replace('$', &parameter));
    }

    /// A parameter that stands elsewhere in the statement, behind the conditions.
    pub fn parameter(&mut self, value: impl Into<Bound>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// ` WHERE …`, or nothing.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    pub fn bind(self, query: Query) -> Query {
        self.values
            .into_iter()
            .fold(query, |query, value| match value {
                Bound::Number(number) => query.bind(number),
                Bound::Text(text) => query.bind(text),
            })
    }
}
