//! Tags: 8 bytes of a key that stand beside its address, so that most comparisons need nothing else.
//!
//! The tree tags every key it holds or looks for, and relies on the order that this file promises.

/// How keys become tags: the 8 bytes that follow a prefix which the keys are expected to share.
///
/// A key that has the prefix is tagged by its next 8 bytes, big-endian, padded with zeros; a key
/// below all of those by 0, a key above by the highest number. That preserves order for any keys; a
/// well-chosen prefix only makes equal tags rare.
pub(crate) struct TagBase {
    prefix: Box<[u8]>,
}

impl TagBase {
    /// Tags for keys most of which begin with `prefix`.
    pub(crate) fn new(prefix: &[u8]) -> TagBase {
        TagBase { prefix: prefix.into() }
    }

    /// The tag of `user_key`. `tag(a) < tag(b)` implies `a < b`.
    pub(crate) fn tag(&self, user_key: &[u8]) -> u64 {
        let rest = if self.prefix.is_empty() {
            user_key
        } else if let Some(rest) = user_key.strip_prefix(&*self.prefix) {
            rest
        } else {
            return if *user_key < *self.prefix { 0 } else { u64::MAX };
        };
        match rest.first_chunk::<8>() {
            Some(first) => u64::from_be_bytes(*first),
            // Byte by byte: copying into a padded array would be read back before the copy has left
            // the store buffer.
            None => (0_u64..)
                .zip(rest)
                .fold(0, |tag, (index, &byte)| tag | u64::from(byte) << (56 - 8 * index)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_preserve_order_with_any_prefix() {
        let keys: Vec<&[u8]> = vec![
            b"",
            b"\0",
            b"a",
            b"ab",
            b"ab\0",
            b"abc",
            b"abcdefgh",
            b"abcdefghi",
            b"abcdefgi",
            b"abd",
            b"b",
            b"\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ];
        for prefix in [&b""[..], b"a", b"ab", b"abcdefgh", b"zz", b"\xff"] {
            let tags = TagBase::new(prefix);
            for pair in keys.windows(2) {
                assert!(pair[0] < pair[1]);
                assert!(tags.tag(pair[0]) <= tags.tag(pair[1]), "{prefix:?} {pair:?}");
            }
        }
        let tags = TagBase::new(b"ab");
        assert!(tags.tag(b"abcdefgh") < tags.tag(b"abcdefgi"));
    }
}
