//! The write model's snapshot: what makes a start quick however long the log is.
//!
//! It is sealed under a key of the vault, for it holds what the log holds sealed. A snapshot that is
//! missing, damaged or of another version is no harm: the model is made from the whole log.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hansard_domain::account::Account;
use hansard_domain::claim::Claim;
use hansard_domain::id::{DeliveryId, IntegrationId, RoleId, RoomId, Timestamp, UserId};
use hansard_domain::integration::{Delivery, Integration};
use hansard_domain::journal::{Journal, JournalError};
use hansard_domain::keyring::Keyring;
use hansard_domain::log::{Place, Position};
use hansard_domain::role::{Permission, Role};
use hansard_domain::room::Room;
use hansard_domain::seal::{decrypt, encrypt};
use hansard_domain::setting::Setting;
use hansard_domain::subscription::Subscription;
use hansard_domain::vault::{DataKey, KeyId};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::bus::Commands;
use crate::model::{RoomTimes, Versioned, WriteModel};
use crate::state::{StateError, StateStore};

/// Changes with the shape of any aggregate; a snapshot of another number is not read.
const VERSION: u32 = 10;

/// The snapshot is replaced when the log has grown by so many events since, looked at this often.
const WORTH_SAVING: u64 = 20_000;
const LOOK_EVERY: Duration = Duration::from_secs(30);

const NAME: &str = "snapshot";

/// Associated data of the snapshot's ciphertext.
const CONTEXT: &[u8] = b"hansard snapshot";

type Rows<K, A> = Vec<(K, Arc<Versioned<A>>)>;

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    place: Place,
    /// The highest number of a key that the log names up to here, or a higher one.
    highest_key: KeyId,
    newest: Timestamp,
    room_times: RoomTimes,
    workspace_id: Option<String>,
    writer: Option<String>,
    accounts: Rows<UserId, Account>,
    rooms: Rows<RoomId, Room>,
    subscriptions: Rows<(RoomId, UserId), Subscription>,
    roles: Rows<RoleId, Role>,
    permissions: Rows<String, Permission>,
    settings: Rows<String, Setting>,
    integrations: Rows<IntegrationId, Integration>,
    claims: Rows<String, Claim>,
    deliveries: Rows<DeliveryId, Delivery>,
    queued: Position,
    saved: Vec<(IntegrationId, Position)>,
    turned: Vec<(RoomId, Position)>,
}

fn rows<K: Clone, A>(live: &imbl::HashMap<K, Arc<Versioned<A>>>) -> Rows<K, A> {
    live.iter()
        .map(|(id, aggregate)| (id.clone(), aggregate.clone()))
        .collect()
}

impl Snapshot {
    fn of(model: &WriteModel, highest_key: KeyId) -> Self {
        Self {
            version: VERSION,
            place: model.place,
            highest_key,
            newest: model.newest,
            room_times: model.room_times.clone(),
            workspace_id: model.workspace_id.clone(),
            writer: model.writer.clone(),
            accounts: rows(&model.accounts),
            rooms: rows(&model.rooms),
            subscriptions: rows(&model.subscriptions),
            roles: rows(&model.roles),
            permissions: rows(&model.permissions),
            settings: rows(&model.settings),
            integrations: rows(&model.integrations),
            claims: rows(&model.claims),
            deliveries: rows(&model.deliveries),
            queued: model.queued,
            saved: model.saved.clone().into_iter().collect(),
            turned: model.turned.clone().into_iter().collect(),
        }
    }

    fn restore(self) -> WriteModel {
        // Defaults first, so that what a newer version of Hansard adds to them is there.
        let mut model = WriteModel::empty();
        model.place = self.place;
        model.newest = self.newest;
        model.room_times = self.room_times;
        model.workspace_id = self.workspace_id;
        model.writer = self.writer;
        model.accounts = self.accounts.into_iter().collect();
        model.rooms = self.rooms.into_iter().collect();
        model.subscriptions = self.subscriptions.into_iter().collect();
        model.roles.extend(self.roles);
        model.permissions.extend(self.permissions);
        model.settings = self.settings.into_iter().collect();
        model.integrations = self.integrations.into_iter().collect();
        model.claims = self.claims.into_iter().collect();
        model.deliveries = self.deliveries.into_iter().collect();
        model.queued = self.queued;
        model.saved = self.saved.into_iter().collect();
        model.turned = self.turned.into_iter().collect();
        for (id, account) in &model.accounts.clone() {
            model.index_account(id, account);
        }
        for (id, room) in &model.rooms.clone() {
            model.index_room(id, room);
        }
        for (id, delivery) in &model.deliveries.clone() {
            model.index_delivery(id, delivery);
        }
        model
    }
}

/// Saves and restores the snapshot. Cheap to clone; all clones write one after the other.
#[derive(Clone)]
pub struct Snapshots {
    store: Arc<dyn StateStore>,
    keys: Arc<Keyring>,
    key: DataKey,
    /// Of the snapshot that was saved last. Held while one is written.
    saved: Arc<Mutex<Position>>,
}

impl Snapshots {
    pub async fn open(store: Arc<dyn StateStore>, journal: &Journal) -> Result<Self, JournalError> {
        let key = journal.keys().secret(NAME).await?;
        Ok(Self {
            store,
            keys: journal.keys().clone(),
            key,
            saved: Arc::default(),
        })
    }

    /// The write model as the journal's head has it: the snapshot and the log's tail. What is minted
    /// afterwards has numbers above all that the log names.
    pub async fn restore(&self, journal: &Journal) -> Result<WriteModel, JournalError> {
        let mut model = self.load().await.unwrap_or_else(WriteModel::empty);
        let ahead = model.position() > journal.head();
        if ahead || !journal.has(model.place).await? {
            tracing::warn!("the snapshot is not of this log; left aside");
            model = WriteModel::empty();
            // The log may have grown beyond it by the next start.
            if let Err(error) = self.store.save(NAME, Vec::new()).await {
                tracing::warn!(%error, "a snapshot that is not this log's could not be deleted");
            }
        }
        let mut batches = journal.all(model.position());
        while let Some(batch) = batches.next().await {
            model.advance(&batch?);
        }
        Ok(model)
    }

    async fn load(&self) -> Option<WriteModel> {
        let sealed = match self.store.load(NAME).await {
            Ok(sealed) => String::from_utf8(sealed?).ok()?,
            Err(error) => {
                tracing::warn!(%error, "the write model is made from the whole log");
                return None;
            }
        };
        let key = self.key.clone();
        let snapshot = tokio::task::spawn_blocking(move || {
            let plain = decrypt(&key, &sealed, CONTEXT)?;
            hansard_domain::json::from_slice::<Snapshot>(&plain).ok()
        });
        let snapshot = snapshot
            .await
            .ok()
            .flatten()
            .filter(|found| found.version == VERSION);
        if snapshot.is_none() {
            tracing::warn!(
                "the snapshot can't be used; the write model is made from the whole log"
            );
        }
        let snapshot = snapshot?;
        self.keys.named(&[snapshot.highest_key]);
        Some(snapshot.restore())
    }

    /// Keeps the snapshot near the head until it is told to stop, then saves it a last time.
    pub async fn keep(&self, commands: Commands, stop: CancellationToken) {
        let mut saved = commands.model().position();
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_some()
        {
            let model = commands.model();
            if model.position().0 >= saved.0 + WORTH_SAVING {
                saved = model.position();
                self.save_or_warn(&model).await;
            }
        }
        self.save_or_warn(&commands.model()).await;
    }

    async fn save_or_warn(&self, model: &Arc<WriteModel>) {
        if let Err(error) = self.save(model).await {
            tracing::warn!(%error, "the next start reads more of the log");
        }
    }

    /// Replaces the snapshot, unless the one that is there is of the same position or a later one.
    pub async fn save(&self, model: &Arc<WriteModel>) -> Result<(), StateError> {
        // On a task of its own: whoever gives up waiting must not leave a writer behind that others
        // don't wait for.
        let (snapshots, model) = (self.clone(), model.clone());
        let saving = tokio::spawn(async move { snapshots.write(model).await });
        saving.await.unwrap_or_else(|error| Err(failed(error)))
    }

    async fn write(&self, model: Arc<WriteModel>) -> Result<(), StateError> {
        let mut saved = self.saved.lock().await;
        let position = model.position();
        if position <= *saved {
            return Ok(());
        }
        let (key, highest_key) = (self.key.clone(), self.keys.highest());
        let sealed = tokio::task::spawn_blocking(move || {
            let snapshot = Snapshot::of(&model, highest_key);
            let plain = serde_json::to_vec(&snapshot).map_err(failed)?;
            encrypt(&key, &plain, CONTEXT).ok_or_else(|| failed("it can't be encrypted"))
        });
        let sealed = sealed.await.map_err(failed)??;
        self.store.save(NAME, sealed.into_bytes()).await?;
        *saved = position;
        Ok(())
    }
}

fn failed(reason: impl std::fmt::Display) -> StateError {
    StateError {
        name: NAME.to_owned(),
        what: "written",
        reason: reason.to_string(),
    }
}
