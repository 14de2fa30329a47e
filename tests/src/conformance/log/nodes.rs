//! Several nodes, each with a handle of its own to one log that all of them write.

use std::time::Duration;

use hansard_domain::log::Role;
use tokio::time::timeout;

use super::*;

/// The handles of two nodes; none where one handle writes alone.
async fn both(under_test: &mut dyn LogUnderTest) -> Option<[Arc<dyn EventLog>; 2]> {
    let log = under_test.log();
    let role = *log.role().borrow();
    let another = under_test.another().await;
    assert_eq!(
        another.is_some(),
        role == Role::Shared,
        "a log that every node writes is tested with two"
    );
    Some([log, another?])
}

pub async fn writing(under_test: &mut dyn LogUnderTest) {
    let Some(handles) = both(under_test).await else {
        return;
    };
    concurrency::contend(&handles).await;
    concurrency::write_and_follow(&handles).await;
    let [one, other] = handles;
    assert_same(&all(&*one).await, &all(&*other).await, "the other node");
    assert_eq!(one.head().await.unwrap(), other.head().await.unwrap());
}

pub async fn deciding(under_test: &mut dyn LogUnderTest) {
    if let Some(handles) = both(under_test).await {
        concurrency::count(&handles).await;
    }
}

pub async fn passing(under_test: &mut dyn LogUnderTest) {
    let Some([one, other]) = both(under_test).await else {
        return;
    };
    for version in 0..5 {
        assert_eq!(one.turn().await.unwrap(), other.head().await.unwrap());
        // Asked for twice, it is still one.
        one.turn().await.unwrap();
        one.pass().await;
        write(&*other, commit([append("room-a", version, &[event("{}")])]))
            .await
            .unwrap();
    }
    one.pass().await;
    write(&*one, commit([append("room-a", 5, &[event("{}")])]))
        .await
        .unwrap();
}

pub async fn hearing(under_test: &mut dyn LogUnderTest) {
    let Some([one, other]) = both(under_test).await else {
        return;
    };
    let mut head = Position::START;
    for version in 0..6 {
        let (writer, hearer) = if version % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        {
            let early = timeout(Duration::from_millis(20), hearer.moved(head)).await;
            assert!(
                early.is_err(),
                "nothing was written after {head}: {early:?}"
            );
        }
        let recorded = write(
            &**writer,
            commit([append("room-a", version, &[event("{}")])]),
        );
        let position = recorded.await.unwrap().positions[0];
        for handle in [hearer, writer] {
            let moved = timeout(Duration::from_mins(1), handle.moved(head)).await;
            let newest = moved.expect("a node hears of it").unwrap();
            assert_eq!(newest, position);
            let read = collect(handle.all(head)).await;
            assert_eq!(read.len(), 1);
            assert_eq!(read[0].position, position);
        }
        head = position;
    }
}

pub async fn retrying(under_test: &mut dyn LogUnderTest) {
    let Some([one, other]) = both(under_test).await else {
        return;
    };
    let first = commit([
        append("room-a", 0, &[event("1"), event("2")]),
        append("room-b", 0, &[event("1")]),
    ]);
    let recorded = write(&*one, first.clone()).await.unwrap();
    assert_eq!(write(&*other, first.clone()).await, Ok(recorded.clone()));
    let next = commit([append("room-a", 2, &[event("3")])]);
    let after = write(&*other, next.clone()).await.unwrap();
    assert_eq!(write(&*one, next).await, Ok(after));
    assert_eq!(write(&*one, first).await, Ok(recorded));
    let late = commit([append("room-a", 2, &[event("other")])]);
    assert_eq!(write(&*one, late).await, conflict("room-a", 2, 3));
    assert_eq!(all(&*one).await.len(), 4);
}
