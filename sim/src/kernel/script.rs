//! What a writer thread does: an endless list of steps that a seed decides, and the state that any prefix of it leaves.
//!
//! Victims follow a script and whoever checks a recovered database replays it, so the two must agree without talking:
//! a step depends on the seed, the thread, its index and the state before it, and on nothing else.
//!
//! Every step sets some key to a value that holds the step's index, and may delete others. So the highest index in a
//! thread's state tells which prefix it is: no two are alike.

use std::collections::BTreeMap;

use esker::Durability;

use crate::Rng;

/// The keyspaces whose keys belong to one thread each.
pub const KEYSPACES: [&str; 3] = ["leveled", "tiered", "plain"];

/// The keyspace that all threads' transactions write.
pub const SHARED: &str = "shared";

/// How many keys a thread has in each keyspace; few, so that they are overwritten and deleted often.
pub(super) const KEYS: u64 = 120;

/// The choices of `seed` for the place that `path` names.
pub(super) fn choices(seed: u64, path: &[u64]) -> Rng {
    path.iter().fold(Rng::new(seed), |mut rng, part| {
        Rng::new(rng.number() ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93))
    })
}

/// Which way a step takes into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A write that blocks.
    Blocking,
    /// A submitted batch; others may follow before it is done.
    Submitted,
    /// A transaction, which also counts itself in the shared keyspace.
    Transaction,
}

/// What runs beside the writes, before a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// Read a key of the thread's own and compare.
    Read,
    /// Make everything durable.
    Sync,
    /// Write the memtables to sstables.
    Flush,
    /// Merge one keyspace.
    Compact,
}

/// One change of a key: set by the step that holds it, or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Index into [`KEYSPACES`].
    pub keyspace: usize,
    /// Which of the thread's keys.
    pub key: u64,
    /// Whether it is set; deleted otherwise.
    pub is_set: bool,
}

/// One step of a script.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its place in the script.
    pub index: u64,
    /// What it changes, atomically.
    pub changes: Vec<Change>,
    /// How.
    pub way: Way,
    /// How durably.
    pub durability: Durability,
    /// What runs before it.
    pub beside: Beside,
}

/// One thread's script, at some place, with the state there.
#[derive(Clone, Debug)]
pub struct Script {
    seed: u64,
    thread: u64,
    index: u64,
    state: BTreeMap<(usize, u64), u64>,
    transactions: Vec<u64>,
}

impl Script {
    /// The script of `thread` at its beginning.
    pub fn new(seed: u64, thread: u64) -> Script {
        Script { seed, thread, index: 0, state: BTreeMap::new(), transactions: Vec::new() }
    }

    /// How many steps are behind.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Which keys are set, and by which step.
    pub fn state(&self) -> &BTreeMap<(usize, u64), u64> {
        &self.state
    }

    /// The steps behind that were transactions.
    pub fn transactions(&self) -> &[u64] {
        &self.transactions
    }

    /// The step that comes next.
    pub fn step(&self) -> Step {
        let mut rng = choices(self.seed, &[1, self.thread, self.index]);
        let way = match rng.below(10) {
            0..4 => Way::Blocking,
            4..8 => Way::Submitted,
            _ => Way::Transaction,
        };
        let durability = match rng.below(10) {
            0..2 => Durability::Sync,
            2..7 => Durability::Buffered,
            _ => Durability::Volatile,
        };
        let beside = match rng.below(300) {
            0..30 => Beside::Read,
            30..32 => Beside::Sync,
            32 => Beside::Flush,
            33 => Beside::Compact,
            _ => Beside::Nothing,
        };
        let count = if rng.below(3) == 0 { 2 + rng.below(8) } else { 1 };
        let mut changes: Vec<Change> = Vec::new();
        for _ in 0..count {
            let keyspace = rng.below(KEYSPACES.len() as u64) as usize;
            let key = rng.below(KEYS);
            let is_known = self.state.contains_key(&(keyspace, key));
            let is_set = changes.is_empty() || !is_known || rng.below(2) == 0;
            if changes.iter().all(|known| (known.keyspace, known.key) != (keyspace, key)) {
                changes.push(Change { keyspace, key, is_set });
            }
        }
        Step { index: self.index, changes, way, durability, beside }
    }

    /// Puts `step`, which was the next one, behind.
    pub fn advance(&mut self, step: &Step) {
        for change in &step.changes {
            let place = (change.keyspace, change.key);
            if change.is_set {
                self.state.insert(place, step.index);
            } else {
                self.state.remove(&place);
            }
        }
        if step.way == Way::Transaction {
            self.transactions.push(step.index);
        }
        self.index = step.index + 1;
    }

    /// Puts steps behind until `index` of them are.
    pub fn advance_to(&mut self, index: u64) {
        while self.index < index {
            let step = self.step();
            self.advance(&step);
        }
    }

    /// The database's key for one of the thread's keys.
    pub fn key(&self, key: u64) -> Vec<u8> {
        format!("{:02}/{key:05}", self.thread).into_bytes()
    }

    /// What the step at `index` sets `key` to: the index, and filler of a length of its own.
    pub fn value(&self, index: u64, key: u64) -> Vec<u8> {
        let mut rng = choices(self.seed, &[2, self.thread, index, key]);
        let len = match rng.below(40) {
            0 => 4000 + rng.below(2000),
            1..10 => 200 + rng.below(400),
            _ => rng.below(100),
        } as usize;
        let mut value = index.to_le_bytes().to_vec();
        // Half of it compresses.
        while value.len() < 8 + len {
            value.extend_from_slice(&(rng.number() & 0xffff_ffff).to_le_bytes());
        }
        value.truncate(8 + len);
        value
    }
}

/// Splits a key that [`Script::key`] made into the thread and its key.
pub fn parse_key(key: &[u8]) -> Option<(u64, u64)> {
    let (thread, key) = std::str::from_utf8(key).ok()?.split_once('/')?;
    Some((thread.parse().ok()?, key.parse().ok()?))
}

/// The step that set a value that [`Script::value`] made.
pub fn index_of(value: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(value.get(..8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_highest_index_in_the_state_tells_the_prefix_and_a_replay_agrees() {
        let mut script = Script::new(7, 3);
        for _ in 0..2000 {
            let step = script.step();
            script.advance(&step);
            assert_eq!(script.state().values().max(), Some(&step.index));
        }
        let mut again = Script::new(7, 3);
        again.advance_to(2000);
        assert_eq!(again.state(), script.state());
        assert_eq!(again.transactions(), script.transactions());
    }

    #[test]
    fn keys_and_values_tell_where_they_come_from() {
        let script = Script::new(1, 2);
        assert_eq!(parse_key(&script.key(99)), Some((2, 99)));
        assert_eq!(index_of(&script.value(12345, 99)), Some(12345));
        assert_eq!(parse_key(b"junk"), None);
        assert_eq!(index_of(b"short"), None);
    }
}
