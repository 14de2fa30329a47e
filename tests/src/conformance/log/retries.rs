//! The same events again are the same append; anything less is a conflict.

use futures::poll;

use super::*;

pub async fn same(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    let single = commit([append("room-a", 0, &[event("1"), event("2")])]);
    let several = commit([
        append("room-a", 2, &[event("3")]),
        append("room-b", 0, &[event("1"), event("2")]),
        append("name-c", 0, &[event("1")]),
    ]);
    let first = write(&*log, single.clone()).await.unwrap();
    let second = write(&*log, several.clone()).await.unwrap();
    write(&*log, commit([append("room-b", 2, &[event("3")])]))
        .await
        .unwrap();
    let before = all(&*log).await;
    for _ in 0..2 {
        let log = under_test.log();
        assert_eq!(write(&*log, single.clone()).await, Ok(first.clone()));
        assert_eq!(write(&*log, several.clone()).await, Ok(second.clone()));
        let both = log
            .append(vec![several.clone(), single.clone()])
            .await
            .unwrap();
        assert_eq!(both, [Ok(second.clone()), Ok(first.clone())]);
        assert_same(&all(&*log).await, &before, "a retry writes nothing");
        drop(log);
        under_test.reopen().await;
    }
}

pub async fn same_batch(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    write(&*log, commit([append("room-a", 0, &[event("1")])]))
        .await
        .unwrap();
    let next = commit([
        append("room-a", 1, &[event("2")]),
        append("room-b", 0, &[event("1")]),
    ]);
    let later = commit([append("room-a", 2, &[event("3")])]);
    let outcomes = log
        .append(vec![next.clone(), later.clone(), next.clone(), later])
        .await
        .unwrap();
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok());
    assert_eq!(outcomes[0], outcomes[2]);
    assert_eq!(outcomes[1], outcomes[3]);
    assert_eq!(all(&*log).await.len(), 4);
}

pub async fn overlapping(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    let (a1, a2, b1) = (event("a1"), event("a2"), event("b1"));
    let both = [
        append("room-a", 0, &[a1.clone(), a2.clone()]),
        append("room-b", 0, std::slice::from_ref(&b1)),
    ];
    write(&*log, commit(both)).await.unwrap();
    let before = all(&*log).await;
    for appends in [
        // The second event is another one, the order is another one, there is one more.
        vec![append("room-a", 0, &[a1.clone(), event("other")])],
        vec![append("room-a", 0, &[a2.clone(), a1.clone()])],
        vec![append("room-a", 0, &[a1.clone(), a2.clone(), event("a3")])],
        // One place further.
        vec![append("room-a", 1, std::slice::from_ref(&a1))],
        // One stream has it, the other something else or nothing yet.
        vec![
            append("room-a", 0, &[a1.clone(), a2.clone()]),
            append("room-b", 0, &[event("other")]),
        ],
        vec![
            append("room-a", 0, &[a1.clone(), a2.clone()]),
            append("room-c", 0, &[event("c1")]),
        ],
        vec![
            append("room-c", 0, &[event("c1")]),
            append("room-a", 0, &[a1.clone(), a2.clone()]),
        ],
        // A stream that it only asserts a version of can't have been there.
        vec![append("room-a", 0, &[a1, a2]), append("room-c", 5, &[])],
    ] {
        let what = format!("{appends:?}");
        assert!(write(&*log, commit(appends)).await.is_err(), "{what}");
        assert_same(&all(&*log).await, &before, "half a retry writes nothing");
    }
}

/// Whoever appends may go away at any point; whether it was written shows when asked again.
pub async fn abandoned(under_test: &mut dyn LogUnderTest) {
    let log = under_test.log();
    for number in 0..200 {
        let commit = commit([append("room-a", number, &[event("{}")])]);
        {
            let mut abandoned = Box::pin(log.append(vec![commit.clone()]));
            for _ in 0..number % 5 {
                if poll!(&mut abandoned).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        write(&*log, commit).await.unwrap();
    }
    assert_eq!(stream(&*log, "room-a").await.len(), 200);
    assert_eq!(all(&*log).await.len(), 200);
}
