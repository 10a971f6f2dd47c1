//! A small fixed hash and generator: the same on every machine, in every version of this crate's
//! tests.
//!
//! Used for traces, image identities and seeded choices; not for anything that an attacker may
//! feed.

/// Steps a splitmix64 generator.
pub(super) fn next_u64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*state)
}

/// The finisher of splitmix64: a bijection that spreads every bit.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A hash of a page's bytes, `None` if all are zero. Several independent lanes, because crash tests
/// hash pages by the million; a step is a bijection of its lane, so pages that differ in one word
/// differ.
pub(super) fn of_page(page: &[u8; 4096]) -> Option<u64> {
    const LANES: usize = 4;
    let (mut lanes, mut seen) = ([1, 2, 3, 4], 0);
    for words in page.as_chunks::<8>().0.as_chunks::<LANES>().0 {
        for (lane, word) in lanes.iter_mut().zip(words) {
            let word = u64::from_le_bytes(*word);
            seen |= word;
            let stepped: u64 = *lane ^ word;
            *lane = stepped.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }
    let join = |hash: u64, lane: u64| mix(hash.rotate_left(17) ^ lane).wrapping_add(lane);
    (seen != 0).then(|| lanes.into_iter().fold(0, join))
}

/// A running hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunningHash(u64);

impl RunningHash {
    pub(super) fn new() -> RunningHash {
        RunningHash(0x6573_6b65_7221_7666)
    }

    pub(super) fn number(&mut self, value: u64) {
        self.0 = mix(self.0.rotate_left(23) ^ value).wrapping_add(value);
    }

    /// The bytes and their count.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        self.number(u64::from_le_bytes(last));
    }

    pub(super) fn finish(self) -> u64 {
        self.0
    }
}

/// Seeded choices.
#[derive(Debug)]
pub(super) struct Chooser(u64);

impl Chooser {
    pub(super) fn new(seed: u64) -> Chooser {
        Chooser(seed)
    }

    /// A number below `end`, which is not zero.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        next_u64(&mut self.0) % end
    }

    /// True in `percent` of a hundred cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Fills with noise.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = next_u64(&mut self.0).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}
