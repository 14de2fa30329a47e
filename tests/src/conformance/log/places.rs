//! Where events come to stand, and that they can be read from there.

use std::time::Duration;

use futures::StreamExt;

use super::*;

pub async fn empty(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    assert_eq!(log.head().await.unwrap(), Position::START);
    assert_eq!(
        log.position_at(Timestamp(i64::MAX)).await.unwrap(),
        Position::START
    );
    assert_eq!(all(&*log).await, []);
    assert_eq!(stream(&*log, "room-none").await, []);
    // Clients name what they like.
    assert_eq!(stream(&*log, "room-\0none").await, []);
    let mut following = log.follow(Position::START);
    let waited = tokio::time::timeout(Duration::from_millis(50), following.next()).await;
    assert!(waited.is_err(), "nothing to follow yet: {waited:?}");
    assert_eq!(log.append(Vec::new()).await.unwrap(), []);
}

pub async fn round_trip(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    let actors = [
        Actor::User("u1".into()),
        Actor::Integration("i1".into()),
        Actor::Policy("retention".into()),
        Actor::System,
        Actor::Anonymous,
    ];
    let mut written = Vec::new();
    for (number, actor) in actors.into_iter().enumerate() {
        let name = format!("room-Größe 🏛 {number} 'quoted\" \\ % _");
        let full = number % 2 == 0;
        let event = NewEvent {
            id: Uuid::from_u128(u128::MAX - number as u128),
            kind: "Aufgezeichnet".into(),
            schema: if full { u16::MAX } else { 1 },
            payload: format!("{{\"text\":\"日本語 𝄞 \\u0000 {number}\"}}"),
            origin: full.then(|| r#"{"key":1,"sealed":"…"}"#.to_owned()),
        };
        let metadata = Metadata {
            at: Timestamp(1_700_000_000_000 + number as i64),
            clock: full.then_some(Timestamp(1_600_000_000_000)),
            actor,
            correlation: full.then(|| "request ünï".into()),
            causation: full.then(|| Uuid::from_u128(7)),
        };
        let commit = Commit {
            after: None,
            appends: vec![append(&name, 0, std::slice::from_ref(&event))],
            metadata: metadata.clone(),
        };
        let recorded = write(&*log, commit).await.unwrap();
        written.push(StoredEvent {
            position: recorded.positions[0],
            stream: StreamId::from_name(&name),
            version: Version(1),
            event,
            metadata,
        });
    }
    assert_same(&all(&*log).await, &written, "all events");
    for stored in &written {
        let read = stream(&*log, stored.stream.as_str()).await;
        assert_same(&read, std::slice::from_ref(stored), "one stream");
    }
    under_test.reopen().await;
    assert_same(&all(&*under_test.log()).await, &written, "after reopening");
}

pub async fn dense_versions(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    let mut positions = Vec::new();
    for number in 0..5 {
        let events = [event("{}"), event("{}"), event("{}")];
        let recorded = write(&*log, commit([append("room-a", number * 3, &events)]))
            .await
            .unwrap();
        assert_eq!(recorded.positions.len(), 3);
        positions.extend(recorded.positions);
        let other = commit([append("room-b", number, &[event("{}")])]);
        positions.extend(write(&*log, other).await.unwrap().positions);
    }
    assert_eq!(stream(&*log, "room-a").await.len(), 15);
    assert_eq!(stream(&*log, "room-b").await.len(), 5);
    let read: Vec<_> = all(&*log)
        .await
        .iter()
        .map(|event| event.position)
        .collect();
    assert_eq!(read, positions, "what was answered is where they stand");
    assert_eq!(log.head().await.unwrap(), positions[19]);
}

pub async fn stale_versions(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    write(
        &*log,
        commit([append("room-a", 0, &[event("1"), event("2")])]),
    )
    .await
    .unwrap();
    let before = all(&*log).await;
    for expected in [0, 1, 3, 1000] {
        let refused = write(&*log, commit([append("room-a", expected, &[event("3")])])).await;
        assert_eq!(refused, conflict("room-a", expected, 2));
    }
    let refused = write(&*log, commit([append("room-new", 1, &[event("3")])])).await;
    assert_eq!(refused, conflict("room-new", 1, 0));
    assert_same(&all(&*log).await, &before, "conflicts write nothing");
    // And the streams are as usable as before.
    write(&*log, commit([append("room-a", 2, &[event("3")])]))
        .await
        .unwrap();
    write(&*log, commit([append("room-new", 0, &[event("1")])]))
        .await
        .unwrap();
}

pub async fn several_streams(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    write(&*log, commit([append("room-b", 0, &[event("b1")])]))
        .await
        .unwrap();
    let before = all(&*log).await;
    let (a, b, c) = ([event("a1"), event("a2")], [event("b2")], [event("c1")]);
    // The first, the second, the last of three streams has moved on.
    for (stale, versions) in [
        ("room-a", [1, 1, 0]),
        ("room-b", [0, 0, 0]),
        ("room-c", [0, 1, 4]),
    ] {
        let appends = [
            append("room-a", versions[0], &a),
            append("room-b", versions[1], &b),
            append("room-c", versions[2], &c),
        ];
        let refused = write(&*log, commit(appends)).await;
        let Err(Refusal::Conflict(refused)) = refused else {
            panic!("a stale version conflicts: {refused:?}");
        };
        assert_eq!(refused.stream.as_str(), stale);
        assert_same(
            &all(&*log).await,
            &before,
            "a commit that conflicts is absent",
        );
    }
    let appends = [
        append("room-a", 0, &a),
        append("room-b", 1, &b),
        append("room-c", 0, &c),
    ];
    let recorded = write(&*log, commit(appends)).await.unwrap();
    let written = all(&*log).await.split_off(1);
    let positions: Vec<_> = written.iter().map(|event| event.position).collect();
    assert_eq!(positions, recorded.positions);
    let expected: Vec<_> = a.iter().chain(&b).chain(&c).map(|event| event.id).collect();
    assert_eq!(ids(&written), expected, "in the order of the appends");
}

pub async fn one_append(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    let outcomes = log
        .append(vec![
            commit([append("room-a", 0, &[event("1")])]),
            commit([
                append("room-a", 0, &[event("stale")]),
                append("room-b", 0, &[event("stale")]),
            ]),
            commit([append("room-a", 1, &[event("2"), event("3")])]),
            commit([
                append("room-b", 0, &[event("1")]),
                append("room-a", 3, &[event("4")]),
            ]),
            commit([append("room-b", 0, &[event("stale")])]),
        ])
        .await
        .unwrap();
    let went: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(went, [true, false, true, true, false]);
    assert_eq!(outcomes[1], conflict("room-a", 0, 1));
    assert_eq!(outcomes[4], conflict("room-b", 0, 1));
    let payloads = |events: Vec<StoredEvent>| -> Vec<String> {
        events
            .into_iter()
            .map(|event| event.event.payload)
            .collect()
    };
    assert_eq!(
        payloads(stream(&*log, "room-a").await),
        ["1", "2", "3", "4"]
    );
    assert_eq!(payloads(stream(&*log, "room-b").await), ["1"]);
}

pub async fn without_events(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    write(&*log, commit([append("room-a", 0, &[event("1")])]))
        .await
        .unwrap();
    let asserting = |version| {
        commit([
            append("room-a", version, &[]),
            append("room-b", 0, &[event("1")]),
        ])
    };
    assert_eq!(write(&*log, asserting(0)).await, conflict("room-a", 0, 1));
    assert_eq!(stream(&*log, "room-b").await, []);
    assert_eq!(write(&*log, asserting(1)).await.unwrap().positions.len(), 1);
    assert_eq!(
        write(&*log, commit([append("room-a", 0, &[])])).await,
        conflict("room-a", 0, 1)
    );
    let nothing = write(&*log, commit([append("room-a", 1, &[])])).await;
    assert_eq!(
        nothing,
        Ok(Recorded {
            positions: Vec::new()
        })
    );
    assert_eq!(stream(&*log, "room-a").await.len(), 1);
}

pub async fn decided_after(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    let decided = |after: Position, stream: &str, version| Commit {
        after: Some(after),
        ..commit([append(stream, version, &[event("{}")])])
    };
    let first = decided(Position::START, "room-a", 0);
    let recorded = write(&*log, first.clone()).await.unwrap();
    let head = recorded.positions[0];
    assert_eq!(log.head().await.unwrap(), head);

    // Its stream is as it expects, and yet it may be wrong.
    let late = write(&*log, decided(Position::START, "room-b", 0)).await;
    assert_eq!(late, Err(Refusal::Overtaken));
    let late = write(&*log, decided(Position(head.0 + 1), "room-b", 0)).await;
    assert_eq!(late, Err(Refusal::Overtaken));
    let conflicting = write(&*log, decided(Position::START, "room-a", 0)).await;
    assert_eq!(conflicting, Err(Refusal::Overtaken));
    let conflicting = write(&*log, decided(head, "room-a", 0)).await;
    assert_eq!(conflicting, conflict("room-a", 0, 1));
    assert_eq!(all(&*log).await.len(), 1);
    // What stands there already stands there, whatever has come since.
    assert_eq!(write(&*log, first.clone()).await, Ok(recorded.clone()));

    // Those of one append were decided one on the other.
    let batch = vec![
        decided(head, "room-a", 1),
        decided(head, "room-b", 0),
        decided(head, "room-a", 2),
    ];
    let outcomes = log.append(batch).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let batch = vec![first, decided(head, "room-c", 0)];
    assert_eq!(
        log.append(batch).await.unwrap(),
        [Ok(recorded), Err(Refusal::Overtaken)]
    );
    assert_eq!(all(&*log).await.len(), 4);
}

pub async fn long_streams(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    // More than any page is likely to hold, in one commit and in many.
    let events: Vec<_> = (0..5_000).map(|number| event(number.to_string())).collect();
    write(&*log, commit([append("room-long", 0, &events)]))
        .await
        .unwrap();
    let commits: Vec<_> = (0..1_500)
        .map(|number| commit([append("room-long", 5_000 + number, &[event("{}")])]))
        .collect();
    assert!(log.append(commits).await.unwrap().iter().all(Result::is_ok));
    let written = stream(&*log, "room-long").await;
    assert_eq!(written.len(), 6_500);
    assert_same(&all(&*log).await, &written, "all events");
    for after in [1, 999, 1000, 1001, 4_999, 6_499, 6_500, 9_999] {
        let rest = &written[after.min(6_500)..];
        let read =
            collect(log.stream(&StreamId::from_name("room-long"), Version(after as u64))).await;
        assert_same(&read, rest, "the stream from the middle");
        let Some(first) = rest.first() else { continue };
        let read = collect(log.all(written[after - 1].position)).await;
        assert_same(&read, rest, "all from the middle");
        assert_eq!(first.version, Version(after as u64 + 1));
    }
    assert_eq!(collect(log.all(Position(u64::from(u32::MAX)))).await, []);
}

pub async fn big_events(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    let payload = "påyload ".repeat(5_000_000 / 9);
    for number in 0..6 {
        let events = [event("small"), event(payload.clone())];
        write(&*log, commit([append("room-big", number * 2, &events)]))
            .await
            .unwrap();
    }
    let read = stream(&*log, "room-big").await;
    assert_eq!(read.len(), 12);
    for pair in read.chunks(2) {
        assert!(pair[0].event.payload == "small" && pair[1].event.payload == payload);
    }
    assert_same(&all(&*log).await, &read, "all events");
    let mut following = log.follow(Position::START);
    let mut followed = Vec::new();
    while followed.len() < 12 {
        followed.extend(following.next().await.unwrap().unwrap());
    }
    assert_same(&followed, &read, "followed events");
}

pub async fn many_streams(under_test: &mut dyn LogUnderTest) {
    const STREAMS: usize = 100_000;
    let log = under_test.log();
    let name = |number: usize| format!("message-{number}");
    for batch in 0..STREAMS / 2_000 {
        let commits: Vec<_> = (batch * 2_000..(batch + 1) * 2_000)
            .map(|number| commit([append(&name(number), 0, &[event(number.to_string())])]))
            .collect();
        assert!(log.append(commits).await.unwrap().iter().all(Result::is_ok));
    }
    // Streams written long ago are known as well as those written last.
    for number in (0..STREAMS).step_by(997) {
        let name = name(number);
        let stale = write(&*log, commit([append(&name, 0, &[event("stale")])])).await;
        assert_eq!(stale, conflict(&name, 0, 1));
        write(&*log, commit([append(&name, 1, &[event("second")])]))
            .await
            .unwrap();
        let read = stream(&*log, &name).await;
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].event.payload, number.to_string());
    }
    assert_eq!(all(&*log).await.len(), STREAMS + STREAMS.div_ceil(997));
}

pub async fn position_at(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    let times = [100, 100, 200, 300, 300, 300, 1_000, 1_001, 5_000];
    let mut last = Vec::new();
    for (number, at) in times.into_iter().enumerate() {
        let events = [event("1"), event("2")];
        let commit = commit_at(at, [append(&format!("room-{number}"), 0, &events)]);
        last.push((at, write(&*log, commit).await.unwrap().positions[1]));
    }
    for at in [
        -1, 0, 99, 100, 101, 199, 200, 299, 300, 999, 1_000, 1_001, 4_999, 5_000, 9_999,
    ] {
        let before = last.iter().rfind(|(recorded, _)| *recorded <= at);
        let expected = before.map_or(Position::START, |(_, position)| *position);
        assert_eq!(
            log.position_at(Timestamp(at)).await.unwrap(),
            expected,
            "at {at}"
        );
    }
}

pub async fn reopening(under_test: &mut dyn LogUnderTest) {
    let mut written = Vec::new();
    for round in 0..4 {
        let log = under_test.log();
        assert_same(&all(&*log).await, &written, "what was written before");
        let last = written
            .last()
            .map_or(Position::START, |event: &StoredEvent| event.position);
        assert_eq!(log.head().await.unwrap(), last);
        let stale = write(
            &*log,
            commit([append("room-a", round + 1, &[event("stale")])]),
        )
        .await;
        assert_eq!(stale, conflict("room-a", round + 1, round));
        let own = append(&format!("room-{round}"), 0, &[event("1")]);
        write(&*log, commit([append("room-a", round, &[event("1")]), own]))
            .await
            .unwrap();
        written = all(&*log).await;
        assert_eq!(written.len() as u64, (round + 1) * 2);
        drop(log);
        under_test.reopen().await;
    }
}
