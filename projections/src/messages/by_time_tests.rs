//! Pages by time, of messages of which many share one.

use std::sync::Arc;

use hansard_domain::event::Entry;
use hansard_domain::id::{MessageId, RoomId, Timestamp, UserId};
use hansard_domain::message::{MessageEvent, Sent, ThreadReply};
use serde_json::Value;

use super::*;
use crate::testing::{Served, Story, on_both_engines};

const ROOM: &str = "general";

/// So many messages share a time at most, but for the last times.
const SHARED: usize = 7;

/// More than a page is lengthened by.
const CROWD: usize = 1_200;

fn viewer() -> UserId {
    UserId::new("mary")
}

fn room() -> RoomId {
    RoomId::new(ROOM)
}

fn at(number: usize) -> Timestamp {
    Timestamp(1_700_000_000_000 + number as i64)
}

/// The time of each of some messages: 1, 2, … 7, 1, 2, … of them share one.
fn crowded(many: usize) -> Vec<Timestamp> {
    let mut times = Vec::new();
    for group in 0.. {
        for _ in 0..=group % SHARED {
            times.push(at(group));
            if times.len() == many {
                return times;
            }
        }
    }
    times
}

/// The message at this place is deleted then.
fn delete(entries: &mut Vec<Arc<Entry>>, place: usize, at: Timestamp) {
    let mut entry = Entry::clone(&entries[place]);
    entry.position = hansard_domain::log::Position(entries.len() as u64 + 1);
    entry.at = at;
    entry.event = Event::Message(MessageEvent::MessageDeleted {
        room: room(),
        by: viewer(),
        erased: None,
        show_deleted: false,
        at,
    });
    entries.push(Arc::new(entry));
}

/// Messages at these times, recorded then; replies to the first of them where `thread` says so.
fn said(times: &[Timestamp], thread: bool) -> Vec<Arc<Entry>> {
    saying("hello", times, thread)
}

fn saying(text: &str, times: &[Timestamp], thread: bool) -> Vec<Arc<Entry>> {
    let mut story = Story::default();
    story.registered("mary");
    let head = Sent {
        at: at(0),
        ..story.message(ROOM, "mary")
    };
    story.wrote("head", head, "the head");
    for (number, time) in times.iter().enumerate() {
        let sent = Sent {
            at: *time,
            thread: thread.then(|| ThreadReply {
                parent: MessageId::new("head"),
                shown: true,
                followers: Vec::new(),
            }),
            ..story.message(ROOM, "mary")
        };
        story.wrote(&format!("m{number:05}"), sent, text);
    }
    recorded_when_shown(&story)
}

fn recorded_when_shown(story: &Story) -> Vec<Arc<Entry>> {
    let shown = |entry: &Arc<Entry>| {
        let mut entry = Entry::clone(entry);
        if let Event::Message(MessageEvent::MessageSent { sent, .. }) = &entry.event {
            entry.at = sent.at;
        }
        Arc::new(entry)
    };
    story.entries.iter().map(shown).collect()
}

async fn messages(entries: &[Arc<Entry>]) -> (Served, Messages) {
    let mut served = Served::empty(MessagesView).await;
    served.take(entries).await;
    let messages = Messages::new(served.store.clone());
    (served, messages)
}

fn ids(found: &Found) -> Vec<String> {
    let messages: Vec<Value> = serde_json::from_str(&found.json).unwrap();
    assert_eq!(messages.len() as u64, found.count);
    let id = |message: &Value| message["_id"].as_str().unwrap().to_owned();
    messages.iter().map(id).collect()
}

fn one(count: u64) -> Slice {
    Slice {
        offset: 0,
        count: Some(count),
    }
}

fn expected(many: usize) -> Vec<String> {
    let said = (0..many).map(|number| format!("m{number:05}"));
    std::iter::once("head".to_owned()).chain(said).collect()
}

/// Everything that is read by asking for what lies beyond the last time, again and again, as a client
/// does until it gets less than it asked for.
async fn paged(count: u64, page: impl AsyncFn(Option<Timestamp>) -> Found) -> Vec<String> {
    let (mut beyond, mut seen) = (None, Vec::new());
    loop {
        let found = page(beyond).await;
        seen.extend(ids(&found));
        if found.count < count {
            return seen;
        }
        beyond = found.last;
    }
}

async fn a_history_read_by_time_has_each_message_once() {
    let many = 200;
    let (_served, messages) = messages(&said(&crowded(many), false)).await;
    for count in [1, 2, 3, 10, 50, 199, 1_500] {
        let mut seen = paged(count, async |latest| {
            let history = History {
                latest,
                slice: one(count),
                ..History::default()
            };
            messages
                .history(&viewer(), &room(), &history)
                .await
                .unwrap()
                .as_ref()
                .clone()
        })
        .await;
        seen.reverse();
        assert_eq!(seen, expected(many), "{count} at once");
    }
}

async fn a_list_read_by_time_has_each_message_once_both_ways() {
    let many = 200;
    let (_served, messages) = messages(&said(&crowded(many), false)).await;
    for count in [1, 2, 3, 10, 50] {
        let mut seen = paged(count, async |beyond| {
            let filter = Filter {
                latest: beyond.map(Timestamp::previous),
                ..Filter::default()
            };
            messages
                .list(&viewer(), &room(), &filter, Order::NewestFirst, one(count))
                .await
                .unwrap()
        })
        .await;
        seen.reverse();
        assert_eq!(seen, expected(many), "{count} at once, backwards");
        let seen = paged(count, async |beyond| {
            let filter = Filter {
                oldest: beyond.map(Timestamp::next),
                ..Filter::default()
            };
            messages
                .list(&viewer(), &room(), &filter, Order::OldestFirst, one(count))
                .await
                .unwrap()
        })
        .await;
        assert_eq!(seen, expected(many), "{count} at once, forwards");
    }
}

async fn a_thread_read_by_time_has_each_reply_once_both_ways() {
    let many = 200;
    let (_served, messages) = messages(&said(&crowded(many), true)).await;
    let head = MessageId::new("head");
    for count in [1, 2, 3, 10, 50] {
        let mut seen = paged(count, async |beyond| {
            let replies = Replies {
                latest: beyond.map(Timestamp::previous),
                ..Replies::default()
            };
            messages
                .thread(&viewer(), &head, replies, Order::NewestFirst, one(count))
                .await
                .unwrap()
        })
        .await;
        seen.reverse();
        assert_eq!(seen, expected(many)[1..], "{count} at once, backwards");
        let seen = paged(count, async |beyond| {
            let replies = Replies {
                oldest: beyond.map(Timestamp::next),
                ..Replies::default()
            };
            messages
                .thread(&viewer(), &head, replies, Order::OldestFirst, one(count))
                .await
                .unwrap()
        })
        .await;
        assert_eq!(seen, expected(many)[1..], "{count} at once, forwards");
    }
}

async fn changes_read_by_cursor_are_each_there_once_both_ways() {
    // What one event changes shares a time, however much that is.
    let mut times = crowded(60);
    times.extend(vec![at(60); 2 * CROWD]);
    times.extend([at(61), at(62)]);
    let many = times.len();
    let (_served, messages) = messages(&said(&times, false)).await;
    for count in [1, 2, 3, 10, 50, 1_001] {
        for forwards in [true, false] {
            let mut cursor = if forwards {
                Cursor::After(Timestamp::EARLIEST.into())
            } else {
                Cursor::Before(Timestamp::LATEST.into())
            };
            let mut seen = Vec::new();
            loop {
                let page = messages
                    .updated_page(&viewer(), &room(), cursor, Some(count))
                    .await
                    .unwrap();
                assert!(page.found.count >= count || !page.more);
                let found = ids(&page.found);
                // The other way, the page's own beginning is where what was read before ends.
                if let Some(first) = page.first {
                    let back = match cursor {
                        Cursor::After(_) => Cursor::Before(first),
                        Cursor::Before(_) => Cursor::After(first),
                    };
                    let back = messages
                        .updated_page(&viewer(), &room(), back, Some(1))
                        .await
                        .unwrap();
                    assert_eq!(ids(&back.found).first(), seen.last(), "{first:?}");
                }
                seen.extend(found);
                let Some(last) = page.last.filter(|_| page.more) else {
                    break;
                };
                cursor = match cursor {
                    Cursor::After(_) => Cursor::After(last),
                    Cursor::Before(_) => Cursor::Before(last),
                };
            }
            if !forwards {
                seen.reverse();
            }
            assert_eq!(
                seen,
                expected(many),
                "{count} at once, forwards: {forwards}"
            );
        }
    }
}

async fn the_deleted_read_by_cursor_are_each_there_once() {
    // What one commit deletes shares a time, however much that is.
    let mut times = crowded(60);
    times.extend(vec![at(60); 2 * CROWD]);
    times.extend([at(61), at(62)]);
    let mut entries = said(&times, false);
    for number in 0..times.len() {
        let time = entries[number + 2].at;
        delete(&mut entries, number + 2, time);
    }
    let (_served, messages) = messages(&entries).await;
    for count in [1, 2, 3, 50] {
        for forwards in [true, false] {
            let mut cursor = if forwards {
                Cursor::After(Timestamp::EARLIEST.into())
            } else {
                Cursor::Before(Timestamp::LATEST.into())
            };
            let mut seen = Vec::new();
            loop {
                let page = messages
                    .deleted_page(&room(), cursor, Some(count))
                    .await
                    .unwrap();
                seen.extend(page.found.iter().map(|gone| gone.id.to_string()));
                let Some(last) = page.last.filter(|_| page.more) else {
                    break;
                };
                cursor = match cursor {
                    Cursor::After(_) => Cursor::After(last),
                    Cursor::Before(_) => Cursor::Before(last),
                };
            }
            seen.sort();
            assert_eq!(
                seen,
                expected(times.len())[1..],
                "{count} at once, forwards: {forwards}"
            );
        }
    }
}

async fn a_crowd_larger_than_a_page_grows_is_read_by_offset() {
    let mut times = vec![at(1); CROWD];
    times.push(at(2));
    let (_served, messages) = messages(&said(&times, false)).await;
    let page = |offset, count| {
        let messages = messages.clone();
        async move {
            let history = History {
                slice: Slice {
                    offset,
                    count: Some(count),
                },
                ..History::default()
            };
            messages
                .history(&viewer(), &room(), &history)
                .await
                .unwrap()
        }
    };
    assert_eq!(page(0, 1).await.count, 1);
    let cut = page(0, 10).await;
    assert_eq!(cut.count, 10 + 1_000);
    let rest = page(cut.count, 1_000).await;
    let mut seen = [ids(&cut), ids(&rest)].concat();
    seen.reverse();
    assert_eq!(seen, expected(times.len()));
    // A page that is long of itself ends with its group, too.
    assert_eq!(page(0, 1_001).await.count, CROWD as u64 + 1);
}

/// Read without a count, from the last time on, until nothing more comes.
async fn all_of(page: impl AsyncFn(Option<Timestamp>) -> Found) -> (Vec<String>, usize) {
    let (mut beyond, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let found = page(beyond).await;
        assert!(
            found.json.len() < MOST_BYTES + 4 * LARGE,
            "{}",
            found.json.len()
        );
        assert_eq!(
            found.full,
            seen.len() as u64 + found.count < 1 + MANY as u64
        );
        seen.extend(ids(&found));
        pages += 1;
        if !found.full {
            return (seen, pages);
        }
        beyond = found.last;
    }
}

/// The length of each of so many messages, some more than a page holds.
const LARGE: usize = 1 << 20;
const MANY: usize = 40;

async fn a_page_ends_between_two_times_where_it_is_large() {
    let times: Vec<_> = (0..MANY).map(|number| at(1 + number / 3)).collect();
    let text = "x".repeat(LARGE);
    let (_served, messages) = messages(&saying(&text, &times, true)).await;
    let head = MessageId::new("head");
    // Whether there is a count or not.
    for count in [None, Some(500)] {
        let all = Slice { offset: 0, count };
        let (mut seen, pages) = all_of(async |latest| {
            let history = History {
                latest,
                slice: all,
                threads: true,
                ..History::default()
            };
            messages
                .history(&viewer(), &room(), &history)
                .await
                .unwrap()
                .as_ref()
                .clone()
        })
        .await;
        seen.reverse();
        assert_eq!((seen, pages), (expected(MANY), 2), "of the history");

        let (seen, pages) = all_of(async |beyond| {
            let filter = Filter {
                oldest: beyond.map(Timestamp::next),
                ..Filter::default()
            };
            let order = Order::OldestFirst;
            let list = messages.list(&viewer(), &room(), &filter, order, all).await;
            list.unwrap()
        })
        .await;
        assert_eq!((seen, pages), (expected(MANY), 2), "of the list");
    }

    let (mut seen, pages) = all_of(async |beyond| {
        let since = beyond.unwrap_or(Timestamp::EARLIEST).into();
        let since = messages.since(&viewer(), &room(), since).await.unwrap();
        let last = since.updated.last.filter(|_| since.updated.full);
        assert_eq!(since.until, last.map(Point::from));
        since.updated
    })
    .await;
    // The head changed with its last reply.
    seen.sort();
    assert_eq!((seen, pages), (expected(MANY), 2), "of the changes");

    let since = async |since| {
        let since = messages.thread_since(&viewer(), &head, since).await;
        since.unwrap()
    };
    let first = since(Timestamp::EARLIEST).await;
    let rest = since(first.until.unwrap().at).await;
    assert_eq!(rest.until, None);
    let seen = [ids(&first.updated), ids(&rest.updated)].concat();
    assert_eq!(seen, expected(MANY)[1..], "of the thread");
}

async fn what_was_deleted_later_than_a_full_page_tells_comes_with_the_next() {
    let times: Vec<_> = (0..=MANY).map(|number| at(1 + number)).collect();
    let mut entries = saying(&"x".repeat(LARGE), &times, false);
    for (place, time) in [(2, 4), (MANY + 2, MANY + 9)] {
        delete(&mut entries, place, at(time));
    }
    let (_served, messages) = messages(&entries).await;
    let since = async |since| messages.since(&viewer(), &room(), since).await.unwrap();
    let first = since(Timestamp::EARLIEST.into()).await;
    let gone = |since: &Since| -> Vec<String> {
        let deleted = since.deleted.iter();
        deleted.map(|gone| gone.id.to_string()).collect()
    };
    assert_eq!(gone(&first), ["m00000"]);
    let rest = since(first.until.unwrap()).await;
    assert_eq!(gone(&rest), [format!("m{MANY:05}")]);
}

/// Of one time, more bytes than a page holds, and more messages than it is lengthened by.
async fn changes_of_one_time_that_outgrow_a_page_are_read_on_inside_of_it() {
    let text = "x".repeat(MOST_BYTES / 4_000);
    let mut times = vec![at(1), at(2), at(2)];
    times.extend(vec![at(3); 4_000 + CROWD]);
    times.push(at(4));
    let (_served, messages) = messages(&saying(&text, &times, false)).await;

    let (mut since, mut seen, mut points) = (Timestamp::EARLIEST.into(), Vec::new(), Vec::new());
    loop {
        let page = messages.since(&viewer(), &room(), since).await.unwrap();
        seen.extend(ids(&page.updated));
        let Some(until) = page.until else { break };
        points.push((until.at, until.position.is_some()));
        since = until;
    }
    assert_eq!(seen, expected(times.len()));
    // Whoever knows times alone finds the group at the beginning of a page.
    assert_eq!(points, [(at(2), false), (at(3), true)]);

    for count in [None, Some(3_500)] {
        let mut cursor = Cursor::Before(Timestamp::LATEST.into());
        let mut seen = Vec::new();
        loop {
            let page = messages
                .updated_page(&viewer(), &room(), cursor, count)
                .await
                .unwrap();
            seen.extend(ids(&page.found));
            let Some(last) = page.last.filter(|_| page.more) else {
                break;
            };
            cursor = Cursor::Before(last);
        }
        seen.reverse();
        assert_eq!(seen, expected(times.len()), "{count:?} at once");
    }
}

on_both_engines!(
    changes_of_one_time_that_outgrow_a_page_are_read_on_inside_of_it,
    a_page_ends_between_two_times_where_it_is_large,
    what_was_deleted_later_than_a_full_page_tells_comes_with_the_next,
    a_history_read_by_time_has_each_message_once,
    a_list_read_by_time_has_each_message_once_both_ways,
    a_thread_read_by_time_has_each_reply_once_both_ways,
    changes_read_by_cursor_are_each_there_once_both_ways,
    the_deleted_read_by_cursor_are_each_there_once,
    a_crowd_larger_than_a_page_grows_is_read_by_offset,
);
