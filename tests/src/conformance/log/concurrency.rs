//! Many at once: writers, and those who follow them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;

pub async fn one_stream(under_test: &mut dyn LogUnderTest) {
    contend(&[under_test.log()]).await;
}

/// Writers that take turns with these handles to one log all want to write the same stream.
pub(super) async fn contend(handles: &[Arc<dyn EventLog>]) {
    const WRITERS: usize = 8;
    const EACH: usize = 60;
    let mut writers = JoinSet::new();
    for (writer, log) in (0..WRITERS).zip(handles.iter().cycle()) {
        let log = log.clone();
        writers.spawn(async move {
            let mut version = 0;
            let mut won = Vec::new();
            while won.len() < EACH {
                let commit = commit([append("room-hot", version, &[event(writer.to_string())])]);
                match write(&*log, commit).await {
                    Ok(recorded) => {
                        won.push((version + 1, (recorded.positions[0], writer)));
                        version += 1;
                    }
                    Err(Refusal::Overtaken) => panic!("it was decided on nothing"),
                    Err(Refusal::Conflict(conflict)) => {
                        assert_eq!(conflict.expected, Version(version));
                        assert!(conflict.actual > conflict.expected, "{conflict:?}");
                        version = conflict.actual.0;
                    }
                }
            }
            won
        });
    }
    let mut won = BTreeMap::new();
    for (version, winner) in writers.join_all().await.into_iter().flatten() {
        assert!(
            won.insert(version, winner).is_none(),
            "version {version} was won twice"
        );
    }
    for log in handles {
        let read = stream(&**log, "room-hot").await;
        assert_eq!(read.len(), WRITERS * EACH);
        for event in read {
            let (position, writer) = won[&event.version.0];
            assert_eq!(
                (event.position, event.event.payload),
                (position, writer.to_string())
            );
        }
    }
}

pub async fn own_streams(under_test: &mut dyn LogUnderTest) {
    const WRITERS: usize = 50;
    const EACH: u64 = 20;
    let log = under_test.log();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let log = log.clone();
        writers.spawn(async move {
            let name = format!("room-{writer}");
            let mut positions = Vec::new();
            for version in 0..EACH {
                let commit = commit([append(&name, version, &[event(version.to_string())])]);
                positions.extend(write(&*log, commit).await.unwrap().positions);
                // Acknowledged is visible: to a read of the stream, of the log, of its head.
                if version % 7 == 0 {
                    assert_eq!(stream(&*log, &name).await.len() as u64, version + 1);
                    assert!(log.head().await.unwrap() >= *positions.last().unwrap());
                }
            }
            (name, positions)
        });
    }
    for (name, positions) in writers.join_all().await {
        let read: Vec<_> = stream(&*log, &name)
            .await
            .iter()
            .map(|event| event.position)
            .collect();
        assert_eq!(read, positions);
    }
    assert_eq!(all(&*log).await.len() as u64, WRITERS as u64 * EACH);
}

pub async fn decided_after(under_test: &mut dyn LogUnderTest) {
    count(&[under_test.log()]).await;
}

/// Writers that take turns with these handles to one log: each counts what stands in it, and records
/// the number in a stream of its own. No two of them may count the same.
pub(super) async fn count(handles: &[Arc<dyn EventLog>]) {
    const WRITERS: usize = 6;
    const EACH: usize = 20;
    let mut writers = JoinSet::new();
    for (writer, log) in (0..WRITERS).zip(handles.iter().cycle()) {
        let log = log.clone();
        writers.spawn(async move {
            let mut counted = 0;
            let mut known = Position::START;
            for number in 0..EACH {
                loop {
                    let head = log.turn().await.expect("a turn");
                    for event in collect(log.all(known)).await {
                        // What was written after the turn began is not decided on.
                        if event.position <= head {
                            counted += 1;
                            known = event.position;
                        }
                    }
                    let name = format!("count-{writer}-{number}");
                    let commit = Commit {
                        after: Some(known),
                        ..commit([append(&name, 0, &[event(counted.to_string())])])
                    };
                    match write(&*log, commit).await {
                        Ok(_) => break,
                        Err(Refusal::Overtaken) => {}
                        Err(conflict) => panic!("its stream is its own: {conflict}"),
                    }
                }
            }
        });
    }
    writers.join_all().await;
    let counted = all(&*handles[0]).await;
    let counted: Vec<_> = counted
        .into_iter()
        .filter(|event| event.stream.category() == "count")
        .map(|event| event.event.payload)
        .collect();
    let expected: Vec<_> = (0..WRITERS * EACH)
        .map(|number| number.to_string())
        .collect();
    assert_eq!(counted, expected);
}

/// Followers that start anywhere, while others write, see what stands in the log in the end: all of
/// it, in order, once. One that had passed a gap before it was filled would lack an event.
pub async fn followers(under_test: &mut dyn LogUnderTest) {
    write_and_follow(&[under_test.log()]).await;
}

/// Writers and followers take turns with these handles to one log.
pub(super) async fn write_and_follow(handles: &[Arc<dyn EventLog>]) {
    const WRITERS: u64 = 12;
    const EACH: u64 = 80;
    let (announce, head) = watch::channel(None::<Position>);
    let mut followers = JoinSet::new();
    let mut readers = JoinSet::new();
    let mut writers = JoinSet::new();
    for (writer, log) in (0..WRITERS).zip(handles.iter().cycle()) {
        let log = log.clone();
        writers.spawn(async move {
            let mut random = StdRng::seed_from_u64(writer);
            for number in 0..EACH {
                let streams = random.random_range(1..4);
                let appends = (0..streams).map(|stream| {
                    let events: Vec<_> = (0..random.random_range(1..4))
                        .map(|_| event("{}"))
                        .collect();
                    append(&format!("room-{writer}-{number}-{stream}"), 0, &events)
                });
                let commit = commit(appends.collect::<Vec<_>>());
                write(&*log, commit).await.unwrap();
            }
        });
    }
    let mut random = StdRng::seed_from_u64(WRITERS);
    for (follower, log) in (0..24).zip(handles.iter().cycle()) {
        if follower % 3 == 0 {
            tokio::task::yield_now().await;
        }
        let now = log.head().await.unwrap().0;
        let after = Position(random.random_range(0..=now));
        let (following, mut head) = (log.clone(), head.clone());
        followers.spawn(async move {
            let mut pages = following.follow(after);
            let mut seen: Vec<StoredEvent> = Vec::new();
            loop {
                let last = seen.last().map_or(after, |event| event.position);
                if head.borrow_and_update().is_some_and(|head| last >= head) {
                    return (after, seen);
                }
                tokio::select! {
                    page = pages.next() => seen.extend(page.unwrap().unwrap()),
                    changed = head.changed() => changed.unwrap(),
                }
            }
        });
        // A read that ends sees a beginning of the same.
        let reading = log.clone();
        readers.spawn(async move { collect(reading.all(Position::START)).await });
    }
    writers.join_all().await;
    let log = &handles[0];
    announce.send_replace(Some(log.head().await.unwrap()));
    let written = all(&**log).await;
    for (after, seen) in followers.join_all().await {
        let from = written.partition_point(|event| event.position <= after);
        assert_same(&seen, &written[from..], "a follower");
    }
    for read in readers.join_all().await {
        assert_same(&read, &written[..read.len()], "a reader");
    }
}

pub async fn waking(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    let (woken, mut wakings) = tokio::sync::mpsc::channel(16);
    let mut pages = log.follow(Position::START);
    let follower = tokio::spawn(async move {
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            assert_eq!(page.len(), 1);
            if woken.send((page[0].version, Instant::now())).await.is_err() {
                break;
            }
        }
    });
    let mut fastest = Duration::MAX;
    for version in 0..10 {
        write(&*log, commit([append("room-a", version, &[event("{}")])]))
            .await
            .unwrap();
        let written = Instant::now();
        let waiting = tokio::time::timeout(Duration::from_mins(1), wakings.recv());
        let (seen, at) = waiting.await.expect("the follower wakes").unwrap();
        assert_eq!(seen, Version(version + 1));
        fastest = fastest.min(at.saturating_duration_since(written));
    }
    // One of ten, as the machine may be busy; who asks every second is found out all the same.
    assert!(fastest < Duration::from_millis(100), "it took {fastest:?}");
    follower.abort();
    assert!(
        follower.await.is_err_and(|ended| ended.is_cancelled()),
        "it follows until then"
    );
}
