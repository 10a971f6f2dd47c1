//! One small life of a database on a disk whose calls fail, and the questions to it afterwards.
//!
//! The sweep calls [`run`] for every call number, fault and seed. The seed alone decides what the life does, so that
//! call number k is the same call until the fault strikes.

use std::sync::Arc;

use esker::vfs::World;
use esker::vfs::fault::{FaultFs, Rule};
use esker::vfs::simulated::{CrashPolicy, SimulatedFs, Simulation};
use esker::{Background, BackgroundStep, Db, Durability, Error, ErrorKind, Keyspace, ReadMode};

use super::model::{Batch, Model, State};
use crate::Rng;

const DIR: &str = "/db";
const NAMES: [&str; 2] = ["a", "b"];

/// How a life with a fault went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Whether the fault struck at all; if not, the life has fewer calls.
    pub(super) struck: bool,
    /// Whether the database ended read-only.
    pub(super) read_only: bool,
    /// Whether an open failed.
    pub(super) refused: bool,
}

struct Life {
    faults: Arc<FaultFs>,
    sim: Simulation,
    rng: Rng,
    model: Model,
    db: Option<Db>,
    /// The keyspaces that have been created so far.
    keyspaces: [Option<Keyspace>; 2],
    /// A checkpoint that succeeded, and what it must hold.
    copy: Option<State>,
    refused: bool,
    /// The last open could not write: it serves what it found, which may be any state that is allowed.
    serves_only: bool,
}

/// Lives the life of `seed` with `rule`, heals the disk and holds the database to its promises. An error says which
/// one was broken.
pub(super) fn run(seed: u64, rule: Rule) -> Result<Outcome, String> {
    let sim = Simulation::new(seed);
    run_on(sim.world(), sim, seed, rule)
}

/// As [`run`], in `world`, which lies over the disk of `sim`.
pub(super) fn run_on(
    world: World,
    sim: Simulation,
    seed: u64,
    rule: Rule,
) -> Result<Outcome, String> {
    let faults = Arc::new(FaultFs::new(world.fs));
    faults.inject(rule);
    let mut life = Life {
        faults,
        sim,
        rng: Rng::new(seed),
        model: Model::new(),
        db: None,
        keyspaces: [None, None],
        copy: None,
        refused: false,
        serves_only: false,
    };
    if life.open()? {
        life.live()?;
    }
    life.judge()
}

fn open(fs: Arc<dyn esker::vfs::Fs>, sim: &Simulation) -> esker::Result<Db> {
    Db::builder()
        .memory_budget_bytes(1 << 20)
        .wal_segment_bytes(4096)
        .sstable_bytes(4096)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .background(Background::Manual)
        .world(World { fs, ..sim.world() })
        .open(DIR)
}

/// Everything in the database.
fn read_all(db: &Db) -> esker::Result<State> {
    let mut state = State::new();
    for (at, name) in NAMES.iter().enumerate() {
        let Some(keyspace) = db.existing_keyspace(name)? else { continue };
        for entry in keyspace.iter() {
            let (key, value) = entry?;
            state.insert((at, key.to_vec()), value.to_vec());
        }
    }
    Ok(state)
}

/// Whether an error is one that a failing disk may cause.
fn check_error(error: &Error) -> Result<(), String> {
    match error.kind() {
        ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::ReadOnly | ErrorKind::Indeterminate => {
            Ok(())
        }
        _ => Err(format!("a failing disk shows as {error:?}")),
    }
}

impl Life {
    fn is_read_only(&self) -> bool {
        self.db.as_ref().is_some_and(|db| db.metrics().read_only_cause.is_some())
    }

    /// Opens under faults; whether the life can go on.
    fn open(&mut self) -> Result<bool, String> {
        self.keyspaces = [None, None];
        self.db = match open(self.faults.clone(), &self.sim) {
            Ok(db) => Some(db),
            Err(error) => {
                self.refused = true;
                check_error(&error)?;
                return Ok(false);
            }
        };
        Ok(true)
    }

    fn live(&mut self) -> Result<(), String> {
        let acts = 10 + self.rng.below(8);
        for _ in 0..acts {
            // Every choice is drawn whether or not it is used: failures must not change the plan.
            let (act, batch, durability) = (self.rng.below(20), self.batch(), self.rng.below(4));
            let step = *self.rng.pick(&BackgroundStep::ALL);
            if act == 0 {
                if !self.reopen()? {
                    return Ok(());
                }
            } else if act < 12 {
                self.write(batch, durability)?;
            } else {
                self.work(act, step)?;
            }
        }
        self.read()
    }

    fn batch(&mut self) -> Batch {
        let len = 1 + self.rng.below(3);
        let entry = |rng: &mut Rng| {
            let key =
                (rng.below(2) as usize, vec![b'a' + rng.below(6) as u8; 1 + rng.below(2) as usize]);
            let value_len = *rng.pick(&[0, 10, 10, 200, 200, 1500]);
            let (is_put, byte) = (rng.chance(75), b'0' + rng.below(70) as u8);
            (key, is_put.then(|| vec![byte; value_len]))
        };
        let mut entries: Batch = (0..len).map(|_| entry(&mut self.rng)).collect();
        // One write of a key a batch: the model applies them in order, as the engine does, but a clash shows nothing.
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        entries.dedup_by(|one, other| one.0 == other.0);
        entries
    }

    fn keyspace(&mut self, at: usize) -> Result<Option<Keyspace>, String> {
        let Some(db) = &self.db else { return Ok(None) };
        if self.keyspaces[at].is_none() {
            match db.keyspace(NAMES[at]) {
                Ok(keyspace) => self.keyspaces[at] = Some(keyspace),
                Err(error) => check_error(&error)?,
            }
        }
        Ok(self.keyspaces[at].clone())
    }

    fn write(&mut self, entries: Batch, durability: u64) -> Result<(), String> {
        let durability = match durability {
            0 => Durability::Volatile,
            1 => Durability::Buffered,
            _ => Durability::Sync,
        };
        let keyspaces = [self.keyspace(0)?, self.keyspace(1)?];
        let Some(db) = &self.db else { return Ok(()) };
        let mut batch = db.batch();
        for ((at, key), value) in &entries {
            let Some(keyspace) = &keyspaces[*at] else { return Ok(()) };
            match value {
                Some(value) => batch.put(keyspace, key, value),
                None => batch.delete(keyspace, key),
            }
        }
        let was_read_only = self.is_read_only();
        match db.write_with(batch, durability) {
            Ok(()) if was_read_only => return Err("a read-only database took a write".into()),
            Ok(()) => self.model.acknowledged(&entries, durability == Durability::Sync),
            Err(error) => {
                check_error(&error)?;
                if !was_read_only {
                    self.model.failed(entries);
                }
            }
        }
        Ok(())
    }

    fn work(&mut self, act: u64, step: BackgroundStep) -> Result<(), String> {
        let Some(db) = &self.db else { return Ok(()) };
        let (result, makes_durable) = match act {
            12 | 13 => (db.flush(), true),
            14 => (db.compact(), false),
            15 => (db.sync(), true),
            16 => {
                let result = db.checkpoint("/copy");
                if result.is_ok() {
                    self.copy = Some(self.model.now().clone());
                }
                // A second one finds the first one in its way.
                let taken = |error: &Error| error.kind() == ErrorKind::InvalidArgument;
                (result.or_else(|error| if taken(&error) { Ok(()) } else { Err(error) }), false)
            }
            17 => return self.read(),
            18 => (db.verify().map(drop), false),
            _ => (db.run_background_step(step).map(drop), false),
        };
        match result {
            Ok(()) if makes_durable => self.model.all_durable(),
            Ok(()) => {}
            Err(error) => check_error(&error)?,
        }
        Ok(())
    }

    /// Reads everything: right, or an error that a failing disk may cause.
    fn read(&self) -> Result<(), String> {
        let Some(db) = &self.db else { return Ok(()) };
        match read_all(db) {
            Ok(found) if found == *self.model.now() => Ok(()),
            Ok(found) => Err(format!("a read shows {}", self.model.explain(&found))),
            Err(error) => check_error(&error),
        }
    }

    /// Closes and opens under faults; whether the life goes on.
    fn reopen(&mut self) -> Result<bool, String> {
        if let Some(db) = self.db.take() {
            match db.close() {
                Ok(()) => {
                    // What was read-only did not reach the log, but what was acknowledged before is there.
                    if db.metrics().read_only_cause.is_none() {
                        self.model.all_durable();
                    }
                }
                Err(error) => check_error(&error)?,
            }
        }
        if !self.open()? {
            return Ok(false);
        }
        let Some(db) = &self.db else { return Ok(false) };
        // One that could not write serves what it found, without a promise to keep it.
        self.serves_only = self.is_read_only();
        match read_all(db) {
            // Where the sealing failed, Volatile commits may not have reached the system.
            Ok(found) if self.model.allows(&found) => {
                if self.serves_only {
                    return Ok(false);
                }
                self.model.shown(found);
                Ok(true)
            }
            Ok(found) => Err(format!("a reopen shows {}", self.model.explain(&found))),
            Err(error) => check_error(&error).map(|()| false),
        }
    }

    /// Heals the disk and asks: after a power cut, in the same process, after a reopen, and after another power cut.
    fn judge(mut self) -> Result<Outcome, String> {
        let outcome = Outcome {
            struck: self.faults.strikes() > 0,
            read_only: self.is_read_only(),
            refused: self.refused,
        };
        self.keyspaces = [None, None];
        let cut = self.sim.fs.image(CrashPolicy::DropAll, 7);
        let found = recover(&cut, "after a power cut")?;
        if !self.model.allows(&found) {
            return Err(format!("a power cut leaves {}", self.model.explain(&found)));
        }
        self.check_copy(&cut)?;
        self.faults.clear();
        self.go_on(outcome.read_only)?;
        let was_open = self.db.is_some();
        if let Some(db) = self.db.take() {
            let closed = db.close();
            if !outcome.read_only && closed.is_err() {
                return Err(format!("a close on a healed disk: {closed:?}"));
            }
        }
        let shown = recover(&self.sim.fs, "after a reopen")?;
        let allowed = match was_open && !outcome.read_only {
            true => self.model.allows_reopened(&shown),
            false => self.model.allows(&shown),
        };
        if !allowed {
            return Err(format!("a reopen shows {}", self.model.explain(&shown)));
        }
        let again = recover(&self.sim.fs.image(CrashPolicy::DropAll, 8), "after both")?;
        if again != shown {
            return Err("a power cut took back what a recovery had shown".to_owned());
        }
        Ok(outcome)
    }

    /// The checkpoint is there after a power cut, whole.
    fn check_copy(&self, cut: &SimulatedFs) -> Result<(), String> {
        let Some(expected) = &self.copy else { return Ok(()) };
        let sim = Simulation::with_fs(cut.fork(), 9);
        let copy = Db::builder().memory_budget_bytes(1 << 20).background(Background::Manual);
        let copy = copy.create_if_missing(false).world(sim.world()).open("/copy");
        let found = copy.and_then(|db| read_all(&db));
        match found {
            Ok(found) if found == *expected => Ok(()),
            Ok(found) => Err(format!("a checkpoint holds {}", self.model.explain(&found))),
            Err(error) => Err(format!("a checkpoint cannot be read: {error:?}")),
        }
    }

    /// Once the cause is gone, everything works again, unless the database is read-only: then reads do.
    fn go_on(&mut self, read_only: bool) -> Result<(), String> {
        let Some(db) = self.db.clone() else { return Ok(()) };
        let text = |what: &str, error: Error| format!("{what} on a healed disk: {error:?}");
        let found = read_all(&db).map_err(|error| text("a read", error))?;
        let right =
            if self.serves_only { self.model.allows(&found) } else { found == *self.model.now() };
        if !right {
            return Err(format!("a healed disk shows {}", self.model.explain(&found)));
        }
        let entries: Batch = vec![((0, b"healed".to_vec()), Some(b"1".to_vec()))];
        if read_only {
            let Some(keyspace) = db.existing_keyspace(NAMES[0]).map_err(|e| text("a look", e))?
            else {
                return Ok(());
            };
            return match keyspace.put("healed", "1") {
                Err(error) if error.kind() == ErrorKind::ReadOnly => Ok(()),
                // It was opened on a full disk, and goes on now that there is space.
                Ok(()) if self.serves_only => {
                    self.model.shown(found);
                    self.model.acknowledged(&entries, true);
                    Ok(())
                }
                other => Err(format!("a write to a read-only database: {other:?}")),
            };
        }
        let keyspace = db.keyspace(NAMES[0]).map_err(|error| text("a keyspace", error))?;
        keyspace.put("healed", "1").map_err(|error| text("a write", error))?;
        self.model.acknowledged(&entries, true);
        db.flush().map_err(|error| text("a flush", error))?;
        db.verify().map_err(|error| text("a verification", error))?;
        Ok(())
    }
}

/// Opens a healthy disk and reads and verifies everything.
fn recover(fs: &SimulatedFs, what: &str) -> Result<State, String> {
    let sim = Simulation::with_fs(fs.clone(), 11);
    let text = |error: Error| format!("{what}: {error:?}");
    let db = open(Arc::new(fs.clone()), &sim).map_err(text)?;
    let state = read_all(&db).map_err(text)?;
    db.verify().map_err(text)?;
    Ok(state)
}
