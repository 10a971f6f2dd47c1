//! Expressions that were parsed before, by their text: programs send the same few again and again, and only what their
//! placeholders stand for differs. Asked by `expression/mod.rs`. Never waits, and never holds more than it is made for:
//! an expression that falls on another's place takes it.

use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;

/// Places of each kind of expression.
const PLACES: usize = 256;

/// UTF-8 bytes of the longest text that is kept; the places of a kind hold a few megabytes at most.
const KEPT_BYTES_MAX: usize = 1024;

/// The expressions of one kind.
pub(super) struct Parsed<T> {
    places: [Mutex<Option<Kept<T>>>; PLACES],
}

struct Kept<T> {
    text: Box<str>,
    expression: Arc<T>,
}

impl<T> Parsed<T> {
    pub(super) const fn new() -> Self {
        Self { places: [const { Mutex::new(None) }; PLACES] }
    }

    /// What `text` parses to. `parse` depends on the text alone; its errors are not kept.
    pub(super) fn get(&self, text: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<Arc<T>> {
        if text.len() > KEPT_BYTES_MAX {
            return parse(text).map(Arc::new);
        }
        let place = &self.places[xxh3_64(text.as_bytes()) as usize % PLACES];
        // Where somebody else is at this place, parsing costs less than waiting may.
        if let Some(place) = place.try_lock()
            && let Some(kept) = &*place
            && *kept.text == *text
        {
            return Ok(Arc::clone(&kept.expression));
        }
        let expression = Arc::new(parse(text)?);
        let kept = Kept { text: text.into(), expression: Arc::clone(&expression) };
        // What was there is dropped after the lock.
        let _replaced = place.try_lock().and_then(|mut place| place.replace(kept));
        Ok(expression)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::TableError;

    #[test]
    fn a_text_is_parsed_once_and_an_error_each_time() {
        let (parsed, calls) = (Parsed::new(), Cell::new(0));
        let length = |text: &str| {
            calls.set(calls.get() + 1);
            if text.is_empty() { Err(TableError::validation("empty")) } else { Ok(text.len()) }
        };
        for _ in 0..3 {
            assert_eq!(*parsed.get("abc", length).unwrap(), 3);
        }
        assert_eq!(calls.get(), 1);
        for _ in 0..2 {
            assert!(parsed.get("", length).is_err());
        }
        assert_eq!(calls.get(), 3);
        let long = "x".repeat(KEPT_BYTES_MAX + 1);
        for _ in 0..2 {
            assert_eq!(*parsed.get(&long, length).unwrap(), long.len());
        }
        assert_eq!(calls.get(), 5);
    }

    #[test]
    fn texts_that_share_a_place_are_told_apart() {
        let parsed = Parsed::new();
        for round in 0..2 {
            for number in 0..20 * PLACES {
                let text = number.to_string();
                assert_eq!(
                    *parsed.get(&text, |text| Ok(text.to_owned())).unwrap(),
                    text,
                    "{round}"
                );
            }
        }
    }

    #[test]
    fn a_place_in_use_is_not_waited_for() {
        let parsed = Parsed::new();
        let held: Vec<_> = parsed.places.iter().map(|place| place.lock()).collect();
        assert_eq!(*parsed.get("abc", |_| Ok(1)).unwrap(), 1);
        drop(held);
        assert_eq!(*parsed.get("abc", |_| Ok(2)).unwrap(), 2);
    }
}
