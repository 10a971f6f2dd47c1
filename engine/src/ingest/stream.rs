//! The entries of an ingest on their way into files: how chunks hold them, and a cursor that walks over chunk after chunk
//! once.
//!
//! A chunk is a row of entries: the length of the user key and of the value, 4 bytes each, the internal key with a
//! sequence number of 0, the value. The cursor puts the ingest's number in when it gets there. Chunks stay in memory.

use esker_base::{Cursor, EntryKind, Error, Result, SeqNo, key};

const HEADER_LEN: usize = 8;

/// Appends an entry to a chunk. Key and value are within the limits of a batch.
#[inline]
pub(super) fn encode(kind: EntryKind, user_key: &[u8], value: &[u8], chunk: &mut Vec<u8>) {
    let lens = user_key.len() as u64 | (value.len() as u64) << 32;
    chunk.reserve(HEADER_LEN + user_key.len() + key::TRAILER_LEN + value.len());
    chunk.extend_from_slice(&lens.to_le_bytes());
    key::encode_into(user_key, SeqNo(0), kind, chunk);
    chunk.extend_from_slice(value);
}

/// Where chunks come from. Takes the one that was read last back, and gives the next; `None` after the last.
pub(super) trait Source {
    fn next_chunk(&mut self, read: Vec<u8>) -> Result<Option<Vec<u8>>>;
}

impl<F: FnMut(Vec<u8>) -> Result<Option<Vec<u8>>>> Source for F {
    fn next_chunk(&mut self, read: Vec<u8>) -> Result<Option<Vec<u8>>> {
        self(read)
    }
}

/// A cursor over all chunks of a source, forwards and once.
pub(super) struct Stream<'a> {
    source: &'a mut dyn Source,
    stamp: SeqNo,
    chunk: Vec<u8>,
    /// Where the internal key, the value and the next entry begin.
    key: usize,
    value: usize,
    next: usize,
    valid: bool,
}

impl<'a> Stream<'a> {
    pub(super) fn new(source: &'a mut dyn Source, stamp: SeqNo) -> Stream<'a> {
        Stream { source, stamp, chunk: Vec::new(), key: 0, value: 0, next: 0, valid: false }
    }
}

fn forwards_only() -> Error {
    Error::invalid("the entries of an ingest are read once and forwards")
}

impl Cursor for Stream<'_> {
    fn valid(&self) -> bool {
        self.valid
    }

    fn seek_to_first(&mut self) -> Result<()> {
        if self.next > 0 { Err(forwards_only()) } else { self.next() }
    }

    fn seek_to_last(&mut self) -> Result<()> {
        Err(forwards_only())
    }

    fn seek(&mut self, _target: &[u8]) -> Result<()> {
        Err(forwards_only())
    }

    fn seek_for_prev(&mut self, _target: &[u8]) -> Result<()> {
        Err(forwards_only())
    }

    fn next(&mut self) -> Result<()> {
        self.valid = false;
        if self.next == self.chunk.len() {
            let read = std::mem::take(&mut self.chunk);
            let Some(chunk) = self.source.next_chunk(read)? else { return Ok(()) };
            (self.chunk, self.next) = (chunk, 0);
        }
        let header = self.chunk[self.next..].first_chunk().expect("invariant: entries are whole");
        let lens = u64::from_le_bytes(*header);
        let (key_len, value_len) = (lens as u32 as usize, (lens >> 32) as usize);
        self.key = self.next + HEADER_LEN;
        let trailer = self.key + key_len;
        self.value = trailer + key::TRAILER_LEN;
        self.next = self.value + value_len;
        // Behind the kind stands the sequence number.
        let seq = self.stamp.0.to_le_bytes();
        self.chunk[trailer + 1..self.value].copy_from_slice(&seq[..key::TRAILER_LEN - 1]);
        self.valid = true;
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        Err(forwards_only())
    }

    fn key(&self) -> &[u8] {
        &self.chunk[self.key..self.value]
    }

    fn value(&self) -> &[u8] {
        &self.chunk[self.value..self.next]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stream_gives_what_the_chunks_hold_with_the_stamp(
            chunks in prop::collection::vec(
                prop::collection::vec((any::<bool>(), any::<Vec<u8>>(), any::<Vec<u8>>()), 1..8),
                0..8,
            ),
            stamp in 1u64..1 << 56,
        ) {
            let kind = |put| if put { EntryKind::Put } else { EntryKind::Delete };
            let encoded: Vec<Vec<u8>> = chunks
                .iter()
                .map(|entries| {
                    let mut chunk = Vec::new();
                    for (put, user_key, value) in entries {
                        encode(kind(*put), user_key, value, &mut chunk);
                    }
                    chunk
                })
                .collect();
            let mut chunks_left = encoded.into_iter();
            let mut source = |_| Ok(chunks_left.next());
            let mut stream = Stream::new(&mut source, SeqNo(stamp));
            stream.seek_to_first().unwrap();
            for (put, user_key, value) in chunks.iter().flatten() {
                prop_assert!(stream.valid());
                prop_assert_eq!(stream.key(), key::encode(user_key, SeqNo(stamp), kind(*put)));
                prop_assert_eq!(stream.value(), &value[..]);
                stream.next().unwrap();
            }
            prop_assert!(!stream.valid());
        }
    }
}
