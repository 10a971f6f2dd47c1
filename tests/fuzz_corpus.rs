//! Runs every fuzz target's body on stable: its seeds, every truncation of them, and a fixed number of seeded
//! mutations. Much less than coverage-guided fuzzing finds, but on every machine and in every `cargo test`.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

/// Mutations a target. Together they take a few seconds in a debug build.
const MUTATIONS: u64 = 50_000;

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

#[test]
fn no_seed_truncation_or_mutation_of_one_breaks_a_target() {
    for target in fuzz::TARGETS {
        let seeds = (target.seeds)();
        for seed in &seeds {
            for len in 0..=seed.len() {
                (target.check)(&seed[..len]);
            }
        }
        for number in 0..MUTATIONS {
            let input = mutate(&seeds, &mut Chance(number));
            let outcome = std::panic::catch_unwind(|| (target.check)(&input));
            assert!(outcome.is_ok(), "{}: mutation {number}: {input:02x?}", target.name);
        }
    }
}
