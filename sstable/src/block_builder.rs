//! Building one data block: prefix compression with restart points.
//!
//! Called by the writer only, which keeps the order and the limits; the bytes are specified in `format.rs`.

use esker_base::varint;

use crate::block::{Position, common_prefix_len};

/// Collects entries of one block.
pub(crate) struct BlockBuilder {
    keys: Vec<u8>,
    values: Vec<u8>,
    restarts: Vec<Position>,
    /// The finished block; kept for its memory.
    content: Vec<u8>,
    restart_interval: usize,
    since_restart: usize,
    last_user_key: Vec<u8>,
}

impl BlockBuilder {
    /// A builder with a restart every `restart_interval` (at least 1) entries.
    pub fn new(restart_interval: usize) -> BlockBuilder {
        BlockBuilder {
            keys: Vec::new(),
            values: Vec::new(),
            restarts: Vec::new(),
            content: Vec::new(),
            restart_interval,
            since_restart: 0,
            last_user_key: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The length of the content if it were finished now.
    pub fn len(&self) -> usize {
        8 + 8 * self.restarts.len() + self.keys.len() + self.values.len()
    }

    /// What an entry adds at most.
    pub fn entry_len_max(user_key: &[u8], value: &[u8]) -> usize {
        let lens = varint::encoded_len(user_key.len() as u64) * 2
            + varint::encoded_len(value.len() as u64);
        // The trailer and possibly a restart offset.
        lens + 8 + user_key.len() + value.len() + 8
    }

    pub fn add(&mut self, user_key: &[u8], trailer: u64, value: &[u8]) {
        let restart = self.restarts.is_empty() || self.since_restart >= self.restart_interval;
        let shared = if restart {
            self.restarts.push(Position { key: self.keys.len(), value: self.values.len() });
            self.since_restart = 0;
            0
        } else {
            common_prefix_len(&self.last_user_key, user_key)
        };
        self.since_restart += 1;
        varint::encode(shared as u64, &mut self.keys);
        varint::encode((user_key.len() - shared) as u64, &mut self.keys);
        varint::encode(value.len() as u64, &mut self.keys);
        self.keys.extend_from_slice(&trailer.to_le_bytes());
        self.keys.extend_from_slice(&user_key[shared..]);
        self.values.extend_from_slice(value);
        self.last_user_key.truncate(shared);
        self.last_user_key.extend_from_slice(&user_key[shared..]);
    }

    /// Completes the content and hands it to `take`; the builder is then empty again and keeps its memory.
    pub fn finish<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> R {
        self.content.clear();
        let mut number = |value: usize| {
            self.content.extend_from_slice(&(value as u32).to_le_bytes());
        };
        number(self.restarts.len());
        number(self.keys.len());
        for restart in &self.restarts {
            number(restart.key);
            number(restart.value);
        }
        self.content.extend_from_slice(&self.keys);
        self.content.extend_from_slice(&self.values);
        self.keys.clear();
        self.values.clear();
        self.restarts.clear();
        self.since_restart = 0;
        self.last_user_key.clear();
        take(&self.content)
    }
}
