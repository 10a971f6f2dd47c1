//! Random lives of a database on the simulated disk, with power cuts at any call, also during recovery.
//!
//! The model keeps the state after every write. After each recovery the database must hold one of these states, not
//! older than the last write that was acknowledged as durable. A failure prints its seed; `ESKER_TEST_SEEDS=N` runs
//! more of them.

use std::collections::BTreeMap;

use esker_vfs::simulated::{CrashPolicy, Simulation};

use super::support::{Rng, seeds, small};
use crate::{BackgroundStep, Db, Durability, ErrorKind, Keyspace};

type State = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

fn open(sim: &Simulation) -> crate::Result<Db> {
    small(sim.world()).open("/db")
}

fn read_all(keyspaces: &[Keyspace]) -> crate::Result<State> {
    let mut state = State::new();
    for (at, keyspace) in keyspaces.iter().enumerate() {
        for entry in keyspace.iter() {
            let (key, value) = entry?;
            state.insert((at, key.to_vec()), value.to_vec());
        }
    }
    Ok(state)
}

struct Life {
    sim: Simulation,
    rng: Rng,
    /// The state after each write so far; the first is empty.
    states: Vec<State>,
    /// The index of the oldest state that recovery may show.
    durable: usize,
}

impl Life {
    fn policy(&mut self) -> CrashPolicy {
        match self.rng.below(5) {
            0 => CrashPolicy::DropAll,
            1 => CrashPolicy::KeepAll,
            2 => CrashPolicy::Ordered,
            3 => CrashPolicy::Posix,
            _ => CrashPolicy::Hostile,
        }
    }

    /// One life: open, check, write until the power goes or the plan is done.
    fn live(&mut self) -> crate::Result<()> {
        if self.rng.below(3) == 0 {
            let cut = self.sim.fs.ops() + self.rng.below(60);
            self.sim.fs.cut_power_at(cut);
        }
        let db = open(&self.sim)?;
        let keyspaces = [db.keyspace("a")?, db.keyspace("b")?];
        let found = read_all(&keyspaces)?;
        let n = self.states.iter().rposition(|state| *state == found);
        let n = n.unwrap_or_else(|| panic!("{} entries are no prefix of the history", found.len()));
        assert!(n >= self.durable, "lost: {n} of {}, durable {}", self.states.len(), self.durable);
        // What recovery has shown must stay.
        self.states.truncate(n + 1);
        self.durable = n;
        if self.rng.below(4) > 0 {
            let cut = self.sim.fs.ops() + self.rng.below(400);
            self.sim.fs.cut_power_at(cut);
        }
        for _ in 0..self.rng.below(60) {
            self.write(&db, &keyspaces)?;
            self.work(&db, &keyspaces)?;
        }
        if self.rng.below(2) == 0 {
            db.close()?;
            self.durable = self.states.len() - 1;
        }
        Ok(())
    }

    fn write(&mut self, db: &Db, keyspaces: &[Keyspace; 2]) -> crate::Result<()> {
        let mut next = self.states.last().unwrap().clone();
        let mut batch = db.batch();
        for _ in 0..1 + self.rng.below(3) {
            let at = self.rng.below(2) as usize;
            let key = vec![b'a' + self.rng.below(12) as u8; 1 + self.rng.below(3) as usize];
            if self.rng.below(4) == 0 {
                batch.delete(&keyspaces[at], &key);
                next.remove(&(at, key));
            } else {
                let len = [0, 5, 300, 3000][self.rng.below(4) as usize];
                let value = vec![b'0' + self.rng.below(10) as u8; len];
                batch.put(&keyspaces[at], &key, &value);
                next.insert((at, key), value);
            }
        }
        let durability = match self.rng.below(4) {
            0 => Durability::Volatile,
            1 => Durability::Buffered,
            _ => Durability::Sync,
        };
        // Whether or not it is acknowledged, it may be there afterwards.
        self.states.push(next);
        db.write_with(batch, durability)?;
        if durability == Durability::Sync {
            self.durable = self.states.len() - 1;
        }
        Ok(())
    }

    fn work(&mut self, db: &Db, keyspaces: &[Keyspace; 2]) -> crate::Result<()> {
        match self.rng.below(12) {
            0 => {
                db.flush()?;
                self.durable = self.states.len() - 1;
            }
            1 => db.compact()?,
            2 => {
                let found = read_all(keyspaces)?;
                assert!(
                    Some(&found) == self.states.last(),
                    "the latest state is not what was written"
                );
            }
            3 => {
                db.verify()?;
            }
            at => {
                let step = BackgroundStep::ALL[at as usize % BackgroundStep::ALL.len()];
                db.run_background_step(step)?;
            }
        }
        Ok(())
    }
}

fn run(seed: u64) -> u64 {
    let sim = Simulation::new(seed);
    let mut life = Life { sim, rng: Rng(seed), states: vec![State::new()], durable: 0 };
    for _ in 0..6 {
        if let Err(error) = life.live() {
            let off = life.sim.fs.power_is_off();
            assert!(off, "an error without a cause: {error:?}");
            assert_ne!(error.kind(), ErrorKind::Corruption, "{error:?}");
        }
        let policy = life.policy();
        let crash_seed = life.rng.below(u64::MAX);
        life.sim = life.sim.crash(policy, crash_seed);
    }
    life.sim.fs.trace_hash()
}

#[test]
fn no_acknowledged_write_is_lost_and_every_recovery_is_a_prefix() {
    for seed in 0..seeds(150) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = outcome {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_calls() {
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
