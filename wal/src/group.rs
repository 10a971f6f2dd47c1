//! Groups: the batches of one commit group as one payload. The engine builds them with
//! [`GroupBuilder`], the writer appends them, replay hands them out as [`Group`]. The layout is in
//! [`crate::format`]. Nothing here looks inside a batch.

use esker_base::limits::{FRAME_PAYLOAD_MAX, SEQNO_MAX};
use esker_base::{Error, LogPosition, Result, SeqNo, varint};

use crate::format::FrameKind;
use crate::frame::{self, Place};

/// The most bytes before the first batch.
const GROUP_HEADER_LEN_MAX: usize = 2 * varint::LEN_MAX;

/// The most bytes before each batch's own: two numbers of 32 bits.
const BATCH_HEADER_LEN_MAX: usize = 10;

/// Builds a group's payload, batch by batch, in a buffer that is reused and already has room for
/// the frame around it.
#[derive(Debug)]
pub struct GroupBuilder {
    /// Room for a frame header, then the payload; padding behind it after [`GroupBuilder::frame`].
    buffer: Vec<u8>,
    payload_len: usize,
    batch_count: u32,
    first_seq: SeqNo,
    next_seq: u64,
}

impl GroupBuilder {
    /// Bytes that a batch takes in a group beyond its own, at most.
    pub const BATCH_OVERHEAD: usize = BATCH_HEADER_LEN_MAX;

    /// Bytes of a group without batches, at most.
    pub const OVERHEAD: usize = GROUP_HEADER_LEN_MAX;

    /// An empty group that starts at sequence number 1; call [`GroupBuilder::start`] before the
    /// first batch.
    pub fn new() -> GroupBuilder {
        let mut builder = GroupBuilder {
            buffer: Vec::new(),
            payload_len: 0,
            batch_count: 0,
            first_seq: SeqNo(1),
            next_seq: 0,
        };
        builder.start(0, SeqNo(1));
        builder
    }

    /// Forgets what was built, keeps the memory, and begins a group whose first operation gets
    /// `first_seq`.
    pub fn start(&mut self, wall_time_ms: u64, first_seq: SeqNo) {
        self.buffer.clear();
        self.buffer.reserve(frame::HEADER_LEN + GROUP_HEADER_LEN_MAX);
        self.buffer.extend_from_slice(&[0; frame::HEADER_LEN]);
        varint::encode(wall_time_ms, &mut self.buffer);
        varint::encode(first_seq.0, &mut self.buffer);
        self.payload_len = self.buffer.len() - frame::HEADER_LEN;
        self.batch_count = 0;
        self.first_seq = first_seq;
        self.next_seq = first_seq.0;
    }

    /// Adds a batch of `op_count` operations and returns the sequence number of its first. Refused,
    /// leaving the group as it was, if the batch is empty, the group would outgrow a frame, or
    /// sequence numbers run out.
    pub fn push(&mut self, batch: &[u8], op_count: u32) -> Result<SeqNo> {
        self.push_with(op_count, batch.len(), |payload| payload.extend_from_slice(batch))
    }

    /// As [`GroupBuilder::push`], of a batch of `len` bytes that `write` appends.
    ///
    /// # Panics
    /// If `write` appends another number of bytes.
    #[inline]
    pub fn push_with(
        &mut self,
        op_count: u32,
        len: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<SeqNo> {
        if op_count == 0 || len == 0 {
            return Err(Error::invalid("an empty batch cannot be logged"));
        }
        if !self.fits(len) {
            return Err(Error::invalid(format!(
                "a batch of {len} bytes does not fit a group that has {} of {FRAME_PAYLOAD_MAX}",
                self.payload_len,
            )));
        }
        let first = self.next_seq;
        let next = first.saturating_add(u64::from(op_count));
        if first == 0 || next > SEQNO_MAX {
            return Err(Error::invalid("the sequence numbers of this batch are out of range"));
        }
        self.buffer.truncate(frame::HEADER_LEN + self.payload_len);
        self.buffer.reserve(BATCH_HEADER_LEN_MAX + len + frame::ALIGNMENT);
        varint::encode(u64::from(op_count), &mut self.buffer);
        varint::encode(len as u64, &mut self.buffer);
        let start = self.buffer.len();
        write(&mut self.buffer);
        assert!(self.buffer.len() == start + len, "a batch is as long as was said");
        self.payload_len = self.buffer.len() - frame::HEADER_LEN;
        self.batch_count += 1;
        self.next_seq = next;
        Ok(SeqNo(first))
    }

    /// Whether a batch of `batch_len` bytes can still be added.
    pub fn fits(&self, batch_len: usize) -> bool {
        FRAME_PAYLOAD_MAX - self.payload_len >= batch_len.saturating_add(BATCH_HEADER_LEN_MAX)
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
        self.first_seq
    }

    /// The last sequence number so far; one before the first if the group is empty.
    pub fn last_seq(&self) -> SeqNo {
        SeqNo(self.next_seq.saturating_sub(1))
    }

    /// The payload so far. Only valid as a group once it holds a batch.
    pub fn payload(&self) -> &[u8] {
        &self.buffer[frame::HEADER_LEN..frame::HEADER_LEN + self.payload_len]
    }

    /// The group as a frame for an offset of a segment.
    pub(crate) fn frame(&mut self, place: (Place, u64), synced: LogPosition) -> &[u8] {
        self.buffer.resize(frame::encoded_len(self.payload_len), 0);
        let (kind, len) = (FrameKind::Group as u8, self.payload_len);
        frame::encode_in_place(place, kind, synced, len, &mut self.buffer);
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
        let mut body = payload;
        let header = (varint::decode(&mut body), varint::decode(&mut body));
        let (Some(wall_time_ms), Some(first)) = header else {
            return Err("a group ends within its header");
        };
        if first == 0 || first > SEQNO_MAX {
            return Err("a group's sequence numbers are out of range");
        }
        let mut next_seq = first;
        let mut batch_count = 0u32;
        let mut rest = body;
        while !rest.is_empty() {
            let Some((op_count, _, after)) = split_batch(rest) else {
                return Err("a batch is cut short or empty");
            };
            next_seq = next_seq.saturating_add(u64::from(op_count));
            // Each batch takes several bytes and a payload fits 32 bits, so this cannot wrap.
            batch_count += 1;
            rest = after;
        }
        if batch_count == 0 {
            return Err("a group holds no batch");
        }
        if next_seq - 1 > SEQNO_MAX {
            return Err("a group's sequence numbers are out of range");
        }
        let (first_seq, last_seq) = (SeqNo(first), SeqNo(next_seq - 1));
        Ok(Group { wall_time_ms, first_seq, last_seq, batch_count, body })
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
    let mut rest = input;
    let op_count = u32::try_from(varint::decode(&mut rest)?).ok()?;
    let bytes = varint::decode_slice(&mut rest)?;
    (op_count > 0 && !bytes.is_empty()).then_some((op_count, bytes, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use esker_base::{FileId, FileNumber};
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_pinned() {
        let mut builder = GroupBuilder::new();
        builder.start(0x0102, SeqNo(5));
        assert_eq!(builder.push(b"abc", 2).unwrap(), SeqNo(5));
        assert_eq!(builder.push(b"d", 1).unwrap(), SeqNo(7));
        let hex: Vec<_> = builder.payload().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex.join(" "), "82 02 05 02 03 61 62 63 01 01 64");
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
        let mut builder = GroupBuilder::new();
        builder.start(u64::MAX, SeqNo(SEQNO_MAX - 1));
        let (time_and_seq, room) = (10 + 8, FRAME_PAYLOAD_MAX - GroupBuilder::BATCH_OVERHEAD);
        assert!(most <= room - time_and_seq);
        assert!(builder.fits(room - time_and_seq));
        assert!(!builder.fits(room - time_and_seq + 1));
        assert!(!builder.fits(usize::MAX));
    }

    #[test]
    fn a_length_that_claims_4_gib_is_refused() {
        let mut builder = GroupBuilder::new();
        builder.push(b"abc", 2).unwrap();
        for len in [u64::from(u32::MAX), u64::MAX] {
            // Behind the time, the sequence number and the number of operations.
            let mut payload = builder.payload()[..3].to_vec();
            varint::encode(len, &mut payload);
            payload.extend(b"abc");
            assert!(Group::decode(&payload).is_err());
        }
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
        assert!(Group::decode(builder.payload()).is_ok());
        let most = [&[0][..], &varint_of(SEQNO_MAX)].concat();
        for (payload, why) in [
            (vec![], "within its header"),
            (vec![0], "within its header"),
            (vec![0, 0x85], "within its header"),
            // Not the shortest form.
            (vec![0, 0x85, 0, 1, 1, b'd'], "within its header"),
            (vec![0, 0, 1, 1, b'd'], "out of range"),
            (vec![0, 5], "holds no batch"),
            (vec![0, 5, 0, 1, b'd'], "cut short or empty"),
            (vec![0, 5, 1, 0], "cut short or empty"),
            (vec![0, 5, 1, 2, b'd'], "cut short or empty"),
            (vec![0, 5, 1, 1, b'd', 1], "cut short or empty"),
            ([&[0, 5], &varint_of(1 << 32)[..], &[1, b'd']].concat(), "cut short or empty"),
            ([&[0], &varint_of(SEQNO_MAX + 1)[..], &[1, 1, b'd']].concat(), "out of range"),
            ([&most[..], &[2, 1, b'd']].concat(), "out of range"),
        ] {
            let found = Group::decode(&payload).unwrap_err();
            assert!(found.contains(why), "{payload:?}: {found}");
        }
        let last = Group::decode(&[&most[..], &[1, 1, b'd']].concat()).map(|group| group.last_seq);
        assert_eq!(last, Ok(SeqNo(SEQNO_MAX)));
    }

    fn varint_of(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint::encode(number, &mut bytes);
        bytes
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
                let place = Place::new(FileId([1; 16]), FileNumber(2));
                builder.frame((place, 64), LogPosition::default());
                expected.push(BatchBytes { first_seq, op_count: *op_count, bytes });
            }
            let group = Group::decode(builder.payload()).map_err(TestCaseError::fail)?;
            prop_assert_eq!(group.wall_time_ms, wall);
            prop_assert_eq!((group.first_seq, group.last_seq), (SeqNo(first), builder.last_seq()));
            prop_assert_eq!(group.batches().collect::<Vec<_>>(), &expected[..]);
            // Cut between batches it is a shorter group, which a frame's length rules out; anywhere else it is none.
            let mut whole = 0;
            for len in 0..builder.payload().len() {
                if let Ok(cut) = Group::decode(&builder.payload()[..len]) {
                    whole += 1;
                    prop_assert_eq!(cut.batches().count(), whole);
                    prop_assert_eq!(cut.batches().collect::<Vec<_>>(), &expected[..whole]);
                }
            }
            prop_assert_eq!(whole, expected.len() - 1);
        }

        #[test]
        fn any_bytes_decode_without_panic(payload: Vec<u8>, plausible: bool) {
            let mut payload = payload;
            if plausible && payload.len() > 4 {
                let len = (payload.len() - 4) as u8 & 0x7f;
                payload[..4].copy_from_slice(&[1, 1, 1, len]);
            }
            if let Ok(group) = Group::decode(&payload) {
                prop_assert_eq!(group.batches().count(), group.batch_count as usize);
            }
        }
    }
}
