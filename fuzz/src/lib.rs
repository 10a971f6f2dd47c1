//! What the fuzz targets do with their bytes: one module a target, each with `check` (must return for every input) and
//! `seeds` (valid inputs to start mutating from). Called by libFuzzer through `fuzz_targets/` and, on stable, by
//! `tests/fuzz_corpus.rs`, which includes this file. A `check` must never depend on the machine, the clock or chance, so
//! that an input that fails once fails always.

#[path = "batch.rs"]
pub mod batch;
#[path = "block_iter.rs"]
pub mod block_iter;
#[path = "db_ops_with_crash.rs"]
pub mod db_ops_with_crash;
#[path = "db_ops_with_faults.rs"]
pub mod db_ops_with_faults;
#[path = "decompress.rs"]
pub mod decompress;
#[path = "expression.rs"]
pub mod expression;
#[path = "frame.rs"]
pub mod frame;
#[path = "http_request.rs"]
pub mod http_request;
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
#[path = "sigv4.rs"]
pub mod sigv4;
#[path = "sst_open.rs"]
pub mod sst_open;
#[path = "value_file.rs"]
pub mod value_file;
#[path = "varint.rs"]
pub mod varint;
#[path = "wal_replay.rs"]
pub mod wal_replay;
#[path = "whole_directory.rs"]
pub mod whole_directory;

#[path = "disk.rs"]
mod disk;
#[path = "parts.rs"]
mod parts;
#[path = "reseal.rs"]
mod reseal;
#[path = "source.rs"]
mod source;

use esker_sim::allocation::{self, Counting};

/// Counts what a target allocates.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that a target may hold at one time, besides [`MEMORY_FACTOR`] times its input.
const MEMORY_MAX: u64 = 24 << 20;

/// What lz4 can make of a byte, and as much again for those who hold it twice.
const MEMORY_FACTOR: u64 = 2 * 256;

/// A fuzz target: its name, its body and the inputs it starts from.
pub struct Target {
    /// The name of the binary in `fuzz_targets/`.
    pub name: &'static str,
    /// Runs one input; a defect is a panic.
    pub check: fn(&[u8]),
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Microseconds that an input takes, roughly, in a debug build; says how many of them a plain test can afford.
    pub cost_us: u64,
}

impl Target {
    /// Runs one input within its memory.
    pub fn run(&self, data: &[u8]) {
        let ((), peak) = allocation::peak_of(|| (self.check)(data));
        let most = MEMORY_MAX + MEMORY_FACTOR * data.len() as u64;
        assert!(peak <= most, "{}: {} bytes take {peak} bytes of memory", self.name, data.len());
    }
}

/// Runs one input of the target of that name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    target.expect("invariant: the binaries have the names of the targets").run(data);
}

/// Writes the seeds of a target into a folder of its name below the one that `ESKER_FUZZ_SEEDS` names, and ends the
/// program; does nothing where there is no such variable. For the binaries, before they fuzz.
///
/// # Panics
/// Where the folder cannot be written to.
#[allow(dead_code, reason = "the plain test, which includes this file, writes no files")]
#[allow(clippy::disallowed_methods, reason = "seeds are files for libFuzzer")]
pub fn write_seeds(name: &str) {
    let Some(parent) = std::env::var_os("ESKER_FUZZ_SEEDS") else { return };
    let target = TARGETS.iter().find(|target| target.name == name);
    let seeds = (target.expect("invariant: the binaries have the names of the targets").seeds)();
    let folder = std::path::Path::new(&parent).join(name);
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:02}")), seed)
            .expect("the folder takes files");
    }
    std::process::exit(0);
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "batch", check: batch::check, seeds: batch::seeds, cost_us: 10 },
    Target { name: "block_iter", check: block_iter::check, seeds: block_iter::seeds, cost_us: 10 },
    Target {
        name: "db_ops_with_crash",
        check: db_ops_with_crash::check,
        seeds: db_ops_with_crash::seeds,
        cost_us: 500,
    },
    Target {
        name: "db_ops_with_faults",
        check: db_ops_with_faults::check,
        seeds: db_ops_with_faults::seeds,
        cost_us: 500,
    },
    Target { name: "decompress", check: decompress::check, seeds: decompress::seeds, cost_us: 10 },
    Target { name: "expression", check: expression::check, seeds: expression::seeds, cost_us: 100 },
    Target { name: "frame", check: frame::check, seeds: frame::seeds, cost_us: 10 },
    Target {
        name: "http_request",
        check: http_request::check,
        seeds: http_request::seeds,
        cost_us: 500,
    },
    Target { name: "item_codec", check: item_codec::check, seeds: item_codec::seeds, cost_us: 10 },
    Target { name: "json_item", check: json_item::check, seeds: json_item::seeds, cost_us: 10 },
    Target { name: "key_codec", check: key_codec::check, seeds: key_codec::seeds, cost_us: 10 },
    Target {
        name: "key_condition",
        check: key_condition::check,
        seeds: key_condition::seeds,
        cost_us: 10,
    },
    Target { name: "manifest", check: manifest::check, seeds: manifest::seeds, cost_us: 10 },
    Target { name: "number38", check: number38::check, seeds: number38::seeds, cost_us: 10 },
    Target { name: "sigv4", check: sigv4::check, seeds: sigv4::seeds, cost_us: 20 },
    Target { name: "sst_open", check: sst_open::check, seeds: sst_open::seeds, cost_us: 10 },
    Target { name: "value_file", check: value_file::check, seeds: value_file::seeds, cost_us: 10 },
    Target { name: "varint", check: varint::check, seeds: varint::seeds, cost_us: 10 },
    Target { name: "wal_replay", check: wal_replay::check, seeds: wal_replay::seeds, cost_us: 10 },
    Target {
        name: "whole_directory",
        check: whole_directory::check,
        seeds: whole_directory::seeds,
        cost_us: 500,
    },
];
