//! The commit queue: who waits, and who owns the log.
//!
//! Commits wait in one line. At any time at most one thread owns the log; it takes commits from the front in groups. A
//! blocking writer that finds no owner becomes it, until its own commit is done; then it hands the log to the next
//! blocking writer in line, or to the commit thread for a submitted one. So a lone writer pays no thread switch, and
//! many writers share one sync; the log is handed on before those that wait for the group are woken. A writer that finds
//! nobody in line either commits what its caller lends it, without a place in line.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use esker_base::{BatchOp, Error, ErrorKind, Result, SeqNo, mutant};

use crate::commit::history::ReadSet;
use crate::commit::writes::{One, Writes};
use crate::core::Core;
use crate::keyspace::KeyspaceInner;
use crate::sync::thread::ThreadId;
use crate::sync::{Condvar, Mutex, thread_id};
use crate::{Batch, Durability};

/// What a commit in line takes beside its operations, about, in bytes.
const COMMIT_OVERHEAD_BYTES: usize = 256;

/// Blocking writers wait while this many bytes are queued. Few under the tests of schedules, which write little.
const QUEUE_BYTES: usize = if cfg!(feature = "shuttle") { 2 << 10 } else { 64 << 20 };

/// `submit` is refused with Busy beyond this many bytes.
const SUBMIT_BYTES_MAX: usize = 4 * QUEUE_BYTES;

/// A group takes commits until it has this many bytes.
const GROUP_BYTES: usize = if cfg!(feature = "shuttle") { 1 << 10 } else { 1 << 20 };

/// How often a commit that nobody waits to see synced looks again, some 0.2 us apart, before it sleeps. Such a commit takes
/// about a microsecond, and a sleeping thread ten times that to be woken. Not under the tests of schedules, whose threads go
/// on one at a time.
const LOOKS: usize = if cfg!(feature = "shuttle") { 0 } else { 32 };

/// How often a closing thread looks whether the owner is done.
const OWNER_POLL: Duration = Duration::from_micros(200);

/// One commit in line.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) batch: Batch,
    pub(crate) durability: Durability,
    /// What the commit's transaction read; `None` for a plain write.
    pub(crate) reads: Option<ReadSet>,
    pub(crate) slot: Arc<Slot>,
    /// Whether a thread sleeps on the slot and can take over the log.
    pub(crate) blocking: bool,
}

/// Where the result of a commit appears.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// A leaf lock.
    state: Mutex<SlotState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum SlotState {
    #[default]
    Waiting,
    /// As `Waiting`, with a task to wake.
    Polled(Waker),
    /// The waiting thread owns the log now.
    Promoted,
    Done(Result<SeqNo>),
}

impl Commit {
    /// The memory it takes in line, in bytes.
    fn queued_bytes(&self) -> usize {
        COMMIT_OVERHEAD_BYTES + self.batch.encoded_bytes()
    }
}

enum Woken {
    Promoted,
    Done(Result<SeqNo>),
}

impl Slot {
    pub(crate) fn complete(&self, result: Result<SeqNo>) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut *state, SlotState::Done(result));
        drop(state);
        self.changed.notify_one();
        if let SlotState::Polled(waker) = before {
            // A waker is the caller's code: if it panics, that is no failure of the database.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }

    fn promote(&self) {
        *self.state.lock() = SlotState::Promoted;
        if !mutant!("race_handover_not_notified") {
            self.changed.notify_one();
        }
    }

    fn result(&self) -> Option<Result<SeqNo>> {
        match &*self.state.lock() {
            SlotState::Done(result) => Some(result.clone()),
            _ => None,
        }
    }

    /// Waits for the result, or for the log. `is_short` says that it will not take long.
    fn wait(&self, is_short: bool) -> Woken {
        let mut looks = if is_short { LOOKS } else { 0 };
        while looks > 0 && matches!(&*self.state.lock(), SlotState::Waiting) {
            looks -= 1;
            pause();
        }
        let mut state = self.state.lock();
        loop {
            match &*state {
                SlotState::Done(result) => return Woken::Done(result.clone()),
                SlotState::Promoted => {
                    *state = SlotState::Waiting;
                    return Woken::Promoted;
                }
                SlotState::Waiting | SlotState::Polled(_) => self.changed.wait(&mut state),
            }
        }
    }
}

/// Lets about 0.2 us go by.
fn pause() {
    for _ in 0..6 {
        std::hint::spin_loop();
    }
}

/// The line of commits.
#[derive(Debug, Default)]
pub(crate) struct CommitQueue {
    /// Guards the line and the ownership. Taken alone, before any other lock.
    state: Mutex<QueueState>,
    /// Blocking writers wait here for room.
    room: Condvar,
    /// The commit thread waits here for its turn.
    turn: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    line: VecDeque<Commit>,
    bytes: usize,
    /// Whether some thread owns the log or has just been given it.
    owned: bool,
    /// The thread that took the last group. While `owned`, and seen by that thread itself, it is the owner.
    owner: Option<ThreadId>,
    /// The commit thread has been given the log.
    thread_turn: bool,
    closed: bool,
}

impl CommitQueue {
    /// Commits `batch`; returns once it is as durable as asked.
    pub(crate) fn write(
        &self,
        core: &Core,
        batch: Batch,
        durability: Durability,
        reads: Option<ReadSet>,
    ) -> Result<SeqNo> {
        match self.write_alone(core, &batch, durability, reads.as_ref(), || ()) {
            Some(result) => result,
            None => self.write_in_line(core, batch, durability, reads, || ()),
        }
    }

    /// As [`CommitQueue::write`]; calls `in_line` between the moment that fixes the commit's place and the wait for it.
    /// Takes the batch only if it has to wait in line.
    pub(crate) fn write_ordered(
        &self,
        core: &Core,
        batch: &mut Batch,
        durability: Durability,
        in_line: impl FnOnce(),
    ) -> Result<SeqNo> {
        let mut in_line = Some(in_line);
        let mut call = || in_line.take().into_iter().for_each(|in_line| in_line());
        match self.write_alone(core, batch, durability, None, &mut call) {
            Some(result) => result,
            None => self.write_in_line(core, std::mem::take(batch), durability, None, call),
        }
    }

    /// As [`CommitQueue::write`], for one operation of `keyspace`, which is copied only if it has to wait in line.
    pub(crate) fn write_op(
        &self,
        core: &Core,
        keyspace: &Arc<KeyspaceInner>,
        op: BatchOp<'_>,
        durability: Durability,
    ) -> Result<SeqNo> {
        let one = One::new(keyspace, op)?;
        if let Some(result) = self.write_alone(core, &one, durability, None, || ()) {
            return result;
        }
        let mut batch = Batch::new();
        batch.push_op(keyspace, &op);
        self.write_in_line(core, batch, durability, None, || ())
    }

    /// Commits `writes` if nobody owns the log and nobody is in line: then this thread is the owner at once, and what it
    /// writes need not be handed over.
    fn write_alone(
        &self,
        core: &Core,
        writes: &impl Writes,
        durability: Durability,
        reads: Option<&ReadSet>,
        in_line: impl FnOnce(),
    ) -> Option<Result<SeqNo>> {
        let mut looks = if durability == Durability::Sync { 0 } else { LOOKS };
        loop {
            let mut state = self.state.lock();
            // Whoever is let into the line is answered; here the refusal of a closed line is the line's own.
            if state.closed || !state.line.is_empty() || (state.owned && looks == 0) {
                return None;
            }
            if !state.owned {
                (state.owned, state.owner) = (true, Some(thread_id()));
                break;
            }
            drop(state);
            looks -= 1;
            pause();
        }
        let guard = OwnerGuard { queue: self, core };
        in_line();
        let result = core.commit_alone(writes, durability, reads);
        while !self.pass_on(core, Some(true)) {
            self.run_group(core);
        }
        std::mem::forget(guard);
        Some(result)
    }

    fn write_in_line(
        &self,
        core: &Core,
        batch: Batch,
        durability: Durability,
        reads: Option<ReadSet>,
        in_line: impl FnOnce(),
    ) -> Result<SeqNo> {
        let slot = Arc::new(Slot::default());
        let is_short = durability != Durability::Sync;
        let commit = Commit { batch, durability, reads, slot: Arc::clone(&slot), blocking: true };
        let mut state = self.state.lock();
        let bytes = commit.queued_bytes();
        // Where nobody owns the log, nobody makes room: then this thread runs the line.
        while state.owned && state.bytes > 0 && state.bytes + bytes > QUEUE_BYTES && !state.closed {
            self.room.wait(&mut state);
        }
        let owns = self.push(&mut state, commit)?;
        drop(state);
        // Should the caller's code panic, its commit waits for nobody, and whoever waits for an owner is told.
        let guard = LineGuard { queue: self, core, slot: &slot, owns };
        in_line();
        std::mem::forget(guard);
        if owns {
            self.own(core, Some(&slot));
        }
        loop {
            match slot.wait(is_short) {
                Woken::Done(result) => return result,
                Woken::Promoted => self.own(core, Some(&slot)),
            }
        }
    }

    /// Puts `batch` in line and returns at once.
    pub(crate) fn submit(
        &self,
        core: &Arc<Core>,
        batch: Batch,
        durability: Durability,
        reads: Option<ReadSet>,
    ) -> Result<PendingCommit> {
        let slot = Arc::new(Slot::default());
        let commit = Commit { batch, durability, reads, slot: Arc::clone(&slot), blocking: false };
        let mut state = self.state.lock();
        if state.bytes + commit.queued_bytes() > SUBMIT_BYTES_MAX {
            let message = format!("{} bytes of commits are waiting; wait for some", state.bytes);
            return Err(Error::new(ErrorKind::Busy, message));
        }
        if self.push(&mut state, commit)? {
            if core.has_threads() {
                state.thread_turn = true;
                self.turn.notify_one();
            } else {
                // Whoever waits for the commit, or the next writer, runs it.
                state.owned = false;
            }
        }
        Ok(PendingCommit { core: Arc::clone(core), slot })
    }

    /// Adds to the line; true if the caller now owns the log.
    fn push(&self, state: &mut QueueState, commit: Commit) -> Result<bool> {
        if state.closed {
            return Err(Error::new(ErrorKind::Closed, "the database is closed"));
        }
        state.bytes += commit.queued_bytes();
        state.line.push_back(commit);
        Ok(!std::mem::replace(&mut state.owned, true))
    }

    /// Runs groups as the owner until `mine` is done (or, without one, until the line is empty), then passes the log
    /// on.
    fn own(&self, core: &Core, mine: Option<&Slot>) {
        let mut guard = Some(OwnerGuard { queue: self, core });
        while guard.is_some() {
            let group = self.take_group();
            let is_mine = |commit: &Commit, mine: &Slot| std::ptr::eq(&*commit.slot, mine);
            let is_done = mine.map(|mine| {
                group.iter().any(|commit| is_mine(commit, mine)) || mine.result().is_some()
            });
            let mut hand_over = || {
                if self.pass_on(core, is_done) {
                    // From here on a panic is no longer the owner's.
                    std::mem::forget(guard.take());
                }
            };
            if group.is_empty() { hand_over() } else { core.commit_group(group, hand_over) }
        }
    }

    fn run_group(&self, core: &Core) {
        let group = self.take_group();
        if !group.is_empty() {
            core.commit_group(group, || ());
        }
    }

    /// Gives up the log, to who is next in line; false if the owner has to go on. `is_done` says whether the owner's own
    /// commit is done, if it has one.
    fn pass_on(&self, core: &Core, is_done: Option<bool>) -> bool {
        let mut state = self.state.lock();
        let may_leave = is_done == Some(true);
        match state.line.front() {
            None => {
                (state.owned, state.owner) = (false, None);
                true
            }
            Some(next) if may_leave && next.blocking => {
                let next = Arc::clone(&next.slot);
                state.owner = None;
                next.promote();
                true
            }
            // The commit thread may be gone once the queue is closed: then the owner sees the line through.
            Some(_) if may_leave && core.has_threads() && !state.closed => {
                state.owner = None;
                state.thread_turn = true;
                if !mutant!("race_turn_not_notified") {
                    self.turn.notify_one();
                }
                true
            }
            Some(_) => false,
        }
    }

    fn take_group(&self) -> Vec<Commit> {
        let mut state = self.state.lock();
        state.owner = Some(thread_id());
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.line.front() {
            let next_bytes = next.queued_bytes();
            if bytes > 0 && bytes + next_bytes > GROUP_BYTES {
                break;
            }
            bytes += next_bytes;
            group.extend(state.line.pop_front());
        }
        state.bytes -= bytes;
        if !mutant!("race_room_not_notified") {
            self.room.notify_all();
        }
        group
    }

    /// The commit thread's loop: runs submitted commits until the queue is closed.
    pub(crate) fn run_thread(&self, core: &Core) {
        loop {
            let mut state = self.state.lock();
            while !state.thread_turn && !state.closed {
                self.turn.wait(&mut state);
            }
            if !std::mem::take(&mut state.thread_turn) {
                return;
            }
            drop(state);
            // After a panic the owner's guard has told everybody, and the database refuses writes. The thread stays for
            // commits that were let into the line just before.
            let _ = catch_unwind(AssertUnwindSafe(|| self.own(core, None)));
        }
    }

    /// Takes the log if nobody owns it and runs until `slot` is done; for databases without threads.
    fn drive(&self, core: &Core, slot: &Slot) {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.owned, true) {
            drop(state);
            self.own(core, Some(slot));
        }
    }

    /// Refuses new commits and waits until those in line are done; runs them itself where nobody does.
    pub(crate) fn close(&self, core: &Core) {
        loop {
            let mut state = self.state.lock();
            state.closed = true;
            self.room.notify_all();
            let is_own = state.owned && state.owner == Some(thread_id());
            if is_own && !mutant!("race_owner_closes_unheard") {
                // The waker of a commit that this thread has just done closes the database, perhaps by dropping the
                // last handle. Nobody else can finish the line.
                self.turn.notify_all();
                drop(state);
                return self.finish_line(core);
            }
            if state.owned {
                drop(state);
                core.world.clock.sleep(OWNER_POLL);
            } else if state.line.is_empty() {
                self.turn.notify_all();
                return;
            } else {
                state.owned = true;
                drop(state);
                self.own(core, None);
            }
        }
    }

    /// Commits what is in line, as the owner.
    fn finish_line(&self, core: &Core) {
        loop {
            let group = self.take_group();
            if group.is_empty() {
                return;
            }
            core.commit_group(group, || ());
        }
    }

    /// The number of commits in line.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().line.len()
    }
}

/// If the owner panics, everybody in line is told and the database refuses writes.
struct OwnerGuard<'a> {
    queue: &'a CommitQueue,
    core: &'a Core,
}

impl Drop for OwnerGuard<'_> {
    fn drop(&mut self) {
        let cause = Error::new(ErrorKind::Io, "a thread panicked while it committed");
        let error = self.core.health.fail(&cause);
        let left = {
            let mut state = self.queue.state.lock();
            state.bytes = 0;
            (state.owned, state.owner) = (false, None);
            self.queue.room.notify_all();
            std::mem::take(&mut state.line)
        };
        // Without the lock: a waker may do anything.
        for commit in left {
            if mutant!("race_panic_untold") {
                continue;
            }
            commit.slot.complete(Err(error.clone()));
        }
    }
}

/// If a thread panics whose commit is in line, it cannot take over the log any more; if it has it already, those in line
/// are told.
struct LineGuard<'a> {
    queue: &'a CommitQueue,
    core: &'a Core,
    slot: &'a Arc<Slot>,
    owns: bool,
}

impl Drop for LineGuard<'_> {
    fn drop(&mut self) {
        let owns = self.owns || {
            // The log is handed over under this lock.
            let mut state = self.queue.state.lock();
            let mine = state.line.iter_mut().find(|next| Arc::ptr_eq(&next.slot, self.slot));
            mine.into_iter().for_each(|commit| commit.blocking = false);
            matches!(*self.slot.state.lock(), SlotState::Promoted)
        };
        if owns {
            drop(OwnerGuard { queue: self.queue, core: self.core });
        }
    }
}

/// A commit under way: wait for it, or await it as a future of any runtime. Dropping it does not cancel the commit.
///
/// Its waker is called on the thread that commits. It may submit commits and close the database, but must not wait for
/// a commit: nobody else would carry that out.
///
/// ```
/// # fn main() -> esker::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = esker::Db::open(dir.path())?;
/// let log = db.keyspace("log")?;
/// let mut batch = db.batch();
/// batch.put(&log, b"1", b"started");
/// let pending = db.submit(batch)?;
/// // ... other work ...
/// pending.wait()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "without waiting, nothing is known about the commit"]
#[derive(Debug)]
pub struct PendingCommit {
    core: Arc<Core>,
    slot: Arc<Slot>,
}

impl PendingCommit {
    /// Blocks until the commit is as durable as was asked; its sequence number.
    pub fn wait(self) -> Result<SeqNo> {
        if !self.core.has_threads() {
            self.core.queue.drive(&self.core, &self.slot);
        }
        loop {
            match self.slot.wait(false) {
                Woken::Done(result) => return result,
                Woken::Promoted => self.core.queue.own(&self.core, Some(&self.slot)),
            }
        }
    }
}

impl Future for PendingCommit {
    type Output = Result<SeqNo>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<SeqNo>> {
        if !self.core.has_threads() {
            self.core.queue.drive(&self.core, &self.slot);
        }
        let mut state = self.slot.state.lock();
        match &mut *state {
            SlotState::Done(result) => Poll::Ready(result.clone()),
            SlotState::Polled(waker) => {
                waker.clone_from(context.waker());
                Poll::Pending
            }
            waiting => {
                *waiting = SlotState::Polled(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Db;

    /// Who orders writes by a lock of its own releases it in `in_line`: nobody may come before the write after that, and
    /// a write that is refused was never in line.
    #[test]
    fn in_line_is_called_once_before_the_commit_and_not_for_what_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let keyspace = db.keyspace("k").unwrap();
        let put = |value: &str| {
            let mut batch = Batch::new();
            batch.put(&keyspace, "key", value);
            batch
        };
        let mut seen = Vec::new();
        db.write_ordered(&mut put("1"), || seen.push(keyspace.get("key").unwrap())).unwrap();
        assert_eq!(seen, [None]);
        assert_eq!(keyspace.get("key").unwrap().as_deref(), Some(&b"1"[..]));
        // Behind another owner: it is in line when the callback runs, and whoever has the log commits it.
        {
            let mut state = db.core().queue.state.lock();
            (state.owned, state.thread_turn) = (true, true);
        }
        let queue = &db.core().queue;
        db.write_ordered(&mut put("2"), || {
            assert_eq!(queue.state.lock().line.len(), 1);
            queue.turn.notify_one();
        })
        .unwrap();
        assert_eq!(keyspace.get("key").unwrap().as_deref(), Some(&b"2"[..]));
        db.close().unwrap();
        assert!(db.write_ordered(&mut put("3"), || panic!("it is refused")).is_err());
    }

    /// The guard took the log from whoever had it, and two owners could write to it at once.
    #[test]
    fn a_panic_in_line_leaves_the_log_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let keyspace = db.keyspace("k").unwrap();
        let queue = &db.core().queue;
        let write = |then: &dyn Fn()| {
            let mut batch = Batch::new();
            batch.put(&keyspace, "key", "value");
            catch_unwind(AssertUnwindSafe(|| db.write_ordered(&mut batch, then))).unwrap_err()
        };
        // Somebody else has the log.
        queue.state.lock().owned = true;
        write(&|| panic!("planned"));
        {
            let state = queue.state.lock();
            assert!(state.owned && state.line.len() == 1 && !state.line[0].blocking);
        }
        assert!(db.core().health.cause().is_none());
        // The commit is carried out all the same, by whom the owner hands the log to.
        while !queue.pass_on(db.core(), Some(true)) {}
        while keyspace.get("key").unwrap().is_none() {
            std::thread::yield_now();
        }
        while queue.state.lock().owned {
            std::thread::yield_now();
        }
        // It was handed the log itself before it panicked: then nobody has it.
        queue.state.lock().owned = true;
        write(&|| {
            assert!(queue.pass_on(db.core(), Some(true)));
            panic!("planned")
        });
        assert!(!queue.state.lock().owned);
        assert!(db.core().health.cause().is_some());
    }

    /// The commit thread may leave as soon as the queue is closed. An owner that still handed it the log left the
    /// commits in line unanswered, and `close` waited for ever.
    #[test]
    fn the_owner_sees_a_closed_line_through() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let keyspace = db.keyspace("k").unwrap();
        let queue = &db.core().queue;
        let commit = |blocking| {
            let mut batch = Batch::new();
            batch.put(&keyspace, [u8::from(blocking)], "v");
            let slot = Arc::new(Slot::default());
            Commit { batch, durability: Durability::Volatile, reads: None, slot, blocking }
        };
        let (mine, behind) = (commit(true), commit(false));
        let slots = [Arc::clone(&mine.slot), Arc::clone(&behind.slot)];
        {
            let mut state = queue.state.lock();
            assert!(queue.push(&mut state, mine).unwrap());
            // A group of its own for the second.
            state.bytes += GROUP_BYTES;
            state.line[0].batch.put(&keyspace, "large", vec![0; GROUP_BYTES]);
            assert!(!queue.push(&mut state, behind).unwrap());
            state.bytes = state.line.iter().map(Commit::queued_bytes).sum();
            state.closed = true;
        }
        queue.own(db.core(), Some(&slots[0]));
        assert!(slots.iter().all(|slot| matches!(slot.result(), Some(Ok(_)))));
        let state = queue.state.lock();
        assert!(state.line.is_empty() && !state.owned && !state.thread_turn);
    }
}
