//! A random schedule of appends, retries, reads and reopenings, against a log that is simple enough
//! to be right.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;

const STEPS: usize = 600;

/// What should stand in the log.
#[derive(Default)]
struct Model {
    /// Without positions, which are the log's to choose.
    events: Vec<(String, NewEvent, Metadata)>,
    streams: BTreeMap<String, Vec<usize>>,
}

impl Model {
    fn version(&self, stream: &str) -> u64 {
        self.streams
            .get(stream)
            .map_or(0, |events| events.len() as u64)
    }

    /// The places of the commit's events, or why it is refused by a log that was at `head` when the
    /// batch began.
    fn write(&mut self, commit: &Commit, head: Position) -> Result<Vec<usize>, Refusal> {
        let overtaken = commit.after.is_some_and(|after| after != head);
        let stale = commit
            .appends
            .iter()
            .find(|append| self.version(append.stream.as_str()) != append.expected.0);
        if let Some(stale) = stale {
            let conflict = Conflict {
                stream: stale.stream.clone(),
                expected: stale.expected,
                actual: Version(self.version(stale.stream.as_str())),
            };
            return self.retried(commit).ok_or(if overtaken {
                Refusal::Overtaken
            } else {
                conflict.into()
            });
        }
        if overtaken {
            return Err(Refusal::Overtaken);
        }
        let mut places = Vec::new();
        for append in &commit.appends {
            for event in &append.events {
                let name = append.stream.as_str().to_owned();
                places.push(self.events.len());
                self.streams
                    .entry(name.clone())
                    .or_default()
                    .push(self.events.len());
                self.events
                    .push((name, event.clone(), commit.metadata.clone()));
            }
        }
        Ok(places)
    }

    fn retried(&self, commit: &Commit) -> Option<Vec<usize>> {
        let mut places = Vec::new();
        for append in &commit.appends {
            let events = self
                .streams
                .get(append.stream.as_str())
                .map_or(&[][..], Vec::as_slice);
            if (events.len() as u64) < append.expected.0 {
                return None;
            }
            for (index, event) in append.events.iter().enumerate() {
                let place = *events.get(append.expected.0 as usize + index)?;
                if self.events[place].1.id != event.id {
                    return None;
                }
                places.push(place);
            }
        }
        (!places.is_empty()).then_some(places)
    }
}

pub async fn random_schedule(under_test: &mut dyn LogUnderTest) {
    let seed: u64 = std::env::var("HANSARD_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("  HANSARD_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut model = Model::default();
    // positions[place] is where the model's event stands in the log.
    let mut positions: Vec<Position> = Vec::new();
    let mut past: Vec<Commit> = Vec::new();
    let mut now = 1_000;

    for _ in 0..STEPS {
        match random.random_range(0..100) {
            0..60 => {
                now += random.random_range(0..3);
                let mut commits = Vec::new();
                // As the batch leaves them, if all goes well.
                let mut ahead = BTreeMap::new();
                for _ in 0..random.random_range(1..6) {
                    if !past.is_empty() && random.random_bool(0.15) {
                        commits.extend(past.choose(&mut random).cloned().map(|mut commit| {
                            // What was never recorded is recorded now, if at all: times never go
                            // back along the log.
                            if model.retried(&commit).is_none() {
                                commit.metadata.at = Timestamp(now);
                            }
                            commit
                        }));
                    } else {
                        commits.push(some_commit(&mut random, &model, &mut ahead, now));
                    }
                }
                let head = positions.last().copied().unwrap_or_default();
                // Some are decided on what stands there, some on what stood there some time ago.
                let decided = match random.random_range(0..10) {
                    0..5 => None,
                    5..9 => Some(head),
                    _ => positions.choose(&mut random).copied(),
                };
                for commit in &mut commits {
                    commit.after = decided;
                }
                let expected = commits.iter().map(|commit| model.write(commit, head));
                let expected: Vec<_> = expected.collect();
                let outcomes = under_test.log().append(commits.clone()).await.unwrap();
                assert_eq!(outcomes.len(), expected.len());
                for (outcome, expected) in outcomes.into_iter().zip(expected) {
                    match (outcome, expected) {
                        (Ok(recorded), Ok(places)) => {
                            assert_eq!(recorded.positions.len(), places.len());
                            for (position, place) in recorded.positions.into_iter().zip(places) {
                                if place == positions.len() {
                                    assert!(positions.last().is_none_or(|last| *last < position));
                                    positions.push(position);
                                }
                                assert_eq!(positions[place], position);
                            }
                        }
                        (outcome, expected) => {
                            assert_eq!(outcome.err(), expected.err());
                        }
                    }
                }
                past.extend(commits);
            }
            60..75 => {
                let name = some_stream(&mut random);
                let places = model.streams.get(&name).cloned().unwrap_or_default();
                let after = random.random_range(0..=places.len());
                let stream = StreamId::from_name(&name);
                let read = collect(under_test.log().stream(&stream, Version(after as u64))).await;
                let versions = read.iter().map(|event| event.version.0);
                assert!(versions.eq(after as u64 + 1..=places.len() as u64));
                assert_places(&read, &places[after..], &model, &positions);
            }
            75..90 => {
                let after = random.random_range(0..=positions.len());
                let position = after
                    .checked_sub(1)
                    .map_or(Position::START, |last| positions[last]);
                let read = collect(under_test.log().all(position)).await;
                let places: Vec<_> = (after..positions.len()).collect();
                assert_places(&read, &places, &model, &positions);
            }
            90..97 => {
                let at = Timestamp(random.random_range(990..now + 10));
                let found = under_test.log().position_at(at).await.unwrap();
                let before = model
                    .events
                    .partition_point(|(_, _, metadata)| metadata.at <= at);
                let expected = before
                    .checked_sub(1)
                    .map_or(Position::START, |last| positions[last]);
                assert_eq!(found, expected);
            }
            _ => under_test.reopen().await,
        }
        let head = positions.last().copied().unwrap_or_default();
        assert_eq!(under_test.log().head().await.unwrap(), head);
    }
}

fn assert_places(read: &[StoredEvent], places: &[usize], model: &Model, positions: &[Position]) {
    assert_eq!(read.len(), places.len());
    for (event, place) in read.iter().zip(places) {
        let (stream, new, metadata) = &model.events[*place];
        assert_eq!(event.position, positions[*place]);
        assert_eq!(event.stream.as_str(), stream);
        assert_eq!((&event.event, &event.metadata), (new, metadata));
    }
}

fn some_stream(random: &mut StdRng) -> String {
    format!("room-{}", random.random_range(0..8))
}

/// Up to three streams, mostly at the version they have, or will have when the batch got so far.
fn some_commit(
    random: &mut StdRng,
    model: &Model,
    ahead: &mut BTreeMap<String, u64>,
    now: i64,
) -> Commit {
    let mut appends = BTreeMap::new();
    for _ in 0..random.random_range(1..4) {
        let name = some_stream(random);
        let version = *ahead
            .entry(name.clone())
            .or_insert_with(|| model.version(&name));
        let expected = match random.random_range(0..20) {
            0 => version + 1,
            1 => version.saturating_sub(1),
            2 => 0,
            _ => version,
        };
        let events: Vec<_> = (0..random.random_range(0..4))
            .map(|number: u8| event(number.to_string()))
            .collect();
        appends.insert(name.clone(), append(&name, expected, &events));
    }
    for (name, append) in &appends {
        ahead.insert(name.clone(), append.expected.0 + append.events.len() as u64);
    }
    commit_at(now, appends.into_values())
}
