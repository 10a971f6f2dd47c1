//! The same operations give the same answers, whatever the options and whenever background work runs. Every database is
//! also compared with a plain ordered map; snapshots are kept open and asked again at the end (I2).

use std::collections::BTreeMap;
use std::ops::Bound;

use esker_vfs::simulated::Simulation;

use super::support::{Rng, seeds, small};
use crate::{BackgroundStep, CompactionStrategy, Db, Durability, KeyspaceOptions, Snapshot};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// How one database is run. The operations depend on the seed alone, these on it and on the database.
struct Run {
    sim: Simulation,
    rng: Rng,
    db: Option<Db>,
    snapshots: Vec<(Snapshot, Map)>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut rng = Rng(seed);
        let strategy = match rng.below(3) {
            0 => CompactionStrategy::Leveled,
            1 => CompactionStrategy::Tiered,
            // Far more than is ever written: nothing is dropped.
            _ => CompactionStrategy::Fifo { size_bytes_max: 1 << 40 },
        };
        let options =
            KeyspaceOptions { strategy, compress: rng.below(2) == 0, ..KeyspaceOptions::default() };
        let sim = Simulation::new(seed);
        let mut run = Run { sim, rng, db: None, snapshots: Vec::new() };
        run.open();
        run.db.as_ref().unwrap().create_keyspace("k", options).unwrap();
        run
    }

    /// Opens with fresh options, after a close, a drop or nothing.
    fn open(&mut self) {
        self.snapshots.clear();
        self.db = None;
        let db = small(self.sim.world())
            .memory_budget_bytes((1 << 20) << self.rng.below(3))
            .wal_segment_bytes(4096 << self.rng.below(4))
            .sstable_bytes(4096 << self.rng.below(4))
            .open("/db");
        self.db = Some(db.unwrap());
    }

    /// Background work and other things that must not show.
    fn disturb(&mut self, map: &Map) {
        let db = self.db.as_ref().unwrap();
        match self.rng.below(40) {
            0 => db.flush().unwrap(),
            1 => db.compact().unwrap(),
            2 => {
                let _ = db.verify().unwrap();
            }
            3 => self.open(),
            4 if self.snapshots.len() < 4 => self.snapshots.push((db.snapshot(), map.clone())),
            5 if !self.snapshots.is_empty() => {
                let at = self.rng.below(self.snapshots.len() as u64) as usize;
                self.check_snapshot(at);
                self.snapshots.swap_remove(at);
            }
            at => {
                let step = BackgroundStep::ALL[at as usize % BackgroundStep::ALL.len()];
                db.run_background_step(step).unwrap();
            }
        }
    }

    fn check_snapshot(&self, at: usize) {
        let (snapshot, map) = &self.snapshots[at];
        let keyspace = self.db.as_ref().unwrap().keyspace("k").unwrap();
        let entries = keyspace.range_at::<&[u8]>(snapshot, ..).map(Result::unwrap);
        assert!(
            entries.eq(map.iter().map(|(k, v)| (k.clone().into(), v.clone().into()))),
            "a snapshot changed"
        );
        let key = map.keys().next().cloned().unwrap_or_default();
        let found = keyspace.get_at(snapshot, &key).unwrap();
        assert!(found.as_deref() == map.get(&key).map(Vec::as_slice), "a snapshot changed");
    }

    fn write(&mut self, ops: &[(Vec<u8>, Option<Vec<u8>>)]) {
        let db = self.db.as_ref().unwrap();
        let keyspace = db.keyspace("k").unwrap();
        let durability = match self.rng.below(3) {
            0 => Durability::Volatile,
            1 => Durability::Buffered,
            _ => Durability::Sync,
        };
        if self.rng.below(4) == 0 {
            let mut tx = db.transaction().unwrap();
            for (key, value) in ops {
                match value {
                    Some(value) => tx.put(&keyspace, key, value).unwrap(),
                    None => tx.delete(&keyspace, key).unwrap(),
                }
            }
            return tx.commit_with(durability).unwrap();
        }
        let mut batch = db.batch();
        for (key, value) in ops {
            match value {
                Some(value) => batch.put(&keyspace, key, value),
                None => batch.delete(&keyspace, key),
            }
        }
        db.write_with(batch, durability).unwrap();
    }

    /// Looks up one key, and walks a range with turns and jumps.
    fn ask(&self, map: &Map, question: &Question) {
        let keyspace = self.db.as_ref().unwrap().keyspace("k").unwrap();
        let Question { low, high, turns } = question;
        let found = keyspace.get(low).unwrap();
        assert!(found.as_deref() == map.get(low).map(Vec::as_slice), "a key has another value");
        let many = keyspace.get_many(&[low, high]).unwrap();
        assert!(many[0] == found && many[1].as_deref() == map.get(high).map(Vec::as_slice));

        let bounds = (Bound::Included(low.clone()), Bound::Excluded(high.clone()));
        let mut expected: std::collections::VecDeque<_> =
            map.iter().filter(|(key, _)| *key >= low && *key < high).collect();
        let mut range = keyspace.range(bounds.clone());
        let tx = self.db.as_ref().unwrap().transaction().unwrap();
        let mut tx_range = tx.range(&keyspace, bounds);
        for turn in 0..200u64 {
            let front = turns >> (turn % 64) & 1 == 0;
            let want = if front { expected.pop_front() } else { expected.pop_back() };
            let step = |range: &mut dyn DoubleEndedIterator<Item = _>| {
                if front { range.next() } else { range.next_back() }
            };
            for got in [step(&mut range), step(&mut tx_range)] {
                let got: Option<(crate::Value, crate::Value)> = got.map(Result::unwrap);
                let same = match (&got, &want) {
                    (Some((key, value)), Some((k, v))) => key == *k && value == *v,
                    (None, None) => true,
                    _ => false,
                };
                assert!(same, "a range has another entry at turn {turn}");
            }
            if want.is_none() {
                break;
            }
        }
        let mut range = keyspace.iter();
        range.seek(high);
        let next = range.next().map(|entry| entry.unwrap().0);
        assert!(next.as_deref() == map.range(high.clone()..).next().map(|(k, _)| &k[..]));
        range.seek(low);
        let next = range.next().map(|entry| entry.unwrap().0);
        assert!(next.as_deref() == map.range(low.clone()..).next().map(|(k, _)| &k[..]));
        let mut range = keyspace.iter();
        range.seek_back(low);
        let last = range.next_back().map(|entry| entry.unwrap().0);
        assert!(last.as_deref() == map.range(..=low.clone()).next_back().map(|(k, _)| &k[..]));
    }
}

struct Question {
    low: Vec<u8>,
    high: Vec<u8>,
    /// A bit for each step: from the front or from the back.
    turns: u64,
}

fn key(rng: &mut Rng) -> Vec<u8> {
    // Short keys over few letters, some with many equal bytes in front.
    let mut key = vec![0xff; [0, 0, 0, 12][rng.below(4) as usize]];
    key.extend((0..rng.below(4)).map(|_| b'a' + rng.below(4) as u8));
    key
}

fn run(seed: u64) {
    let mut rng = Rng(seed);
    let mut runs = [Run::new(seed * 2 + 1000), Run::new(seed * 2 + 1001)];
    let mut map = Map::new();
    for _ in 0..60 + rng.below(120) {
        let ops: Vec<_> = (0..1 + rng.below(3))
            .map(|_| {
                let key = key(&mut rng);
                let len = [0, 3, 200, 2500][rng.below(4) as usize];
                (key, (rng.below(3) > 0).then(|| vec![rng.below(256) as u8; len]))
            })
            .collect();
        for (key, value) in &ops {
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
        let (low, high) = (key(&mut rng), key(&mut rng));
        let question = Question { low, high, turns: rng.below(u64::MAX) };
        for run in &mut runs {
            run.write(&ops);
            run.disturb(&map);
            run.ask(&map, &question);
        }
    }
    for run in &mut runs {
        (0..run.snapshots.len()).for_each(|at| run.check_snapshot(at));
        run.db.as_ref().unwrap().verify().unwrap();
    }
}

#[test]
fn options_and_background_work_do_not_change_answers() {
    for seed in 0..seeds(60) {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
