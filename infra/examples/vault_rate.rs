//! Prints what the vault on PostgreSQL costs the more keys it holds: minting, reading, shredding one
//! key, keys that stand far apart, and keys in a row.
//!
//! ```sh
//! url=$(tests/services/postgres.sh start /tmp/vault_rate)
//! cargo run --release -p hansard-infra --example vault_rate -- "$url" 1000000 10000000 50000000
//! tests/services/postgres.sh stop /tmp/vault_rate
//! ```
//!
//! Fifty million keys take some 2.5 GB there, in the schema `vault_rate`.

use std::error::Error;
use std::time::{Duration, Instant};

use hansard_domain::vault::{KeyId, KeyVault};
use hansard_infra::postgres::Database;
use hansard_infra::vault::master_key::MasterKey;
use hansard_infra::vault::postgres::PostgresVault;
use rand::RngExt;

/// Keys that are minted with one call, as Hansard does.
const BLOCK: usize = 2048;

/// What is measured is measured so often, and the middle one told.
const TIMES: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("say which database: postgres://…")?;
    let sizes = arguments.map(|size| size.parse());
    let sizes = sizes.collect::<Result<Vec<u64>, _>>()?;
    let separator = if url.contains('?') { '&' } else { '?' };
    let database = Database::open(&format!("{url}{separator}schema=vault_rate")).await?;
    let master = MasterKey::from_hex(&"5a".repeat(32))?;
    let vault = PostgresVault::open(&database, master).await?;

    println!("keys        minted/s  read 1,000  shred 1  shred 100 apart  shred 10,000 in a row");
    let mut first = None;
    let mut held = 0;
    for size in sizes {
        let (started, before) = (Instant::now(), held);
        let mut last = KeyId(0);
        while held < size {
            let minted = vault.mint(BLOCK, KeyId(0)).await?;
            let ends = minted.first().zip(minted.last());
            let (from, to) = ends.ok_or("nothing was minted")?;
            first.get_or_insert(from.0);
            last = to.0;
            held += BLOCK as u64;
        }
        let rate = (held - before) as f64 / started.elapsed().as_secs_f64();
        let from = first.unwrap_or_default();
        let any = || KeyId(rand::rng().random_range(from.0..=last.0));
        let read = middle(async || {
            let ids: Vec<_> = (0..1000).map(|_| any()).collect();
            vault.keys(&ids).await.map(drop)
        });
        let read = read.await?;
        let one = middle(async || vault.shred(&[any()]).await).await?;
        let apart = middle(async || {
            let ids: Vec<_> = (0..100).map(|_| any()).collect();
            vault.shred(&ids).await
        });
        let apart = apart.await?;
        let row = middle(async || {
            let start = rand::rng().random_range(from.0..=last.0 - 10_000);
            let ids: Vec<_> = (start..start + 10_000).map(KeyId).collect();
            vault.shred(&ids).await
        });
        let row = row.await?;
        println!(
            "{held:<10}  {rate:>8.0}  {:>7} ms  {:>4} ms  {:>12} ms  {:>18} ms",
            read.as_millis(),
            one.as_millis(),
            apart.as_millis(),
            row.as_millis(),
        );
    }
    database.close().await;
    Ok(())
}

/// How long something takes as a rule.
async fn middle<E>(mut something: impl AsyncFnMut() -> Result<(), E>) -> Result<Duration, E> {
    let mut taken = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let started = Instant::now();
        something().await?;
        taken.push(started.elapsed());
    }
    taken.sort_unstable();
    Ok(taken[TIMES / 2])
}
