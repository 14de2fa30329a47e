//! Histories that are broken in one way each.

use std::time::Duration;

use super::log::{Recorded, Said, What};
use super::*;

const ROOM: &str = "parliament";

fn ms(number: u64) -> Moment {
    Duration::from_millis(number)
}

fn shows(number: u64) -> String {
    format!("2026-01-31T12:00:00.{number:03}Z")
}

/// A message that a client sent at a time, and was told of 10 ms later.
fn sent(client: usize, id: &str, asked: u64, position: u64) -> Sent {
    Sent {
        client,
        id: id.to_owned(),
        sender: format!("user{client}"),
        text: format!("text of {id}"),
        asked: ms(asked),
        outcome: Outcome::Acknowledged(Acknowledged {
            at: ms(asked + 10),
            shows: shows(asked),
            position,
        }),
    }
}

fn said(client: usize, id: &str, asked: u64, position: u64) -> Recorded {
    Recorded {
        position,
        stream: format!("message-{id}"),
        version: 1,
        at: asked as i64,
        what: What::Said(Said {
            id: id.to_owned(),
            room: ROOM.to_owned(),
            sender: format!("user{client}"),
            text: format!("text of {id}"),
            shows: shows(asked),
        }),
    }
}

fn elected(stream: &str, at: i64, position: u64) -> Recorded {
    Recorded {
        position,
        stream: format!("node-{stream}"),
        version: 1,
        at,
        what: What::Elected {
            address: format!("http://{stream}"),
        },
    }
}

fn read(client: usize, asked: u64, since: u64, shown: Shown) -> Read {
    Read {
        client,
        asked: ms(asked),
        answered: ms(asked + 5),
        since,
        behind: false,
        shown,
    }
}

fn one(id: &str, there: bool) -> Shown {
    let id = id.to_owned();
    Shown::One { id, there }
}

fn newest(messages: &[(&str, u64)], full: bool) -> Shown {
    let messages = messages.iter();
    let messages = messages.map(|(id, asked)| ((*id).to_owned(), shows(*asked)));
    Shown::Newest {
        messages: messages.collect(),
        full,
    }
}

/// Two clients, of whom the first says `a` and `c`, the second `b` and `d`, and both look.
fn sound() -> (History, Vec<Recorded>) {
    let history = History {
        room: ROOM.to_owned(),
        sent: vec![
            sent(1, "a", 100, 2),
            sent(1, "c", 300, 4),
            sent(2, "b", 200, 3),
            sent(2, "d", 400, 5),
        ],
        reads: vec![
            read(
                1,
                350,
                4,
                newest(&[("c", 300), ("b", 200), ("a", 100)], false),
            ),
            read(1, 360, 4, newest(&[("c", 300), ("b", 200)], true)),
            read(2, 450, 5, one("a", true)),
        ],
    };
    let log = vec![
        elected("east", 90, 1),
        said(1, "a", 100, 2),
        said(2, "b", 200, 3),
        said(1, "c", 300, 4),
        said(2, "d", 400, 5),
    ];
    (history, log)
}

/// What is found in the sound history after it was broken.
fn found(spoil: impl FnOnce(&mut History, &mut Vec<Recorded>)) -> Vec<Fault> {
    let (mut history, mut log) = sound();
    spoil(&mut history, &mut log);
    check(&history, &log)
}

fn id(id: &str) -> String {
    id.to_owned()
}

/// Has two events change places, as if they had been appended the other way round.
fn swap(log: &mut [Recorded], one: usize, other: usize) {
    let (first, second) = (log[one].position, log[other].position);
    log.swap(one, other);
    log[one].position = first;
    log[other].position = second;
}

#[test]
fn a_sound_history_has_no_faults() {
    assert_eq!(found(|_, _| ()), []);
}

#[test]
fn an_acknowledged_message_that_the_log_has_not_is_lost() {
    let faults = found(|history, log| {
        log.remove(4);
        history.reads.clear();
    });
    assert_eq!(faults, [Fault::Lost { id: id("d") }]);
}

#[test]
fn a_message_without_an_answer_may_be_in_the_log_or_not() {
    assert_eq!(
        found(|history, _| history.sent[3].outcome = Outcome::Unknown),
        []
    );
    let faults = found(|history, log| {
        history.sent[3].outcome = Outcome::Unknown;
        log.remove(4);
    });
    assert_eq!(faults, []);
}

#[test]
fn a_message_that_stands_twice_is_doubled() {
    let faults = found(|history, log| {
        // Also one that nobody was told of.
        history.sent[3].outcome = Outcome::Unknown;
        let mut again = said(2, "d", 400, 6);
        again.version = 2;
        log.push(again);
    });
    let (first, again) = (5, 6);
    assert_eq!(
        faults,
        [Fault::Doubled {
            id: id("d"),
            first,
            again
        }]
    );
}

#[test]
fn a_message_that_nobody_sent_is_a_phantom() {
    let faults = found(|_, log| log.push(said(1, "x", 500, 6)));
    assert_eq!(
        faults,
        [Fault::Phantom {
            id: id("x"),
            position: 6
        }]
    );
    let elsewhere = found(|_, log| {
        let mut other = said(1, "x", 500, 6);
        if let What::Said(said) = &mut other.what {
            said.room = "another".to_owned();
        }
        log.push(other);
    });
    assert_eq!(elsewhere, []);
}

#[test]
fn a_message_is_what_was_sent_and_what_was_answered() {
    let altered = [Fault::Altered { id: id("a") }];
    assert_eq!(found(|history, _| history.sent[0].text.push('!')), altered);
    assert_eq!(
        found(|history, _| history.sent[0].sender.push('!')),
        altered
    );
    let faults = found(|history, _| {
        if let Outcome::Acknowledged(answer) = &mut history.sent[0].outcome {
            answer.shows = shows(999);
        }
    });
    assert_eq!(faults, altered);
}

#[test]
fn an_answer_promises_no_earlier_position_than_the_message_has() {
    let faults = found(|history, _| {
        if let Outcome::Acknowledged(answer) = &mut history.sent[3].outcome {
            answer.position = 4;
        }
    });
    let (position, told) = (5, 4);
    assert_eq!(
        faults,
        [Fault::Underrated {
            id: id("d"),
            position,
            told
        }]
    );
}

#[test]
fn what_was_acknowledged_before_another_was_sent_stands_before_it() {
    let faults = found(|history, log| {
        swap(log, 2, 3);
        history.reads.clear();
        for sent in &mut history.sent {
            if let Outcome::Acknowledged(answer) = &mut sent.outcome {
                answer.position = 5;
            }
        }
    });
    let (earlier, later) = (id("b"), id("c"));
    assert_eq!(faults, [Fault::Reordered { earlier, later }]);
}

#[test]
fn a_message_that_was_never_answered_does_not_stand_before_one_acknowledged_earlier() {
    let faults = found(|history, log| {
        swap(log, 3, 4);
        history.reads.clear();
        history.sent[3].outcome = Outcome::Unknown;
        if let Outcome::Acknowledged(answer) = &mut history.sent[1].outcome {
            answer.position = 5;
        }
    });
    let (earlier, later) = (id("c"), id("d"));
    assert_eq!(faults, [Fault::Reordered { earlier, later }]);
}

#[test]
fn messages_that_were_under_way_together_may_stand_either_way() {
    let faults = found(|history, log| {
        swap(log, 2, 3);
        history.reads.clear();
        for sent in &mut history.sent {
            if let Outcome::Acknowledged(answer) = &mut sent.outcome {
                answer.position = 5;
                answer.at = ms(1000);
            }
        }
    });
    assert_eq!(faults, []);
}

#[test]
fn a_clients_own_messages_stand_in_its_order() {
    let faults = found(|history, log| {
        swap(log, 1, 3);
        history.reads.clear();
        for sent in &mut history.sent {
            if let Outcome::Acknowledged(answer) = &mut sent.outcome {
                answer.position = 5;
                answer.at = ms(1000);
            }
        }
    });
    let (client, earlier, later) = (1, id("a"), id("c"));
    assert_eq!(
        faults,
        [Fault::OutOfTurn {
            client,
            earlier,
            later
        }]
    );
}

#[test]
fn a_refused_message_is_told_of() {
    let faults = found(|history, log| {
        history.sent[3].outcome = Outcome::Refused(id("no"));
        log.remove(4);
    });
    let (id, said) = (id("d"), id("no"));
    assert_eq!(faults, [Fault::Refused { id, said }]);
}

#[test]
fn a_client_that_has_seen_a_message_sees_it_again() {
    let (client, since) = (1, 4);
    let went_back = [Fault::WentBack {
        client,
        id: id("b"),
        since,
    }];
    let vanished = |shown| found(|history, _| history.reads.push(read(1, 500, 4, shown)));
    assert_eq!(vanished(one("b", false)), went_back);
    assert_eq!(
        vanished(newest(&[("c", 300), ("a", 100)], false)),
        went_back
    );
    // The page is full, and the hole is in the middle of it.
    assert_eq!(vanished(newest(&[("c", 300), ("a", 100)], true)), went_back);
    let faults = found(|history, _| {
        let mut honest = read(1, 500, 4, one("b", false));
        honest.behind = true;
        history.reads.push(honest);
    });
    assert_eq!(faults, [], "it said that it was behind");
}

#[test]
fn a_read_shows_what_the_position_it_names_covers() {
    let (client, since) = (2, 2);
    let faults = found(|history, _| history.reads.insert(0, read(2, 120, 2, one("a", false))));
    assert_eq!(
        faults,
        [Fault::Behind {
            client,
            id: id("a"),
            since
        }]
    );
    let later = found(|history, _| history.reads.insert(0, read(2, 120, 1, one("a", false))));
    assert_eq!(later, [], "nobody told the client of it");
}

#[test]
fn nothing_is_shown_that_is_not_in_the_log() {
    let faults = found(|history, _| history.reads.push(read(2, 500, 5, one("x", true))));
    assert_eq!(
        faults,
        [Fault::Invented {
            client: 2,
            id: id("x")
        }]
    );
}

#[test]
fn positions_rise_and_streams_count_without_a_gap() {
    let faults = found(|_, log| log[4].version = 2);
    let stream = id("message-d");
    let (position, version) = (5, 2);
    assert_eq!(
        faults,
        [Fault::VersionsBroken {
            stream,
            position,
            version
        }]
    );
    let faults = found(|_, log| log.swap(0, 1));
    assert_eq!(faults, [Fault::Unordered { position: 1 }]);
}

#[test]
fn what_an_old_writer_decided_does_not_stand_after_an_election() {
    let faults = found(|_, log| {
        log.push(elected("west", 9_000, 6));
        let mut late = said(1, "late", 500, 7);
        late.what = What::Other;
        log.push(late);
    });
    let (position, election) = (7, 6);
    assert_eq!(faults, [Fault::NotElected { position, election }]);
}
