//! What the server allows clients to cost it: sizes, counts and deadlines, and the budget of request bytes that all
//! connections share. `http.rs` and `body.rs` enforce them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Sizes, counts and deadlines. The defaults suit a server that many local programs share.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the largest request body: 16 MiB, the service's limit, and 1 MiB for what surrounds the items.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies that are being read or worked on: 256 MiB.
    pub bodies_bytes_max: usize,
    /// Bytes of a request's headers: 64 KiB.
    pub header_bytes_max: usize,
    /// Connections at a time: 4096. Further ones are closed at once.
    pub connections_max: usize,
    /// Bytes of all responses that clients have not taken yet: 256 MiB. Small ones do not count.
    pub responses_bytes_max: usize,
    /// What the operations under way may cost in bytes, as the dispatcher estimates it: 64 MiB. Further ones wait.
    pub work_bytes_max: usize,
    /// From the end of a response, or the connection's start, to the first byte of the next request: 60 s.
    pub idle_timeout: Duration,
    /// From the first byte of a request to the end of its headers: 10 s.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body: 30 s.
    pub body_timeout: Duration,
    /// How long a client may take none of the bytes of a response: 30 s.
    pub write_timeout: Duration,
    /// How long a client may take over a whole response: 5 minutes.
    pub response_timeout: Duration,
    /// How long requests may take to finish once the server is told to stop: 10 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 17 << 20,
            bodies_bytes_max: 256 << 20,
            header_bytes_max: 64 << 10,
            connections_max: 4096,
            responses_bytes_max: 256 << 20,
            work_bytes_max: 64 << 20,
            idle_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Request bytes that are being held, by all connections together.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// An empty reservation.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation { budget: self.clone(), held: None }
    }
}

/// The bytes that one request holds; returned when it is dropped.
pub(crate) struct Reservation {
    budget: Budget,
    held: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// Reserves so many bytes more; false where the budget is used up.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let Ok(count) = u32::try_from(bytes) else { return false };
        let Ok(permit) = Arc::clone(&self.budget.0).try_acquire_many_owned(count) else {
            return false;
        };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_share_the_budget_and_give_it_back() {
        let budget = Budget::new(100);
        let mut first = budget.reservation();
        let mut second = budget.reservation();
        assert!(first.grow(40) && first.grow(40));
        assert!(!second.grow(21));
        assert!(second.grow(20));
        drop(first);
        assert!(second.grow(80));
        assert!(!second.grow(1));
    }
}
