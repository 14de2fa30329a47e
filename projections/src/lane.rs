//! What is known of a view outside of the task that feeds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hansard_domain::log::Position;
use tokio::sync::{mpsc, watch};

use crate::feed::Adopt;
use crate::nodes::{Announced, Duty};
use crate::rebuild::{Progress, Told};
use crate::rebuilder::Request;
use crate::store::Store;
use crate::view::View;

pub type Lanes = BTreeMap<&'static str, Lane>;

/// See the module.
pub struct Lane {
    pub view: Arc<dyn View>,
    pub store: Store,
    pub scrubbed: watch::Receiver<Position>,
    /// The rebuild on this node.
    pub told: Told,
    /// The rebuild on the node that feeds, while this one follows.
    pub heard: Told,
    pub adoptions: mpsc::Sender<Adopt>,
    pub rebuilds: mpsc::UnboundedSender<Request>,
}

impl Lane {
    /// Has the view rebuilt on this node, unless it is being or about to be.
    pub fn begin_rebuild(&self) {
        let begun = self.told.send_if_modified(|told| {
            let idle = told.is_none();
            if idle {
                *told = Some(Progress::start(self.store.head()));
            }
            idle
        });
        if begun {
            let views = vec![self.view.name()];
            // Nobody waits for it, and a projector that has stopped rebuilds nothing.
            let _ = self.rebuilds.send(Request { views, done: None });
        }
    }

    /// The rebuild on whatever node feeds.
    pub fn rebuild(&self, duty: Duty) -> Option<Progress> {
        match duty {
            Duty::Feed => *self.told.borrow(),
            Duty::Follow => *self.heard.borrow(),
        }
    }

    /// Whether the node that feeds is building it, as far as this one has heard.
    pub fn is_rebuilt_elsewhere(&self) -> bool {
        self.heard.borrow().is_some()
    }

    /// What other nodes have to know of it.
    pub fn announced(&self) -> Announced {
        Announced {
            version: self.view.version(),
            generation: self.store.is_serving().then(|| self.store.generation()),
            applied: self.store.applied().0,
            scrubbed: self.scrubbed.borrow().0,
            set_aside: self.store.lacking().borrow().events,
            building: self.told.borrow().map(|progress| progress.position.0),
        }
    }
}
