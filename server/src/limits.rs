//! What the server allows clients to cost it: sizes, counts and deadlines, and the budgets of bytes that all connections
//! share. `http.rs`, `body.rs`, `dispatch.rs` and `stall.rs` enforce them.
//!
//! Three budgets bound the memory: the bodies that arrive, the operations under way (by an estimate, because what they
//! read is not known before), and the responses that wait for their clients. The first and the last say no when they are
//! used up, because clients decide how long they hold them; the second makes requests wait, because it always comes
//! back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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
    /// Bytes of all responses that clients have not taken yet: 256 MiB. Small ones do not count. A quarter of it is
    /// for writes, which have taken place when there is no room for what they answer.
    pub responses_bytes_max: usize,
    /// What the operations under way may cost in bytes, as the dispatcher estimates it by what they read: 64 MiB, and
    /// 32 MiB for each processor. Values may take thirty times as much memory as they are charged for. Further operations
    /// wait. Half
    /// of it is for small operations, so that they do not wait for large ones.
    pub work_bytes_max: usize,
    /// From the end of a response, or the connection's start, to the first byte of the next request: 60 s.
    pub idle_timeout: Duration,
    /// From the first byte of a request to the end of its headers: 10 s.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body: 30 s.
    pub body_timeout: Duration,
    /// How long a client may take none of the bytes of a response: 30 s.
    pub write_timeout: Duration,
    /// How long a client may take over a whole response: 5 minutes. While more than half of the room for responses
    /// is taken, only as long as `write_timeout`.
    pub response_timeout: Duration,
    /// How long requests may take to finish once the server is told to stop: 10 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            body_bytes_max: 17 << 20,
            bodies_bytes_max: 256 << 20,
            header_bytes_max: 64 << 10,
            connections_max: 4096,
            responses_bytes_max: 256 << 20,
            work_bytes_max: (64 << 20) + (32 << 20) * processors,
            idle_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Changes one limit, given as `NAME=VALUE`: bytes and counts plain, times in milliseconds.
    ///
    /// # Errors
    /// What is wrong with the text, with the names that there are.
    pub(crate) fn set(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once('=').ok_or_else(|| help("no '=' in", text))?;
        let number: u32 = value.parse().map_err(|_| help("no whole number in", text))?;
        if number == 0 {
            return Err(help("a limit of zero would refuse everything in", text));
        }
        let count = number as usize;
        let time = Duration::from_millis(number.into());
        match name {
            "body-bytes" => self.body_bytes_max = count,
            "bodies-bytes" => self.bodies_bytes_max = count,
            "responses-bytes" => self.responses_bytes_max = count,
            "work-bytes" => self.work_bytes_max = count,
            // hyper's buffers are never smaller.
            "header-bytes" => self.header_bytes_max = count.max(8192),
            "connections" => self.connections_max = count,
            "idle-ms" => self.idle_timeout = time,
            "header-ms" => self.header_timeout = time,
            "body-ms" => self.body_timeout = time,
            "write-ms" => self.write_timeout = time,
            "response-ms" => self.response_timeout = time,
            "drain-ms" => self.drain_timeout = time,
            _ => return Err(help("no such limit in", text)),
        }
        Ok(())
    }
}

fn help(problem: &str, text: &str) -> String {
    format!(
        "{problem} '{text}': limits are body-bytes, bodies-bytes, responses-bytes, work-bytes, \
         header-bytes, connections, idle-ms, header-ms, body-ms, write-ms, response-ms, drain-ms"
    )
}

/// The budgets of a server.
pub(crate) struct Budgets {
    /// Request bodies that are being read or worked on.
    pub(crate) bodies: Budget,
    small_work: Budget,
    large_work: Budget,
    /// Responses to reads that their clients have not taken yet.
    pub(crate) read_responses: Budget,
    /// The same of writes.
    pub(crate) write_responses: Budget,
}

impl Budgets {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            bodies: Budget::new(limits.bodies_bytes_max),
            // Waiting for a budget of nothing would be no wait at all.
            small_work: Budget::new((limits.work_bytes_max / 2).max(1)),
            large_work: Budget::new((limits.work_bytes_max / 2).max(1)),
            read_responses: Budget::new(
                limits.responses_bytes_max - limits.responses_bytes_max / 4,
            ),
            write_responses: Budget::new(limits.responses_bytes_max / 4),
        }
    }

    /// Waits until an operation that may cost so many bytes can begin.
    pub(crate) async fn work(&self, bytes: usize) -> Reservation {
        let work = if bytes < LARGE_WORK_BYTES { &self.small_work } else { &self.large_work };
        work.wait(bytes).await
    }
}

/// From how many bytes on an operation is large: more than an item and its JSON.
const LARGE_WORK_BYTES: usize = 1 << 20;

/// Bytes of a response that needs no place in the budget of all responses. With them the small requests of some
/// clients are answered while others hold large responses; a connection holds one at a time.
const RESPONSE_BYTES_FREE: usize = 16 << 10;

/// A number of bytes that all connections share.
#[derive(Clone)]
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
    bytes_max: u32,
}

impl Budget {
    /// A budget of so many bytes, at most 4 GiB.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes_max = u32::try_from(bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { permits: Arc::new(Semaphore::new(bytes_max as usize)), bytes_max }
    }

    /// Whether less than half of it is left.
    pub(crate) fn is_scarce(&self) -> bool {
        self.permits.available_permits() < self.bytes_max as usize / 2
    }

    /// An empty reservation.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation { budget: self.clone(), held: None }
    }

    /// Waits for so many bytes, or for all that there are; who waits first is served first.
    pub(crate) async fn wait(&self, bytes: usize) -> Reservation {
        let count = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max);
        let permit = Arc::clone(&self.permits).acquire_many_owned(count).await;
        let held = Some(permit.expect("invariant: a budget is never closed"));
        Reservation { budget: self.clone(), held }
    }

    /// Puts a response on the budget until the last of it is dropped, which is when the client has taken it; `None`
    /// where there is no room.
    pub(crate) fn hold(&self, mut response: Vec<u8>) -> Option<Bytes> {
        if response.len() <= RESPONSE_BYTES_FREE {
            return Some(Bytes::from(response));
        }
        response.shrink_to_fit();
        let mut reservation = self.reservation();
        reservation
            .grow(response.len())
            .then(|| Bytes::from_owner(Held { bytes: response, _reservation: reservation }))
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
        let Ok(permit) = Arc::clone(&self.budget.permits).try_acquire_many_owned(count) else {
            return false;
        };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        true
    }
}

/// A response with its place in the budget.
struct Held {
    bytes: Vec<u8>,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
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

    #[test]
    fn limits_are_set_by_name() {
        let mut limits = Limits::default();
        limits.set("idle-ms=1500").unwrap();
        limits.set("connections=7").unwrap();
        assert_eq!((limits.idle_timeout.as_millis(), limits.connections_max), (1500, 7));
        for wrong in ["", "idle-ms", "idle-ms=", "idle-ms=-1", "idle-ms=0", "idle-ms=1s", "x=1"] {
            assert!(limits.set(wrong).unwrap_err().contains("limits are body-bytes"), "{wrong}");
        }
    }

    #[test]
    fn responses_count_until_they_are_dropped_and_small_ones_not_at_all() {
        let budget = Budget::new(100_000);
        let large = budget.hold(vec![1; 80_000]).unwrap();
        assert!(budget.hold(vec![2; 20_001]).is_none());
        assert_eq!(budget.hold(vec![3; 16 << 10]).unwrap().len(), 16 << 10);
        let part = large.slice(79_999..);
        drop(large);
        assert!(budget.hold(vec![4; 20_001]).is_none());
        drop(part);
        assert!(budget.hold(vec![5; 100_000]).is_some());
    }
}
