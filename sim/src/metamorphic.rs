//! The same operations give the same answers, whatever the options and whenever background work runs.
//!
//! For each seed one list of operations is drawn, and several ways to run it: memory, segment and sstable sizes, strategy,
//! compression, read mode, durability, when the steps of background work run, where the database is closed and opened.
//! Every answer (of keys, of ranges from both ends, of snapshots that were taken long before) is compared with a plain
//! ordered map, and so with that of every other way.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use esker::vfs::World;
use esker::vfs::simulated::Simulation;
use esker::{
    Background, BackgroundStep, CompactionStrategy, Db, Durability, Error, Keyspace,
    KeyspaceOptions, ReadMode, Snapshot, Value,
};

use crate::Rng;
use crate::parallel;
use crate::report::{Budget, CheckReport, Finding};

/// The check's name.
pub const NAME: &str = "metamorphic";

const OPERATIONS: &str = "operations compared";
const OPTION_SETS: &str = "option sets";

/// Option sets that one list of operations is run under.
const WAYS: u64 = 4;

/// Snapshots held at a time.
const SNAPSHOTS_MAX: usize = 4;

/// Different keys; few, so that most are overwritten, deleted and written again.
const KEYS: u64 = 600;

type Map = BTreeMap<Arc<[u8]>, Arc<[u8]>>;

/// What an operation does to, or asks of, the database. The same for every way.
#[derive(Clone, Debug)]
enum Operation {
    Write(Vec<(u64, Option<(usize, u8)>)>),
    Get(u64),
    /// Bounds, at most so many entries, and for each whether it comes from the back.
    Range(u64, u64, u8, u64),
    /// As a range, of the oldest snapshot that is held.
    Past(u64, u64, u8, u64),
    TakeSnapshot,
    DropSnapshot,
}

/// Runs the check.
pub fn check(budget: &Budget) -> CheckReport {
    let lists = budget.count(10, 340, 1000);
    let length = budget.count(300, 16_000, 16_000) as usize;
    let base = budget.seed << 32;
    let unit = move |at: u64, report: &mut CheckReport| one(base + at, length, report);
    parallel::run(NAME, budget, lists, Arc::new(unit))
}

fn one(seed: u64, length: usize, report: &mut CheckReport) {
    let operations = draw(&mut Rng::new(seed), length);
    for way in 0..WAYS {
        report.add(OPTION_SETS, 1);
        match run(seed, way, &operations, |world| world) {
            Ok(()) => report.add(OPERATIONS, operations.len() as u64),
            Err(message) => {
                let replay = format!("check {NAME}\nseed {seed}\nway {way}\nlength {length}\n");
                let message = format!("seed {seed}, way {way}: {message}");
                report.findings.push(Finding { message, replay: Some(replay) });
            }
        }
    }
}

fn draw(rng: &mut Rng, length: usize) -> Vec<Operation> {
    let operation = |rng: &mut Rng| match rng.below(100) {
        0..30 => {
            let put = |rng: &mut Rng| {
                let len = *rng.pick(&[0, 3, 3, 20, 20, 100, 400]);
                let value = (len, rng.below(256) as u8);
                (rng.below(KEYS), rng.chance(70).then_some(value))
            };
            Operation::Write((0..1 + rng.below(3)).map(|_| put(rng)).collect())
        }
        30..72 => Operation::Get(rng.below(KEYS)),
        72..84 => {
            Operation::Range(rng.below(KEYS), rng.below(KEYS), rng.below(20) as u8, turns(rng))
        }
        84..96 => {
            Operation::Past(rng.below(KEYS), rng.below(KEYS), rng.below(20) as u8, turns(rng))
        }
        96..98 => Operation::TakeSnapshot,
        _ => Operation::DropSnapshot,
    };
    (0..length).map(|_| operation(rng)).collect()
}

/// From the front only, from the back only, or mixed.
fn turns(rng: &mut Rng) -> u64 {
    [0, u64::MAX, rng.number()][rng.below(3) as usize]
}

/// A key: short ones over few letters, and long ones that share their beginning.
fn key(number: u64) -> Arc<[u8]> {
    let mut key = if number.is_multiple_of(5) { vec![0xff; 12] } else { Vec::new() };
    let mut rest = number;
    while rest > 0 {
        key.push(b'a' + (rest % 7) as u8);
        rest /= 7;
    }
    key.into()
}

/// One way to run the operations.
struct Way {
    simulation: Simulation,
    between: fn(World) -> World,
    rng: Rng,
    options: KeyspaceOptions,
    /// Of so many operations, one is followed by background work; it varies a lot.
    work_every: u64,
    reopen_every: u64,
}

impl Way {
    fn open(&mut self) -> Result<(Db, Keyspace), Error> {
        let mode = *self.rng.pick(&[ReadMode::Positioned, ReadMode::Mapped]);
        let db = Db::builder()
            .world((self.between)(self.simulation.world()))
            .background(Background::Manual)
            .read_mode(mode)
            .memory_budget_bytes((1 << 20) << self.rng.below(4))
            .wal_segment_bytes(4096 << (2 * self.rng.below(4)))
            .sstable_bytes(4096 << self.rng.below(6))
            .open("/db")?;
        let keyspace = match db.existing_keyspace("k")? {
            Some(keyspace) => keyspace,
            None => db.create_keyspace("k", self.options)?,
        };
        Ok((db, keyspace))
    }

    /// Background work and other things that must not show.
    fn disturb(&mut self, db: &Db, keyspace: &Keyspace) -> Result<(), Error> {
        if self.rng.below(self.work_every) > 0 {
            return Ok(());
        }
        match self.rng.below(60) {
            0..8 => db.flush(),
            8 => keyspace.compact(),
            9 => db.verify().map(drop),
            10..12 => db.sync(),
            at => {
                let step = BackgroundStep::ALL[at as usize % BackgroundStep::ALL.len()];
                db.run_background_step(step).map(drop)
            }
        }
    }

    fn write(&mut self, db: &Db, keyspace: &Keyspace, puts: &Puts) -> Result<(), Error> {
        let durability =
            *self.rng.pick(&[Durability::Volatile, Durability::Buffered, Durability::Sync]);
        if self.rng.chance(25) {
            let mut transaction = db.transaction()?;
            for (key, value) in puts {
                match value {
                    Some(value) => transaction.put(keyspace, key, value)?,
                    None => transaction.delete(keyspace, key)?,
                }
            }
            return transaction.commit_with(durability);
        }
        let mut batch = db.batch();
        for (key, value) in puts {
            match value {
                Some(value) => batch.put(keyspace, key, value),
                None => batch.delete(keyspace, key),
            }
        }
        db.write_with(batch, durability)
    }
}

type Puts = Vec<(Arc<[u8]>, Option<Arc<[u8]>>)>;

fn run(
    seed: u64,
    way: u64,
    operations: &[Operation],
    between: fn(World) -> World,
) -> Result<(), String> {
    let mut rng = Rng::new(seed.wrapping_mul(WAYS).wrapping_add(way) ^ 0x0d15_ea5e);
    let strategy = match rng.below(3) {
        0 => CompactionStrategy::Leveled,
        1 => CompactionStrategy::Tiered,
        // Far more than is ever written: nothing is dropped.
        _ => CompactionStrategy::Fifo { size_bytes_max: 1 << 40 },
    };
    let options = KeyspaceOptions { strategy, compress: rng.chance(50) };
    let work_every = *rng.pick(&[5, 20, 100, 1000]);
    let reopen_every = *rng.pick(&[200, 1000, 100_000]);
    let simulation = Simulation::new(seed ^ way);
    let mut way = Way { simulation, between, rng, options, work_every, reopen_every };
    let text = |error: Error| format!("an error without a cause: {error}");
    let mut held: VecDeque<(Snapshot, Map)> = VecDeque::new();
    let mut map = Map::new();
    let (mut db, mut keyspace) = way.open().map_err(text)?;
    for (at, operation) in operations.iter().enumerate() {
        let place = |message: String| format!("operation {at}, {operation:?}: {message}");
        step(&mut way, &db, &keyspace, operation, &mut map, &mut held).map_err(place)?;
        way.disturb(&db, &keyspace).map_err(|error| place(text(error)))?;
        if way.rng.below(way.reopen_every) == 0 {
            held.clear();
            if way.rng.chance(50) {
                db.close().map_err(text)?;
            }
            drop(keyspace);
            drop(db);
            (db, keyspace) = way.open().map_err(|error| place(text(error)))?;
        }
    }
    compare(keyspace.iter(), map.iter(), usize::MAX, 0)?;
    db.verify().map(drop).map_err(text)
}

fn step(
    way: &mut Way,
    db: &Db,
    keyspace: &Keyspace,
    operation: &Operation,
    map: &mut Map,
    held: &mut VecDeque<(Snapshot, Map)>,
) -> Result<(), String> {
    let text = |error: Error| format!("an error without a cause: {error}");
    match operation {
        Operation::Write(writes) => {
            let puts: Puts = writes
                .iter()
                .map(|(number, value)| {
                    (key(*number), value.map(|(len, fill)| vec![fill; len].into()))
                })
                .collect();
            way.write(db, keyspace, &puts).map_err(text)?;
            for (key, value) in puts {
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
        }
        Operation::Get(number) => {
            let key = key(*number);
            let found = keyspace.get(&key).map_err(text)?;
            if found.as_deref() != map.get(&key).map(|value| &value[..]) {
                return Err("another value".to_string());
            }
        }
        Operation::Range(low, high, count, turns) => {
            let bounds = bounds(*low, *high);
            let entries = keyspace.range(bounds.clone());
            compare(entries, map.range(bounds), usize::from(*count), *turns)?;
        }
        Operation::Past(low, high, count, turns) => {
            let Some((snapshot, map)) = held.front() else { return Ok(()) };
            let bounds = bounds(*low, *high);
            let found = keyspace.get_at(snapshot, key(*high)).map_err(text)?;
            if found.as_deref() != map.get(&key(*high)).map(|value| &value[..]) {
                return Err("another value in a snapshot".to_string());
            }
            let entries = keyspace.range_at(snapshot, bounds.clone());
            compare(entries, map.range(bounds), usize::from(*count), *turns)?;
        }
        Operation::TakeSnapshot if held.len() < SNAPSHOTS_MAX => {
            held.push_back((db.snapshot(), map.clone()));
        }
        Operation::TakeSnapshot => {}
        Operation::DropSnapshot => drop(held.pop_front()),
    }
    Ok(())
}

/// One end of a range of keys.
type KeyBound = Bound<Arc<[u8]>>;

/// From the lower key on, up to and without the higher.
fn bounds(a: u64, b: u64) -> (KeyBound, KeyBound) {
    let (a, b) = (key(a), key(b));
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    (Bound::Included(low), Bound::Excluded(high))
}

/// Walks both from both ends, as `turns` says, for `count` entries.
fn compare<'a>(
    mut entries: impl DoubleEndedIterator<Item = Result<(Value, Value), Error>>,
    mut expected: impl DoubleEndedIterator<Item = (&'a Arc<[u8]>, &'a Arc<[u8]>)>,
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

/// Runs the text of a replay file, without its first line.
///
/// # Errors
/// Says which line cannot be read.
pub fn replay(text: &str) -> Result<CheckReport, String> {
    let (mut seed, mut way, mut length) = (0, 0, 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let unreadable = || format!("cannot read the line {line:?}");
        let (name, number) = line.split_once(' ').ok_or_else(unreadable)?;
        let number: u64 = number.trim().parse().map_err(|_| unreadable())?;
        match name {
            "seed" => seed = number,
            "way" => way = number,
            "length" => length = number.min(1 << 20),
            _ => return Err(unreadable()),
        }
    }
    let mut report = CheckReport::new(NAME);
    let operations = draw(&mut Rng::new(seed), length as usize);
    report.add(OPERATIONS, length);
    if let Err(message) = run(seed, way, &operations, |world| world) {
        report.find(message);
    }
    Ok(report)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lying::{Lie, LyingFs};

    #[test]
    fn a_few_option_sets_give_the_same_answers() {
        let report = check(&Budget::test(1));
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.figure(OPTION_SETS), 10 * WAYS);
        assert_eq!(report.figure(OPERATIONS), 10 * WAYS * 300);
    }

    #[test]
    fn a_disk_that_changes_what_is_read_is_found() {
        let operations = draw(&mut Rng::new(3), 3000);
        let wrong = (0..WAYS).filter(|way| {
            run(3, *way, &operations, |world| LyingFs::under(world, Lie::Reads)).is_err()
        });
        assert!(wrong.count() > 0);
    }

    #[test]
    fn an_answer_that_differs_is_found() {
        let [k, v, other] = [b"k", b"v", b"w"].map(|text| Arc::<[u8]>::from(&text[..]));
        let map = Map::from([(k, v)]);
        let entry = |value: &Arc<[u8]>| {
            vec![Ok((Value::from_static(b"k"), Value::copy_from_slice(value)))].into_iter()
        };
        let right = map.values().next().unwrap();
        assert!(compare(entry(right), map.iter(), 9, 0).is_ok());
        assert!(compare(entry(&other), map.iter(), 9, 0).is_err());
        assert!(compare(entry(right), Map::new().iter(), 9, 0).is_err());
        assert!(compare(std::iter::empty(), map.iter(), 9, u64::MAX).is_err());
    }

    #[test]
    fn a_replay_runs_one_way_again() {
        let report = crate::replay::run("check metamorphic\nseed 5\nway 2\nlength 200\n").unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.figure(OPERATIONS), 200);
    }
}
