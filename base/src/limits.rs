//! The limits that every layer checks before it allocates. One place, so that they cannot drift apart.

/// The longest key a user may write, in bytes (64 KiB).
pub const KEY_LEN_MAX: usize = 64 * 1024;

/// The largest batch, in encoded bytes (64 MiB); a value must fit into one batch.
pub const BATCH_LEN_MAX: usize = 64 * 1024 * 1024;

/// The longest payload a log frame may carry: a group of batches never exceeds one batch's limit plus its header.
pub const FRAME_PAYLOAD_MAX: usize = BATCH_LEN_MAX + 64 * 1024;

/// The largest sequence number: 56 bits, because an internal key's trailer keeps 8 bits for the kind.
pub const SEQNO_MAX: u64 = (1 << 56) - 1;

/// The longest keyspace name, in bytes.
pub const KEYSPACE_NAME_LEN_MAX: usize = 255;

/// The largest number of keyspaces a database may hold.
pub const KEYSPACE_COUNT_MAX: usize = 1_000_000;

/// The largest file number, keyspace id and epoch that is taken from a disk: what counts on from there never overflows.
pub const COUNTER_MAX: u64 = u64::MAX >> 1;

const _: () = assert!(FRAME_PAYLOAD_MAX > BATCH_LEN_MAX);
const _: () = assert!(FRAME_PAYLOAD_MAX < u32::MAX as usize);
