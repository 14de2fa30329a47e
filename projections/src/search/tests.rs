use hansard_domain::id::{RoomId, UserId};
use hansard_domain::message::{Content, Mentions, MessageEvent};
use hansard_domain::room::{PruneReason, Pruned, RoomEvent};
use hansard_domain::seal::Private;
use hansard_domain::vault::KeyId;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::queries::find;
use super::*;
use crate::testing::{Story, dump, on_both_engines, shredded, tables, told};

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
    sqlx::any::install_default_drivers();
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

on_both_engines!(
    words_phrases_and_filters_find_messages_the_newest_first,
    what_was_changed_is_found_by_its_new_words_only,
    a_replay_after_shredding_gives_the_same_tables,
);
