//! The threads that serve connections: one runtime each, so that a request is read, worked on and answered without one
//! thread waking another. `server.rs` asks here where the next connection goes, which is where the fewest are. What may
//! block never runs on them: see `inline.rs` and `dispatch.rs`. Never moves a connection once it is served.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long blocking work may go on once the threads are to end; it cannot be cancelled.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Threads that may block, of all runtimes together (but at least 16 each).
const BLOCKING_THREADS_MAX: usize = 512;

/// One thread with its runtime.
struct Worker {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The threads; ended when this is dropped, with whatever they still serve.
pub(crate) struct Workers(Vec<Worker>);

impl Workers {
    /// Starts so many threads, at least one.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut workers = Self(Vec::new());
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .thread_name(format!("esker-block-{number}"))
                .max_blocking_threads((BLOCKING_THREADS_MAX / count.max(1)).max(16))
                .build()?;
            let (stop, stopped) = oneshot::channel::<()>();
            let handle = runtime.handle().clone();
            let serve = move || {
                // Either way nobody wants the thread any more.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_timeout(SHUTDOWN);
            };
            let builder = std::thread::Builder::new().name(format!("esker-serve-{number}"));
            let thread = Some(builder.spawn(serve)?);
            let connections = Arc::new(AtomicUsize::new(0));
            workers.0.push(Worker { handle, connections, stop: Some(stop), thread });
        }
        Ok(workers)
    }

    /// The thread that serves the fewest connections, and a place on it.
    pub(crate) fn next(&self) -> (&Handle, Place) {
        let load = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let worker = self.0.iter().min_by_key(load).expect("invariant: there is a worker");
        worker.connections.fetch_add(1, Ordering::Relaxed);
        (&worker.handle, Place(Arc::clone(&worker.connections)))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // All are told before the first is waited for.
        self.0.iter_mut().for_each(|worker| drop(worker.stop.take()));
        for worker in &mut self.0 {
            if let Some(thread) = worker.thread.take() {
                // It has panicked if anything; there is nobody to tell.
                let _ = thread.join();
            }
        }
    }
}

/// A connection's place on its thread, until it is dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_spread_and_their_places_come_back() {
        let workers = Workers::start(3).unwrap();
        let count = |workers: &Workers| -> Vec<usize> {
            workers.0.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).collect()
        };
        let mut places: Vec<Place> = (0..5).map(|_| workers.next().1).collect();
        assert_eq!(count(&workers), [2, 2, 1]);
        drop(places.remove(0));
        assert_eq!(count(&workers), [1, 2, 1]);
        drop(places);
        assert_eq!(count(&workers), [0, 0, 0]);
        let (handle, _place) = workers.next();
        let (done, is_done) = std::sync::mpsc::channel();
        handle.spawn(async move { done.send(std::thread::current().name().map(str::to_owned)) });
        assert_eq!(is_done.recv().unwrap().as_deref(), Some("esker-serve-0"));
    }
}
