//! Runs every fuzz target's body as a plain test: its seeds, truncations of them, a fixed number of seeded mutations,
//! and what fuzzing has found before. Much less than `scripts/fuzz.sh` finds, but on every machine and in every
//! `cargo test`.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "the regressions are files of this repository")]

use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

/// Mutations of a cheap target, and the time in which the costly ones have to do with fewer: together about half a
/// minute in a debug build.
const MUTATIONS_MAX: u64 = 30_000;
const TARGET_US: u64 = 1_500_000;

/// Truncations of one seed: all of a short one, as many of a long one.
const TRUNCATIONS_MAX: usize = 400;

/// SplitMix64: small, seeded, good enough to pick bytes.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Bytes that sit on the edges of lengths, kinds and varints.
const EDGES: [u8; 10] = [0x00, 0x01, 0x02, 0x07, 0x3f, 0x40, 0x7f, 0x80, 0xfe, 0xff];

fn mutate(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len());
        match chance.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << chance.below(8),
            1 if !bytes.is_empty() => bytes[at] = EDGES[chance.below(EDGES.len())],
            2 => bytes.insert(at, chance.next() as u8),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 if !bytes.is_empty() => {
                let end = (at + chance.below(16)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.extend_from_slice(&piece);
            }
            _ => {
                let other = &seeds[chance.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[chance.below(other.len())..]);
            }
        }
    }
    bytes
}

/// How many inputs of a target there is time for.
fn affordable(target: &fuzz::Target) -> u64 {
    (TARGET_US / target.cost_us).min(MUTATIONS_MAX)
}

fn run(target: &fuzz::Target, input: &[u8], what: std::fmt::Arguments<'_>) {
    let outcome = std::panic::catch_unwind(|| fuzz::run(target.name, input));
    assert!(outcome.is_ok(), "{}: {what}: {input:02x?}", target.name);
}

#[test]
fn no_seed_truncation_or_mutation_of_one_breaks_a_target() {
    for target in fuzz::TARGETS {
        let (seeds, count) = ((target.seeds)(), affordable(target));
        let truncations = TRUNCATIONS_MAX.min(count as usize / seeds.len());
        for (number, seed) in seeds.iter().enumerate() {
            run(target, seed, format_args!("seed {number}"));
            let step = (seed.len() / truncations.max(1)).max(1);
            let lens = (0..seed.len()).step_by(step).take(truncations);
            lens.for_each(|len| run(target, &seed[..len], format_args!("seed {number} to {len}")));
        }
        for number in 0..count {
            let input = mutate(&seeds, &mut Chance(number));
            run(target, &input, format_args!("mutation {number}"));
        }
    }
}

/// What fuzzing has found stays fixed: `fuzz/regressions/<target>/` holds the inputs.
#[test]
fn no_finding_of_the_past_breaks_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/regressions");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let Some(target) = fuzz::TARGETS.iter().find(|target| target.name == name) else {
            panic!("there is no target {name}");
        };
        for input in std::fs::read_dir(entry.path()).unwrap() {
            let path = input.unwrap().path();
            run(target, &std::fs::read(&path).unwrap(), format_args!("{}", path.display()));
            count += 1;
        }
    }
    assert!(count > 0, "the folder is empty");
}

/// A target that is not built by its name would never run.
#[test]
fn every_target_has_its_binary() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    for target in fuzz::TARGETS {
        let path = format!("path = \"fuzz_targets/{}.rs\"", target.name);
        assert!(manifest.contains(&path), "{} is not in fuzz/Cargo.toml", target.name);
    }
    assert_eq!(manifest.matches("[[bin]]").count(), fuzz::TARGETS.len() + 1, "and the self-test");
}
