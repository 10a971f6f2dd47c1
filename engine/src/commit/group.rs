//! One group of commits: judged, logged, synced, applied, published and acknowledged, in that order.
//!
//! I3: a Sync commit is invisible until it is synced. I4: commits publish and acknowledge strictly in sequence order; if
//! a sync fails, that group and everything after it is indeterminate and the database turns read-only.

use std::collections::VecDeque;
use std::sync::Arc;

use esker_base::{Error, ErrorKind, Result, SeqNo, mutant};
use esker_wal::GroupBuilder;

use crate::Durability;
use crate::commit::log::Log;
use crate::commit::queue::Commit;
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

impl Core {
    /// Commits `commits` in order. Only the owner of the log calls it.
    pub(crate) fn commit_group(&self, commits: Vec<Commit>) {
        let bytes = commits.iter().map(|commit| commit.batch.encoded_bytes()).sum();
        let mut group = Group {
            admitted: Vec::with_capacity(commits.len()),
            waiting: commits.into(),
            refused: Vec::new(),
        };
        if let Err(error) = self.check_writable().and_then(|()| self.pace(bytes)) {
            return group.refuse(&error);
        }
        let mut log = self.log.lock();
        let result = self.log_group(&mut log, &mut group);
        if result.is_ok() && !group.admitted.is_empty() {
            if mutant!("commit_published_early") {
                self.snapshots.publish(log.last_seq);
            }
            if mutant!("race_acknowledged_early") {
                group.admitted.iter().for_each(|(commit, seq)| commit.slot.complete(Ok(*seq)));
            }
            if !mutant!("commit_applied_before_sync") {
                self.apply(&group.admitted);
            }
            self.snapshots.publish(log.last_seq);
            self.freeze_full(&log, &group.admitted);
        } else if self.health.cause().is_none() {
            // The numbers of a failed group are never used again. Readers pass them too, or every transaction that began
            // from now on would take the group's writes, which the history holds, for a later change.
            self.snapshots.publish(log.last_seq);
        }
        drop(log);
        group.finish(result.as_ref().err());
    }

    /// Judges the commits, gives them their sequences, and makes them as durable as the strongest asks.
    fn log_group(&self, log: &mut Log, group: &mut Group) -> Result<()> {
        let mut payload = GroupBuilder::new();
        payload.start(self.world.clock.wall_ms(), log.last_seq.next());
        let mut durability = Durability::Volatile;
        // A commit stays in the group while it is judged, so that even after a panic it is answered.
        while let Some(commit) = group.waiting.front_mut() {
            let judged = self.admit(log.last_seq, commit, &mut payload);
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
        if payload.is_empty() {
            // Commits of nothing have nothing to log, but a Sync one still promises that all before it is durable.
            if durability == Durability::Sync && !group.admitted.is_empty() {
                self.write_deferred(log)?;
                self.sync_log(log).map_err(in_doubt)?;
            }
            return Ok(());
        }
        let bytes = payload.payload().len();
        log.defer(payload);
        if mutant!("commit_applied_before_sync") {
            self.apply(&group.admitted);
            self.snapshots.publish(log.last_seq);
        }
        if durability == Durability::Volatile && log.deferred_bytes() <= DEFERRED_BYTES_MAX {
            return Ok(());
        }
        self.write_last(log)?;
        self.metrics.groups.add(1);
        self.metrics.wal_bytes.add(bytes as u64);
        if durability == Durability::Sync && !mutant!("commit_sync_weakened") {
            self.sync_log(log).map_err(in_doubt)?;
        }
        Ok(())
    }

    /// Judges one commit and adds it to the group's payload; the sequence of its last operation. `before` is the last
    /// sequence that is taken.
    fn admit(
        &self,
        before: SeqNo,
        commit: &mut Commit,
        payload: &mut GroupBuilder,
    ) -> Result<SeqNo> {
        let batch = &commit.batch;
        if let Some(error) = &batch.error {
            return Err(error.clone());
        }
        batch.keyspaces.iter().try_for_each(|keyspace| keyspace.check_live())?;
        let count = u64::from(batch.ops.count());
        let last = SeqNo(before.0 + count);
        if last > SeqNo::MAX {
            return Err(Error::new(ErrorKind::Unsupported, "the sequence numbers are used up"));
        }
        let alone = payload.is_empty() || !mutant!("commit_group_conflict_missed");
        let reads = commit.reads.as_ref().filter(|_| alone);
        let judged = self.history.admit(reads, batch.ops.ops(), last);
        judged.inspect_err(|_| self.metrics.conflicts.add(1))?;
        if count > 0 {
            payload.push(batch.ops.as_bytes(), batch.ops.count())?;
        }
        self.metrics.commits.add(1);
        self.metrics.operations.add(count);
        Ok(last)
    }

    /// Puts the operations into the memtables. Cannot fail.
    fn apply(&self, admitted: &[(Commit, SeqNo)]) {
        for (commit, last) in admitted {
            let keyspaces = &commit.batch.keyspaces;
            let views: Vec<_> = keyspaces.iter().map(|keyspace| keyspace.view_guard()).collect();
            let mut seq = SeqNo(last.0 - u64::from(commit.batch.ops.count()));
            let mut at = 0;
            for op in commit.batch.ops.ops() {
                // A reader may come between any two operations; it must see none of them yet.
                sync::step();
                seq = seq.next();
                if seq == *last && views.len() > 1 && mutant!("commit_half_applied") {
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
        }
    }

    /// Freezes the memtables that this group has filled.
    fn freeze_full(&self, log: &Log, admitted: &[(Commit, SeqNo)]) {
        let mut froze = false;
        for keyspace in admitted.iter().flat_map(|(commit, _)| &commit.batch.keyspaces) {
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
