//! The house's rule: dependencies run one way, and what is outside stays outside.
//!
//! `domain` ← `commands`, `projections` ← `infra` ← `api`; `commands` and `projections` do not know
//! each other; nobody but `api` knows axum, nobody but `projections` and `infra` knows SQL, nobody but
//! `infra` knows Kafka; and neither the domain nor the write side touches a file or a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The rooms of the house, and which others each may know.
const MAY_KNOW: [(&str, &[&str]); 5] = [
    ("domain", &[]),
    ("commands", &["domain"]),
    ("projections", &["domain"]),
    ("infra", &["domain", "commands", "projections"]),
    ("api", &["domain", "commands", "projections", "infra"]),
];

/// What is outside, how its crates begin, and who may know it.
const OUTSIDE: [(&str, &[&str], &[&str]); 4] = [
    ("HTTP", &["axum", "utoipa", "tower", "hyper"], &["api"]),
    ("HTTP out", &["reqwest"], &["infra"]),
    (
        "SQL",
        &["sqlx", "rusqlite", "libsqlite3-sys"],
        &["projections", "infra"],
    ),
    ("Kafka", &["rdkafka"], &["infra"]),
];

/// Who touches no file and no socket, and what would.
const WITHOUT_IO: [&str; 2] = ["domain", "commands"];
const IO: [&str; 6] = [
    "std::fs",
    "std::net",
    "std::process",
    "tokio::fs",
    "tokio::net",
    "tokio::process",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What each crate of the house depends on when it is built, by folder.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let folder = |package: &serde_json::Value| {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        manifest
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let built = |dependency: &&serde_json::Value| dependency["kind"] != "dev";
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(built);
            let names = dependencies.map(|it| it["name"].as_str().unwrap().to_owned());
            (folder(package), names.collect())
        })
        .collect()
}

/// The source files below a directory, with what is in them, but for those that are built for tests alone.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    let all = files(directory);
    let of_tests: Vec<PathBuf> = all
        .iter()
        .flat_map(|(file, text)| of_tests(file, text))
        .collect();
    let is_built = |file: &Path| {
        let without_suffix = file.with_extension("");
        !of_tests
            .iter()
            .any(|module| without_suffix.starts_with(module))
    };
    all.into_iter().filter(|(file, _)| is_built(file)).collect()
}

/// The modules that a file declares for tests, as paths without a suffix.
fn of_tests(file: &Path, text: &str) -> Vec<PathBuf> {
    let directory = match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => file.with_file_name(""),
        Some(_) => file.with_extension(""),
    };
    let declared = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| {
        let line = rest.lines().next()?.trim().strip_suffix(';')?;
        let (_, module) = line.rsplit_once("mod ")?;
        Some(directory.join(module))
    });
    declared.collect()
}

fn files(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// Whether code names a crate or a module: `sqlx::`, but not `mysqlx::`.
fn names(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + path.len()..].chars().next();
        let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !part_of_word(before) && !part_of_word(after)
    })
}

/// The code of a file: without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_room_knows_only_those_below_it() {
    let dependencies = dependencies();
    for (room, may_know) in MAY_KNOW {
        let known = dependencies
            .get(room)
            .unwrap_or_else(|| panic!("there is no crate '{room}'"));
        for (other, _) in MAY_KNOW {
            let package = if other == "api" {
                "hansard".to_owned()
            } else {
                format!("hansard-{other}")
            };
            assert!(
                !known.contains(&package) || may_know.contains(&other),
                "'{room}' must not depend on '{other}'"
            );
        }
    }
}

#[test]
fn what_is_outside_is_known_only_to_those_who_deal_with_it() {
    let dependencies = dependencies();
    for (room, _) in MAY_KNOW {
        for (what, crates, who) in OUTSIDE {
            let known = dependencies[room]
                .iter()
                .find(|known| crates.iter().any(|outside| known.starts_with(outside)));
            if let Some(known) = known {
                assert!(
                    who.contains(&room),
                    "'{room}' must not know {what}: it depends on {known}"
                );
            }
        }
    }
}

#[test]
fn the_source_says_nothing_of_what_a_room_must_not_know() {
    for (room, may_know) in MAY_KNOW {
        let others = MAY_KNOW
            .iter()
            .filter(|(other, _)| *other != room && !may_know.contains(other))
            .map(|(other, _)| format!("hansard_{other}"));
        let outside = OUTSIDE
            .iter()
            .filter(|(.., who)| !who.contains(&room))
            .flat_map(|(_, crates, _)| crates.iter().map(|name| format!("{name}::")));
        let io = IO
            .iter()
            .filter(|_| WITHOUT_IO.contains(&room))
            .map(|path| (*path).to_owned());
        let forbidden: Vec<_> = others.chain(outside).chain(io).collect();
        let files = sources(&root().join(room).join("src"));
        assert!(!files.is_empty(), "'{room}' has no source");
        for (file, text) in files {
            let code = code(&text);
            for path in &forbidden {
                let word = path.trim_end_matches(':');
                assert!(
                    !names(&code, word),
                    "'{room}' must not name {word}: {}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn names_are_told_from_words_that_contain_them() {
    assert!(names("use sqlx::Any;", "sqlx"));
    assert!(!names("use mysqlx::Any;", "sqlx"));
    assert!(!names("std::fsx", "std::fs"));
    assert!(names(&code("let x = std::fs::read(p);"), "std::fs"));
    assert!(!names(&code("    // std::fs is not touched"), "std::fs"));
}
