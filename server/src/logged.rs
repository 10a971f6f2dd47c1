//! What clients may do to the log: text that they have a part in is without control characters and never long, and
//! messages that they can cause at will come seldom. Used wherever a request's words or their number reach the log.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Bytes of the longest text that is logged whole.
const LOGGED_BYTES_MAX: usize = 1024;

/// Writes text escaped, and cut where it is too long.
pub(crate) struct Logged<'a>(pub(crate) &'a str);

impl fmt::Display for Logged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.floor_char_boundary(LOGGED_BYTES_MAX);
        for character in self.0[..end].chars() {
            match character {
                '"' | '\'' => write!(f, "{character}")?,
                _ => write!(f, "{}", character.escape_debug())?,
            }
        }
        match self.0.len() - end {
            0 => Ok(()),
            more => write!(f, "... and {more} bytes more"),
        }
    }
}

/// Between two messages of one kind.
const PAUSE: Duration = Duration::from_secs(1);

/// Decides which of many messages of one kind are written.
pub(crate) struct Seldom {
    start: Instant,
    /// Milliseconds after the start from which the next may be written.
    next_ms: AtomicU64,
    since_last: AtomicU64,
}

impl Seldom {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), next_ms: AtomicU64::new(0), since_last: AtomicU64::new(0) }
    }

    /// Counts a message; where one is due, answers how many there were since the last that was written.
    pub(crate) fn due(&self) -> Option<u64> {
        self.due_at(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn due_at(&self, now_ms: u64) -> Option<u64> {
        self.since_last.fetch_add(1, Ordering::Relaxed);
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        let pause_ms = PAUSE.as_millis() as u64;
        let is_due = now_ms >= next_ms
            && self
                .next_ms
                .compare_exchange(
                    next_ms,
                    now_ms.saturating_add(pause_ms),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        is_due.then(|| self.since_last.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_messages_one_a_second_is_written() {
        let seldom = Seldom::new();
        assert_eq!(seldom.due_at(5), Some(1));
        assert_eq!((0..100).filter_map(|ms| seldom.due_at(5 + ms)).count(), 0);
        assert_eq!(seldom.due_at(1005), Some(101));
        assert_eq!(seldom.due_at(u64::MAX), Some(1));
    }

    #[test]
    fn text_is_escaped_and_cut() {
        assert_eq!(Logged("a \"b\" é").to_string(), "a \"b\" é");
        assert_eq!(Logged("a\r\n\u{1b}[31m\0").to_string(), r"a\r\n\u{1b}[31m\0");
        let long = Logged(&"é\u{1b}".repeat(1 << 20)).to_string();
        assert!(long.len() < 10_000 && long.ends_with("bytes more"), "{}", long.len());
    }
}
