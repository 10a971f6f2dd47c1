//! Running a plan on a simulated disk beside a plain ordered map, and comparing every answer.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use esker::vfs::World;
use esker::vfs::simulated::Simulation;
use esker::{
    Background, BackgroundStep, Db, Durability, Error, Keyspace, KeyspaceOptions, Snapshot, Value,
};

use super::plan::{Door, Opening, Plan, Put, Step, Walk};
use crate::checks::panic_text;

/// Snapshots held at a time.
const SNAPSHOTS_MAX: usize = 4;

type Bytes = Arc<[u8]>;
type Map = BTreeMap<Bytes, Bytes>;

/// Puts something between the engine and the disk.
pub(super) type Between = fn(World) -> World;

/// An answer that differs, or an error without a cause.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    /// The step, by its place in the plan; behind the last one for what is looked at in the end.
    pub(super) at: usize,
    pub(super) message: String,
}

/// Runs all steps, then compares all entries and verifies. A panic is an answer like any other.
pub(super) fn run(plan: &Plan, between: Between) -> Result<(), Wrong> {
    let mut at = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| run_to(plan, between, &mut at)));
    let outcome = outcome.unwrap_or_else(|panic| Err(format!("panic: {}", panic_text(&*panic))));
    outcome.map_err(|message| Wrong { at, message })
}

fn run_to(plan: &Plan, between: Between, at: &mut usize) -> Result<(), String> {
    let world = between(Simulation::new(plan.disk).world());
    let mut side = Side::open(plan, &world)?;
    for step in &plan.steps {
        match step {
            Step::Reopen { closes, opening } => {
                side = side.reopen(plan, &world, *closes, opening)?;
            }
            step => side.step(step)?,
        }
        *at += 1;
    }
    compare(side.keyspace.iter(), side.map.iter(), usize::MAX, 0)?;
    side.db.verify().map(drop).map_err(text)
}

fn text(error: Error) -> String {
    format!("an error without a cause: {error}")
}

fn open(plan: &Plan, world: &World, opening: &Opening) -> Result<(Db, Keyspace), Error> {
    let db = Db::builder()
        .world(world.clone())
        .background(Background::Manual)
        .read_mode(opening.mode)
        .memory_budget_bytes((1 << 20) << opening.memory)
        .wal_segment_bytes(4096 << (2 * opening.segment))
        .sstable_bytes(4096 << opening.sstable)
        .open("/db")?;
    let keyspace = match db.existing_keyspace("k")? {
        Some(keyspace) => keyspace,
        None => {
            let options = KeyspaceOptions {
                strategy: plan.strategy,
                compress: plan.compress,
                large_value_bytes: [None, Some(1), Some(32)][(plan.disk % 3) as usize],
            };
            db.create_keyspace("k", options)?
        }
    };
    Ok((db, keyspace))
}

/// The database, the map, and the snapshots of both.
struct Side {
    db: Db,
    keyspace: Keyspace,
    map: Map,
    held: VecDeque<(Snapshot, Map)>,
}

impl Side {
    fn open(plan: &Plan, world: &World) -> Result<Side, String> {
        let (db, keyspace) = open(plan, world, &plan.opening).map_err(text)?;
        Ok(Side { db, keyspace, map: Map::new(), held: VecDeque::new() })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let done = match step {
            Step::Write { durability, door, puts } => self.write(*durability, *door, puts),
            Step::Get(number) => return self.get(*number),
            Step::Range(walk) => {
                let bounds = bounds(walk);
                let entries = self.keyspace.range(bounds.clone());
                let expected = self.map.range(bounds);
                return compare(entries, expected, usize::from(walk.count), walk.turns);
            }
            Step::Past(walk) => return self.past(walk),
            Step::TakeSnapshot => {
                if self.held.len() < SNAPSHOTS_MAX {
                    self.held.push_back((self.db.snapshot(), self.map.clone()));
                }
                Ok(())
            }
            Step::DropSnapshot => {
                drop(self.held.pop_front());
                Ok(())
            }
            Step::Flush => self.db.flush(),
            Step::Compact => self.keyspace.compact(),
            Step::Verify => self.db.verify().map(drop),
            Step::Sync => self.db.sync(),
            Step::Background(step) => {
                let step = BackgroundStep::ALL[usize::from(*step) % BackgroundStep::ALL.len()];
                self.db.run_background_step(step).map(drop)
            }
            Step::Reopen { .. } => unreachable!("it takes the whole side"),
        };
        done.map_err(text)
    }

    fn write(&mut self, durability: Durability, door: Door, puts: &[Put]) -> Result<(), Error> {
        let value = |(len, fill): (usize, u8)| Bytes::from(vec![fill; len]);
        let puts = puts.iter().map(|(number, put)| (key(*number), put.map(value)));
        let puts: Vec<(Bytes, Option<Bytes>)> = puts.collect();
        match door {
            Door::Transaction => {
                let mut transaction = self.db.transaction()?;
                for (key, value) in &puts {
                    match value {
                        Some(value) => transaction.put(&self.keyspace, key, value)?,
                        None => transaction.delete(&self.keyspace, key)?,
                    }
                }
                transaction.commit_with(durability)?;
            }
            Door::Batch => {
                let mut batch = self.db.batch();
                for (key, value) in &puts {
                    match value {
                        Some(value) => batch.put(&self.keyspace, key, value),
                        None => batch.delete(&self.keyspace, key),
                    }
                }
                self.db.write_with(batch, durability)?;
            }
            Door::Ingest => {
                // Of several writes to one key the last counts.
                let last: BTreeMap<_, _> = puts.iter().map(|(key, value)| (key, value)).collect();
                let mut ingest = self.keyspace.start_ingest()?;
                for (key, value) in last {
                    match value {
                        Some(value) => ingest.put(key, value)?,
                        None => ingest.delete(key)?,
                    }
                }
                ingest.finish()?;
            }
        }
        for (key, value) in puts {
            match value {
                Some(value) => self.map.insert(key, value),
                None => self.map.remove(&key),
            };
        }
        Ok(())
    }

    fn get(&self, number: u64) -> Result<(), String> {
        let key = key(number);
        let found = self.keyspace.get(&key).map_err(text)?;
        if found.as_deref() != self.map.get(&key).map(|value| &value[..]) {
            return Err("another value".to_string());
        }
        Ok(())
    }

    fn past(&self, walk: &Walk) -> Result<(), String> {
        let Some((snapshot, map)) = self.held.front() else { return Ok(()) };
        let (bounds, key) = (bounds(walk), key(walk.bounds.1));
        let found = self.keyspace.get_at(snapshot, &key).map_err(text)?;
        if found.as_deref() != map.get(&key).map(|value| &value[..]) {
            return Err("another value in a snapshot".to_string());
        }
        let entries = self.keyspace.range_at(snapshot, bounds.clone());
        compare(entries, map.range(bounds), usize::from(walk.count), walk.turns)
    }

    /// Closes it, or only drops it, and opens it again.
    fn reopen(
        self,
        plan: &Plan,
        world: &World,
        closes: bool,
        opening: &Opening,
    ) -> Result<Side, String> {
        let Side { db, keyspace, map, held } = self;
        drop(held);
        if closes {
            db.close().map_err(text)?;
        }
        drop((keyspace, db));
        let (db, keyspace) = open(plan, world, opening).map_err(text)?;
        Ok(Side { db, keyspace, map, held: VecDeque::new() })
    }
}

/// A key: short ones over few letters, and long ones that share their beginning.
fn key(number: u64) -> Bytes {
    let mut key = if number.is_multiple_of(5) { vec![0xff; 12] } else { Vec::new() };
    let mut rest = number;
    while rest > 0 {
        key.push(b'a' + (rest % 7) as u8);
        rest /= 7;
    }
    key.into()
}

/// One end of a range of keys.
type KeyBound = Bound<Bytes>;

/// From the lower key on, up to and without the higher.
fn bounds(walk: &Walk) -> (KeyBound, KeyBound) {
    let (a, b) = (key(walk.bounds.0), key(walk.bounds.1));
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    (Bound::Included(low), Bound::Excluded(high))
}

/// Walks both from both ends, as `turns` says, for `count` entries.
pub(super) fn compare<'a>(
    mut entries: impl DoubleEndedIterator<Item = Result<(Value, Value), Error>>,
    mut expected: impl DoubleEndedIterator<Item = (&'a Bytes, &'a Bytes)>,
    count: usize,
    turns: u64,
) -> Result<(), String> {
    for turn in 0..count {
        let back = turns >> (turn % 64) & 1 == 1;
        let (got, want) = match back {
            true => (entries.next_back(), expected.next_back()),
            false => (entries.next(), expected.next()),
        };
        let got = got.transpose().map_err(|error| format!("a walk fails: {error}"))?;
        match (got, want) {
            (None, None) => break,
            (Some((key, value)), Some((k, v))) if key[..] == k[..] && value[..] == v[..] => {}
            (got, want) => {
                let got = got.map(|(key, _)| key);
                let want = want.map(|(key, _)| key);
                return Err(format!("turn {turn} shows {got:?} instead of {want:?}"));
            }
        }
    }
    Ok(())
}
