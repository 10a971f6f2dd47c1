//! Ranges of keys: what a condition on the sort key, a partition or a scan's segment selects. Query
//! and Scan turn them into engine ranges. Bounds are whole keys, so that a value is never taken for
//! a longer one that it starts.

use super::KeyPart;

/// The keys from `start` up to but not including `end`; without `end`, up to the last key there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that may be in the range.
    pub start: Vec<u8>,
    /// The first key after it.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// All keys that start with `prefix`.
    pub fn prefix(prefix: Vec<u8>) -> Self {
        let end = after_prefix(&prefix);
        Self { start: prefix, end }
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Whether a key is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_ref().is_none_or(|end| key < end.as_slice())
    }
}

/// The condition of a query on its sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortCondition<'a> {
    /// `= value`
    Equal(KeyPart<'a>),
    /// `< value`
    Less(KeyPart<'a>),
    /// `<= value`
    LessOrEqual(KeyPart<'a>),
    /// `> value`
    Greater(KeyPart<'a>),
    /// `>= value`
    GreaterOrEqual(KeyPart<'a>),
    /// `BETWEEN low AND high`, both included.
    Between(KeyPart<'a>, KeyPart<'a>),
    /// `begins_with(key, value)`, of a string or bytes.
    BeginsWith(KeyPart<'a>),
}

/// How the conditioned part stands in the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortForm {
    /// Raw and last, as a table's sort key.
    Raw,
    /// Self-delimiting with more after it, as an index's.
    Delimited,
}

impl SortForm {
    fn key(self, prefix: &[u8], part: &KeyPart<'_>) -> Vec<u8> {
        let mut key = prefix.to_vec();
        match self {
            Self::Raw => part.put_raw(&mut key),
            Self::Delimited => part.put_delimited(&mut key),
        }
        key
    }

    /// The first key after all those whose part equals this one.
    fn after(self, prefix: &[u8], part: &KeyPart<'_>) -> Option<Vec<u8>> {
        let mut key = self.key(prefix, part);
        match self {
            Self::Raw => {
                key.push(0);
                Some(key)
            }
            Self::Delimited => after_prefix(&key),
        }
    }

    /// What all keys start with whose part begins with this one.
    fn beginning(self, prefix: &[u8], part: &KeyPart<'_>) -> Vec<u8> {
        let mut key = prefix.to_vec();
        match self {
            Self::Raw => part.put_raw(&mut key),
            Self::Delimited => part.put_escaped(&mut key),
        }
        key
    }
}

impl SortCondition<'_> {
    /// The keys that start with `prefix` and whose next part fulfils the condition.
    pub fn range(&self, prefix: &[u8], form: SortForm) -> KeyRange {
        let key = |part: &KeyPart<'_>| form.key(prefix, part);
        let after = |part: &KeyPart<'_>| form.after(prefix, part);
        // An end that does not exist means that nothing can follow: the range from there is empty,
        // which a start at the end of the prefix's own range says.
        let last = || after_prefix(prefix);
        let from = |start: Option<Vec<u8>>| match start {
            Some(start) => KeyRange { start, end: last() },
            None => KeyRange { start: prefix.to_vec(), end: Some(prefix.to_vec()) },
        };
        match self {
            Self::Equal(part) => KeyRange { start: key(part), end: after(part) },
            Self::Less(part) => KeyRange { start: prefix.to_vec(), end: Some(key(part)) },
            Self::LessOrEqual(part) => KeyRange { start: prefix.to_vec(), end: after(part) },
            Self::Greater(part) => from(after(part)),
            Self::GreaterOrEqual(part) => from(Some(key(part))),
            Self::Between(low, high) => KeyRange { start: key(low), end: after(high) },
            Self::BeginsWith(part) => KeyRange::prefix(form.beginning(prefix, part)),
        }
    }
}

/// The first key after all those that start with `prefix`; `None` where there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The keys of one segment of a parallel scan: `total` equal ranges of hashes, of which `segment`
/// (from 0) is one. A segment beyond the last is empty.
pub fn segment_range(segment: u32, total: u32) -> KeyRange {
    let total = total.max(1);
    // The first hash of a segment; `None` beyond the last hash.
    let first = |segment: u32| {
        let hash = (u128::from(segment) << 64).div_ceil(u128::from(total));
        u64::try_from(hash).ok().map(|hash| hash.to_be_bytes().to_vec())
    };
    match first(segment) {
        Some(start) => KeyRange { start, end: first(segment.saturating_add(1)) },
        None => KeyRange { start: vec![], end: Some(vec![]) },
    }
}
