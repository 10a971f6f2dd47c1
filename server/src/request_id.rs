//! Request ids as the service makes them: 52 characters of base 32, different for every request. Called by
//! `http.rs`. They identify requests in logs; nothing relies on them being secret.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
const CHARACTERS: usize = 52;

/// Makes ids. The randomness is the operating system's, once per process: a keyed hash of a counter spreads it.
pub(crate) struct RequestIds {
    key: RandomState,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { key: RandomState::new(), next: AtomicU64::new(0) }
    }

    /// The next id.
    pub(crate) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(CHARACTERS);
        // Twelve characters use 60 of the 64 bits of a hash.
        for part in 0..CHARACTERS.div_ceil(12) as u64 {
            let mut bits = self.key.hash_one((number, part));
            for _ in 0..12.min(CHARACTERS - id.len()) {
                id.push(char::from(ALPHABET[(bits % 32) as usize]));
                bits /= 32;
            }
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_services_form_and_differ() {
        let ids = RequestIds::new();
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        for id in [first, second] {
            assert_eq!(id.len(), CHARACTERS);
            assert!(id.bytes().all(|b| ALPHABET.contains(&b)), "{id}");
        }
    }
}
