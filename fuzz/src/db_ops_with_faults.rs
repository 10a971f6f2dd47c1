//! A life of a database whose disk fails at a call of the input's choosing, and goes on failing or does not. What was
//! acknowledged is visible and, where it was synced or flushed, there after the disk has healed; every state that is
//! found is that after some write.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker::vfs::World;
use esker::vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker::vfs::simulated::{CrashPolicy, Simulation};
use esker::{BackgroundStep, Db, Durability, Error, ErrorKind};
use esker_sim::small;

use super::source::Source;

const DIR: &str = "/db";
const NAMES: [&str; 2] = ["a", "b"];
const STEPS_MAX: usize = 60;

type State = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

struct Life {
    sim: Simulation,
    faults: Arc<FaultFs>,
    /// The states after each write since the one that the last open found, which is the first.
    states: Vec<State>,
    /// The oldest state that may be found.
    durable: usize,
    /// A write has failed: whether it is there shows at the next open, so there is none until then.
    in_doubt: bool,
}

/// Lives the life that `data` describes.
pub fn check(data: &[u8]) {
    let mut source = Source::new(data);
    let sim = Simulation::new(u64::from(source.byte()));
    let faults = Arc::new(FaultFs::new(Arc::new(sim.fs.clone())));
    let mut life = Life { sim, faults, states: vec![State::new()], durable: 0, in_doubt: false };
    let mut db = life.open();
    life.inject(&mut source);
    for _ in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        db = life.step(db, &mut source);
    }
    life.faults.clear();
    drop(db);
    life.crash(CrashPolicy::KeepAll, 0);
    let db = life.open().expect("the disk has healed");
    db.verify().expect("failed calls damage nothing");
}

/// Whether a failing disk may show as this.
fn excused(error: &Error) {
    let kinds = [ErrorKind::Io, ErrorKind::NoSpace, ErrorKind::ReadOnly, ErrorKind::Indeterminate];
    assert!(kinds.contains(&error.kind()), "a failing disk shows as {error:?}");
}

fn excuse<T>(result: esker::Result<T>) -> Option<T> {
    result.inspect_err(excused).ok()
}

impl Life {
    fn inject(&self, source: &mut Source<'_>) {
        let fault = match source.byte() % 8 {
            0 => Fault::Fail(Failure::NoSpace),
            1 => Fault::Fail(Failure::TooManyFiles),
            2 => Fault::FailHalfway(Failure::Io),
            3 => Fault::FailHalfway(Failure::NoSpace),
            4 => Fault::FailAfter(Failure::Io),
            5 => Fault::Short,
            6 => Fault::Interrupt,
            _ => Fault::Fail(Failure::Io),
        };
        let suffix = source.pick(&["", "", ".wal", ".sst", ".manifest", "/db", "CURRENT"]);
        let how = source.number();
        let rule = Rule::new(fault).suffix(suffix).after(u64::from(how % 512));
        self.faults.inject(if how & 0x8000 == 0 { rule } else { rule.sticky() });
    }

    /// Opens the database and compares it. An error where the disk fails.
    fn open(&mut self) -> Option<Db> {
        let world = World { fs: Arc::clone(&self.faults) as _, ..self.sim.world() };
        let opened = small(world).open(DIR);
        let db = excuse(opened)?;
        let state = excuse(read_all(&db))?;
        let at = self.states.iter().rposition(|known| *known == state);
        let Some(at) = at else { panic!("a state that was never there: {state:?}") };
        assert!(at >= self.durable, "{} acknowledged writes are lost", self.durable - at);
        // What cannot be written is served from memory, and may be gone the next time.
        if db.metrics().read_only_cause.is_some() {
            self.in_doubt = true;
            return Some(db);
        }
        self.states = vec![state];
        self.durable = 0;
        self.in_doubt = false;
        Some(db)
    }

    fn crash(&mut self, policy: CrashPolicy, seed: u64) {
        self.sim = self.sim.crash(policy, seed);
        self.faults = Arc::new(FaultFs::new(Arc::new(self.sim.fs.clone())));
    }

    fn all_durable(&mut self) {
        if !self.in_doubt {
            self.durable = self.states.len() - 1;
        }
    }

    fn step(&mut self, db: Option<Db>, source: &mut Source<'_>) -> Option<Db> {
        let kind = source.byte() % 16;
        let Some(db) = db else {
            if kind.is_multiple_of(2) {
                self.faults.clear();
            }
            return self.open();
        };
        match kind {
            0..=5 => self.write(&db, source),
            6 => {
                if excuse(db.flush()).is_some() {
                    self.all_durable();
                }
            }
            7 => drop(excuse(db.compact())),
            8 => {
                let step = source.pick(&BackgroundStep::ALL);
                excuse(db.run_background_step(step));
            }
            9 => {
                if excuse(db.sync()).is_some() {
                    self.all_durable();
                }
            }
            10 => {
                if let Some(state) = excuse(read_all(&db)).filter(|_| !self.in_doubt) {
                    assert_eq!(Some(&state), self.states.last(), "the latest state is not visible");
                }
            }
            11 => drop(excuse(db.verify())),
            12 => self.inject(source),
            13 => self.faults.clear(),
            14 => {
                let read_only = db.metrics().read_only_cause.is_some();
                if excuse(db.close()).is_some() && !read_only {
                    self.all_durable();
                }
                drop(db);
                return self.open();
            }
            _ => {
                let policy = source.pick(&[CrashPolicy::DropAll, CrashPolicy::Posix]);
                drop(db);
                self.crash(policy, u64::from(source.byte()));
                return self.open();
            }
        }
        Some(db)
    }

    fn write(&mut self, db: &Db, source: &mut Source<'_>) {
        let durability =
            source.pick(&[Durability::Sync, Durability::Buffered, Durability::Volatile]);
        let mut next = self.states.last().expect("invariant: never empty").clone();
        let mut batch = db.batch();
        for _ in 0..1 + source.byte() % 3 {
            let (key, choice) = (source.byte(), source.byte());
            let (at, key) = (usize::from(key % 2), vec![b'a' + key / 2 % 16]);
            // Making a keyspace is a write of its own; an empty one is as one that is not there.
            let Some(keyspace) = excuse(db.keyspace(NAMES[at])) else { return };
            match [3, 40, 700, 6000].get(usize::from(choice % 5)) {
                Some(len) => {
                    let value = vec![choice; *len];
                    batch.put(&keyspace, &key, &value);
                    next.insert((at, key), value);
                }
                None => {
                    batch.delete(&keyspace, &key);
                    next.remove(&(at, key));
                }
            }
        }
        if self.in_doubt {
            return;
        }
        self.states.push(next);
        match excuse(db.write_with(batch, durability)) {
            Some(()) if durability == Durability::Sync => self.all_durable(),
            Some(()) => {}
            None => self.in_doubt = true,
        }
    }
}

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

/// A life with each kind of fault in each kind of file, at some call.
pub fn seeds() -> Vec<Vec<u8>> {
    let write = [0, 0, 1, 2, 6, 5, 3, 1, 1, 0, 3, 7];
    let mut seeds = vec![vec![]];
    for fault in 0..8 {
        for suffix in 1..7u8 {
            let rule = [fault, suffix, 3 * fault + suffix, if suffix % 2 == 0 { 0x80 } else { 0 }];
            let body = [&write[..], &[6], &write, &[7, 10, 14], &write, &[9, 13, 14, 10], &write];
            let tail = [15, fault, suffix, 10];
            seeds.push(
                [&[suffix][..], &rule, &body.concat(), &[12], &rule, &body.concat(), &tail]
                    .concat(),
            );
        }
    }
    seeds
}
