//! What the fuzz targets do with their bytes: one module a target, each with `check` (must return for every input) and
//! `seeds` (valid inputs to start mutating from). Called by libFuzzer through `fuzz_targets/` and, on stable, by
//! `tests/fuzz_corpus.rs`, which includes this file. A `check` must never touch the machine, the clock or chance, so
//! that an input that fails once fails always.

#[path = "batch.rs"]
pub mod batch;
#[path = "frame.rs"]
pub mod frame;
#[path = "item_codec.rs"]
pub mod item_codec;
#[path = "json_item.rs"]
pub mod json_item;
#[path = "key_codec.rs"]
pub mod key_codec;
#[path = "key_condition.rs"]
pub mod key_condition;
#[path = "manifest.rs"]
pub mod manifest;
#[path = "number38.rs"]
pub mod number38;
#[path = "sst_open.rs"]
pub mod sst_open;
#[path = "varint.rs"]
pub mod varint;
#[path = "wal_replay.rs"]
pub mod wal_replay;

#[path = "disk.rs"]
mod disk;
#[path = "reseal.rs"]
mod reseal;

/// A fuzz target: its name, its body and the inputs it starts from.
pub struct Target {
    /// The name of the binary in `fuzz_targets/`.
    pub name: &'static str,
    /// Runs one input; a defect is a panic.
    pub check: fn(&[u8]),
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "batch", check: batch::check, seeds: batch::seeds },
    Target { name: "frame", check: frame::check, seeds: frame::seeds },
    Target { name: "item_codec", check: item_codec::check, seeds: item_codec::seeds },
    Target { name: "json_item", check: json_item::check, seeds: json_item::seeds },
    Target { name: "key_codec", check: key_codec::check, seeds: key_codec::seeds },
    Target { name: "key_condition", check: key_condition::check, seeds: key_condition::seeds },
    Target { name: "manifest", check: manifest::check, seeds: manifest::seeds },
    Target { name: "number38", check: number38::check, seeds: number38::seeds },
    Target { name: "sst_open", check: sst_open::check, seeds: sst_open::seeds },
    Target { name: "varint", check: varint::check, seeds: varint::seeds },
    Target { name: "wal_replay", check: wal_replay::check, seeds: wal_replay::seeds },
];
