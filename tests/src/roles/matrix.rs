//! The table, read.
//!
//! ```text
//! word hidden 400 error-room-not-found
//! callers anonymous guest owner
//! channels.archive c   401 hidden yes
//!     first owner POST channels.create {"name": "$unique"}
//!     POST {"roomId": "$room"}
//! ```
//!
//! A `word` is an answer: a status, and the `errorType` or, in quotes, what the `error` has in it. Known
//! without being told are `yes` (done, and seen what the request is made to see), `empty` (answered, but
//! not seen that), `idle` (answered as done, but nothing was there to do), `audited` (`yes`, and the look
//! is on the audit) and `401`.
//!
//! A row is an operation (its path; what is under `/api/v1/` by its name), the kind of room it is about
//! (`c` channel, `p` private group, `d` direct conversation, `-` none), perhaps a `:label`, and a word
//! for each caller. Under it stand `fresh` where the caller is an account that is lost with the cell, what
//! is to be done `first`, and by whom, and the request: a method, the
//! path `at` which an operation with parameters in its path is asked for, a JSON body or a `?query`, and
//! what is to be `seen` in the answer.

use std::collections::BTreeMap;

use serde_json::Value;

/// An answer that a caller is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Yes,
    Empty,
    Idle,
    Audited,
    /// The table's word for it, and what it means.
    Refused {
        word: String,
        status: u16,
        told: Told,
    },
}

/// What a refusal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    ErrorType(String),
    Text(String),
    Nothing,
}

/// How an operation is asked for; placeholders are not filled in.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Under `/api/v1/`, or from the root.
    pub path: String,
    pub query: String,
    pub body: Option<String>,
    pub seen: Option<String>,
}

/// What is done before the request.
#[derive(Debug, Clone)]
pub struct First {
    /// `me`, for whom a refusal does not matter, or another one, who must succeed.
    pub who: String,
    pub request: Request,
}

#[derive(Debug, Clone)]
pub struct Row {
    pub line: usize,
    pub operation: String,
    pub kind: char,
    pub label: String,
    pub expected: Vec<Expected>,
    /// The caller is an account that is lost with the cell.
    pub fresh: bool,
    pub first: Vec<First>,
    pub request: Request,
}

impl Row {
    pub fn name(&self) -> String {
        let Self {
            operation,
            kind,
            label,
            ..
        } = self;
        format!("{operation} {kind} {label}").trim_end().to_owned()
    }

    /// The operation as the document names it: its method, and its path from the root.
    pub fn operation_id(&self) -> String {
        let path = if self.operation.starts_with('/') {
            self.operation.clone()
        } else {
            format!("/api/v1/{}", self.operation)
        };
        format!("{} {path}", self.request.method)
    }
}

#[derive(Debug, Default)]
pub struct Matrix {
    pub callers: Vec<String>,
    pub rows: Vec<Row>,
}

/// Reads a table; an error names the line and what is wrong with it.
pub fn read(text: &str) -> Result<Matrix, String> {
    let mut matrix = Matrix::default();
    let mut words = BTreeMap::from([
        ("yes".to_owned(), Expected::Yes),
        ("empty".to_owned(), Expected::Empty),
        ("idle".to_owned(), Expected::Idle),
        ("audited".to_owned(), Expected::Audited),
        ("401".to_owned(), refused("401", 401, Told::Nothing)),
    ]);
    for (number, line) in (1..).zip(text.lines()) {
        let read = if line.trim().is_empty() || line.starts_with('#') {
            Ok(())
        } else if let Some(word) = line.strip_prefix("word ") {
            read_word(word).map(|(name, expected)| {
                words.insert(name, expected);
            })
        } else if let Some(callers) = line.strip_prefix("callers ") {
            matrix.callers = callers.split_whitespace().map(str::to_owned).collect();
            Ok(())
        } else if line.starts_with(' ') {
            read_below(&mut matrix, line.trim())
        } else {
            read_row(&mut matrix, &words, number, line)
        };
        read.map_err(|wrong| format!("line {number}: {wrong}: {line}"))?;
    }
    if let Some(row) = matrix.rows.iter().find(|row| row.request.method.is_empty()) {
        return Err(format!("line {}: there is no request", row.line));
    }
    Ok(matrix)
}

fn refused(word: &str, status: u16, told: Told) -> Expected {
    let word = word.to_owned();
    Expected::Refused { word, status, told }
}

fn read_word(text: &str) -> Result<(String, Expected), String> {
    let (name, rest) = text
        .trim()
        .split_once(char::is_whitespace)
        .unwrap_or((text, ""));
    let mut parts = rest.trim().splitn(2, char::is_whitespace);
    let name = Some(name)
        .filter(|name| !name.is_empty())
        .ok_or("a word has a name")?;
    let status = parts.next().and_then(|status| status.parse().ok());
    let status = status.ok_or("a word has a status")?;
    let told = match parts.next().map(str::trim) {
        None | Some("") => Told::Nothing,
        Some(quoted) if quoted.starts_with('"') => Told::Text(quoted.trim_matches('"').to_owned()),
        Some(code) => Told::ErrorType(code.trim().to_owned()),
    };
    Ok((name.to_owned(), refused(name, status, told)))
}

fn read_row(
    matrix: &mut Matrix,
    words: &BTreeMap<String, Expected>,
    line: usize,
    text: &str,
) -> Result<(), String> {
    let mut parts = text.split_whitespace().peekable();
    let operation = parts.next().unwrap_or_default().to_owned();
    let kind = match parts.next() {
        Some("c") => 'c',
        Some("p") => 'p',
        Some("d") => 'd',
        Some("-") => '-',
        _ => return Err("the kind of room is c, p, d or -".to_owned()),
    };
    let label = match parts.peek() {
        Some(label) if label.starts_with(':') => parts.next().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let expected = parts
        .map(|word| {
            let known = words.get(word).cloned();
            known.ok_or_else(|| format!("nobody knows the word '{word}'"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if expected.len() != matrix.callers.len() {
        return Err(format!(
            "there are {} callers, and words for {}",
            matrix.callers.len(),
            expected.len()
        ));
    }
    matrix.rows.push(Row {
        line,
        operation,
        kind,
        label,
        expected,
        fresh: false,
        first: Vec::new(),
        request: Request::default(),
    });
    Ok(())
}

fn read_below(matrix: &mut Matrix, text: &str) -> Result<(), String> {
    let row = matrix.rows.last_mut().ok_or("there is no row above")?;
    if text == "fresh" {
        row.fresh = true;
        return Ok(());
    }
    let Some(first) = text.strip_prefix("first ") else {
        row.request = read_request(text, &row.operation)?;
        return Ok(());
    };
    let (who, rest) = first.split_once(' ').ok_or("'first' takes who does it")?;
    let (method, rest) = rest.split_once(' ').ok_or("'first' takes a method")?;
    let (operation, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let request = read_request(&format!("{method} {rest}"), operation)?;
    let who = who.to_owned();
    row.first.push(First { who, request });
    Ok(())
}

fn read_request(text: &str, operation: &str) -> Result<Request, String> {
    let (method, mut rest) = text.split_once(' ').unwrap_or((text, ""));
    if !matches!(method, "GET" | "POST" | "PUT" | "DELETE") {
        return Err(format!("'{method}' is no method"));
    }
    let mut request = Request {
        method: method.to_owned(),
        path: operation.to_owned(),
        ..Request::default()
    };
    if let Some((before, seen)) = rest.split_once(" seen ") {
        request.seen = Some(seen.trim().to_owned());
        rest = before;
    } else if let Some(seen) = rest.strip_prefix("seen ") {
        request.seen = Some(seen.trim().to_owned());
        rest = "";
    }
    let mut rest = rest.trim();
    if let Some(at) = rest.strip_prefix("at ") {
        let (path, more) = at.split_once(' ').unwrap_or((at, ""));
        path.clone_into(&mut request.path);
        rest = more.trim();
    }
    if let Some(query) = rest.strip_prefix('?') {
        query.clone_into(&mut request.query);
    } else if !rest.is_empty() {
        let quiet = rest.replace('$', "");
        serde_json::from_str::<Value>(&quiet).map_err(|error| format!("the body: {error}"))?;
        request.body = Some(rest.to_owned());
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
# A remark.
word hidden 400 error-room-not-found
word gone   400 "No message"
callers anonymous guest owner
channels.archive c :twice  401 hidden yes
    first owner POST channels.create {"name": "$unique"}
    POST {"roomId": "$room"}
settings/{id} -            401 gone   empty
    GET at settings/Site_Name ?count=1 seen $text
"#;

    #[test]
    fn a_table_is_read() {
        let matrix = read(TABLE).unwrap();
        assert_eq!(matrix.callers, ["anonymous", "guest", "owner"]);
        let [archive, setting] = matrix.rows.as_slice() else {
            panic!("there are two rows");
        };
        assert_eq!(archive.name(), "channels.archive c :twice");
        assert_eq!(archive.operation_id(), "POST /api/v1/channels.archive");
        assert_eq!(archive.first[0].who, "owner");
        assert_eq!(archive.first[0].request.path, "channels.create");
        assert_eq!(archive.expected[2], Expected::Yes);
        assert_eq!(setting.operation_id(), "GET /api/v1/settings/{id}");
        assert_eq!(setting.request.path, "settings/Site_Name");
        assert_eq!(setting.request.query, "count=1");
        assert_eq!(setting.request.seen.as_deref(), Some("$text"));
        let told = Told::Text("No message".to_owned());
        assert_eq!(setting.expected[1], refused("gone", 400, told));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told_with_its_line() {
        for (table, wrong) in [
            ("callers a\nx c no", "line 2: nobody knows the word 'no'"),
            (
                "callers a\nx c yes yes",
                "line 2: there are 1 callers, and words for 2",
            ),
            ("callers a\nx c yes", "line 2: there is no request"),
            ("callers a\nx yes", "line 2: the kind of room"),
            ("callers a\nx c yes\n    POST {", "line 3: the body"),
        ] {
            let told = read(table).unwrap_err();
            assert!(told.starts_with(wrong), "{told}");
        }
    }
}
