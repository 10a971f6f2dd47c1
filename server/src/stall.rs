//! A socket that gives up on a client which does not go on: one that sends nothing, that never ends its headers, or
//! that does not take its response. hyper has one timer for the wait for a request and for its headers, and none for
//! writing; here each has its own. `server.rs` puts every connection into one. The deadlines of a body are in
//! `body.rs`. Never decides what a request is: `http.rs` says when one begins and ends, through [`Phase`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::{Budget, Limits};

/// Whether a connection is between two requests (even) or inside one (odd): a count of the changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phase(Arc<AtomicU64>);

impl Phase {
    /// Inside a request until what this returns is dropped.
    pub(crate) fn request(&self) -> InRequest {
        self.0.fetch_add(1, Ordering::AcqRel);
        InRequest(Self(Arc::clone(&self.0)))
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The time from a request's headers to its response's first byte.
pub(crate) struct InRequest(Phase);

impl Drop for InRequest {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Ends reads and writes with `TimedOut` once a deadline has passed.
pub(crate) struct StallGuard<T> {
    inner: T,
    deadlines: Deadlines,
    phase: Phase,
    /// What the responses of all connections share. Who is slow while it is scarce keeps others from being served.
    responses: Budget,
    /// The phase in which the two below hold.
    seen: u64,
    /// When the first byte of the next request's headers came.
    head_since: Option<Instant>,
    /// By when a read between two requests has to bring something.
    read_by: Option<Instant>,
    /// Ends then or before: moving it with every request would cost more than to look again once it has ended.
    reading: Option<Pin<Box<Sleep>>>,
    /// Runs while a write is waiting.
    writing: Option<Pin<Box<Sleep>>>,
    /// When the client first did not take all that there was for it; forgotten once it has.
    behind_since: Option<Instant>,
}

/// The deadlines of [`Limits`] that are kept here.
struct Deadlines {
    idle: Duration,
    header: Duration,
    write: Duration,
    response: Duration,
}

impl<T> StallGuard<T> {
    pub(crate) fn new(inner: T, limits: &Limits, responses: Budget, phase: Phase) -> Self {
        let deadlines = Deadlines {
            idle: limits.idle_timeout,
            header: limits.header_timeout,
            write: limits.write_timeout,
            response: limits.response_timeout,
        };
        Self {
            inner,
            deadlines,
            phase,
            responses,
            seen: 0,
            head_since: None,
            read_by: None,
            reading: None,
            writing: None,
            behind_since: None,
        }
    }

    /// Notes that a read brought `count` bytes.
    fn received(&mut self, count: usize) {
        if count > 0 && self.head_since.is_none() {
            self.head_since = Some(Instant::now());
            self.read_by = None;
        }
    }

    /// Waits for the deadline of a read that found nothing.
    fn wait_to_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let end = *self.read_by.get_or_insert_with(|| match self.head_since {
            Some(since) => since + self.deadlines.header,
            None => Instant::now() + self.deadlines.idle,
        });
        let timer = self.reading.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= end {
                let what = match self.head_since {
                    Some(_) => "its headers did not end in time",
                    None => "no request came in time",
                };
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)));
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// Notes that the client took something: then it is not idle. hyper also flushes when a timer wakes it and there is
    /// nothing to write, which says nothing of the client.
    fn taken<R>(&mut self, outcome: &Poll<io::Result<R>>) {
        if outcome.is_ready() && self.head_since.is_none() && self.read_by.is_some() {
            self.read_by = Some(Instant::now() + self.deadlines.idle);
        }
    }

    /// Passes the outcome of a write on, or the deadline's where the write waits for too long.
    fn watch<R>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if outcome.is_ready() {
            self.writing = None;
            return outcome;
        }
        let now = Instant::now();
        let behind_since = *self.behind_since.get_or_insert(now);
        let Deadlines { write, response, .. } = self.deadlines;
        let whole = if self.responses.is_scarce() { response.min(write) } else { response };
        let end = (now + write).min(behind_since + whole);
        let deadline = self.writing.get_or_insert_with(|| Box::pin(sleep_until(end)));
        ready!(deadline.as_mut().poll(context));
        let what = "the response was not taken in time";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for StallGuard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let phase = self.phase.now();
        if phase != self.seen {
            self.seen = phase;
            self.head_since = None;
            self.read_by = None;
        }
        let is_in_request = phase % 2 == 1;
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(context, buffer);
        if is_in_request {
            return outcome;
        }
        if outcome.is_pending() {
            return self.wait_to_read(context);
        }
        self.received(buffer.filled().len() - before);
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for StallGuard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.taken(&outcome);
        self.watch(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, buffers);
        self.taken(&outcome);
        self.watch(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes once it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        if outcome.is_ready() {
            self.behind_since = None;
        }
        self.watch(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watch(context, outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// hyper flushes whenever it is woken. Where a flush of nothing counted as a sign of life, a deadline that was looked
    /// at a little early was put off again and again, and the connection stayed for ever.
    #[test]
    fn a_flush_of_nothing_does_not_put_the_idle_deadline_off() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let limits = Limits { idle_timeout: Duration::from_millis(10), ..Limits::default() };
        let (near, _far) = tokio::io::duplex(64);
        let budget = Budget::new(1 << 20);
        let mut guard = StallGuard::new(near, &limits, budget, Phase::default());
        let (mut bytes, mut polls) = ([0; 8], 0);
        let read = poll_fn(|context| {
            let outcome = Pin::new(&mut guard).poll_read(context, &mut ReadBuf::new(&mut bytes));
            if outcome.is_pending() && polls < 20 {
                polls += 1;
                let later = Instant::now() + Duration::from_millis(2);
                while Instant::now() < later {
                    std::hint::spin_loop();
                }
                assert!(Pin::new(&mut guard).poll_flush(context).is_ready());
                return Poll::Pending;
            }
            Poll::Ready(outcome)
        });
        let Poll::Ready(Err(error)) = runtime.block_on(read) else {
            panic!("the connection stays");
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
