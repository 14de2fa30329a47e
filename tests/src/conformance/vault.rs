//! What every key vault must do, checked from outside through the port.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use hansard_domain::vault::{DataKey, KeyId, KeyVault};
use tokio::task::JoinSet;

/// A vault, empty at first, that can be closed and opened again with what it holds.
#[async_trait]
pub trait VaultUnderTest: Send {
    fn vault(&self) -> Arc<dyn KeyVault>;
    async fn reopen(&mut self);
}

/// Runs all checks on one vault.
pub async fn run(under_test: &mut dyn VaultUnderTest) {
    println!("keys are fresh, and their numbers too");
    minting(under_test).await;
    println!("numbers are as high as they are wanted");
    lifting(under_test).await;
    println!("keys come back as they were");
    finding(under_test).await;
    println!("shredded keys are gone for good");
    shredding(under_test).await;
    println!("secrets stay");
    secrets(under_test).await;
}

async fn minting(under_test: &mut dyn VaultUnderTest) {
    let mut last = KeyId(0);
    let mut keys: Vec<DataKey> = Vec::new();
    for count in [1, 0, 3, 500] {
        let vault = under_test.vault();
        let minted = vault.mint(count, KeyId(0)).await.unwrap();
        assert_eq!(minted.len(), count);
        for (id, key) in minted {
            assert!(id > last, "{id:?} after {last:?}");
            last = id;
            keys.push(key);
        }
        if let Some(id) = (count == 3).then_some(last) {
            // The last number is not given out again though its key is gone.
            vault.shred(&[id]).await.unwrap();
        }
        drop(vault);
        under_test.reopen().await;
    }
    let different: HashSet<[u8; 32]> = keys.iter().map(|key| key.0).collect();
    assert_eq!(different.len(), keys.len());

    let mut minters = JoinSet::new();
    for _ in 0..8 {
        let vault = under_test.vault();
        minters.spawn(async move { vault.mint(20, KeyId(0)).await.unwrap() });
    }
    let blocks = minters.join_all().await;
    let numbers: HashSet<_> = blocks.iter().flatten().map(|(id, _)| *id).collect();
    assert_eq!(numbers.len(), 160);
    assert!(numbers.iter().all(|id| *id > last));
    for block in blocks {
        assert!(block.is_sorted_by(|(one, _), (next, _)| one < next));
    }
}

async fn lifting(under_test: &mut dyn VaultUnderTest) {
    let nothing = KeyId(0);
    let last = under_test.vault().mint(2, nothing).await.unwrap()[1].0;
    let above = KeyId(last.0 + 10_000);
    let lifted = under_test.vault().mint(3, above).await.unwrap();
    assert!(lifted[0].0 > above, "{lifted:?} after {above:?}");
    let ids: Vec<_> = lifted.iter().map(|(id, _)| *id).collect();
    assert_eq!(under_test.vault().keys(&ids).await.unwrap().len(), 3);
    for lower in [nothing, above] {
        under_test.reopen().await;
        let next = under_test.vault().mint(1, lower).await.unwrap()[0].0;
        assert!(next > ids[2], "{next:?} after {ids:?}");
    }
}

async fn finding(under_test: &mut dyn VaultUnderTest) {
    let minted = under_test.vault().mint(5_000, KeyId(0)).await.unwrap();
    let ids: Vec<_> = minted.iter().map(|(id, _)| *id).collect();
    for _ in 0..2 {
        let vault = under_test.vault();
        let found = vault.keys(&ids).await.unwrap();
        assert_eq!(found.len(), minted.len());
        assert!(minted.iter().all(|(id, key)| found.get(id) == Some(key)));
        let unknown = KeyId(ids[4_999].0 + 1);
        let found = vault
            .keys(&[ids[7], ids[7], unknown, KeyId(0)])
            .await
            .unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [minted[7].clone()]);
        assert!(vault.keys(&[]).await.unwrap().is_empty());
        drop(vault);
        under_test.reopen().await;
    }
}

async fn shredding(under_test: &mut dyn VaultUnderTest) {
    let minted = under_test.vault().mint(10, KeyId(0)).await.unwrap();
    let ids: Vec<_> = minted.iter().map(|(id, _)| *id).collect();
    let (gone, kept) = ids.split_at(6);
    for _ in 0..2 {
        let vault = under_test.vault();
        vault.shred(gone).await.unwrap();
        vault.shred(&[]).await.unwrap();
        vault.shred(&[KeyId(u64::from(u32::MAX))]).await.unwrap();
        let found = vault.keys(&ids).await.unwrap();
        assert_eq!(found.len(), kept.len());
        assert!(
            minted[6..]
                .iter()
                .all(|(id, key)| found.get(id) == Some(key))
        );
        drop(vault);
        under_test.reopen().await;
    }
}

async fn secrets(under_test: &mut dyn VaultUnderTest) {
    let claims = under_test.vault().secret("claims").await.unwrap();
    let snapshot = under_test.vault().secret("snapshot").await.unwrap();
    assert_ne!(claims, snapshot);
    let minted = under_test.vault().mint(3, KeyId(0)).await.unwrap();
    let ids: Vec<_> = minted.iter().map(|(id, _)| *id).collect();
    under_test.vault().shred(&ids).await.unwrap();
    under_test.reopen().await;
    assert_eq!(under_test.vault().secret("claims").await.unwrap(), claims);
    assert_eq!(
        under_test.vault().secret("snapshot").await.unwrap(),
        snapshot
    );

    let mut first = JoinSet::new();
    for _ in 0..8 {
        let vault = under_test.vault();
        first.spawn(async move { vault.secret("at once").await.unwrap() });
    }
    let first = first.join_all().await;
    assert!(first.iter().all(|secret| *secret == first[0]));
}
