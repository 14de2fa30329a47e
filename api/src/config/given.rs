//! What the sources of the configuration say, before it is read.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use toml::Table;

use super::store::without_password;
use super::{FILE, NAMES, variable};

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "the configuration file {path} (given as {place}) can't be read: {reason}",
        path = path.display()
    )]
    NotRead {
        path: PathBuf,
        place: String,
        reason: String,
    },
    #[error("{path}, line {line}: this is not TOML: {reason}", path = path.display())]
    NoToml {
        path: PathBuf,
        line: usize,
        reason: String,
    },
    #[error("{path}: there is no setting '{name}'; {hint}", path = path.display())]
    Unknown {
        path: PathBuf,
        name: String,
        hint: String,
    },
    #[error("{place} is of the type {kind}: it takes a text in quotes, or a whole number")]
    Kind { place: String, kind: &'static str },
    #[error("{place} is '{given}': {reason}")]
    Value {
        place: String,
        given: String,
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Flag,
    Environment,
    File(PathBuf),
}

#[derive(Clone)]
struct Value {
    text: String,
    source: Source,
}

/// The values that were given, each from the first source that has it. They may hold passwords.
#[derive(Clone)]
pub struct Given {
    values: BTreeMap<String, Value>,
    /// Variables that look like a setting's and are none, each with the one that may be meant.
    misspelt: Vec<(String, String)>,
}

/// Without the values.
impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// Variables of the environment that are read elsewhere.
const OTHERS: [&str; 4] = [
    "HANSARD_MASTER_KEY",
    "HANSARD_CLUSTER_SECRET",
    "HANSARD_KAFKA_PASSWORD",
    "HANSARD_METRICS_TOKEN",
];

impl Given {
    /// Gathers what flags, the environment and the file say. The flags are a structure of texts,
    /// named like [`NAMES`].
    pub fn gather(
        flags: &impl Serialize,
        environment: Vec<(String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut given = Self {
            values: BTreeMap::new(),
            misspelt: Vec::new(),
        };
        let flags = serde_json::to_value(flags).unwrap_or_default();
        for name in NAMES {
            if let Some(text) = flags[name].as_str() {
                given.add(name, text.to_owned(), Source::Flag);
            }
        }
        for (variable, text) in environment {
            given.add_variable(&variable, text);
        }
        given.add_file()?;
        Ok(given)
    }

    fn add(&mut self, name: &str, text: String, source: Source) {
        self.values
            .entry(name.to_owned())
            .or_insert(Value { text, source });
    }

    /// Variables that begin like ours may mean other programs; one that is nearly ours is told of.
    fn add_variable(&mut self, name: &str, text: String) {
        if let Some(setting) = NAMES.iter().find(|setting| variable(setting) == name) {
            self.add(setting, text, Source::Environment);
            return;
        }
        if !name.starts_with("HANSARD_") || OTHERS.contains(&name) {
            return;
        }
        let known: Vec<_> = NAMES.iter().map(|name| variable(name)).collect();
        let known = known.iter().map(String::as_str).chain(OTHERS);
        if let Some(meant) = nearest(name, known) {
            self.misspelt.push((name.to_owned(), meant.to_owned()));
        }
    }

    /// Adds what the file says: the one that was named, or the usual one if it is there.
    fn add_file(&mut self) -> Result<(), ConfigError> {
        let named = self.path("config");
        let path = named.clone().unwrap_or_else(|| FILE.into());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(());
            }
            Err(error) => {
                return Err(ConfigError::NotRead {
                    place: self.place("config"),
                    path,
                    reason: hansard_infra::plain::io(&error),
                });
            }
        };
        let table: Table = text
            .parse()
            .map_err(|error| no_toml(&path, &text, &error))?;
        for (name, value) in table {
            if name == "config" || !NAMES.contains(&name.as_str()) {
                let known = || NAMES.into_iter().filter(|known| *known != "config");
                let hint = match nearest(&name, known()) {
                    Some(meant) => format!("is '{meant}' meant?"),
                    None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
                };
                return Err(ConfigError::Unknown { path, name, hint });
            }
            let source = Source::File(path.clone());
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                other => {
                    return Err(ConfigError::Kind {
                        place: place(&name, &source),
                        kind: other.type_str(),
                    });
                }
            };
            self.add(&name, text, source);
        }
        Ok(())
    }

    /// What was given, if something was; an error says where and what, without a password.
    pub fn read<T>(&self, name: &str) -> Result<Option<T>, ConfigError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(value) = self.values.get(name) else {
            return Ok(None);
        };
        let read = value.text.parse();
        read.map(Some).map_err(|error: T::Err| ConfigError::Value {
            place: self.place(name),
            given: without_password(&value.text),
            reason: error.to_string(),
        })
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.values.get(name).map(|value| value.text.clone().into())
    }

    /// Where a setting was given; its flag if it was not.
    pub fn place(&self, name: &str) -> String {
        let source = self.values.get(name).map(|value| &value.source);
        place(name, source.unwrap_or(&Source::Flag))
    }

    /// The file that a setting was given in.
    pub fn file(&self, name: &str) -> Option<&Path> {
        match &self.values.get(name)?.source {
            Source::File(path) => Some(path),
            Source::Flag | Source::Environment => None,
        }
    }

    pub fn warnings(&self) -> Vec<String> {
        self.misspelt
            .iter()
            .map(|(name, meant)| {
                format!("the variable {name} of the environment is not read; is {meant} meant?")
            })
            .collect()
    }
}

fn place(name: &str, source: &Source) -> String {
    match source {
        Source::Flag => format!("--{name}"),
        Source::Environment => variable(name),
        Source::File(path) => format!("{name} in {}", path.display()),
    }
}

fn no_toml(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    ConfigError::NoToml {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        // The parser puts what it expected on a line of its own.
        reason: error.message().replace('\n', ", "),
    }
}

/// The known name that a misspelt one is probably meant to be.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase().replace('_', "-");
    known
        .map(|known| {
            let distance = strsim::osa_distance(&name, &known.to_lowercase().replace('_', "-"));
            (distance, known)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= (known.len() / 4).clamp(1, 3))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Flags {
        config: String,
    }

    fn of_file(content: &str) -> Result<Given, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hansard.toml");
        std::fs::write(&file, content).unwrap();
        let flags = Flags {
            config: file.to_str().unwrap().to_owned(),
        };
        let directory = format!("{}/", directory.path().display());
        Given::gather(&flags, Vec::new()).map_err(|error| error.to_string().replace(&directory, ""))
    }

    #[test]
    fn a_file_that_is_wrong_is_told_with_the_place() {
        for (content, told) in [
            (
                "lissten = \"a:1\"",
                "hansard.toml: there is no setting 'lissten'; is 'listen' meant?",
            ),
            (
                "body_limit = 1",
                "hansard.toml: there is no setting 'body_limit'; is 'body-limit' meant?",
            ),
            (
                "colour = 1",
                "hansard.toml: there is no setting 'colour'; there are data, log, views",
            ),
            (
                "data = \"d\"\nlog = \n",
                "hansard.toml, line 2: this is not TOML: ",
            ),
            (
                "workers = [1]",
                "workers in hansard.toml is of the type array: it takes a text in quotes",
            ),
            ("[listen]\nport = 1", "listen in hansard.toml is "),
        ] {
            let said = of_file(content).unwrap_err();
            assert!(said.starts_with(told), "{said}");
            assert!(!said.contains('\n'), "{said}");
        }
        assert!(of_file("workers = 2").is_ok());
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let flags = Flags {
            config: "no/such/file.toml".to_owned(),
        };
        let said = Given::gather(&flags, Vec::new()).unwrap_err().to_string();
        assert_eq!(
            said,
            "the configuration file no/such/file.toml (given as --config) can't be read: \
             no such file or directory"
        );
    }

    #[test]
    fn a_variable_that_is_nearly_one_is_told_of() {
        let environment = [
            ("HANSARD_LISTN", "x"),
            ("HANSARD_MASTER_KEY", "x"),
            ("HANSARD_BINARY", "x"),
            ("HOME", "x"),
        ];
        let environment = environment.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let flags = serde_json::json!({});
        let given = Given::gather(&flags, environment.to_vec()).unwrap();
        let warnings = given.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("HANSARD_LISTN") && warnings[0].contains("HANSARD_LISTEN"));
    }
}
