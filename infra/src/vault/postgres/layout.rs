//! Where a key stands, and how what stands there is sealed.
//!
//! A number says where its key is: 64 in a row share a **block**, encrypted under the block's own key;
//! the keys of 32 blocks in a row are a **root**, encrypted under the master key. Roots stand in 64
//! parts by turns.

use hansard_domain::vault::{DataKey, KeyId};
use zeroize::Zeroizing;

use crate::vault::master_key::{NotOpened, Purpose, Wrapping, random_key};

/// The keys of a block, and the blocks of a root.
const BLOCK: u64 = 64;
const ROOT: u64 = 32;

/// The numbers of a root.
pub(super) const NUMBERS: u64 = BLOCK * ROOT;

/// The parts of the table of roots; the format of the tables says the same.
const PARTS: u64 = 64;

const KEY: usize = 32;

/// The number of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlockId(pub u64);

/// The number of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RootId(pub u64);

impl BlockId {
    pub fn of(id: KeyId) -> Self {
        Self(id.0 / BLOCK)
    }

    pub fn root(self) -> RootId {
        RootId(self.0 / ROOT)
    }

    fn place(self) -> usize {
        (self.0 % ROOT) as usize
    }
}

impl RootId {
    /// The root of a key.
    pub fn of(id: KeyId) -> Self {
        BlockId::of(id).root()
    }

    pub fn part(self) -> i16 {
        (self.0 % PARTS) as i16
    }

    pub fn first_key(self) -> KeyId {
        KeyId(self.0 * NUMBERS)
    }
}

/// A row of so many keys, some of them missing. Missing ones are zeros, which no key ever is.
struct Row(Vec<Option<DataKey>>);

impl Row {
    fn empty(length: u64) -> Self {
        Self((0..length).map(|_| None).collect())
    }

    fn seal(&self, wrapping: &Wrapping, purpose: Purpose<'_>) -> Result<Vec<u8>, NotOpened> {
        let mut plain = Zeroizing::new(vec![0; self.0.len() * KEY]);
        for (place, key) in plain.chunks_exact_mut(KEY).zip(&self.0) {
            if let Some(key) = key {
                place.copy_from_slice(&key.0);
            }
        }
        wrapping.seal(&plain, purpose)
    }

    fn open(
        length: u64,
        sealed: &[u8],
        wrapping: &Wrapping,
        purpose: Purpose<'_>,
    ) -> Result<Self, NotOpened> {
        let plain = wrapping.open(sealed, purpose)?;
        if plain.len() as u64 != length * KEY as u64 {
            return Err(NotOpened);
        }
        let keys = plain.as_chunks::<KEY>().0.iter().map(|bytes| {
            let is_there = bytes.iter().any(|byte| *byte != 0);
            is_there.then_some(DataKey(*bytes))
        });
        Ok(Self(keys.collect()))
    }
}

/// The keys of a block.
pub(super) struct Block {
    id: BlockId,
    keys: Row,
}

impl Block {
    pub fn empty(id: BlockId) -> Self {
        let keys = Row::empty(BLOCK);
        Self { id, keys }
    }

    pub fn open(id: BlockId, sealed: &[u8], key: &DataKey) -> Result<Self, NotOpened> {
        let keys = Row::open(BLOCK, sealed, &Wrapping::under(key), Purpose::Block(id.0))?;
        Ok(Self { id, keys })
    }

    pub fn seal(&self, key: &DataKey) -> Result<Vec<u8>, NotOpened> {
        self.keys
            .seal(&Wrapping::under(key), Purpose::Block(self.id.0))
    }

    pub fn get(&self, id: KeyId) -> Option<&DataKey> {
        self.keys.0.get((id.0 % BLOCK) as usize)?.as_ref()
    }

    pub fn put(&mut self, id: KeyId, key: DataKey) {
        if let Some(place) = self.keys.0.get_mut((id.0 % BLOCK) as usize) {
            *place = Some(key);
        }
    }

    /// Whether a key was there.
    pub fn remove(&mut self, id: KeyId) -> bool {
        let place = self.keys.0.get_mut((id.0 % BLOCK) as usize);
        place.is_some_and(|place| place.take().is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.keys.0.iter().all(Option::is_none)
    }
}

/// The keys of the blocks of a root.
pub(super) struct Root {
    id: RootId,
    keys: Row,
}

impl Root {
    pub fn empty(id: RootId) -> Self {
        let keys = Row::empty(ROOT);
        Self { id, keys }
    }

    pub fn open(id: RootId, sealed: &[u8], master: &Wrapping) -> Result<Self, NotOpened> {
        let keys = Row::open(ROOT, sealed, master, Purpose::Root(id.0))?;
        Ok(Self { id, keys })
    }

    pub fn seal(&self, master: &Wrapping) -> Result<Vec<u8>, NotOpened> {
        self.keys.seal(master, Purpose::Root(self.id.0))
    }

    /// The key of a block.
    pub fn get(&self, block: BlockId) -> Option<&DataKey> {
        self.keys.0.get(block.place())?.as_ref()
    }

    /// Gives a block a fresh key, and forgets the one it had.
    pub fn renew(&mut self, block: BlockId) -> DataKey {
        let key = random_key();
        if let Some(place) = self.keys.0.get_mut(block.place()) {
            *place = Some(key.clone());
        }
        key
    }

    pub fn remove(&mut self, block: BlockId) {
        if let Some(place) = self.keys.0.get_mut(block.place()) {
            *place = None;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.0.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::master_key::MasterKey;

    #[test]
    fn numbers_of_a_root_share_it_and_blocks_of_it() {
        let first = KeyId(3 * NUMBERS);
        let last = KeyId(4 * NUMBERS - 1);
        assert_eq!(RootId::of(first), RootId(3));
        assert_eq!(RootId::of(last), RootId(3));
        assert_eq!(RootId(3).first_key(), first);
        assert_eq!(BlockId::of(last).0 - BlockId::of(first).0, ROOT - 1);
        assert_eq!(RootId(PARTS + 3).part(), 3);
    }

    #[test]
    fn a_block_opens_with_what_is_left_of_it_under_its_key_alone() {
        let key = random_key();
        let (kept, gone) = (KeyId(70), KeyId(71));
        let mut block = Block::empty(BlockId::of(kept));
        let data = random_key();
        block.put(kept, data.clone());
        block.put(gone, random_key());
        assert!(block.remove(gone) && !block.remove(gone));
        let sealed = block.seal(&key).unwrap();
        let opened = Block::open(BlockId(1), &sealed, &key).unwrap();
        assert_eq!(opened.get(kept), Some(&data));
        assert_eq!(opened.get(gone), None);
        assert!(Block::open(BlockId(2), &sealed, &key).is_err());
        assert!(Block::open(BlockId(1), &sealed, &random_key()).is_err());
        assert!(block.remove(kept) && block.is_empty());
    }

    #[test]
    fn a_root_forgets_the_key_that_a_block_had() {
        let master = Wrapping::new(&MasterKey::random());
        let mut root = Root::empty(RootId(2));
        let block = BlockId(2 * ROOT + 5);
        let first = root.renew(block);
        let second = root.renew(block);
        assert_ne!(first, second);
        let opened = Root::open(RootId(2), &root.seal(&master).unwrap(), &master).unwrap();
        assert_eq!(opened.get(block), Some(&second));
        root.remove(block);
        assert!(root.is_empty());
    }
}
