//! One group of commits: judged, logged, synced, applied, published and acknowledged, in that order.
//!
//! I3: a Sync commit is invisible until it is synced. I4: commits are published strictly in sequence order, and only what
//! is published is acknowledged; if a sync fails, that group and everything after it is indeterminate and the database
//! turns read-only. The log is handed on before those that sleep are woken, so a later group may be acknowledged first.

use std::collections::VecDeque;
use std::sync::Arc;

use esker_base::{BatchOp, Error, ErrorKind, Result, SeqNo, mutant};
use esker_memtable::Inserter;
use esker_wal::GroupBuilder;

use crate::Durability;
use crate::commit::history::ReadSet;
use crate::commit::log::Log;
use crate::commit::queue::Commit;
use crate::commit::writes::Writes;
use crate::core::Core;
use crate::keyspace::KeyspaceInner;
use crate::sync;

/// Volatile commits are handed to the operating system once this many bytes wait.
const DEFERRED_BYTES_MAX: usize = 1 << 20;

/// The commits of one group. Whatever happens, each is answered exactly once.
struct Group {
    waiting: VecDeque<Commit>,
    admitted: Vec<(Commit, SeqNo)>,
    /// Not admitted, and why. They are answered after the log is unlocked: a waker may do anything, even close the
    /// database.
    refused: Vec<(Commit, Error)>,
}

impl Group {
    /// Answers every judged commit: an admitted one with its sequence, or with `error`.
    fn finish(&mut self, error: Option<&Error>) {
        for (commit, error) in self.refused.drain(..) {
            commit.slot.complete(Err(error));
        }
        for (commit, seq) in self.admitted.drain(..) {
            commit.slot.complete(error.map_or(Ok(seq), |error| Err(error.clone())));
        }
    }

    /// As [`Group::finish`], for those commits that no thread waits for: to answer one may run a waker.
    fn finish_submitted(&mut self, error: Option<&Error>) {
        self.refused.retain(|(commit, error)| {
            commit.blocking || {
                commit.slot.complete(Err(error.clone()));
                false
            }
        });
        self.admitted.retain(|(commit, seq)| {
            commit.blocking || {
                commit.slot.complete(error.map_or(Ok(*seq), |error| Err(error.clone())));
                false
            }
        });
    }

    fn refuse(&mut self, error: &Error) {
        for commit in self.waiting.drain(..) {
            commit.slot.complete(Err(error.clone()));
        }
        self.finish(Some(error));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.waiting.is_empty() || !self.admitted.is_empty() || !self.refused.is_empty() {
            let cause = Error::new(ErrorKind::Io, "a thread panicked while it committed");
            // Nobody knows how far those that were admitted got.
            self.finish(Some(&Error::indeterminate(&cause)));
            self.refuse(&cause);
        }
    }
}

/// What the commits are told whose sync failed with `error`, which is the failure of the whole database.
pub(crate) fn in_doubt(error: Error) -> Error {
    let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
    Error::indeterminate(cause.unwrap_or(&error))
}

/// Commits with their sequences that are to be logged and applied together.
trait Admitted {
    fn is_empty(&self) -> bool;

    /// Puts the operations into the memtables; whether any of these took more memory. Cannot fail.
    fn apply(&self) -> bool;

    /// The keyspaces that occur, some perhaps more than once.
    fn keyspaces(&self) -> impl Iterator<Item = &Arc<KeyspaceInner>>;
}

impl Admitted for Vec<(Commit, SeqNo)> {
    fn is_empty(&self) -> bool {
        Vec::is_empty(self)
    }

    fn apply(&self) -> bool {
        if mutant!("race_acknowledged_early") {
            self.iter().for_each(|(commit, seq)| commit.slot.complete(Ok(*seq)));
        }
        self.iter().fold(false, |grew, (commit, last)| apply(&commit.batch, *last) | grew)
    }

    fn keyspaces(&self) -> impl Iterator<Item = &Arc<KeyspaceInner>> {
        self.iter().flat_map(|(commit, _)| &commit.batch.keyspaces)
    }
}

/// A commit that shares its group with no other, and the sequence of its last operation.
struct Alone<'a, W>(&'a W, SeqNo);

impl<W: Writes> Admitted for Alone<'_, W> {
    fn is_empty(&self) -> bool {
        false
    }

    fn apply(&self) -> bool {
        apply(self.0, self.1)
    }

    fn keyspaces(&self) -> impl Iterator<Item = &Arc<KeyspaceInner>> {
        self.0.keyspaces().iter()
    }
}

/// Puts the operations of one commit, the last of which has the sequence `last`, into the memtables; whether any of
/// these took more memory.
fn apply(writes: &impl Writes, last: SeqNo) -> bool {
    let mut seq = SeqNo(last.0 - u64::from(writes.count()));
    if let [keyspace] = writes.keyspaces() {
        let view = keyspace.view_guard();
        let before = view.active.memory_bytes();
        let mut inserter = view.active.writer();
        let mut insert = |op: BatchOp<'_>, inserter: &mut Inserter<'_>| {
            // A reader may come between any two operations; it must see none of them yet.
            sync::step();
            seq = seq.next();
            inserter.insert(op.key, seq, op.kind, op.value);
        };
        if writes.count() == 1 {
            writes.ops().for_each(|op| insert(op, &mut inserter));
        } else {
            let mut ops = writes.ops();
            let mut some = Vec::with_capacity(Inserter::APPROACH_MAX);
            loop {
                some.extend(ops.by_ref().take(Inserter::APPROACH_MAX));
                if some.is_empty() {
                    break;
                }
                inserter.approach(some.iter().map(|op| op.key));
                some.drain(..).for_each(|op| insert(op, &mut inserter));
            }
        }
        return view.active.memory_bytes() != before;
    }
    let keyspaces = writes.keyspaces();
    let views: Vec<_> = keyspaces.iter().map(|keyspace| keyspace.view_guard()).collect();
    let bytes = || views.iter().map(|view| view.active.memory_bytes()).sum::<usize>();
    let before = bytes();
    let mut at = 0;
    for op in writes.ops() {
        sync::step();
        seq = seq.next();
        if seq == last && mutant!("commit_half_applied") {
            break;
        }
        if keyspaces[at].id() != op.keyspace {
            at = keyspaces
                .iter()
                .position(|keyspace| keyspace.id() == op.keyspace)
                .expect("invariant: a batch lists the keyspaces of its operations");
        }
        views[at].active.insert(op.key, seq, op.kind, op.value);
    }
    bytes() != before
}

impl Core {
    /// Commits `commits` in order. Only the owner of the log calls it; it gives the log up in `hand_over`. Writers that
    /// sleep are woken after that, so that the next group is written and synced meanwhile. Wakers are called before: one
    /// may close the database, which the owner sees to.
    pub(crate) fn commit_group(&self, commits: Vec<Commit>, hand_over: impl FnOnce()) {
        let bytes = commits.iter().map(|commit| commit.batch.encoded_bytes()).sum();
        let mut group = Group {
            admitted: Vec::with_capacity(commits.len()),
            waiting: commits.into(),
            refused: Vec::new(),
        };
        if let Err(error) = self.check_writable().and_then(|()| self.pace(bytes)) {
            group.refuse(&error);
            return hand_over();
        }
        let mut log = self.log.lock();
        let mut payload = self.start_payload(&mut log);
        let durability = self.judge(&mut log, &mut group, &mut payload);
        let result = self.log_and_show(&mut log, payload, durability, &group.admitted);
        drop(log);
        group.finish_submitted(result.as_ref().err());
        hand_over();
        group.finish(result.as_ref().err());
    }

    /// As [`Core::commit_group`], for a commit that finds nobody else in line: its writes are the caller's own, and its
    /// answer needs no slot. The sequence of its last operation.
    pub(crate) fn commit_alone(
        &self,
        writes: &impl Writes,
        durability: Durability,
        reads: Option<&ReadSet>,
    ) -> Result<SeqNo> {
        self.check_writable()?;
        self.pace(writes.encoded_bytes())?;
        let mut log = self.log.lock();
        let mut payload = self.start_payload(&mut log);
        match self.admit(log.last_seq, writes, reads, &mut payload) {
            Ok(last) => {
                log.last_seq = last;
                self.log_and_show(&mut log, payload, durability, &Alone(writes, last))?;
                Ok(last)
            }
            Err(error) => {
                log.recycle(payload);
                Err(error)
            }
        }
    }

    fn start_payload(&self, log: &mut Log) -> GroupBuilder {
        let mut payload = log.builder();
        payload.start(self.world.clock.wall_ms(), log.last_seq.next());
        payload
    }

    /// Judges the commits and gives them their sequences; the strongest durability that is asked for.
    fn judge(&self, log: &mut Log, group: &mut Group, payload: &mut GroupBuilder) -> Durability {
        let mut durability = Durability::Volatile;
        // A commit stays in the group while it is judged, so that even after a panic it is answered.
        while let Some(commit) = group.waiting.front_mut() {
            let judged = self.admit(log.last_seq, &commit.batch, commit.reads.as_ref(), payload);
            let Some(commit) = group.waiting.pop_front() else { break };
            match judged {
                Ok(last) => {
                    log.last_seq = last;
                    let last_wins = mutant!("commit_last_durability_wins");
                    let floor = if last_wins { Durability::Volatile } else { durability };
                    durability = floor.max(commit.durability);
                    group.admitted.push((commit, last));
                }
                Err(error) => group.refused.push((commit, error)),
            }
        }
        durability
    }

    /// Judges one commit and adds it to the group's payload; the sequence of its last operation. `before` is the last
    /// sequence that is taken. The log's lock is held.
    fn admit(
        &self,
        before: SeqNo,
        writes: &impl Writes,
        reads: Option<&ReadSet>,
        payload: &mut GroupBuilder,
    ) -> Result<SeqNo> {
        if let Some(error) = writes.error() {
            return Err(error.clone());
        }
        writes.keyspaces().iter().try_for_each(|keyspace| keyspace.check_live())?;
        let count = u64::from(writes.count());
        let last = SeqNo(before.0 + count);
        if last > SeqNo::MAX {
            return Err(Error::new(ErrorKind::Unsupported, "the sequence numbers are used up"));
        }
        let alone = payload.is_empty() || !mutant!("commit_group_conflict_missed");
        let judged = self.history.admit(reads.filter(|_| alone), writes.ops(), last);
        judged.inspect_err(|_| self.metrics.conflicts.add(1))?;
        if count > 0 {
            writes.encode(payload)?;
        }
        self.metrics.commits.add_alone(1);
        self.metrics.operations.add_alone(count);
        Ok(last)
    }

    /// Makes the commits as durable as the strongest asks, then visible.
    fn log_and_show(
        &self,
        log: &mut Log,
        payload: GroupBuilder,
        durability: Durability,
        admitted: &impl Admitted,
    ) -> Result<()> {
        let is_early = !payload.is_empty() && mutant!("commit_applied_before_sync");
        if is_early {
            admitted.apply();
            self.snapshots.publish(log.last_seq);
        }
        let result = self.log_payload(log, payload, durability, admitted.is_empty());
        if result.is_ok() && !admitted.is_empty() {
            if mutant!("commit_published_early") {
                self.snapshots.publish(log.last_seq);
            }
            let grew = is_early || admitted.apply();
            self.snapshots.publish(log.last_seq);
            if grew {
                self.freeze_full(log, admitted.keyspaces());
            }
        } else if self.health.cause().is_none() {
            // The numbers of a failed group are never used again. Readers pass them too, or every transaction that began
            // from now on would take the group's writes, which the history holds, for a later change.
            self.snapshots.publish(log.last_seq);
        }
        result
    }

    /// Writes a group to the log, and syncs it if that is asked for.
    fn log_payload(
        &self,
        log: &mut Log,
        payload: GroupBuilder,
        durability: Durability,
        is_refused: bool,
    ) -> Result<()> {
        if payload.is_empty() {
            log.recycle(payload);
            // Commits of nothing have nothing to log, but a Sync one still promises that all before it is durable.
            if durability == Durability::Sync && !is_refused {
                self.write_deferred(log)?;
                self.sync_log(log).map_err(in_doubt)?;
            }
            return Ok(());
        }
        log.defer(payload);
        let put_off = mutant!("commit_store_put_off");
        let volatile = if put_off { Durability::Buffered } else { Durability::Volatile };
        if durability <= volatile && log.deferred_bytes() <= DEFERRED_BYTES_MAX {
            return Ok(());
        }
        self.write_last(log, durability)?;
        self.metrics.groups.add_alone(1);
        if durability == Durability::Sync && !mutant!("commit_sync_weakened") {
            self.sync_log(log).map_err(in_doubt)?;
        }
        Ok(())
    }

    /// Freezes those of the memtables that are full.
    fn freeze_full<'a>(&self, log: &Log, keyspaces: impl Iterator<Item = &'a Arc<KeyspaceInner>>) {
        let mut froze = false;
        for keyspace in keyspaces {
            self.account(keyspace);
            let full = self.options.memtable_bytes();
            if keyspace.view_guard().active.memory_bytes() >= full {
                froze |= self.freeze(log, keyspace);
            }
        }
        // Many small memtables can fill the budget together: then the largest goes.
        if self.metrics.memtable_bytes.get() as usize > self.options.memtables_bytes_max() / 2 {
            let keyspaces = self.keyspaces.all();
            let size = |keyspace: &Arc<KeyspaceInner>| keyspace.view_guard().active.memory_bytes();
            if let Some(largest) = keyspaces.iter().max_by_key(|keyspace| size(keyspace)) {
                froze |= self.freeze(log, largest);
            }
        }
        if froze {
            self.background.wake();
        }
    }
}
