//! The thread that does the work on indexes and sums up item collections, and what keeps it: every handle
//! on the tables that a program holds shares one keeper, and the last of them to go ends the thread before
//! it goes. The thread itself has a handle without a keeper.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::work::Step;
use crate::Tables;

/// How long the work is left alone where every step fails: twice as long each time.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest of these.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(64);

/// Ends the thread when it is dropped.
#[derive(Default)]
pub(crate) struct Keeper {
    signal: Arc<Signal>,
    /// Held while the thread is begun. A leaf.
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Signal {
    /// Guards what the thread waits for. A leaf.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_over: bool,
    has_work: bool,
}

impl Keeper {
    /// Has the thread do the work that there is; `tables` is a handle without a keeper.
    pub(crate) fn begin(&self, tables: Tables) {
        let mut thread = self.thread.lock();
        self.signal.state.lock().has_work = true;
        self.signal.changed.notify_one();
        if thread.is_none() {
            let signal = Arc::clone(&self.signal);
            let unstarted = tables.clone();
            let work = move || signal.work(&tables);
            match std::thread::Builder::new().name("esker-index".to_owned()).spawn(work) {
                Ok(started) => *thread = Some(started),
                // Without a thread the work waits for the next change, or the next open.
                Err(error) => {
                    unstarted.index_work().failed(format!("no thread works on indexes: {error}"))
                }
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.signal.state.lock().is_over = true;
        self.signal.changed.notify_one();
        if let Some(thread) = self.thread.get_mut().take() {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl Signal {
    fn work(&self, tables: &Tables) {
        // Steps that failed since the last that did not.
        let mut failures = 0;
        let mut pause = RETRY_AFTER;
        loop {
            let mut state = self.state.lock();
            while !state.has_work && !state.is_over {
                self.changed.wait(&mut state);
            }
            if state.is_over {
                return;
            }
            state.has_work = false;
            drop(state);
            // A step that panics has failed like another: its locks are given back.
            let step = catch_unwind(AssertUnwindSafe(|| tables.work_step()));
            match step {
                Ok(Ok(Step::Nothing)) => continue,
                Ok(Ok(Step::Index)) => (failures, pause) = (0, RETRY_AFTER),
                // Says nothing of indexes.
                Ok(Ok(Step::Sum)) => {}
                Ok(Err(_)) if tables.is_closed() => return,
                Ok(Err(_)) | Err(_) => failures += 1,
            }
            // Every index that has something left to do has failed one after the other.
            let have_all_failed = failures >= tables.index_work().len() && failures > 0;
            let is_idle = have_all_failed && !tables.collections().has_work();
            let mut state = self.state.lock();
            state.has_work = true;
            if is_idle && !state.is_over {
                self.changed.wait_for(&mut state, pause);
                pause = RETRY_AFTER_MAX.min(2 * pause);
                failures = 0;
            }
        }
    }
}
