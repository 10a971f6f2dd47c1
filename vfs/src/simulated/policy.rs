//! What a power cut may leave behind: the rules by which a crash image is chosen.
//!
//! Harnesses name a policy; `crash` carries it out.

/// Which of the pending changes a power cut leaves on the disk.
///
/// Pending changes are numbered from 0 in the order of the calls. What was synced is never touched.
/// The first three are drawn from a seed; the others are the same for every seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPolicy {
    /// Like a journalling file system that orders data before the length that covers it (ext4 as
    /// usually mounted): names, truncations and allocations survive as a prefix of their order; the
    /// appended bytes of a file as a prefix too, torn at a sector border; overwritten sectors in
    /// any combination.
    Ordered,
    /// What POSIX allows: any subset of the changes, data and lengths independently, torn at sector
    /// borders.
    Posix,
    /// Worse than any disk should be: torn at any byte, missing bytes left as they were, zeroed or
    /// replaced by garbage, a rename that leaves both names.
    Hostile,
    /// Everything arrived.
    KeepAll,
    /// Nothing arrived.
    DropAll,
    /// The first so many changes arrived.
    Prefix(usize),
    /// All but this one arrived.
    DropOne(usize),
    /// All changes before this one arrived, and of this one only the first so many bytes, the
    /// length reaching as far as they do. Only for writes; of other changes, nothing arrives.
    Tear(usize, usize),
    /// All changes arrived, lengths included, but of the data of this one only the first so many
    /// bytes. Only for writes; other changes arrive.
    Hole(usize, usize),
}

/// What a sync that reports an I/O error has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFailure {
    /// The data did not reach the disk and never will, though reads still see it; a later sync
    /// succeeds without it.
    LostStillCached,
    /// The data did not reach the disk, and reads see what was there before it.
    LostReverted,
    /// The data is durable after all.
    PersistedAnyway,
}

/// A change that is not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingKind {
    /// Data written to a file.
    Write {
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        len: usize,
    },
    /// A file's length set or space reserved.
    Length,
    /// A name added, removed or changed.
    Name,
}
