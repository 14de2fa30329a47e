use hansard_domain::id::{RoomId, UserId};
use hansard_domain::message::{Content, Mentions, MessageEvent};
use hansard_domain::room::{PruneReason, Pruned, RoomEvent};
use hansard_domain::seal::Private;
use hansard_domain::vault::KeyId;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use super::queries::find;
use super::*;
use crate::rows::Insert;
use crate::testing::{Story, dump, on_both_engines, place, shredded, tables, tables_on, told};

fn a_talk() -> Story {
    let mut story = Story::default();
    for (id, sender, text) in [
        ("m1", "mary", "How do I install the boot loader?"),
        ("m2", "joe", "Installing grub is easy, see the Müller guide"),
        ("m3", "mary", "boot the loader? loader boot!"),
        ("m4", "joe", "no idea"),
    ] {
        let sent = story.message("general", sender);
        story.wrote(id, sent, text);
    }
    story
}

async fn found(tables: &mut AnyConnection, text: &str) -> Vec<String> {
    let question = Question::read(text);
    let senders: Vec<UserId> = question.from.iter().map(UserId::new).collect();
    let rooms = [RoomId::new("general")];
    let matches = find(tables, &question, &rooms, &senders, (0, 10)).await;
    let ids = matches.unwrap().ids;
    ids.iter().map(ToString::to_string).collect()
}

async fn words_phrases_and_filters_find_messages_the_newest_first() {
    let mut story = a_talk();
    let (room, by) = (RoomId::new("general"), UserId::new("joe"));
    let at = story.now();
    story.on("m4", MessageEvent::MessagePinned { room, by, at });
    let sent = story.message("other", "mary");
    story.wrote("o1", sent, "boot elsewhere");
    let mut tables = told(&SearchView, &story, &["entry"]).await;
    for (question, expected) in [
        ("boot", vec!["m3", "m1"]),
        ("BOOT loader", vec!["m3", "m1"]),
        ("\"boot loader\"", vec!["m1"]),
        ("install*", vec!["m2", "m1"]),
        ("boot -install", vec!["m3"]),
        ("muller", vec!["m2"]),
        ("from:joe", vec!["m4", "m2"]),
        ("from:mary install", vec!["m1"]),
        ("is:pinned", vec!["m4"]),
        ("boot order:asc", vec!["m1", "m3"]),
        ("on:2023-11-14 boot", vec!["m3", "m1"]),
        ("before:2023-11-14 boot", vec![]),
        ("nonsense", vec![]),
        ("\"", vec!["m4", "m3", "m2", "m1"]),
        ("a\" OR b* NEAR(", vec![]),
    ] {
        assert_eq!(found(&mut tables, question).await, expected, "{question}");
    }
}

async fn what_was_changed_is_found_by_its_new_words_only() {
    let mut story = a_talk();
    let content = Content {
        text: "see http://x.org".into(),
        urls: vec!["http://x.org".into()],
        ..Content::default()
    };
    let event = MessageEvent::MessageEdited {
        room: "general".into(),
        editor: "mary".into(),
        mentions: Mentions::default(),
        content: Private::new(KeyId(3), content),
        at: story.now(),
    };
    story.on("m1", event);
    let mut tables = told(&SearchView, &story, &["entry"]).await;
    assert_eq!(found(&mut tables, "install").await, [""; 0]);
    assert_eq!(found(&mut tables, "has:link").await, ["m1"]);
}

fn erased() -> Story {
    let mut story = a_talk();
    let event = MessageEvent::MessageDeleted {
        room: "general".into(),
        by: "mary".into(),
        erased: Some(KeyId(3)),
        show_deleted: true,
        at: story.now(),
    };
    story.on("m1", event);
    let pruned = ["m2", "m3", "m4"].map(|id| Pruned {
        message: id.into(),
        key: KeyId(3),
    });
    let event = RoomEvent::ChannelPruned {
        reason: PruneReason::Retention,
        criteria: Default::default(),
        pruned: pruned.into(),
    };
    story.room("general", event);
    let sent = story.message("other", "mary");
    story.wrote("o1", sent, "boot elsewhere");
    story.room("other", RoomEvent::RoomDeleted { key: KeyId(2) });
    story
}

async fn a_replay_after_shredding_gives_the_same_tables() {
    let story = erased();
    let mut live = told(&SearchView, &story, &["entry"]).await;
    assert_eq!(dump(&mut live, &["entry"]).await, [""; 0]);
    let mut replayed = tables(&SearchView, &shredded(&story.entries), 100).await;
    assert_eq!(dump(&mut replayed, &["entry"]).await, [""; 0]);
    for tables in [&mut live, &mut replayed] {
        assert_eq!(found(tables, "boot").await, [""; 0]);
        match Dialect::of(tables) {
            Dialect::Sqlite => {
                let check = "INSERT INTO words (words, rank) VALUES ('integrity-check', 1)";
                tables.execute(AssertSqlSafe(check)).await.unwrap();
            }
            Dialect::Postgres => {
                let left = sqlx::query("SELECT number FROM words");
                assert!(left.fetch_all(&mut *tables).await.unwrap().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn an_erased_word_is_in_no_byte_of_the_file() {
    crate::engine::install_drivers();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("search.db");
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut tables = AnyConnection::connect(&url).await.unwrap();
    let pragma = "PRAGMA secure_delete = ON";
    tables.execute(AssertSqlSafe(pragma)).await.unwrap();
    let schema = SearchView.schema();
    tables.execute(AssertSqlSafe(schema)).await.unwrap();
    let schema = SearchView.own_schema(Dialect::Sqlite);
    tables.execute(AssertSqlSafe(schema)).await.unwrap();

    let story = erased();
    let (before, after) = story.entries.split_at(4);
    SearchView.apply(&mut tables, before).await.unwrap();
    let stands = |word: &str| {
        let bytes = std::fs::read(&path).unwrap();
        bytes
            .windows(word.len())
            .any(|bytes| bytes == word.as_bytes())
    };
    assert!(stands("loader") && stands("grub"));
    SearchView.apply(&mut tables, after).await.unwrap();
    for word in ["loader", "grub", "guide", "elsewhere", "idea"] {
        assert!(!stands(word), "{word}");
    }
}

/// What FTS5 makes of a text for each of these letters: in a word, and alone.
async fn cut_by_fts5(letters: &[char]) -> Vec<Vec<String>> {
    let mut tables = place(Dialect::Sqlite).await;
    let schema =
        "CREATE VIRTUAL TABLE cut USING fts5(text, tokenize = 'unicode61 remove_diacritics 2');
        CREATE VIRTUAL TABLE vocabulary USING fts5vocab('cut', 'instance')";
    tables.execute(sqlx::raw_sql(schema)).await.unwrap();
    let texts: Vec<_> = (0_i64..).zip(letters.iter().copied().map(around)).collect();
    Insert::into("cut", &["rowid", "text"])
        .write(&mut tables, &texts, |(number, text), values| {
            values.number(*number);
            values.text(text);
        })
        .await
        .unwrap();
    let mut cut = vec![Vec::new(); letters.len()];
    let terms = sqlx::query("SELECT doc, term FROM vocabulary ORDER BY doc, \"offset\"");
    for row in terms.fetch_all(&mut tables).await.unwrap() {
        cut[row.get::<i64, _>(0) as usize].push(row.get(1));
    }
    cut
}

fn around(letter: char) -> String {
    format!("x{letter}y {letter}")
}

#[tokio::test]
async fn texts_are_cut_into_the_words_that_fts5_finds_in_them() {
    // Latin, Greek, Cyrillic, punctuation, kana, a part of the Chinese characters and of the Korean
    // ones. What FTS5's tables do not know yet is a part of words to it.
    let unknown = ['\u{38b}', '\u{38d}', '\u{3a2}', '\u{3097}', '\u{3098}'];
    // The one letter with two marks that it leaves as it is.
    let left = ['Ǡ', 'ǡ'];
    let letters: Vec<char> = ('\u{1}'..='\u{377}')
        .chain('\u{384}'..='\u{527}')
        .chain('\u{1e00}'..='\u{1eff}')
        .chain('\u{2000}'..='\u{2064}')
        .chain('\u{3041}'..='\u{30ff}')
        .chain('\u{4e00}'..='\u{5dff}')
        .chain('\u{ac00}'..='\u{afff}')
        .chain('\u{f900}'..='\u{f9ff}')
        .filter(|letter| !unknown.contains(letter) && !left.contains(letter))
        .collect();
    let cut = cut_by_fts5(&letters).await;
    for (letter, expected) in letters.iter().zip(cut) {
        let found: Vec<_> = words::words(&around(*letter)).collect();
        assert_eq!(found, expected, "{letter} {:x}", u32::from(*letter));
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.below(among.len())]
    }
}

const SAID: [&str; 28] = [
    "boot",
    "Boot",
    "loader",
    "loaders",
    "install",
    "Installing",
    "grub",
    "grüb",
    "MÜLLER",
    "muller",
    "naïve",
    "Straße",
    "ёлка",
    "Ёлка",
    "ΣΊΣΥΦΟΣ",
    "σίσυφος",
    "日本語",
    "e\u{301}te",
    "été",
    "x86_64",
    "don't",
    "a-b",
    "42",
    "٤٢",
    "foo\0bar",
    "http://x.org/a?b=c",
    "😀",
    "_under_",
];

/// Everything that can be asked for, in many mixtures.
fn questions(dice: &mut Dice) -> Vec<String> {
    let mut questions = Vec::new();
    for _ in 0..300 {
        let mut parts = Vec::new();
        for _ in 0..=dice.below(3) {
            let (one, other) = (dice.one(&SAID), dice.one(&SAID));
            let start: String = one.chars().take(1 + dice.below(3)).collect();
            parts.push(match dice.below(12) {
                0 => format!("{start}*"),
                1 => format!("\"{one} {other}\""),
                2 => format!("-{other}"),
                3 => format!("-\"{one} {other}\""),
                4 => format!("from:{}", dice.one(&["mary", "joe", "nobody"])),
                5 => format!("has:{}", dice.one(&["link", "file", "image"])),
                6 => format!("is:{}", dice.one(&["pinned", "thread"])),
                7 => format!(
                    "{}:2023-11-1{}",
                    dice.one(&["on", "before", "after"]),
                    4 + dice.below(2)
                ),
                8 => "order:asc".to_owned(),
                9 => format!("{one}'{other} & | ! <-> :* \\ \""),
                _ => one.to_owned(),
            });
        }
        questions.push(parts.join(" "));
    }
    questions
}

fn a_long_talk(dice: &mut Dice) -> Story {
    let mut story = Story::default();
    for number in 0..400 {
        let mut words: Vec<_> = (0..=dice.below(8)).map(|_| dice.one(&SAID)).collect();
        if dice.below(4) == 0 {
            words.push("boot loader");
        }
        let text = words.join(dice.one(&[" ", ", ", "\n", "-"]));
        let sender = dice.one(&["mary", "joe"]);
        let mut sent = story.message(dice.one(&["general", "other", "hidden"]), sender);
        // Over two days.
        sent.at.0 += number * 300_000;
        let id = format!("m{number}");
        let room = sent.room.clone();
        story.wrote(&id, sent, &text);
        let earlier = format!("m{}", dice.below(number as usize + 1));
        let (by, at) = (UserId::new("mary"), story.now());
        match dice.below(10) {
            0 => drop(story.on(&earlier, MessageEvent::MessagePinned { room, by, at })),
            1 => {
                let content = Content {
                    text: format!("{} {}", dice.one(&SAID), dice.one(&SAID)),
                    urls: vec!["http://x.org".into()],
                    ..Content::default()
                };
                let event = MessageEvent::MessageEdited {
                    room,
                    editor: by,
                    mentions: Mentions::default(),
                    content: Private::new(KeyId(3), content),
                    at,
                };
                story.on(&earlier, event);
            }
            2 => {
                let event = MessageEvent::MessageDeleted {
                    room,
                    by,
                    erased: Some(KeyId(3)),
                    show_deleted: false,
                    at,
                };
                story.on(&earlier, event);
            }
            _ => {}
        }
    }
    story
}

#[tokio::test]
async fn either_database_finds_the_same() {
    let mut dice = Dice(7);
    let story = a_long_talk(&mut dice);
    let mut lite = tables_on(Dialect::Sqlite, &SearchView, &story.entries, 50).await;
    let mut postgres = tables_on(Dialect::Postgres, &SearchView, &story.entries, 70).await;
    assert_eq!(
        dump(&mut lite, &["entry"]).await,
        dump(&mut postgres, &["entry"]).await
    );
    let rooms = [RoomId::new("general"), RoomId::new("other")];
    let mut found = 0;
    for text in questions(&mut dice) {
        let question = Question::read(&text);
        let senders: Vec<UserId> = question.from.iter().map(UserId::new).collect();
        let page = (dice.below(3) as u64, 1 + dice.below(50) as u64);
        let expected = find(&mut lite, &question, &rooms, &senders, page)
            .await
            .unwrap();
        let matches = find(&mut postgres, &question, &rooms, &senders, page)
            .await
            .unwrap();
        assert_eq!(matches, expected, "{text}");
        found += usize::from(!matches.ids.is_empty());
    }
    assert!(found > 100, "{found}");
}

on_both_engines!(
    words_phrases_and_filters_find_messages_the_newest_first,
    what_was_changed_is_found_by_its_new_words_only,
    a_replay_after_shredding_gives_the_same_tables,
);
