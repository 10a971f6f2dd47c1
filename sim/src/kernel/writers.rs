//! Writer threads: they follow scripts on an open database and say what was acknowledged.
//!
//! Victims run them in a process of their own; the power cuts run them in this one, on a disk that is about to stop.
//! They never retry an error: the first one ends a thread, except for conflicts of transactions.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use esker::{
    Batch, Builder, CompactionStrategy, Db, Durability, ErrorKind, Keyspace, KeyspaceOptions,
    PendingCommit, ReadMode,
};

use super::script::{Beside, KEYS, KEYSPACES, SHARED, Script, Step, Way, choices};

/// How many submitted steps of one thread may be under way.
pub const PENDING_MAX: usize = 4;

/// A step that the database acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The writer thread.
    pub thread: u64,
    /// The step in its script.
    pub index: u64,
    /// What was promised.
    pub durability: Durability,
    /// The first and the last sequence number that the step's last operation can have.
    pub seqs: (u64, u64),
}

/// What writer threads report, in the order in which each thread learnt it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A step was acknowledged.
    Ack(Ack),
    /// Everything up to this sequence number was made durable.
    Synced(u64),
    /// The database refused something; the thread has ended.
    Refused {
        /// Its thread.
        thread: u64,
        /// The kind, as `Debug` prints it.
        kind: String,
        /// All that the error says.
        message: String,
    },
    /// A read gave another answer than the script.
    Wrong(String),
}

/// Options that a seed decides: small sizes, so that a short run flushes, merges and rotates the log.
pub fn options(seed: u64) -> Builder {
    let mut rng = choices(seed, &[3]);
    let mode = if rng.below(2) == 0 { ReadMode::Mapped } else { ReadMode::Positioned };
    Db::builder()
        .memory_budget_bytes((1 << 20) << rng.below(3))
        .wal_segment_bytes((16 << 10) << rng.below(5))
        .sstable_bytes((16 << 10) << rng.below(5))
        .read_mode(mode)
}

/// The keyspaces of the scripts.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// In the order of [`KEYSPACES`].
    pub own: Vec<Keyspace>,
    /// For transactions.
    pub shared: Keyspace,
}

impl Rooms {
    /// Finds the keyspaces, or creates them.
    pub fn open(db: &Db) -> esker::Result<Rooms> {
        let room = |name: &str| {
            let options = KeyspaceOptions {
                strategy: match name {
                    "tiered" => CompactionStrategy::Tiered,
                    _ => CompactionStrategy::Leveled,
                },
                compress: name != "plain",
                large_value_bytes: if name == "tiered" { None } else { Some(64) },
            };
            match db.existing_keyspace(name)? {
                Some(keyspace) => Ok(keyspace),
                None => db.create_keyspace(name, options),
            }
        };
        let own = KEYSPACES.iter().map(|name| room(name)).collect::<esker::Result<_>>()?;
        Ok(Rooms { own, shared: room(SHARED)? })
    }
}

/// Runs one thread per script until each has met an error, or `stop` is set, or `report` returns false.
pub fn run(
    db: &Db,
    rooms: &Rooms,
    scripts: Vec<Script>,
    stop: &AtomicBool,
    report: &(dyn Fn(Report) -> bool + Sync),
) {
    // Reports of one thread stay in order; `stop` ends the others once nobody listens.
    let heard = |said: Report| {
        if !report(said) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for (thread, script) in scripts.into_iter().enumerate() {
            let thread = thread as u64;
            let heard = &heard;
            scope.spawn(move || {
                let mut writer =
                    Writer { db, rooms, thread, script, pending: VecDeque::new(), report: heard };
                let result = writer.run(stop);
                // What was submitted before an error may still have been acknowledged.
                let drained = writer.drain();
                if let Err(error) = result.and(drained) {
                    let kind = format!("{:?}", error.kind());
                    heard(Report::Refused { thread, kind, message: error.to_string() });
                }
            });
        }
    });
}

struct Writer<'a> {
    db: &'a Db,
    rooms: &'a Rooms,
    thread: u64,
    script: Script,
    pending: VecDeque<(Step, PendingCommit)>,
    report: &'a (dyn Fn(Report) + Sync),
}

impl Writer<'_> {
    fn run(&mut self, stop: &AtomicBool) -> esker::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let step = self.script.step();
            if step.beside != Beside::Nothing {
                self.drain()?;
                self.beside(&step)?;
            }
            match step.way {
                Way::Submitted => {
                    if self.pending.len() >= PENDING_MAX {
                        self.wait_one()?;
                    }
                    let pending = self.db.submit_with(self.batch(&step), step.durability)?;
                    self.script.advance(&step);
                    self.pending.push_back((step, pending));
                }
                Way::Blocking => {
                    self.drain()?;
                    let before = self.db.snapshot().seq().0;
                    self.db.write_with(self.batch(&step), step.durability)?;
                    self.acknowledged(&step, before);
                    self.script.advance(&step);
                }
                Way::Transaction => {
                    self.drain()?;
                    self.transact(&step)?;
                    self.script.advance(&step);
                }
            }
        }
        Ok(())
    }

    fn batch(&self, step: &Step) -> Batch {
        let mut batch = Batch::new();
        for change in &step.changes {
            let key = self.script.key(change.key);
            let keyspace = &self.rooms.own[change.keyspace];
            if change.is_set {
                batch.put(keyspace, key, self.script.value(step.index, change.key));
            } else {
                batch.delete(keyspace, key);
            }
        }
        batch
    }

    /// Reports a blocking step: it has a sequence number between what was visible before and after it.
    fn acknowledged(&self, step: &Step, before: u64) {
        let seqs = (before + 1, self.db.snapshot().seq().0);
        let (thread, durability) = (self.thread, step.durability);
        (self.report)(Report::Ack(Ack { thread, index: step.index, durability, seqs }));
    }

    /// Beside the step's own changes, a transaction reads the shared count, raises it, and logs itself under it.
    fn transact(&mut self, step: &Step) -> esker::Result<()> {
        let shared = &self.rooms.shared;
        loop {
            let before = self.db.snapshot().seq().0;
            let mut transaction = self.db.transaction()?;
            let count = match transaction.get(shared, COUNT)? {
                None => 0,
                Some(value) => match <[u8; 8]>::try_from(&value[..]) {
                    Ok(bytes) => u64::from_le_bytes(bytes),
                    Err(_) => {
                        (self.report)(Report::Wrong(format!("the count is {value:?}")));
                        0
                    }
                },
            };
            transaction.put(shared, COUNT, (count + 1).to_le_bytes())?;
            transaction.put(shared, entry_key(count), entry_value(self.thread, step.index))?;
            for change in &step.changes {
                let key = self.script.key(change.key);
                let keyspace = &self.rooms.own[change.keyspace];
                if change.is_set {
                    let value = self.script.value(step.index, change.key);
                    transaction.put(keyspace, key, value)?;
                } else {
                    transaction.delete(keyspace, key)?;
                }
            }
            match transaction.commit_with(step.durability) {
                Ok(()) => {
                    self.acknowledged(step, before);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn beside(&mut self, step: &Step) -> esker::Result<()> {
        let mut rng = choices(step.index, &[4, self.thread]);
        match step.beside {
            Beside::Nothing => {}
            Beside::Sync | Beside::Flush => {
                let seq = self.db.snapshot().seq().0;
                if step.beside == Beside::Sync {
                    self.db.sync()?
                } else {
                    self.db.flush()?
                }
                (self.report)(Report::Synced(seq));
            }
            Beside::Compact => {
                let at = rng.below(KEYSPACES.len() as u64) as usize;
                self.rooms.own[at].compact()?;
            }
            Beside::Read => {
                let at = rng.below(KEYSPACES.len() as u64) as usize;
                let key = rng.below(KEYS);
                let found = self.rooms.own[at].get(self.script.key(key))?;
                let index = self.script.state().get(&(at, key));
                let expected = index.map(|index| self.script.value(*index, key));
                if found.as_deref() != expected.as_deref() {
                    let found = found.map(|value| super::script::index_of(&value));
                    (self.report)(Report::Wrong(format!(
                        "thread {} before step {}: key {key} of {} is from step {found:?}, not {index:?}",
                        self.thread, step.index, KEYSPACES[at]
                    )));
                }
            }
        }
        Ok(())
    }

    fn wait_one(&mut self) -> esker::Result<()> {
        let Some((step, pending)) = self.pending.pop_front() else { return Ok(()) };
        let seq = pending.wait()?.0;
        let (thread, durability) = (self.thread, step.durability);
        (self.report)(Report::Ack(Ack { thread, index: step.index, durability, seqs: (seq, seq) }));
        Ok(())
    }

    /// Waits for everything submitted. After an error the rest is waited for too, as it may have been acknowledged.
    fn drain(&mut self) -> esker::Result<()> {
        let mut result = Ok(());
        while !self.pending.is_empty() {
            result = result.and(self.wait_one());
        }
        result
    }
}

/// Where the transactions count themselves.
pub const COUNT: &str = "count";

/// The key of the `count`th transaction's entry.
pub fn entry_key(count: u64) -> Vec<u8> {
    format!("entry/{count:010}").into_bytes()
}

/// What it holds: who and which step.
pub fn entry_value(thread: u64, index: u64) -> Vec<u8> {
    [thread.to_le_bytes(), index.to_le_bytes()].concat()
}
