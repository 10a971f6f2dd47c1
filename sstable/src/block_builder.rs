//! Building one data block: prefix compression with restart points.
//!
//! Called by the writer only, which keeps the order and the limits; the bytes are specified in `format.rs`.

use esker_base::varint;

use crate::block::common_prefix_len;

/// Collects entries of one block.
pub(crate) struct BlockBuilder {
    content: Vec<u8>,
    restarts: Vec<u32>,
    restart_interval: usize,
    since_restart: usize,
    last_user_key: Vec<u8>,
}

impl BlockBuilder {
    /// A builder with a restart every `restart_interval` (at least 1) entries.
    pub fn new(restart_interval: usize) -> BlockBuilder {
        BlockBuilder {
            content: Vec::new(),
            restarts: Vec::new(),
            restart_interval,
            since_restart: 0,
            last_user_key: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }

    /// The length of the content if it were finished now.
    pub fn len(&self) -> usize {
        self.content.len() + 4 * self.restarts.len() + 4
    }

    /// What an entry adds at most.
    pub fn entry_len_max(user_key: &[u8], value: &[u8]) -> usize {
        let lens = varint::encoded_len(user_key.len() as u64) * 2
            + varint::encoded_len(value.len() as u64);
        // The trailer and possibly a restart offset.
        lens + 8 + user_key.len() + value.len() + 4
    }

    pub fn add(&mut self, user_key: &[u8], trailer: u64, value: &[u8]) {
        let restart = self.restarts.is_empty() || self.since_restart >= self.restart_interval;
        let shared = if restart {
            self.restarts.push(self.content.len() as u32);
            self.since_restart = 0;
            0
        } else {
            common_prefix_len(&self.last_user_key, user_key)
        };
        self.since_restart += 1;
        varint::encode(shared as u64, &mut self.content);
        varint::encode((user_key.len() - shared) as u64, &mut self.content);
        varint::encode(value.len() as u64, &mut self.content);
        self.content.extend_from_slice(&trailer.to_le_bytes());
        self.content.extend_from_slice(&user_key[shared..]);
        self.content.extend_from_slice(value);
        self.last_user_key.truncate(shared);
        self.last_user_key.extend_from_slice(&user_key[shared..]);
    }

    /// Completes the content and hands it to `take`; the builder is then empty again and keeps its memory.
    pub fn finish<R>(&mut self, take: impl FnOnce(&[u8]) -> R) -> R {
        for restart in &self.restarts {
            self.content.extend_from_slice(&restart.to_le_bytes());
        }
        self.content.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        let result = take(&self.content);
        self.content.clear();
        self.restarts.clear();
        self.since_restart = 0;
        self.last_user_key.clear();
        result
    }
}
