//! Encoded items: the bytes of `format.rs` with the ways to read them. Write operations encode,
//! read operations decode; single attributes can be read without decoding the others, which is what
//! expressions use.

mod format;
mod place;
mod view;

use bytes::Bytes;

use crate::error::Result;
use crate::spare::Spare;
use crate::validate::prepare_item;
use crate::value::{AttributeValue, Item};
pub(crate) use place::{Peek, Place};
pub use view::{ItemView, PartsView, ValueView};

/// An item in its stored form. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedItem {
    bytes: Bytes,
    count: usize,
    wide: bool,
}

impl EncodedItem {
    /// Checks an item, sorts its sets and encodes it.
    ///
    /// # Errors
    /// `Validation` where the item is nested too deep, larger than 400 KB, or holds an empty set, a
    /// set with a repeated member, or a name that is empty or too long.
    pub fn encode(item: &mut Item) -> Result<Self> {
        let size = checked_size(item)?;
        Ok(Self::encode_sized(item, size))
    }

    /// Encodes a valid item whose logical size is known already.
    pub(crate) fn encode_sized(item: &Item, logical_size: u32) -> Self {
        let mut bytes = Vec::new();
        let wide = format::encode_item(item, logical_size, 0, &mut bytes);
        Self { bytes: bytes.into(), count: item.len(), wide }
    }

    /// Takes stored bytes. Checks the header and that the directory is there; `get` and `decode`
    /// check the rest of what they read.
    pub fn from_bytes(bytes: Bytes) -> Result<Self> {
        let ItemView { count, wide, .. } = ItemView::new(&bytes)?;
        Ok(Self { bytes, count, wide })
    }

    /// The stored bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The logical size in bytes as the service counts it.
    pub fn logical_size(&self) -> u32 {
        self.view().logical_size()
    }

    /// The sequence of the commit that wrote the item; 0 where it is not recorded.
    pub fn commit_sequence(&self) -> u64 {
        self.view().commit_sequence()
    }

    /// How many attributes there are.
    pub fn attribute_count(&self) -> usize {
        self.count
    }

    /// One attribute, without decoding the others; `None` where the item has none of this name.
    pub fn get(&self, name: &str) -> Option<Result<AttributeValue>> {
        self.view().get(name).map(|value| value?.decode())
    }

    /// The whole item.
    pub fn decode(&self) -> Result<Item> {
        self.view().decode()
    }

    /// The same, borrowed.
    pub fn view(&self) -> ItemView<'_> {
        ItemView { bytes: &self.bytes, count: self.count, wide: self.wide }
    }
}

impl std::fmt::Debug for EncodedItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodedItem")
            .field("attributes", &self.count)
            .field("logical_size", &self.logical_size())
            .finish_non_exhaustive()
    }
}

/// Checks an item and sorts its sets; its logical size in bytes.
fn checked_size(item: &mut Item) -> Result<u32> {
    let size = prepare_item(item)?;
    Ok(u32::try_from(size).expect("invariant: item sizes are checked"))
}

/// An item that is to be written: its stored form, in memory that the thread uses again.
pub(crate) struct NewItem {
    bytes: Spare<Vec<u8>>,
    logical_size: u32,
}

impl NewItem {
    /// As [`EncodedItem::encode`].
    pub(crate) fn encode(item: &mut Item) -> Result<Self> {
        let logical_size = checked_size(item)?;
        let mut bytes = Spare::take();
        format::encode_item(item, logical_size, 0, &mut bytes);
        Ok(Self { bytes, logical_size })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn logical_size(&self) -> u32 {
        self.logical_size
    }
}

#[cfg(test)]
mod tests;
