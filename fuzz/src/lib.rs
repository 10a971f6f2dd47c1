//! What the fuzz targets do with their bytes: one module a target, each with `check` (must return for every input) and
//! `seeds` (valid inputs to start mutating from). Called by libFuzzer through `fuzz_targets/` and, on stable, by
//! `tests/fuzz_corpus.rs`, which includes this file. A `check` must never touch the machine, the clock or chance, so
//! that an input that fails once fails always.

#[path = "batch.rs"]
pub mod batch;
#[path = "frame.rs"]
pub mod frame;
#[path = "varint.rs"]
pub mod varint;

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
    Target { name: "varint", check: varint::check, seeds: varint::seeds },
];
