//! Background work: explicit steps, and the threads that merely call them.
//!
//! A step does one bounded piece of work and says whether there was any: flush a memtable, run a compaction, remove
//! obsolete files, make a spare log segment, read a piece of an sstable to see that it is sound. With [`Background::Manual`] the caller runs them in any order it likes;
//! nothing else happens behind its back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use esker_base::{Error, ErrorKind, Result, mutant, names::FileKind};
use esker_manifest::StrategyKind;

use crate::commit::spare::IDLE_AFTER;
use crate::core::Core;
use crate::pacing::RATE_WINDOW;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex, RwLock};

/// A failed step is tried again after this.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Shared by the threads and those who give them work.
#[derive(Debug, Default)]
pub(crate) struct BackgroundState {
    /// Counts the calls of `wake`, so that none is missed between a look for work and the wait.
    wakes: Mutex<u64>,
    changed: Condvar,
    /// Set when the database closes; long steps look at it.
    pub(crate) cancelled: AtomicBool,
    /// The last flush's failure, until one succeeds.
    flush_error: Mutex<Option<Error>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Shared by steps, taken alone to close; see `core.rs`.
    pub(crate) steps: RwLock<()>,
}

/// The steps that a caller of [`crate::Db::run_background_step`] can choose.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackgroundStep {
    /// Write one frozen memtable to an sstable.
    Flush,
    /// Run one compaction.
    Compact,
    /// Remove files that nothing needs any more.
    CleanUp,
    /// Make the next log segment ahead of time, sync finished ones where many are not, and give up what an idle log does
    /// not need.
    SpareSegment,
    /// Read a piece of an sstable and check it; what is wrong goes to the metrics. Nothing to do at the end of a pass.
    Scrub,
}

impl BackgroundStep {
    /// Every step.
    pub const ALL: [BackgroundStep; 5] = [
        BackgroundStep::Flush,
        BackgroundStep::Compact,
        BackgroundStep::CleanUp,
        BackgroundStep::SpareSegment,
        BackgroundStep::Scrub,
    ];
}

impl BackgroundState {
    pub(crate) fn wake(&self) {
        *self.wakes.lock() += 1;
        self.changed.notify_all();
    }

    pub(crate) fn flush_error(&self) -> Option<Error> {
        self.flush_error.lock().clone()
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Waits for `timeout`, whatever work there is; false if the database closes meanwhile.
    pub(crate) fn sleep(&self, timeout: Duration) -> bool {
        let mut wakes = self.wakes.lock();
        self.changed.wait_while_for(&mut wakes, |_| !self.is_cancelled(), timeout);
        !self.is_cancelled()
    }

    fn wait(&self, seen: u64, timeout: Option<Duration>) {
        let mut wakes = self.wakes.lock();
        if *wakes == seen && !self.is_cancelled() {
            match timeout {
                Some(timeout) => {
                    self.changed.wait_for(&mut wakes, timeout);
                }
                None => self.changed.wait(&mut wakes),
            }
        }
    }
}

impl Core {
    /// Runs one step; true if there was something to do.
    pub(crate) fn background_step(&self, step: BackgroundStep) -> Result<bool> {
        let _under_way = self.background.steps.read();
        self.check_open()?;
        if self.health.is_suspended() && step != BackgroundStep::Scrub {
            self.check_writable()?;
        }
        match step {
            BackgroundStep::Flush => {
                let result = self.flush_step();
                *self.background.flush_error.lock() = result.as_ref().err().cloned();
                result
            }
            BackgroundStep::Compact => self.compaction_step(),
            BackgroundStep::CleanUp => Ok(self.clean_up_step()),
            BackgroundStep::SpareSegment => self.spare_step(),
            BackgroundStep::Scrub => Ok(self.scrub_step()),
        }
    }

    /// Removes the files in the graveyard, but for log segments that are kept for reuse. What cannot be removed is left to the next open.
    pub(crate) fn clean_up_step(&self) -> bool {
        let buried = {
            // The pins are looked at under the lock: a file that was buried after a checkpoint began is then seen
            // together with the checkpoint's pin.
            let mut graveyard = self.files.graveyard.lock();
            let in_doubt = self.health.cause().is_some() && !mutant!("manifest_doubt_deletes");
            let pinned = self.file_pins.load(Ordering::Acquire) > 0;
            if pinned && !mutant!("race_pins_ignored") || in_doubt {
                return false;
            }
            let mut buried = std::mem::take(&mut *graveyard);
            // Sstables before the values that they point to: what a crash leaves of them can then be read.
            buried.sort_unstable();
            buried
        };
        let had_work = !buried.is_empty();
        let buried = self.keep_retired(buried);
        for (kind, number) in &buried {
            let path = self.dir.join(kind.name(*number));
            if self.world.fs.remove_file(&path).is_err() {
                self.metrics.background_errors.add(1);
            }
            debug_assert!(*kind != FileKind::Sstable || !self.is_live(*number));
        }
        had_work
    }

    fn is_live(&self, number: esker_base::FileNumber) -> bool {
        self.manifest.lock().version.live_sstables().contains(&number)
    }

    /// Tells the writers how far flush and compaction are behind.
    pub(crate) fn update_pressure(&self) {
        let level0 = |keyspace: &Arc<crate::keyspace::KeyspaceInner>| match keyspace.meta.strategy {
            StrategyKind::Leveled => {
                keyspace.view_guard().levels.0.first().map_or(0, Vec::len) as u64
            }
            StrategyKind::Tiered | StrategyKind::Fifo => 0,
        };
        let most = self.keyspaces.all().iter().map(level0).max().unwrap_or(0);
        self.pacer.set_level0(most);
    }

    /// Starts the threads of a database that has its own.
    pub(crate) fn start_threads(self: &Arc<Core>) -> Result<()> {
        if !self.has_threads() {
            return Ok(());
        }
        self.spawn("esker-commit", |core| core.queue.run_thread(core))?;
        // On a thread of its own: a writer that needs a spare and has none cannot wait for a flush.
        self.spawn("esker-log", |core| core.work(&[BackgroundStep::SpareSegment]))?;
        let flush = [BackgroundStep::Flush, BackgroundStep::CleanUp];
        self.spawn("esker-flush", move |core| core.work(&flush))?;
        let compact = [BackgroundStep::Compact, BackgroundStep::CleanUp];
        self.spawn("esker-compact", move |core| core.work(&compact))?;
        if self.options.scrub_bytes_per_second > 0 {
            self.spawn("esker-scrub", Core::run_scrub)?;
        }
        Ok(())
    }

    fn spawn(self: &Arc<Core>, name: &str, run: impl Fn(&Core) + Send + 'static) -> Result<()> {
        let core = Arc::clone(self);
        let guarded = move || {
            if catch_unwind(AssertUnwindSafe(|| run(&core))).is_err() {
                let name = thread::current().name().unwrap_or("background").to_string();
                core.health.fail(&Error::new(ErrorKind::Io, format!("thread {name} panicked")));
            }
        };
        let spawned = thread::Builder::new().name(name.to_string()).spawn(guarded);
        let handle = spawned.map_err(|error| Error::io("start a thread for", &self.dir, error))?;
        self.background.threads.lock().push(handle);
        Ok(())
    }

    /// Runs `steps` as long as there is work, then waits for more.
    fn work(&self, steps: &[BackgroundStep]) {
        while !self.background.is_cancelled() {
            let mut seen = *self.background.wakes.lock();
            let (mut worked, mut failed) = (false, false);
            for step in steps {
                match self.background_step(*step) {
                    Ok(done) => worked |= done,
                    Err(_) if self.background.is_cancelled() => return,
                    Err(error) if error.kind() == ErrorKind::Closed => return,
                    Err(_) => {
                        self.metrics.background_errors.add(1);
                        failed = true;
                    }
                }
            }
            if mutant!("race_wake_missed") {
                seen = *self.background.wakes.lock();
            }
            if worked && !failed {
                // A flush is work for compaction, and a compaction may leave files to remove.
                self.background.wake();
            } else {
                // Once the database is read-only, trying again is no use; only closing wakes the thread.
                let retry = failed && self.health.cause().is_none();
                let merges = steps.contains(&BackgroundStep::Compact) && self.compaction_waits();
                let settles = steps.contains(&BackgroundStep::SpareSegment) && self.log_settles();
                let timeout = match () {
                    () if failed => retry.then_some(RETRY_AFTER),
                    () if merges => Some(RATE_WINDOW),
                    () => settles.then_some(IDLE_AFTER),
                };
                self.background.wait(seen, timeout);
            }
        }
    }

    /// Ends the threads and waits for them.
    pub(crate) fn stop_threads(&self) {
        self.background.cancelled.store(true, Ordering::Release);
        self.background.wake();
        let threads = std::mem::take(&mut *self.background.threads.lock());
        let me = thread::current().id();
        for handle in threads {
            // The last handle may be dropped on one of these threads; it cannot wait for itself.
            if handle.thread().id() != me {
                // A panic was already turned into the database's failure.
                let _ = handle.join();
            }
        }
    }
}
