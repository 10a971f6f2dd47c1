//! Time and randomness.

use std::fmt::Debug;
use std::time::Duration;

/// A clock. Nothing in the engine orders data by it.
pub trait Clock: Debug + Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since 1970-01-01 UTC; may jump.
    fn wall_ms(&self) -> u64;

    /// Blocks the calling thread, or moves simulated time on.
    fn sleep(&self, duration: Duration);
}

/// A source of random bytes for identities. Not for secrets.
pub trait Random: Debug + Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}
