//! Running operations where the connection is served instead of on a thread of their own. Two thread switches cost more
//! than most operations, so `dispatch.rs` does this with what is short: writes, which are awaited, and reads of one item, as
//! long as they find their data in memory. Never lets an operation's panic or the client's departure end anything else.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

/// A read that took longer has waited for the disk (or for a processor, which looks the same).
const SLOW: Duration = Duration::from_micros(200);

/// Bytes of a request that are read and worked on in a microsecond, at the least.
const BYTES_A_US: usize = 16;

/// For how long after a slow read all reads go to threads that may block.
const PAUSE_US: u64 = 10_000;

/// Whether reads of single items are fast at the moment. One that is not holds up one worker once; those after it are sent
/// where waiting does no harm, until none of them has been slow for a while.
pub(crate) struct InlineReads {
    start: Instant,
    /// Microseconds after the start.
    slow_until_us: AtomicU64,
}

impl InlineReads {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), slow_until_us: AtomicU64::new(0) }
    }

    /// As after a slow read, for ever.
    #[cfg(test)]
    pub(crate) fn slow() -> Self {
        Self { start: Instant::now(), slow_until_us: AtomicU64::new(u64::MAX) }
    }

    /// From now on as after a slow read.
    #[cfg(test)]
    pub(crate) fn turn_slow(&self) {
        self.slow_until_us.store(u64::MAX, Ordering::Relaxed);
    }

    /// When a read begins, and whether it may run on a worker.
    pub(crate) fn begin(&self) -> (Begun, bool) {
        let begun = Begun(self.now_us());
        (begun, begun.0 >= self.slow_until_us.load(Ordering::Relaxed))
    }

    /// Notes that the reads of a request of so many bytes have ended.
    pub(crate) fn end(&self, begun: Begun, bytes: usize) {
        self.end_at(begun, bytes, self.now_us());
    }

    fn end_at(&self, begun: Begun, bytes: usize, now_us: u64) {
        // A long request, of many items perhaps, takes its time without any waiting.
        let work_us = bytes / BYTES_A_US;
        if u128::from(now_us.saturating_sub(begun.0)) > SLOW.as_micros() + work_us as u128 {
            self.slow_until_us.fetch_max(now_us.saturating_add(PAUSE_US), Ordering::Relaxed);
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// When a read began, in microseconds after the start.
#[derive(Clone, Copy)]
pub(crate) struct Begun(u64);

/// For how long an operation that is to go on elsewhere is left to a thread that may block before it goes on here all the
/// same: one that is free has it long before.
const HANDOVER: Duration = Duration::from_millis(1);

/// Carries an operation out where the connection is served, as long as reads are fast; the rest of one that has met a slow
/// read, or has waited until there was one, is done on a thread that may block. So what holds up a worker is one slow read,
/// not all those that follow it, as far as the operation yields between them and a thread is free.
pub(crate) async fn while_fast<T: Send + 'static>(
    operation: impl Future<Output = T> + Send + 'static,
    reads: &InlineReads,
) -> Result<T, Panicked> {
    handed_over_within(HANDOVER, operation, reads).await
}

async fn handed_over_within<T: Send + 'static>(
    handover: Duration,
    operation: impl Future<Output = T> + Send + 'static,
    reads: &InlineReads,
) -> Result<T, Panicked> {
    let mut operation = SeenThrough::new(operation);
    let mut has_begun = false;
    let here = poll_fn(|context| {
        if std::mem::replace(&mut has_begun, true) && !reads.begin().1 {
            return Poll::Ready(None);
        }
        match Pin::new(&mut operation).poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if reads.begin().1 => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        }
    });
    if let Some(result) = here.await {
        return result;
    }
    // It may hold locks. The threads that may block are limited in number, and all of them may be waiting for those locks:
    // it is never without somebody who goes on with it until one of them has it.
    let offered = Offered(Arc::new(Mutex::new(Some(operation))));
    let theirs = Arc::clone(&offered.0);
    let elsewhere = spawn_blocking(move || {
        let operation = theirs.lock().take();
        operation.map(|operation| Handle::current().block_on(operation))
    });
    let here = async {
        sleep(handover).await;
        poll_fn(|context| offered.poll(context)).await
    };
    tokio::select! {
        result = here => result,
        outcome = elsewhere => match outcome {
            Ok(result) => result.expect("invariant: only its end here takes it from a thread"),
            Err(error) => Err(Panicked(error.to_string())),
        },
    }
}

/// An operation under way that goes on with whoever takes it. If this is dropped before, it is seen through.
struct Offered<T: Send + 'static>(Arc<Mutex<Option<SeenThrough<T>>>>);

impl<T: Send + 'static> Offered<T> {
    /// Goes on with it here, unless somebody has taken it.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<T, Panicked>> {
        let mut slot = self.0.lock();
        let Some(operation) = slot.as_mut() else { return Poll::Pending };
        let progress = Pin::new(operation).poll(context);
        if progress.is_ready() {
            *slot = None;
        }
        progress
    }
}

impl<T: Send + 'static> Drop for Offered<T> {
    fn drop(&mut self) {
        let operation = self.0.lock().take();
        drop(operation);
    }
}

/// The text of a panic.
pub(crate) struct Panicked(pub(crate) String);

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("no message").to_owned())
    }
}

/// Calls `work`; a panic in it is its result.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Panicked::new(payload.as_ref()))
}

/// An operation that is seen through: if whoever waits for it goes away, the rest of it goes on in a task of its own.
pub(crate) struct SeenThrough<T: Send + 'static>(Option<Operation<T>>);

type Operation<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T: Send + 'static> SeenThrough<T> {
    pub(crate) fn new(operation: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(operation)))
    }
}

impl<T: Send + 'static> Future for SeenThrough<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let operation = self.0.as_mut().expect("invariant: not polled after its end");
        let result = match caught(|| operation.as_mut().poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panicked) => Err(panicked),
        };
        self.0 = None;
        Poll::Ready(result)
    }
}

impl<T: Send + 'static> Drop for SeenThrough<T> {
    fn drop(&mut self) {
        let Some(operation) = self.0.take() else { return };
        // Without a runtime the process is ending, and what the operation holds knows how to end by itself.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(operation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_read_sends_the_next_ones_away_for_a_while() {
        let reads = InlineReads::new();
        assert!(reads.begin().1);
        reads.end_at(Begun(0), 0, 200);
        reads.end_at(Begun(0), 1600, 300);
        assert!(reads.begin().1);
        // Far ahead, so that the test does not depend on how long it takes.
        let hour = 3_600_000_000;
        reads.end_at(Begun(hour), 15, hour + 201);
        assert!(!reads.begin().1);
        assert_eq!(reads.slow_until_us.load(Ordering::Relaxed), hour + 201 + PAUSE_US);
        reads.end_at(Begun(hour), 0, hour + 300);
        reads.end_at(Begun(0), 0, 1000);
        assert_eq!(reads.slow_until_us.load(Ordering::Relaxed), hour + 300 + PAUSE_US);
    }

    #[test]
    fn what_is_dropped_under_way_goes_on() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (go_on, gone_on) = tokio::sync::oneshot::channel();
            let (done, is_done) = tokio::sync::oneshot::channel();
            let mut operation = Box::pin(SeenThrough::new(async move {
                let number: u32 = gone_on.await.unwrap_or(0);
                let _ = done.send(number);
            }));
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(operation.as_mut().poll(&mut context).is_pending());
            drop(operation);
            go_on.send(7).expect("it is still waited for");
            assert_eq!(is_done.await, Ok(7));
        });
    }

    /// A runtime with so many threads that may block.
    fn runtime_with(threads: usize) -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().max_blocking_threads(threads).build().expect("a runtime")
    }

    #[test]
    fn what_has_met_a_slow_read_goes_on_elsewhere() {
        let runtime = runtime_with(2);
        let here = std::thread::current().id();
        let threads_of = |slow_poll: Option<usize>| {
            let reads = Arc::new(InlineReads::new());
            let (of_operation, mut threads) = (Arc::clone(&reads), Vec::new());
            let operation = poll_fn(move |context| {
                threads.push(std::thread::current().id());
                if Some(threads.len()) == slow_poll {
                    of_operation.turn_slow();
                }
                if threads.len() == 4 {
                    return Poll::Ready(std::mem::take(&mut threads));
                }
                context.waker().wake_by_ref();
                Poll::Pending
            });
            // So that the test does not depend on how soon a thread starts.
            let hour = Duration::from_secs(3600);
            let threads = runtime.block_on(handed_over_within(hour, operation, &reads));
            let threads = threads.ok().expect("no panic");
            threads.iter().map(|thread| *thread == here).collect::<Vec<_>>()
        };
        assert_eq!(threads_of(None), [true; 4]);
        assert_eq!(threads_of(Some(2)), [true, true, false, false]);
    }

    /// Operations were moved into the queue of the threads that may block with the locks they held. When all of those
    /// threads were waiting for one of the locks, nothing went on any more.
    #[test]
    fn what_holds_a_lock_does_not_wait_for_threads_that_wait_for_it() {
        for is_dropped in [false, true] {
            let runtime = runtime_with(2);
            let is_done = runtime.block_on(async {
                let reads = Arc::new(InlineReads::new());
                let lock = Arc::new(tokio::sync::Mutex::new(()));
                let (nudge, nudged) = tokio::sync::oneshot::channel::<()>();
                let (commit, committed) = tokio::sync::oneshot::channel::<()>();
                let of_operation = Arc::clone(&lock);
                let operation = async move {
                    let _held = of_operation.lock().await;
                    nudged.await.is_ok() && committed.await.is_ok()
                };
                let of_task = Arc::clone(&reads);
                let write = tokio::spawn(async move { while_fast(operation, &of_task).await.ok() });
                // It begins, and takes the lock.
                while lock.try_lock().is_ok() {
                    tokio::task::yield_now().await;
                }
                let mut others = Vec::new();
                for _ in 0..2 {
                    let lock = Arc::clone(&lock);
                    let (waits, is_waiting) = tokio::sync::oneshot::channel();
                    others.push(spawn_blocking(move || {
                        let _ = waits.send(());
                        Handle::current().block_on(async { drop(lock.lock().await) });
                    }));
                    is_waiting.await.expect("it has begun");
                }
                reads.turn_slow();
                // It is to go on elsewhere, where no thread is free.
                nudge.send(()).expect("it is waited for");
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                if is_dropped {
                    write.abort();
                    tokio::task::yield_now().await;
                }
                commit.send(()).expect("it is still waited for");
                // Far longer than it takes: only one that hangs runs into it.
                let all = async {
                    for other in others {
                        other.await.expect("no panic");
                    }
                    let outcome = write.await;
                    assert_eq!(outcome.ok().flatten(), (!is_dropped).then_some(true));
                };
                tokio::time::timeout(Duration::from_secs(60), all).await.is_ok()
            });
            runtime.shutdown_background();
            assert!(is_done, "dropped: {is_dropped}");
        }
    }

    #[test]
    fn a_panic_is_a_result() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let outcome = runtime.block_on(SeenThrough::new(async { panic!("number {}", 5) }));
        let outcome: Result<(), Panicked> = outcome;
        assert_eq!(outcome.err().map(|panicked| panicked.0), Some("number 5".to_owned()));
        assert_eq!(caught(|| 3).ok(), Some(3));
    }
}
