//! Internal keys, and the one ordering that memtables, sstables and cursors share.
//!
//! An internal key is a user key followed by an 8-byte trailer, little-endian: `sequence << 8 | kind`.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | n | user key, 0 to 65,536 bytes |
//! | n | 8 | trailer: `sequence << 8 \| kind`, u64 little-endian |
//!
//! Order: user key ascending by unsigned bytes, then trailer descending, so that the newest version of a key comes
//! first. Example: `a` written by put at sequence 5 is `61 02 05 00 00 00 00 00 00`.

use std::cmp::Ordering;

use crate::ids::SeqNo;

/// What an entry means. Stored on disk: never change a number; retired ones stay reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// The key has no value from here on.
    Delete = 1,
    /// The key has the value that follows.
    Put = 2,
    /// Reserved: the keys up to the one in the value have no value from here on.
    RangeDelete = 3,
    /// Reserved: an operand to be combined with the value below.
    Merge = 4,
    /// The key has the value that stands in a value file, where the entry's value points.
    ValuePointer = 5,
    /// Reserved: a value that starts with its expiry time.
    Expiring = 6,
}

impl TryFrom<u8> for EntryKind {
    type Error = u8;

    fn try_from(byte: u8) -> Result<EntryKind, u8> {
        match byte {
            1 => Ok(EntryKind::Delete),
            2 => Ok(EntryKind::Put),
            3 => Ok(EntryKind::RangeDelete),
            4 => Ok(EntryKind::Merge),
            5 => Ok(EntryKind::ValuePointer),
            6 => Ok(EntryKind::Expiring),
            other => Err(other),
        }
    }
}

/// The length of the trailer, in bytes.
pub const TRAILER_LEN: usize = 8;

/// A kind byte above every real kind: a seek key with it comes before every entry of its sequence.
const SEEK_KIND: u64 = 0xff;

/// An internal key taken apart, borrowing the user key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternalKey<'a> {
    /// What the user wrote.
    pub user_key: &'a [u8],
    /// When it was committed.
    pub seq: SeqNo,
    /// What the entry means.
    pub kind: EntryKind,
}

impl<'a> InternalKey<'a> {
    /// Takes `encoded` apart; `None` if it is shorter than a trailer or its kind is unknown. Readers of files
    /// report `None` as corruption.
    pub fn decode(encoded: &'a [u8]) -> Option<InternalKey<'a>> {
        let (user_key, trailer) = encoded.split_last_chunk::<TRAILER_LEN>()?;
        let trailer = u64::from_le_bytes(*trailer);
        let kind = EntryKind::try_from(trailer as u8).ok()?;
        Some(InternalKey { user_key, seq: SeqNo(trailer >> 8), kind })
    }

    /// Appends the encoded key to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        encode_into(self.user_key, self.seq, self.kind, out);
    }

    /// The encoded key.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.user_key, self.seq, self.kind)
    }
}

/// Appends the internal key of these parts to `out`.
pub fn encode_into(user_key: &[u8], seq: SeqNo, kind: EntryKind, out: &mut Vec<u8>) {
    debug_assert!(seq <= SeqNo::MAX);
    out.extend_from_slice(user_key);
    out.extend_from_slice(&trailer(seq, kind).to_le_bytes());
}

/// The internal key of these parts.
pub fn encode(user_key: &[u8], seq: SeqNo, kind: EntryKind) -> Vec<u8> {
    let mut out = Vec::with_capacity(user_key.len() + TRAILER_LEN);
    encode_into(user_key, seq, kind, &mut out);
    out
}

/// The trailer's number.
pub fn trailer(seq: SeqNo, kind: EntryKind) -> u64 {
    seq.0 << 8 | kind as u64
}

/// The key to seek to for the newest version of `user_key` that a reader at `seq` may see: it comes before every
/// entry of `user_key` at `seq` or older, and after every newer one.
pub fn seek_key(user_key: &[u8], seq: SeqNo) -> Vec<u8> {
    let mut out = Vec::with_capacity(user_key.len() + TRAILER_LEN);
    seek_key_into(user_key, seq, &mut out);
    out
}

/// As [`seek_key`], into a buffer that is cleared first.
pub fn seek_key_into(user_key: &[u8], seq: SeqNo, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(user_key);
    out.extend_from_slice(&(seq.0 << 8 | SEEK_KIND).to_le_bytes());
}

/// The largest possible internal key of `user_key`: after every entry of it.
pub fn last_key(user_key: &[u8]) -> Vec<u8> {
    let mut out = user_key.to_vec();
    out.extend_from_slice(&[0; TRAILER_LEN]);
    out
}

/// The user key within an encoded internal key.
///
/// # Panics
/// If `encoded` is shorter than a trailer; readers of files check that before.
pub fn user_key(encoded: &[u8]) -> &[u8] {
    &encoded[..encoded.len() - TRAILER_LEN]
}

/// Compares two encoded internal keys: user key ascending, then newest first.
///
/// # Panics
/// If one is shorter than a trailer; readers of files check that before.
#[inline]
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a_key, a_trailer) = a.split_at(a.len() - TRAILER_LEN);
    let (b_key, b_trailer) = b.split_at(b.len() - TRAILER_LEN);
    match compare_user_keys(a_key, b_key) {
        Ordering::Equal => trailer_of(b_trailer).cmp(&trailer_of(a_trailer)),
        order => order,
    }
}

/// As `a.cmp(b)`, for keys that tend to start alike: no call for what fits a few words.
#[inline]
pub fn compare_user_keys(a: &[u8], b: &[u8]) -> Ordering {
    let len = a.len().min(b.len());
    if !(8..=64).contains(&len) {
        return a.cmp(b);
    }
    let word = |bytes: &[u8], at: usize| -> u64 {
        u64::from_be_bytes(bytes[at..at + 8].try_into().expect("a slice of 8 bytes"))
    };
    let mut at = 0;
    while at + 8 <= len {
        let (x, y) = (word(a, at), word(b, at));
        if x != y {
            return x.cmp(&y);
        }
        at += 8;
    }
    // The last word overlaps bytes that are known to be equal.
    let (x, y) = (word(a, len - 8), word(b, len - 8));
    x.cmp(&y).then(a.len().cmp(&b.len()))
}

/// As `a == b`, in the way of [`compare_user_keys`].
#[inline]
pub fn same_user_key(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && compare_user_keys(a, b) == Ordering::Equal
}

#[inline]
fn trailer_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("a trailer is 8 bytes by construction"))
}

/// The smallest byte string greater than every string that starts with `prefix`; `None` if there is none (the
/// prefix is empty or all 0xff), which means unbounded.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_pinned() {
        let encoded = encode(b"a", SeqNo(5), EntryKind::Put);
        assert_eq!(encoded, [0x61, 0x02, 0x05, 0, 0, 0, 0, 0, 0]);
        let decoded = InternalKey::decode(&encoded).expect("just encoded");
        assert_eq!(decoded.encode(), encoded);
        assert_eq!(
            (decoded.user_key, decoded.seq, decoded.kind),
            (&b"a"[..], SeqNo(5), EntryKind::Put)
        );
    }

    #[test]
    fn newer_versions_come_first_and_shorter_keys_before_longer() {
        let ordered = [
            encode(b"", SeqNo(1), EntryKind::Put),
            seek_key(b"a", SeqNo(9)),
            encode(b"a", SeqNo(9), EntryKind::Put),
            encode(b"a", SeqNo(9), EntryKind::Delete),
            seek_key(b"a", SeqNo(8)),
            encode(b"a", SeqNo(8), EntryKind::Delete),
            encode(b"a", SeqNo(0), EntryKind::Delete),
            last_key(b"a"),
            encode(b"a\0", SeqNo(100), EntryKind::Put),
            encode(b"a\xff\xff\xff\xff\xff\xff\xff\xff\xff", SeqNo(1), EntryKind::Put),
            encode(b"b", SeqNo::MAX, EntryKind::Put),
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn user_keys_compare_like_their_bytes(
            common in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
            a in proptest::collection::vec(0u8..3, 0..20),
            b in proptest::collection::vec(0u8..3, 0..20),
        ) {
            let (a, b) = ([&common[..], &a].concat(), [&common[..], &b].concat());
            proptest::prop_assert_eq!(compare_user_keys(&a, &b), a.cmp(&b));
            proptest::prop_assert_eq!(compare_user_keys(&a, &a), Ordering::Equal);
            proptest::prop_assert_eq!(same_user_key(&a, &b), a == b);
        }
    }

    #[test]
    fn kinds_are_pinned() {
        use EntryKind::*;
        let kinds = [Delete, Put, RangeDelete, Merge, ValuePointer, Expiring];
        for (kind, byte) in kinds.into_iter().zip(1u8..) {
            assert_eq!((kind as u8, EntryKind::try_from(byte)), (byte, Ok(kind)));
        }
    }

    #[test]
    fn bad_keys_do_not_decode() {
        assert_eq!(InternalKey::decode(b"1234567"), None);
        assert_eq!(InternalKey::decode(&[0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(InternalKey::decode(&[7, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn prefix_end_is_the_tightest_bound() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }
}
