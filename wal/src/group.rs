//! Groups: the batches of one commit group as one payload. The engine builds them with
//! [`GroupBuilder`], the writer appends them, replay hands them out as [`Group`]. The layout is in
//! [`crate::format`]. Nothing here looks inside a batch.

use esker_base::checksum::OfFile;
use esker_base::limits::{FRAME_PAYLOAD_MAX, SEQNO_MAX};
use esker_base::{Error, LogPosition, Result, SeqNo, frame};

use crate::format::{FrameKind, PAYLOAD_VERSION, u32_at, u64_at};

/// Bytes before the first batch.
const GROUP_HEADER_LEN: usize = 28;

/// Bytes before each batch's own.
const BATCH_HEADER_LEN: usize = 8;

/// Builds a group's payload, batch by batch, in a buffer that is reused and already has room for
/// the frame around it.
#[derive(Debug)]
pub struct GroupBuilder {
    /// Room for a frame header, then the payload; padding behind it after [`GroupBuilder::frame`].
    buffer: Vec<u8>,
    payload_len: usize,
    batch_count: u32,
    next_seq: u64,
}

impl GroupBuilder {
    /// Bytes that a batch takes in a group beyond its own.
    pub const BATCH_OVERHEAD: usize = BATCH_HEADER_LEN;

    /// Bytes of a group without batches.
    pub const OVERHEAD: usize = GROUP_HEADER_LEN;

    /// An empty group that starts at sequence number 1; call [`GroupBuilder::start`] before the
    /// first batch.
    pub fn new() -> GroupBuilder {
        let mut builder =
            GroupBuilder { buffer: Vec::new(), payload_len: 0, batch_count: 0, next_seq: 0 };
        builder.start(0, SeqNo(1));
        builder
    }

    /// Forgets what was built, keeps the memory, and begins a group whose first operation gets
    /// `first_seq`.
    pub fn start(&mut self, wall_time_ms: u64, first_seq: SeqNo) {
        // One write of the whole: most groups are a single small batch.
        let mut header = [0; frame::HEADER_LEN + GROUP_HEADER_LEN];
        header[frame::HEADER_LEN..][..8].copy_from_slice(&wall_time_ms.to_le_bytes());
        header[frame::HEADER_LEN + 8..][..8].copy_from_slice(&first_seq.0.to_le_bytes());
        self.buffer.clear();
        self.buffer.extend_from_slice(&header);
        self.payload_len = GROUP_HEADER_LEN;
        self.batch_count = 0;
        self.next_seq = first_seq.0;
    }

    /// Adds a batch of `op_count` operations and returns the sequence number of its first. Refused,
    /// leaving the group as it was, if the batch is empty, the group would outgrow a frame, or
    /// sequence numbers run out.
    pub fn push(&mut self, batch: &[u8], op_count: u32) -> Result<SeqNo> {
        self.push_with(op_count, batch.len(), |payload| payload.extend_from_slice(batch))
    }

    /// As [`GroupBuilder::push`], of a batch that `write` appends, of at most `len_max` bytes.
    ///
    /// # Panics
    /// If `write` appends nothing, or more than that.
    #[inline]
    pub fn push_with(
        &mut self,
        op_count: u32,
        len_max: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<SeqNo> {
        if op_count == 0 || len_max == 0 {
            return Err(Error::invalid("an empty batch cannot be logged"));
        }
        if !self.fits(len_max) {
            return Err(Error::invalid(format!(
                "a batch of {len_max} bytes does not fit a group that has {} of {FRAME_PAYLOAD_MAX}",
                self.payload_len,
            )));
        }
        let first = self.next_seq;
        let next = first.saturating_add(u64::from(op_count));
        if first == 0 || next > SEQNO_MAX {
            return Err(Error::invalid("the sequence numbers of this batch are out of range"));
        }
        let start = frame::HEADER_LEN + self.payload_len;
        self.buffer.truncate(start);
        self.buffer.reserve(BATCH_HEADER_LEN + len_max + frame::ALIGNMENT);
        self.buffer.extend_from_slice(&u64::from(op_count).to_le_bytes());
        write(&mut self.buffer);
        let len = self.buffer.len() - start - BATCH_HEADER_LEN;
        assert!((1..=len_max).contains(&len), "a batch is as long as was said");
        // Below 2^32: `fits` bounds it by the frame's limit.
        self.buffer[start + 4..start + 8].copy_from_slice(&(len as u32).to_le_bytes());
        self.payload_len += BATCH_HEADER_LEN + len;
        self.batch_count += 1;
        self.next_seq = next;
        let header = &mut self.buffer[frame::HEADER_LEN..];
        header[16..24].copy_from_slice(&(next - 1).to_le_bytes());
        header[24..28].copy_from_slice(&self.batch_count.to_le_bytes());
        Ok(SeqNo(first))
    }

    /// Whether a batch of `batch_len` bytes can still be added.
    pub fn fits(&self, batch_len: usize) -> bool {
        FRAME_PAYLOAD_MAX - self.payload_len >= batch_len.saturating_add(BATCH_HEADER_LEN)
    }

    /// Whether no batch was added yet.
    pub fn is_empty(&self) -> bool {
        self.batch_count == 0
    }

    /// The number of batches.
    pub fn batch_count(&self) -> u32 {
        self.batch_count
    }

    /// The first sequence number.
    pub fn first_seq(&self) -> SeqNo {
        SeqNo(u64_at(&self.buffer, frame::HEADER_LEN + 8))
    }

    /// The last sequence number so far; one before the first if the group is empty.
    pub fn last_seq(&self) -> SeqNo {
        SeqNo(self.next_seq.saturating_sub(1))
    }

    /// The payload so far. Only valid as a group once it holds a batch.
    pub fn payload(&self) -> &[u8] {
        &self.buffer[frame::HEADER_LEN..frame::HEADER_LEN + self.payload_len]
    }

    /// The group as a frame for a place in a file.
    pub(crate) fn frame(&mut self, place: (OfFile, u64), synced: LogPosition) -> &[u8] {
        self.buffer.resize(frame::encoded_len(self.payload_len), 0);
        frame::encode_in_place(
            place,
            FrameKind::Group as u8,
            PAYLOAD_VERSION,
            synced,
            self.payload_len,
            &mut self.buffer,
        );
        &self.buffer
    }
}

impl Default for GroupBuilder {
    fn default() -> GroupBuilder {
        GroupBuilder::new()
    }
}

/// A group that was read back; its structure is checked, the content of its batches is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// When it was committed, in milliseconds since 1970; an annotation.
    pub wall_time_ms: u64,
    /// The sequence number of its first operation.
    pub first_seq: SeqNo,
    /// The sequence number of its last operation.
    pub last_seq: SeqNo,
    /// How many batches it holds; at least 1.
    pub batch_count: u32,
    /// The batches with their headers; checked by `decode`.
    body: &'a [u8],
}

/// One batch of a [`Group`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchBytes<'a> {
    /// The sequence number of its first operation.
    pub first_seq: SeqNo,
    /// How many operations it says it holds; at least 1.
    pub op_count: u32,
    /// The encoded operations.
    pub bytes: &'a [u8],
}

impl<'a> Group<'a> {
    /// Reads a payload. The error says which rule of the format it breaks. Allocates nothing.
    pub fn decode(payload: &'a [u8]) -> std::result::Result<Group<'a>, &'static str> {
        let Some((header, body)) = payload.split_at_checked(GROUP_HEADER_LEN) else {
            return Err("a group ends within its header");
        };
        let group = Group {
            wall_time_ms: u64_at(header, 0),
            first_seq: SeqNo(u64_at(header, 8)),
            last_seq: SeqNo(u64_at(header, 16)),
            batch_count: u32_at(header, 24),
            body,
        };
        if group.first_seq.0 == 0 || group.last_seq.0 > SEQNO_MAX {
            return Err("a group's sequence numbers are out of range");
        }
        let mut next_seq = group.first_seq.0;
        let mut batch_count = 0u32;
        let mut rest = body;
        while !rest.is_empty() {
            let Some((op_count, _, after)) = split_batch(rest) else {
                return Err("a batch is cut short or empty");
            };
            next_seq = next_seq.saturating_add(u64::from(op_count));
            // Each batch takes more than 8 bytes and a payload fits 32 bits, so this cannot wrap.
            batch_count += 1;
            rest = after;
        }
        if batch_count == 0 || batch_count != group.batch_count {
            return Err("a group's number of batches is wrong");
        }
        if next_seq - 1 != group.last_seq.0 {
            return Err("a group's last sequence number is wrong");
        }
        Ok(group)
    }

    /// The batches in order.
    pub fn batches(&self) -> impl Iterator<Item = BatchBytes<'a>> + use<'a> {
        let mut rest = self.body;
        let mut next_seq = self.first_seq.0;
        std::iter::from_fn(move || {
            let (op_count, bytes, after) = split_batch(rest)?;
            rest = after;
            let first_seq = SeqNo(next_seq);
            next_seq += u64::from(op_count);
            Some(BatchBytes { first_seq, op_count, bytes })
        })
    }
}

/// The first batch of `input`, as (operations, bytes, what follows); `None` if it is empty or cut
/// short.
fn split_batch(input: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (header, rest) = input.split_at_checked(BATCH_HEADER_LEN)?;
    let op_count = u32_at(header, 0);
    let (bytes, rest) = rest.split_at_checked(u32_at(header, 4) as usize)?;
    (op_count > 0 && !bytes.is_empty()).then_some((op_count, bytes, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use esker_base::FileId;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_pinned() {
        let mut builder = GroupBuilder::new();
        builder.start(0x0102, SeqNo(5));
        assert_eq!(builder.push(b"abc", 2).unwrap(), SeqNo(5));
        assert_eq!(builder.push(b"d", 1).unwrap(), SeqNo(7));
        let hex: Vec<_> = builder.payload().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex.join(" "),
            "02 01 00 00 00 00 00 00 05 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00 02 00 00 00 \
             02 00 00 00 03 00 00 00 61 62 63 01 00 00 00 01 00 00 00 64"
        );
    }

    #[test]
    fn empty_batches_and_sequence_numbers_out_of_range_are_refused() {
        let mut builder = GroupBuilder::new();
        assert!(builder.push(b"", 1).is_err());
        assert!(builder.push(b"x", 0).is_err());
        builder.start(0, SeqNo(0));
        assert!(builder.push(b"x", 1).is_err());
        builder.start(0, SeqNo(SEQNO_MAX - 1));
        assert!(builder.push(b"x", 2).is_err());
        assert!(builder.is_empty());
        builder.push(b"x", 1).unwrap();
        assert_eq!(builder.last_seq(), SeqNo(SEQNO_MAX - 1));
    }

    #[test]
    fn a_batch_at_the_limit_fits_and_one_byte_more_does_not() {
        let most = FRAME_PAYLOAD_MAX - GroupBuilder::OVERHEAD - GroupBuilder::BATCH_OVERHEAD;
        assert!(most >= esker_base::limits::BATCH_LEN_MAX);
        let builder = GroupBuilder::new();
        assert!(builder.fits(most));
        assert!(!builder.fits(most + 1));
        assert!(!builder.fits(usize::MAX));
    }

    #[test]
    fn a_length_that_claims_4_gib_is_refused() {
        let mut builder = GroupBuilder::new();
        builder.push(b"abc", 2).unwrap();
        let mut payload = builder.payload().to_vec();
        payload[32..36].fill(0xff);
        assert!(Group::decode(&payload).is_err());
        let mut payload = builder.payload().to_vec();
        payload[24..28].fill(0xff);
        assert!(Group::decode(&payload).is_err());
    }

    #[test]
    fn a_batch_that_outgrows_the_frame_is_refused() {
        let mut builder = GroupBuilder::default();
        builder.push(b"abc", 2).unwrap();
        let before = builder.payload().to_vec();
        let error = builder.push(&vec![0; FRAME_PAYLOAD_MAX], 1).unwrap_err();
        assert!(error.to_string().contains("does not fit"), "{error}");
        assert_eq!((builder.payload(), builder.batch_count()), (&before[..], 1));
        assert_eq!(builder.last_seq(), SeqNo(2));
    }

    /// Each rule of the payload's format, broken alone.
    #[test]
    fn a_payload_that_contradicts_itself_is_refused() {
        let mut builder = GroupBuilder::new();
        builder.push(b"abc", 2).unwrap();
        builder.push(b"d", 1).unwrap();
        let good = builder.payload();
        assert!(Group::decode(good).is_ok());
        let second = GROUP_HEADER_LEN + BATCH_HEADER_LEN + 3;
        for (at, bytes, why) in [
            (8, &0u64.to_le_bytes()[..], "sequence numbers are out of range"),
            (8, &(1u64 << 56).to_le_bytes(), "last sequence number is wrong"),
            (16, &(1u64 << 56).to_le_bytes(), "sequence numbers are out of range"),
            (16, &4u64.to_le_bytes(), "last sequence number is wrong"),
            (16, &2u64.to_le_bytes(), "last sequence number is wrong"),
            (24, &1u32.to_le_bytes(), "number of batches is wrong"),
            (24, &0u32.to_le_bytes(), "number of batches is wrong"),
            (second, &0u32.to_le_bytes(), "cut short or empty"),
            (second, &u32::MAX.to_le_bytes(), "last sequence number is wrong"),
            (second + 4, &0u32.to_le_bytes(), "cut short or empty"),
            (second + 4, &2u32.to_le_bytes(), "cut short or empty"),
        ] {
            let mut bad = good.to_vec();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            let found = Group::decode(&bad).unwrap_err();
            assert!(found.contains(why), "{at}: {found}");
        }
        assert!(Group::decode(&good[..GROUP_HEADER_LEN]).is_err());
        assert!(Group::decode(&good[..GROUP_HEADER_LEN - 1]).is_err());
    }

    proptest! {
        #[test]
        fn groups_survive_the_round_trip(
            wall: u64,
            first in 1u64..1 << 40,
            batches in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..40), 1u32..1000),
                1..10,
            ),
        ) {
            let mut builder = GroupBuilder::new();
            builder.start(wall, SeqNo(first));
            let mut expected = Vec::new();
            for (bytes, op_count) in &batches {
                let first_seq = builder.push(bytes, *op_count)?;
                // A frame made half-way does not disturb what is added later.
                builder.frame((OfFile::new(FileId([1; 16])), 64), LogPosition::default());
                expected.push(BatchBytes { first_seq, op_count: *op_count, bytes });
            }
            let group = Group::decode(builder.payload()).map_err(TestCaseError::fail)?;
            prop_assert_eq!(group.wall_time_ms, wall);
            prop_assert_eq!((group.first_seq, group.last_seq), (SeqNo(first), builder.last_seq()));
            prop_assert_eq!(group.batches().collect::<Vec<_>>(), expected);
            for len in 0..builder.payload().len() {
                prop_assert!(Group::decode(&builder.payload()[..len]).is_err());
            }
        }

        #[test]
        fn any_bytes_decode_without_panic(payload: Vec<u8>, plausible: bool) {
            let mut payload = payload;
            if plausible && payload.len() >= GROUP_HEADER_LEN {
                payload[8..GROUP_HEADER_LEN].fill(0);
                payload[8] = 1;
                payload[16] = 1;
                payload[24] = 1;
            }
            if let Ok(group) = Group::decode(&payload) {
                prop_assert_eq!(group.batches().count(), group.batch_count as usize);
            }
        }
    }
}
