//! Living a random life: every step on the simulated disk and in the model, compared wherever they meet.
//!
//! The model holds the state after every write. Keyspaces are numbered by their creation: creating and dropping are
//! durable at once, ahead of weaker writes, so they do not stand in the line of states but beside it. Nothing here may
//! depend on anything but the seed and the steps.

use std::collections::BTreeMap;

use esker::vfs::World;
use esker::vfs::simulated::{CrashPolicy, Simulation};
use esker::{
    BackgroundStep, Builder, CompactionStrategy, Db, Durability, Error, ErrorKind, Keyspace,
    KeyspaceOptions, Snapshot,
};

use super::step::{Put, Step};
use crate::machine::small;

/// Entries by keyspace (as created) and key: length and fill.
type State = BTreeMap<(u32, u8), (u32, u8)>;

/// Puts something between the engine and the disk.
pub(super) type Between = fn(World) -> World;

/// What a life has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) trace: u64,
    pub(super) recoveries: u64,
    pub(super) crashes: u64,
    pub(super) writes: u64,
    pub(super) transactions: u64,
    pub(super) snapshots: u64,
    pub(super) checkpoints: u64,
}

struct Life {
    simulation: Simulation,
    between: Between,
    db: Option<Db>,
    states: Vec<State>,
    /// The state that reads see.
    visible: usize,
    /// The oldest state that a recovery may show.
    durable: usize,
    /// Which keyspaces there are, by name.
    live: BTreeMap<u8, u32>,
    /// Keyspaces that a failed creation may have left.
    perhaps_created: BTreeMap<u8, u32>,
    /// Keyspaces that a failed drop may have removed.
    perhaps_dropped: Vec<u8>,
    next_keyspace: u32,
    snapshots: Vec<(Snapshot, State)>,
    /// Checkpoints tried, so that each gets a directory of its own.
    copies: u32,
    /// A sync may have failed since the database was opened.
    faulty: bool,
    outcome: Outcome,
}

/// Lives through `steps`; a text says which promise was broken.
pub(super) fn live(seed: u64, steps: &[Step], between: Between) -> Result<Outcome, String> {
    let mut life = Life {
        simulation: Simulation::new(seed),
        between,
        db: None,
        states: vec![State::new()],
        visible: 0,
        durable: 0,
        live: BTreeMap::new(),
        perhaps_created: BTreeMap::new(),
        perhaps_dropped: Vec::new(),
        next_keyspace: 0,
        snapshots: Vec::new(),
        copies: 0,
        faulty: false,
        outcome: Outcome::default(),
    };
    for (at, step) in steps.iter().enumerate() {
        let result = life.step(step);
        result.map_err(|message| format!("step {}, {}: {message}", at + 1, step.write()))?;
    }
    life.note_trace();
    Ok(life.outcome)
}

fn name(keyspace: u8) -> String {
    format!("k{keyspace}")
}

fn key_bytes(key: u8) -> Vec<u8> {
    vec![b'a' + key % 26; 1 + usize::from(key % 3)]
}

fn number_of(name: &str) -> Result<u8, String> {
    let digits = name.strip_prefix('k').and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| format!("a keyspace {name:?} that nobody made"))
}

impl Life {
    fn builder(&self, shifts: [u8; 3]) -> Builder {
        let [memory, segment, sstable] = shifts;
        small((self.between)(self.simulation.world()))
            .memory_budget_bytes((1 << 20) << memory)
            .wal_segment_bytes(4096 << (2 * segment))
            .sstable_bytes(4096 << sstable)
    }

    fn note_trace(&mut self) {
        let trace = self.simulation.fs.trace_hash();
        self.outcome.trace = self.outcome.trace.rotate_left(7).wrapping_mul(31) ^ trace;
    }

    /// Errors have to have a cause. True if the step was done.
    fn allow<T>(&self, result: Result<T, Error>) -> Result<Option<T>, String> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let is_failure =
            matches!(error.kind(), ErrorKind::Io | ErrorKind::ReadOnly | ErrorKind::Indeterminate);
        if is_failure && (self.faulty || self.simulation.fs.power_is_off()) {
            return Ok(None);
        }
        Err(format!("an error without a cause: {error}"))
    }

    /// A step that makes everything durable, if it was done.
    fn make_durable(&mut self, result: Result<(), Error>) -> Result<(), String> {
        if self.allow(result)?.is_some() {
            self.all_durable();
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Cut(calls) => {
                let call = self.simulation.fs.ops() + calls;
                self.simulation.fs.cut_power_at(call);
            }
            Step::Crash(policy, seed) => self.crash(*policy, *seed),
            Step::FailSyncs(suffix, failure, times) => {
                self.faulty = true;
                self.simulation.fs.fail_syncs(suffix, *failure, Some(*times));
            }
            Step::Heal => self.simulation.fs.heal_syncs(),
            Step::Open(shifts) if self.db.is_none() => self.open(*shifts)?,
            _ => {
                let Some(db) = self.db.clone() else { return Ok(()) };
                self.use_db(&db, step)?;
                if self.simulation.fs.power_is_off() {
                    self.leave();
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.snapshots.clear();
        self.db = None;
    }

    fn crash(&mut self, policy: CrashPolicy, seed: u64) {
        self.note_trace();
        self.simulation = self.simulation.crash(policy, seed);
        self.leave();
        self.faulty = false;
        self.outcome.crashes += 1;
    }

    fn open(&mut self, shifts: [u8; 3]) -> Result<(), String> {
        let opened = self.builder(shifts).open("/db");
        let Some(db) = self.allow(opened)? else { return Ok(()) };
        // Reading may still fail for want of power.
        let found = self.find_keyspaces(&db).and_then(|live| Ok((self.read(&db, &live)?, live)));
        match found {
            Ok((state, live)) => {
                self.recovered(&state, live)?;
                self.db = Some(db);
            }
            Err(message) if self.simulation.fs.power_is_off() => drop(message),
            Err(message) => return Err(message),
        }
        Ok(())
    }

    /// The keyspaces that are there; what was uncertain about them is decided now.
    fn find_keyspaces(&self, db: &Db) -> Result<BTreeMap<u8, u32>, String> {
        let mut live = BTreeMap::new();
        for text in db.keyspaces().map_err(|error| error.to_string())? {
            let number = number_of(&text)?;
            let known = self.live.get(&number).or_else(|| self.perhaps_created.get(&number));
            let known = *known.ok_or_else(|| format!("the dropped keyspace {text} is back"))?;
            live.insert(number, known);
        }
        for number in self.live.keys() {
            if !live.contains_key(number) && !self.perhaps_dropped.contains(number) {
                return Err(format!("the keyspace k{number} is lost"));
            }
        }
        Ok(live)
    }

    fn recovered(&mut self, state: &State, live: BTreeMap<u8, u32>) -> Result<(), String> {
        let numbers: Vec<u32> = live.values().copied().collect();
        let shows = |known: &State| {
            let kept = known.iter().filter(|((keyspace, _), _)| numbers.contains(keyspace));
            kept.eq(state.iter())
        };
        let Some(at) = self.states.iter().rposition(shows) else {
            return Err(format!("{} entries are no prefix of the history", state.len()));
        };
        if at < self.durable {
            return Err(format!("{} acknowledged writes are lost", self.durable - at));
        }
        // What a recovery has shown must stay.
        self.states.truncate(at + 1);
        self.states[at] = state.clone();
        (self.visible, self.durable) = (at, at);
        self.live = live;
        self.perhaps_created.clear();
        self.perhaps_dropped.clear();
        self.outcome.recoveries += 1;
        Ok(())
    }

    fn read(&self, db: &Db, live: &BTreeMap<u8, u32>) -> Result<State, String> {
        let mut state = State::new();
        for (number, id) in live {
            let keyspace = keyspace(db, *number).map_err(|error| error.to_string())?;
            let Some(keyspace) = keyspace else { return Err(format!("k{number} is not there")) };
            read_range(keyspace.iter(), *id, &mut state)?;
        }
        Ok(state)
    }

    fn use_db(&mut self, db: &Db, step: &Step) -> Result<(), String> {
        match step {
            Step::Close => {
                if self.allow(db.close())?.is_some() && !self.is_read_only(db) {
                    self.all_durable();
                }
                self.leave();
            }
            Step::Write(durability, puts) => self.write(db, *durability, puts)?,
            Step::Ingest(puts) => self.ingest(db, puts)?,
            Step::Transaction(durability, rival, puts) => {
                self.transaction(db, *durability, *rival, puts)?;
            }
            Step::Create(number, strategy, compress) => {
                self.create(db, *number, *strategy, *compress)?;
            }
            Step::Drop(number) => self.drop_keyspace(db, *number)?,
            Step::Flush => self.make_durable(db.flush())?,
            Step::Sync => self.make_durable(db.sync())?,
            Step::Compact => drop(self.allow(db.compact())?),
            Step::Verify => {
                self.allow(db.verify())?;
            }
            Step::Background(at) => {
                let step = BackgroundStep::ALL[usize::from(*at) % BackgroundStep::ALL.len()];
                self.allow(db.run_background_step(step))?;
            }
            Step::Check => match self.read(db, &self.readable()) {
                Ok(found) if found == self.current() => {}
                Ok(_) => return Err("the latest state is not what was written".to_string()),
                Err(message) => return self.excuse(message),
            },
            Step::Snapshot if self.snapshots.len() < 4 => {
                self.snapshots.push((db.snapshot(), self.current()));
            }
            Step::Release if !self.snapshots.is_empty() => {
                let (snapshot, state) = self.snapshots.remove(0);
                if let Err(message) = self.check_snapshot(db, &snapshot, &state) {
                    return self.excuse(message);
                }
                self.outcome.snapshots += 1;
            }
            Step::Checkpoint => self.checkpoint(db)?,
            _ => {}
        }
        Ok(())
    }

    /// The keyspaces that answer now. One whose drop failed in doubt refuses use until the next open shows whether it is
    /// there.
    fn readable(&self) -> BTreeMap<u8, u32> {
        let mut live = self.live.clone();
        live.retain(|number, _| !self.perhaps_dropped.contains(number));
        live
    }

    /// What the database answers now.
    fn current(&self) -> State {
        let live: Vec<u32> = self.readable().into_values().collect();
        let state = &self.states[self.visible];
        let kept = state.iter().filter(|((keyspace, _), _)| live.contains(keyspace));
        kept.map(|(key, value)| (*key, *value)).collect()
    }

    fn excuse(&self, message: String) -> Result<(), String> {
        if self.simulation.fs.power_is_off() { Ok(()) } else { Err(message) }
    }

    fn is_read_only(&self, db: &Db) -> bool {
        db.metrics().read_only_cause.is_some()
    }

    fn all_durable(&mut self) {
        self.durable = self.visible;
    }

    /// The writes whose keyspace is there, with it; and the state after them.
    fn plan(&self, db: &Db, puts: &[Put]) -> Result<(Vec<(Keyspace, Put)>, State), String> {
        let mut next = self.states[self.visible].clone();
        let mut plan = Vec::new();
        for &(number, key, value) in puts {
            let Some(id) = self.live.get(&number) else { continue };
            if self.perhaps_dropped.contains(&number) {
                continue;
            }
            let found = keyspace(db, number).map_err(|error| error.to_string())?;
            plan.push((found.ok_or("a keyspace is gone")?, (number, key, value)));
            match value {
                Some(value) => next.insert((*id, key), value),
                None => next.remove(&(*id, key)),
            };
        }
        Ok((plan, next))
    }

    /// A write is about to be tried.
    fn propose(&mut self, next: State) {
        self.states.truncate(self.visible + 1);
        self.states.push(next);
    }

    /// The write has ended. It was `refused`, and not even proposed, if the database was read-only before; the failure that
    /// turns it read-only leaves in doubt whether the write is there.
    fn settle(
        &mut self,
        db: &Db,
        durability: Durability,
        refused: bool,
        result: Result<(), Error>,
    ) -> Result<(), String> {
        let done = self.allow(result)?.is_some();
        if done && refused {
            return Err("a read-only database takes a write".to_string());
        }
        if done {
            self.visible = self.states.len() - 1;
            if durability == Durability::Sync {
                self.all_durable();
            }
            self.outcome.writes += 1;
        } else if !(refused || self.simulation.fs.power_is_off() || self.is_read_only(db)) {
            // An error of a database that goes on: nothing was written.
            self.states.truncate(self.visible + 1);
        }
        Ok(())
    }

    fn write(&mut self, db: &Db, durability: Durability, puts: &[Put]) -> Result<(), String> {
        let (plan, next) = self.plan(db, puts)?;
        if plan.is_empty() {
            return Ok(());
        }
        let mut batch = db.batch();
        for (keyspace, (_, key, value)) in &plan {
            match value {
                Some((len, fill)) => {
                    batch.put(keyspace, key_bytes(*key), vec![*fill; *len as usize]);
                }
                None => batch.delete(keyspace, key_bytes(*key)),
            }
        }
        let refused = self.is_read_only(db);
        if !refused {
            self.propose(next);
        }
        let result = db.write_with(batch, durability);
        self.settle(db, durability, refused, result)
    }

    /// Writes to one keyspace without the log; of several to one key the last counts. As durable as can be, and so is all
    /// that came before.
    fn ingest(&mut self, db: &Db, puts: &[Put]) -> Result<(), String> {
        let puts: BTreeMap<_, _> =
            puts.iter().map(|put| ((put.0, key_bytes(put.1)), *put)).collect();
        let puts: Vec<Put> = puts.into_values().collect();
        let (plan, next) = self.plan(db, &puts)?;
        let Some((keyspace, _)) = plan.first() else { return Ok(()) };
        let refused = self.is_read_only(db);
        if !refused {
            self.propose(next);
        }
        let result = keyspace.start_ingest().and_then(|mut ingest| {
            for (_, (_, key, value)) in &plan {
                match value {
                    Some((len, fill)) => ingest.put(key_bytes(*key), vec![*fill; *len as usize])?,
                    None => ingest.delete(key_bytes(*key))?,
                }
            }
            ingest.finish()
        });
        self.settle(db, Durability::Sync, refused, result)
    }

    fn transaction(
        &mut self,
        db: &Db,
        durability: Durability,
        rival: bool,
        puts: &[Put],
    ) -> Result<(), String> {
        let (plan, next) = self.plan(db, puts)?;
        let Some((_, first)) = plan.first() else { return Ok(()) };
        let Some(mut transaction) = self.allow(db.transaction())? else { return Ok(()) };
        for (keyspace, (number, key, value)) in &plan {
            // The first read of a key sees what the database holds.
            let Some(found) = self.allow(transaction.get(keyspace, key_bytes(*key)))? else {
                return Ok(());
            };
            let expected = self.states[self.visible].get(&(self.live[number], *key));
            let is_first = plan.iter().position(|(_, (n, k, _))| (n, k) == (number, key));
            let is_first = is_first.is_some_and(|at| std::ptr::eq(&plan[at].1.1, key));
            let found = found.map(|value| describe(&value)).transpose()?;
            if is_first && found != expected.copied() {
                return Err(format!("a transaction reads {found:?} instead of {expected:?}"));
            }
            let bytes = key_bytes(*key);
            let result = match value {
                Some((len, fill)) => transaction.put(keyspace, bytes, vec![*fill; *len as usize]),
                None => transaction.delete(keyspace, bytes),
            };
            result.map_err(|error| error.to_string())?;
        }
        self.outcome.transactions += 1;
        if rival {
            let before = self.visible;
            let write = [(first.0, first.1, Some((5, 7)))];
            match first.1 % 2 {
                0 => self.ingest(db, &write)?,
                _ => self.write(db, Durability::Sync, &write)?,
            }
            if self.visible == before {
                return Ok(());
            }
            return match transaction.commit_with(durability) {
                Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
                Ok(()) => Err("a transaction commits over a rival's write".to_string()),
                other => self.allow(other).map(drop),
            };
        }
        let refused = self.is_read_only(db);
        if !refused {
            self.propose(next);
        }
        let result = transaction.commit_with(durability);
        self.settle(db, durability, refused, result)
    }

    fn create(&mut self, db: &Db, number: u8, strategy: u8, compress: bool) -> Result<(), String> {
        if self.live.contains_key(&number) {
            return Ok(());
        }
        let strategy = match strategy % 3 {
            0 => CompactionStrategy::Leveled,
            1 => CompactionStrategy::Tiered,
            // Far more than is ever written: nothing is dropped.
            _ => CompactionStrategy::Fifo { size_bytes_max: 1 << 40 },
        };
        let refused = self.is_read_only(db);
        let result = db.create_keyspace(
            &name(number),
            KeyspaceOptions {
                strategy,
                compress,
                // Almost every value, the longer ones, or none.
                large_value_bytes: [Some(1), Some(48), None][usize::from(number) % 3],
            },
        );
        let id = self.next_keyspace;
        self.next_keyspace += 1;
        if self.allow(result)?.is_some() {
            self.live.insert(number, id);
            self.perhaps_created.remove(&number);
        } else if !refused {
            self.perhaps_created.entry(number).or_insert(id);
        }
        Ok(())
    }

    fn drop_keyspace(&mut self, db: &Db, number: u8) -> Result<(), String> {
        if !self.live.contains_key(&number) || self.perhaps_dropped.contains(&number) {
            return Ok(());
        }
        let refused = self.is_read_only(db);
        let result = db.drop_keyspace(&name(number));
        if self.allow(result)?.is_some() {
            self.live.remove(&number);
        } else if !refused && (self.is_read_only(db) || self.simulation.fs.power_is_off()) {
            self.perhaps_dropped.push(number);
        }
        Ok(())
    }

    fn check_snapshot(&self, db: &Db, snapshot: &Snapshot, state: &State) -> Result<(), String> {
        for (number, id) in &self.readable() {
            let found = keyspace(db, *number).map_err(|error| error.to_string())?;
            let Some(keyspace) = found else { continue };
            let mut seen = State::new();
            read_range(keyspace.range_at::<&[u8]>(snapshot, ..), *id, &mut seen)?;
            let kept = state.iter().filter(|((keyspace, _), _)| keyspace == id);
            if !kept.eq(seen.iter()) {
                return Err("a snapshot has changed".to_string());
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, db: &Db) -> Result<(), String> {
        self.copies += 1;
        let dir = format!("/copy{}", self.copies);
        if self.allow(db.checkpoint(&dir))?.is_none() {
            return Ok(());
        }
        self.outcome.checkpoints += 1;
        // Looked at on a disk of its own, and on what a power cut leaves of it.
        for cut in [false, true] {
            let fs = &self.simulation.fs;
            let fs = if cut { fs.image(CrashPolicy::DropAll, 0) } else { fs.fork() };
            let world = Simulation::with_fs(fs, 99).world();
            let read = small(world).open(&dir).map_err(|error| error.to_string());
            let found = read.and_then(|copy| self.read(&copy, &self.live));
            let found = found.map_err(|message| format!("the copy: {message}"))?;
            if found != self.current() {
                return Err(format!("the copy differs (after a power cut: {cut})"));
            }
        }
        Ok(())
    }
}

fn keyspace(db: &Db, number: u8) -> Result<Option<Keyspace>, Error> {
    db.existing_keyspace(&name(number))
}

/// Length and fill of a value; an error if it is not all of one byte.
fn describe(value: &[u8]) -> Result<(u32, u8), String> {
    let fill = value.first().copied().unwrap_or(0);
    if value.iter().any(|byte| *byte != fill) {
        return Err("a value was changed inside".to_string());
    }
    Ok((value.len() as u32, fill))
}

fn read_range(range: esker::Range, id: u32, state: &mut State) -> Result<(), String> {
    for entry in range {
        let (key, value) = entry.map_err(|error| error.to_string())?;
        let number = (0..26).find(|number| key_bytes(*number) == key[..]);
        let number = number.ok_or_else(|| format!("a key {key:?} that nobody wrote"))?;
        state.insert((id, number), describe(&value)?);
    }
    Ok(())
}
