//! The vault on PostgreSQL, against the suite that all vaults run, and what is its own: keys that must
//! leave nothing behind in the server's files, nodes that mint at the same time, keys of earlier versions.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use async_trait::async_trait;
use hansard_domain::vault::{KeyId, KeyVault, VaultError};
use hansard_infra::postgres::Database;
use hansard_infra::vault::master_key::MasterKey;
use hansard_infra::vault::postgres::PostgresVault;
use hansard_tests::conformance::vault::{self, VaultUnderTest};
use hansard_tests::services::{Postgres, in_schema, postgres_url};
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinSet;

const MASTER: [u8; 32] = [0x5a; 32];

fn master() -> MasterKey {
    MasterKey::from_hex(&"5a".repeat(32)).unwrap()
}

struct VaultInSchema {
    url: String,
    master: MasterKey,
    opened: Option<(Database, Arc<PostgresVault>)>,
}

#[async_trait]
impl VaultUnderTest for VaultInSchema {
    fn vault(&self) -> Arc<dyn KeyVault> {
        self.opened.as_ref().unwrap().1.clone()
    }

    async fn reopen(&mut self) {
        if let Some((database, _)) = self.opened.take() {
            database.close().await;
        }
        let database = Database::open(&self.url).await.unwrap();
        let vault = PostgresVault::open(&database, self.master.clone());
        let vault = Arc::new(vault.await.unwrap());
        self.opened = Some((database, vault));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_promises_of_the_vault() {
    let mut under_test = VaultInSchema {
        url: postgres_url(),
        master: master(),
        opened: None,
    };
    under_test.reopen().await;
    vault::run(&mut under_test).await;
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(connection)
        .await
        .unwrap();
}

/// Somebody who has the server's files and the master key, and knows how keys are kept.
#[derive(Default)]
struct Thief {
    /// The keys that a block ever had, as far as any file tells.
    blocks: HashMap<u64, HashSet<[u8; 32]>>,
    /// The data keys that can be got at.
    keys: HashMap<KeyId, [u8; 32]>,
}

/// The length of what is sealed: so many keys with nonce and tag, as the head of a `bytea` says it.
const fn head(keys: usize) -> [u8; 4] {
    (((4 + 12 + keys * 32 + 16) as u32) << 2).to_le_bytes()
}

impl Thief {
    /// What is to be found in a directory of the server.
    fn search(directory: &Path) -> Self {
        let mut files = Vec::new();
        read(directory, &mut files);
        let mut thief = Self::default();
        for file in &files {
            for (root, sealed) in sealed(file, 32) {
                for (place, key) in open(&MASTER, sealed, "root:", root).into_iter().enumerate() {
                    let block = root * 32 + place as u64;
                    thief.blocks.entry(block).or_default().insert(key);
                }
            }
        }
        for file in &files {
            for (block, sealed) in sealed(file, 64) {
                for key in thief.blocks.get(&block).into_iter().flatten() {
                    let keys = open(key, sealed, "block:", block).into_iter().enumerate();
                    let found = keys.filter(|(_, key)| *key != [0; 32]);
                    thief
                        .keys
                        .extend(found.map(|(place, key)| (KeyId(block * 64 + place as u64), key)));
                }
            }
        }
        thief
    }

    fn has(&self, id: KeyId) -> bool {
        self.keys.contains_key(&id)
    }
}

fn read(directory: &Path, files: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read(&path, files);
        } else {
            // A file may be deleted meanwhile.
            files.extend(std::fs::read(&path));
        }
    }
}

/// Every place of a file that looks like a row with so many keys: its number, and what is sealed.
fn sealed(file: &[u8], keys: usize) -> Vec<(u64, &[u8])> {
    let length = 12 + keys * 32 + 16;
    let places = (8..file.len().saturating_sub(length)).step_by(4);
    places
        .filter(|place| file[*place..].starts_with(&head(keys)))
        .filter_map(|place| {
            let number = u64::from_le_bytes(file[place - 8..place].try_into().unwrap());
            Some((number, file.get(place + 4..place + 4 + length)?))
        })
        .collect()
}

/// The keys in it; none if it does not open.
fn open(key: &[u8; 32], sealed: &[u8], purpose: &str, number: u64) -> Vec<[u8; 32]> {
    let (nonce, msg) = sealed.split_first_chunk::<12>().unwrap();
    let aad = &[purpose.as_bytes(), &number.to_be_bytes()].concat();
    let opened = Aes256Gcm::new(&(*key).into()).decrypt(&Nonce::from(*nonce), Payload { msg, aad });
    opened.unwrap_or_default().as_chunks::<32>().0.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_key_can_be_got_at_from_no_table_file_any_more() {
    let server = Postgres::start();
    let database = Database::open(server.url()).await.unwrap();
    let vault = Arc::new(PostgresVault::open(&database, master()).await.unwrap());
    // Three roots: all of the first, all of the second, and some of the third.
    let minted = vault.mint(5000, KeyId(0)).await.unwrap();
    let (tables, mut connection) = (
        server.data().join("base"),
        PgConnection::connect(server.url()).await.unwrap(),
    );
    execute(&mut connection, "CHECKPOINT").await;
    let before = Thief::search(&tables);
    assert!(
        minted
            .iter()
            .all(|(id, key)| before.keys.get(id) == Some(&key.0)),
        "the test can fail"
    );

    // An old transaction that can still see them, as a dump has one, does not hold the wiping up.
    let mut dump = PgConnection::connect(server.url()).await.unwrap();
    let old = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
    execute(&mut dump, old).await;

    // One here and there, a block and a root as a whole; others read and mint all the while, and never
    // miss a key that is there.
    let gone: Vec<KeyId> = minted
        .iter()
        .enumerate()
        .filter(|(place, _)| {
            place % 7 == 0 || (64..128).contains(place) || (2048..4096).contains(place)
        })
        .map(|(_, (id, _))| *id)
        .collect();
    let kept: Vec<_> = minted
        .iter()
        .filter(|(id, _)| !gone.contains(id))
        .cloned()
        .collect();
    let kept_ids: Vec<_> = kept.iter().map(|(id, _)| *id).collect();
    let (stop, stopped) = watch::channel(false);
    let (reading, ids) = (vault.clone(), kept_ids.clone());
    let reader = tokio::spawn(async move {
        let mut reads = 0;
        while !*stopped.borrow() {
            assert_eq!(reading.keys(&ids).await.unwrap().len(), ids.len());
            reads += 1;
        }
        reads
    });
    let minting = vault.clone();
    let minter = tokio::spawn(async move {
        let mut minted = Vec::new();
        for _ in 0..20 {
            minted.extend(minting.mint(10, KeyId(0)).await.unwrap());
        }
        minted
    });
    // Two nodes shred the same, as all do.
    let another = Database::open(server.url()).await.unwrap();
    let other = PostgresVault::open(&another, master()).await.unwrap();
    for some in gone.chunks(100) {
        let (one, another) = tokio::join!(vault.shred(some), other.shred(some));
        one.unwrap();
        another.unwrap();
    }
    let later = minter.await.unwrap();
    stop.send_replace(true);
    assert!(reader.await.unwrap() > 3);

    execute(&mut connection, "CHECKPOINT").await;
    let after = Thief::search(&tables);
    assert!(
        !gone.iter().any(|id| after.has(*id)),
        "what is shredded is gone"
    );
    assert!(
        kept.iter()
            .all(|(id, key)| after.keys.get(id) == Some(&key.0))
    );
    let held = vault.keys(&kept_ids).await.unwrap();
    assert!(kept.iter().all(|(id, key)| held.get(id) == Some(key)));
    let ids: Vec<_> = later.iter().map(|(id, _)| *id).collect();
    assert_eq!(vault.keys(&ids).await.unwrap().len(), 200);
    assert!(vault.keys(&gone).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_earlier_versions_are_moved_and_leave_nothing_behind() {
    let server = Postgres::start();
    let url = in_schema(server.url(), "old");
    let mut connection = PgConnection::connect(server.url()).await.unwrap();
    execute(&mut connection, "CREATE SCHEMA old; SET search_path = old").await;
    execute(
        &mut connection,
        include_str!("../../../infra/src/postgres/schema.sql"),
    )
    .await;
    execute(&mut connection, "UPDATE format SET format = 1").await;
    let cipher = Aes256Gcm::new(&MASTER.into());
    let wrap = |key: &[u8; 32], purpose: &[u8]| {
        let (nonce, payload) = (
            [7; 12],
            Payload {
                msg: key,
                aad: purpose,
            },
        );
        [
            nonce.to_vec(),
            cipher.encrypt(&Nonce::from(nonce), payload).unwrap(),
        ]
        .concat()
    };
    sqlx::query("INSERT INTO vault (proof) VALUES ($1)")
        .bind(wrap(&[1; 32], b"check"))
        .execute(&mut connection)
        .await
        .unwrap();
    let key = |number: i64| {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    };
    let numbers: Vec<i64> = (1..=5000).filter(|number| number % 10 != 0).collect();
    for number in &numbers {
        let purpose = [b"key:".as_slice(), &number.to_be_bytes()].concat();
        sqlx::query("INSERT INTO keys (part, id, wrapped) VALUES ($1, $2, $3)")
            .bind((number / 1024 % 64) as i16)
            .bind(number)
            .bind(wrap(&key(*number), &purpose))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    execute(&mut connection, "SELECT setval('key_numbers', 6000)").await;

    let (one, other) = (
        Database::open(&url).await.unwrap(),
        Database::open(&url).await.unwrap(),
    );
    let opened = tokio::join!(
        PostgresVault::open(&one, master()),
        PostgresVault::open(&other, master()),
    );
    let (vault, _) = (opened.0.unwrap(), opened.1.unwrap());
    let ids: Vec<_> = (0..=6000).map(KeyId).collect();
    let held = vault.keys(&ids).await.unwrap();
    assert_eq!(held.len(), numbers.len());
    assert!(
        numbers
            .iter()
            .all(|number| held[&KeyId(*number as u64)].0 == key(*number))
    );
    let minted = vault.mint(1, KeyId(0)).await.unwrap();
    assert!(minted[0].0 > KeyId(6000), "{minted:?}");
    let left: bool = sqlx::query_scalar("SELECT to_regclass('old.keys') IS NOT NULL")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(!left, "the table is deleted");

    vault.shred(&ids[..3000]).await.unwrap();
    execute(&mut connection, "CHECKPOINT").await;
    let after = Thief::search(&server.data().join("base"));
    assert!(!ids[..3000].iter().any(|id| after.has(*id)));
    assert!(after.has(KeyId(4999)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_mint_keys_of_their_own() {
    let url = postgres_url();
    let master = MasterKey::random();
    let mut nodes = JoinSet::new();
    for _ in 0..3 {
        let database = Database::open(&url).await.unwrap();
        let vault = PostgresVault::open(&database, master.clone())
            .await
            .unwrap();
        nodes.spawn(async move {
            let mut minted = Vec::new();
            for _ in 0..20 {
                minted.extend(vault.mint(30, KeyId(0)).await.unwrap());
            }
            let secret = vault.secret("claims").await.unwrap();
            (minted, secret)
        });
    }
    let minted = nodes.join_all().await;
    assert!(minted.iter().all(|(_, secret)| *secret == minted[0].1));
    let keys: Vec<_> = minted.into_iter().flat_map(|(keys, _)| keys).collect();
    let ids: Vec<_> = keys.iter().map(|(id, _)| *id).collect();
    let database = Database::open(&url).await.unwrap();
    let vault = PostgresVault::open(&database, master).await.unwrap();
    let held = vault.keys(&ids).await.unwrap();
    assert_eq!(held.len(), 1800, "every number was given out once");
    assert!(keys.iter().all(|(id, key)| held.get(id) == Some(key)));

    let other = PostgresVault::open(&database, MasterKey::random()).await;
    assert!(matches!(other.err(), Some(VaultError::WrongMasterKey)));
}
