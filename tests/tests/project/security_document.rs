//! `SECURITY.md` answers every item, and names places that are there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hansard_domain::permission::DEFAULT_GRANTS;
use hansard_domain::setting::definitions::definition;

/// The items of levels 1 and 2 of OWASP's ASVS 4.0.3, by section. The numbers that are missing are those of
/// deleted items, and of items of level 3 alone.
const ITEMS: &str = "\
    1.1: 1-7; 1.2: 1-4; 1.4: 1 4-5; 1.5: 1-4; 1.6: 1-4; 1.7: 1-2; 1.8: 1-2; 1.9: 1-2; 1.10: 1; 1.11: 1-2; \
    1.12: 2; 1.14: 1-6; 2.1: 1-12; 2.2: 1-3; 2.3: 1-3; 2.4: 1-5; 2.5: 1-7; 2.6: 1-3; 2.7: 1-6; 2.8: 1-7; \
    2.9: 1-3; 2.10: 1-4; 3.1: 1; 3.2: 1-4; 3.3: 1-4; 3.4: 1-5; 3.5: 1-3; 3.7: 1; 4.1: 1-3 5; 4.2: 1-2; \
    4.3: 1-3; 5.1: 1-5; 5.2: 1-8; 5.3: 1-10; 5.4: 1-3; 5.5: 1-4; 6.1: 1-3; 6.2: 1-6; 6.3: 1-2; 6.4: 1-2; \
    7.1: 1-4; 7.2: 1-2; 7.3: 1 3-4; 7.4: 1-3; 8.1: 1-4; 8.2: 1-3; 8.3: 1-8; 9.1: 1-3; 9.2: 1-4; 10.2: 1-2; \
    10.3: 1-3; 11.1: 1-8; 12.1: 1-3; 12.2: 1; 12.3: 1-6; 12.4: 1-2; 12.5: 1-2; 12.6: 1; 13.1: 1 3-5; \
    13.2: 1-3 5-6; 13.3: 1-2; 13.4: 1-2; 14.1: 1-4; 14.2: 1-6; 14.3: 2-3; 14.4: 1-7; 14.5: 1-4";

/// What an item is answered, in the order of the columns of the summary.
const ANSWERS: [&str; 4] = ["met", "partly", "not met", "n/a"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> String {
    fs::read_to_string(root().join("SECURITY.md")).expect("SECURITY.md can be read")
}

/// `1.4: 1 4-5` is 1.4.1, 1.4.4, 1.4.5.
fn items() -> Vec<String> {
    let mut items = Vec::new();
    for section in ITEMS.split("; ") {
        let (section, ranges) = section.split_once(": ").expect("a section and its items");
        for range in ranges.split(' ') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<u8>().expect("a number");
            items.extend((number(first)..=number(last)).map(|item| format!("{section}.{item}")));
        }
    }
    items
}

/// What stands between backticks.
fn quoted(document: &str) -> impl Iterator<Item = &str> {
    document.split('`').skip(1).step_by(2)
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// The rows of the items' tables: number, requirement, answer, where.
fn rows(document: &str) -> Vec<[&str; 4]> {
    let numbered = |line: &&str| {
        let number = line
            .strip_prefix("| ")
            .and_then(|line| line.split(' ').next());
        number.is_some_and(|number| {
            number
                .split('.')
                .filter(|part| part.parse::<u8>().is_ok())
                .count()
                == 3
        })
    };
    let rows = document.lines().filter(numbered);
    rows.map(|line| {
        cells(line)
            .try_into()
            .unwrap_or_else(|_| panic!("no four cells: {line}"))
    })
    .collect()
}

#[test]
fn every_item_has_its_answer_and_the_answers_are_counted() {
    let document = document();
    let rows = rows(&document);
    let answered: Vec<_> = rows.iter().map(|[item, ..]| *item).collect();
    assert_eq!(answered, items());

    let mut counted: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for [item, requirement, answer, place] in &rows {
        let answer = answer.trim_matches('*');
        let column = ANSWERS.iter().position(|known| *known == answer);
        let column = column.unwrap_or_else(|| panic!("{item}: no answer is '{answer}'"));
        assert!(
            !requirement.is_empty() && !place.is_empty(),
            "{item} says nothing"
        );
        let (chapter, _) = item.split_once('.').expect("a chapter");
        counted.entry(chapter).or_default()[column] += 1;
        counted.entry("all").or_default()[column] += 1;
    }
    for (chapter, counts) in counted {
        let name = if chapter == "all" {
            "| **all** |".to_owned()
        } else {
            format!("| V{chapter} ")
        };
        let line = document.lines().find(|line| line.starts_with(&name));
        let said: Vec<usize> = cells(line.unwrap_or_else(|| panic!("no sum of {chapter}")))[1..]
            .iter()
            .map(|cell| cell.parse().expect("a number"))
            .collect();
        assert_eq!(
            said,
            [&counts[..], &[counts.iter().sum()]].concat(),
            "V{chapter}"
        );
    }
}

#[test]
fn every_place_that_is_named_is_there() {
    let document = document();
    let is_path = |text: &&str| {
        let first = text.split('/').next().unwrap_or_default();
        text.contains('/')
            && !text.contains(char::is_whitespace)
            && root().join(first).is_dir()
            && !first.is_empty()
    };
    let places: Vec<_> = quoted(&document).filter(is_path).collect();
    assert!(places.len() > 100, "only {} places are named", places.len());
    let missing: Vec<_> = places
        .iter()
        .filter(|place| !root().join(place).exists())
        .collect();
    assert!(missing.is_empty(), "not there: {missing:?}");
}

#[test]
fn every_setting_and_permission_that_is_named_is_there() {
    const GROUPS: [&str; 3] = ["Accounts_", "API_", "Hansard_"];
    const PERMISSIONS: [&str; 4] = ["view-", "create-", "clean-", "manage-"];
    let document = document();
    let begins = |text: &str, with: &[&str]| with.iter().any(|with| text.starts_with(with));
    let (mut settings, mut permissions) = (0, 0);
    for name in quoted(&document) {
        if begins(name, &GROUPS) && !name.contains('*') {
            settings += 1;
            assert!(definition(name).is_some(), "there is no setting {name}");
        } else if begins(name, &PERMISSIONS) {
            permissions += 1;
            let granted = DEFAULT_GRANTS.iter().any(|(known, _)| *known == name);
            assert!(granted, "there is no permission {name}");
        }
    }
    assert!(
        settings > 5 && permissions > 3,
        "{settings} settings, {permissions} permissions"
    );
}
