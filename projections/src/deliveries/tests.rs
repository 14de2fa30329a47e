use hansard_domain::integration::{Abandonment, Cause, HeldBack};
use hansard_domain::log::StreamId;
use hansard_domain::room::{PruneCriteria, PruneReason, Pruned};

use super::*;
use crate::testing::{Story, dump, on_both_engines, shredded, tables, told};

const TABLES: &[&str] = &["delivery"];

/// The key of the message that deliveries carry.
const CARRIED: KeyId = KeyId(9);

impl Story {
    fn delivery(&mut self, id: &str, event: DeliveryEvent) -> &mut Self {
        self.tell(StreamId::new("delivery", id), event)
    }

    fn integration(&mut self, id: &str, event: IntegrationEvent) -> &mut Self {
        self.tell(StreamId::new("integration", id), event)
    }

    fn cause(&self, integration: &str) -> Cause {
        Cause {
            integration: integration.into(),
            trigger: Trigger::SendMessage,
            position: Position(self.entries.len() as u64),
            room: Some("GENERAL".into()),
            message: Some("hello".into()),
            user: Some("mary".into()),
            url: 0,
        }
    }

    fn queued(&mut self, id: &str, integration: &str) -> &mut Self {
        let (cause, at) = (self.cause(integration), self.now());
        self.delivery(id, DeliveryEvent::WebhookQueued { cause, at })
    }

    fn failed(&mut self, id: &str, attempt: u32, again: bool) -> &mut Self {
        let at = self.now();
        let retry_at = again.then(|| Timestamp(at.0 + 5000));
        self.delivery(
            id,
            DeliveryEvent::WebhookFailed {
                status: Some(503),
                attempt,
                exchange: exchange("busy"),
                at,
                retry_at,
            },
        )
    }

    fn delivered(&mut self, id: &str, attempt: u32) -> &mut Self {
        let at = self.now();
        self.delivery(
            id,
            DeliveryEvent::WebhookDelivered {
                status: 200,
                attempt,
                exchange: exchange("fine"),
                answer_held_back: None,
                at,
            },
        )
    }

    fn replayed(&mut self, id: &str, integration: &str) -> &mut Self {
        let (cause, at) = (self.cause(integration), self.now());
        let by = "mary".into();
        self.delivery(id, DeliveryEvent::WebhookReplayed { by, cause, at })
    }
}

fn exchange(response: &str) -> Private<Exchange> {
    let exchange = Exchange {
        url: "https://example.com/hook".into(),
        request: r#"{"text":"hush"}"#.into(),
        response: response.into(),
    };
    Private::new(CARRIED, exchange)
}

async fn rows(story: &Story) -> Vec<Delivery> {
    let mut tables = told(&DeliveriesView, story, TABLES).await;
    let rows = sqlx::query("SELECT * FROM delivery ORDER BY id")
        .fetch_all(&mut tables)
        .await
        .unwrap();
    rows.iter()
        .map(|row| Delivery::read(row).unwrap())
        .collect()
}

async fn a_delivery_is_followed_from_queue_to_end() {
    let mut story = Story::default();
    story.queued("a", "hook").failed("a", 1, true);
    let row = rows(&story).await.remove(0);
    assert_eq!((row.state, row.attempts), (State::Pending, 1));
    assert_eq!(row.due, Some(Timestamp(row.updated.0 + 5000)));
    assert_eq!(row.status, Some(503));

    story.delivered("a", 2);
    let row = rows(&story).await.remove(0);
    assert_eq!((row.state, row.attempts), (State::Delivered, 2));
    assert_eq!((row.due, row.status), (None, Some(200)));
    assert_eq!(row.exchange.unwrap().response, "fine");
}

async fn a_dead_letter_comes_to_life_when_it_is_replayed() {
    let mut story = Story::default();
    story.queued("a", "hook").failed("a", 1, false);
    assert_eq!(rows(&story).await[0].state, State::Dead);
    story.replayed("a", "hook");
    let row = rows(&story).await.remove(0);
    assert_eq!((row.state, row.attempts), (State::Pending, 0));
    assert!(row.due.is_some());
}

async fn an_answer_that_was_held_back_says_why_until_it_is_made_again() {
    let mut story = Story::default();
    let at = story.now();
    let delivered = DeliveryEvent::WebhookDelivered {
        status: 200,
        attempt: 1,
        exchange: exchange("fine"),
        answer_held_back: Some(HeldBack::DestinationGone),
        at,
    };
    story.queued("a", "hook").delivery("a", delivered);
    let row = rows(&story).await.remove(0);
    assert_eq!(row.state, State::Delivered);
    assert_eq!(row.answer_held_back.as_deref(), Some("destinationGone"));
    story.replayed("a", "hook");
    assert_eq!(rows(&story).await[0].answer_held_back, None);
}

async fn what_was_given_up_says_why() {
    let mut story = Story::default();
    let at = story.now();
    let reason = Abandonment::Overflow;
    story
        .queued("a", "hook")
        .delivery("a", DeliveryEvent::WebhookAbandoned { reason, at });
    let row = rows(&story).await.remove(0);
    assert_eq!(row.state, State::Dead);
    assert_eq!(row.abandoned.as_deref(), Some("overflow"));
}

async fn a_cleared_history_keeps_what_is_under_way() {
    let mut story = Story::default();
    story
        .queued("a", "hook")
        .delivered("a", 1)
        .queued("b", "hook")
        .queued("c", "other")
        .delivered("c", 1)
        .integration("hook", IntegrationEvent::DeliveryHistoryCleared {})
        .replayed("a", "hook");
    let ids: Vec<_> = rows(&story).await.into_iter().map(|row| row.id).collect();
    assert_eq!(ids, ["b".into(), "c".into()]);
}

async fn a_removed_integration_takes_its_deliveries_along() {
    let mut story = Story::default();
    story
        .queued("a", "hook")
        .queued("b", "other")
        .integration(
            "hook",
            IntegrationEvent::IntegrationRemoved { key: KeyId(4) },
        )
        .failed("a", 1, true);
    let ids: Vec<_> = rows(&story).await.into_iter().map(|row| row.id).collect();
    assert_eq!(ids, ["b".into()]);
}

async fn what_is_erased_is_gone_whichever_way_it_is_told() {
    let mut story = Story::default();
    story
        .queued("a", "hook")
        .failed("a", 1, true)
        .delivered("a", 2)
        .queued("b", "hook")
        .delivered("b", 1)
        .room(
            "GENERAL",
            RoomEvent::ChannelPruned {
                reason: PruneReason::Requested,
                criteria: PruneCriteria::default(),
                pruned: vec![Pruned {
                    message: "hello".into(),
                    key: CARRIED,
                }],
            },
        );
    for row in rows(&story).await {
        assert_eq!((row.exchange, row.status), (None, Some(200)));
    }
    let mut live = tables(&DeliveriesView, &story.entries, 2).await;
    let mut replayed = tables(&DeliveriesView, &shredded(&story.entries), 3).await;
    assert_eq!(
        dump(&mut live, TABLES).await,
        dump(&mut replayed, TABLES).await
    );
}

on_both_engines!(
    a_delivery_is_followed_from_queue_to_end,
    a_dead_letter_comes_to_life_when_it_is_replayed,
    an_answer_that_was_held_back_says_why_until_it_is_made_again,
    what_was_given_up_says_why,
    a_cleared_history_keeps_what_is_under_way,
    a_removed_integration_takes_its_deliveries_along,
    what_is_erased_is_gone_whichever_way_it_is_told,
);
