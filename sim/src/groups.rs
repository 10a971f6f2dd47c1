//! Short scenes, each about one promise that needs a certain constellation, which long random lives meet too seldom:
//! several commits in one group, a sync that fails, a memtable that fills while others wait, files that go while they
//! are read. Called as the check `groups`. Every scene is tried with many seeds.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use esker::vfs::World;
use esker::vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker::vfs::simulated::{CrashPolicy, Simulation, SyncFailure};
use esker::{
    BackgroundStep, CompactionStrategy, Db, Durability, Error, ErrorKind, Keyspace, KeyspaceOptions,
};

use crate::report::{Budget, CheckReport};
use crate::{Rng, parallel, small};

/// The check's name.
pub const NAME: &str = "groups";

/// The entries of one keyspace.
type Map = BTreeMap<Vec<u8>, Vec<u8>>;
/// What a scene says is broken.
type Verdict = Result<(), String>;

/// Plays one scene with a seed.
type Scene = fn(u64) -> Verdict;

/// The scenes, by name.
const SCENES: &[(&str, Scene)] = &[
    ("one group", one_group),
    ("a failed sync", failed_sync),
    ("a failed call in an open", failed_open),
    ("a manifest in doubt", manifest_in_doubt),
    ("a batch over two keyspaces", two_keyspaces),
    ("a full memtable", full_memtable),
    ("merges of some files", partial_merge),
    ("two versions", two_versions),
    ("files go while they are read", held_reader),
    ("a killed process", killed_process),
    ("turns", turns),
    ("a batch is seen whole", seen_whole),
];

const STRENGTHS: [Durability; 3] = [Durability::Volatile, Durability::Buffered, Durability::Sync];

/// Plays the scenes, as often as the budget allows.
pub fn check(budget: &Budget) -> CheckReport {
    let seed = budget.seed.wrapping_mul(1 << 20);
    let work = move |unit: u64, report: &mut CheckReport| {
        let (name, scene) = SCENES[unit as usize % SCENES.len()];
        let seed = seed + unit;
        if let Err(broken) = scene(seed) {
            report.find(format!("{name}, seed {seed}: {broken}"));
        }
        report.add(&format!("scenes: {name}"), 1);
    };
    let rounds = budget.count(30, 1000, 5000);
    parallel::run(NAME, budget, rounds * SCENES.len() as u64, Arc::new(work))
}

fn text(error: Error) -> String {
    format!("an error without a cause: {error:?}")
}

fn open(sim: &Simulation) -> Result<Db, String> {
    small(sim.world()).open("/db").map_err(text)
}

fn contents(keyspace: &Keyspace) -> Result<Map, String> {
    let entries = keyspace.iter().map(|entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())));
    entries.collect::<esker::Result<_>>().map_err(text)
}

fn expect(is_so: bool, what: &str) -> Verdict {
    if is_so { Ok(()) } else { Err(what.to_string()) }
}

fn key(rng: &mut Rng) -> Vec<u8> {
    vec![b'a' + rng.below(10) as u8]
}

/// Several submitted batches and a transaction, all in one group: the transaction conflicts exactly if they changed what
/// it read, and the group is as durable as its strongest commit.
fn one_group(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let keyspace = db.keyspace("k").map_err(text)?;
    for _ in 0..4 {
        keyspace.put(key(&mut rng), b"before").map_err(text)?;
    }
    let mut states = vec![contents(&keyspace)?];
    let mut tx = db.transaction().map_err(text)?;
    let (low, high) = (key(&mut rng), key(&mut rng));
    let scans = rng.chance(50);
    if scans {
        let bounds = (Bound::Included(low.clone()), Bound::Excluded(high.clone()));
        tx.range(&keyspace, bounds).try_for_each(|entry| entry.map(drop)).map_err(text)?;
    } else {
        tx.get(&keyspace, &low).map_err(text)?;
    }
    let is_read = |key: &Vec<u8>| if scans { low <= *key && *key < high } else { *key == low };
    let (mut waiting, mut conflicts, mut durable) = (Vec::new(), false, 0);
    for at in 0..1 + rng.below(4) {
        let mut batch = db.batch();
        let mut next = states[states.len() - 1].clone();
        for _ in 0..1 + rng.below(2) {
            let key = key(&mut rng);
            conflicts |= is_read(&key);
            batch.put(&keyspace, &key, [at as u8]);
            next.insert(key, vec![at as u8]);
        }
        let durability = *rng.pick(&STRENGTHS);
        waiting.push(db.submit_with(batch, durability).map_err(text)?);
        if durability == Durability::Sync {
            durable = states.len();
        }
        states.push(next);
    }
    tx.put(&keyspace, b"own", b"tx").map_err(text)?;
    let durability = *rng.pick(&STRENGTHS);
    match tx.commit_with(durability) {
        Ok(()) => {
            expect(!conflicts, "a transaction passed over a change in its own group")?;
            let mut next = states[states.len() - 1].clone();
            next.insert(b"own".to_vec(), b"tx".to_vec());
            if durability == Durability::Sync {
                durable = states.len();
            }
            states.push(next);
        }
        Err(error) if error.kind() == ErrorKind::Conflict => {
            expect(conflicts, "a transaction met a conflict where there is none")?;
        }
        Err(error) => return Err(text(error)),
    }
    for pending in waiting {
        pending.wait().map_err(text)?;
    }
    expect(Some(&contents(&keyspace)?) == states.last(), "the group is not what was written")?;
    let sim = sim.crash(*rng.pick(&[CrashPolicy::DropAll, CrashPolicy::Posix]), seed);
    let found = contents(&open(&sim)?.keyspace("k").map_err(text)?)?;
    let at = states.iter().rposition(|state| *state == found);
    expect(at.is_some_and(|at| at >= durable), "an acknowledged commit of a group is lost")
}

const FAILURES: [SyncFailure; 3] =
    [SyncFailure::LostStillCached, SyncFailure::LostReverted, SyncFailure::PersistedAnyway];

/// A sync of the log fails: the commit is refused and invisible, and so is every later one; what was acknowledged stays.
fn failed_sync(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let keyspace = db.keyspace("k").map_err(text)?;
    for at in 0..1 + rng.below(4) {
        keyspace.put([at as u8], b"acknowledged").map_err(text)?;
    }
    let mut before = contents(&keyspace)?;
    sim.fs.fail_syncs(".wal.tmp", *rng.pick(&FAILURES), Some(1));
    match keyspace.put(b"failed", b"perhaps") {
        Ok(()) => drop(before.insert(b"failed".to_vec(), b"perhaps".to_vec())),
        Err(_) => {
            expect(contents(&keyspace)? == before, "a refused commit is visible")?;
            expect(keyspace.put(b"later", b"x").is_err(), "a write after a failed sync is taken")?;
        }
    }
    drop((keyspace, db));
    sim.fs.heal_syncs();
    // The process alone restarts, or the machine does; and then the machine once more.
    let sim = if rng.chance(50) { sim } else { sim.crash(CrashPolicy::DropAll, seed) };
    let shown = contents(&open(&sim)?.keyspace("k").map_err(text)?)?;
    expect(before.iter().all(|(k, v)| shown.get(k) == Some(v)), "an acknowledged write is lost")?;
    let sim = sim.crash(CrashPolicy::DropAll, seed);
    let again = contents(&open(&sim)?.keyspace("k").map_err(text)?)?;
    expect(shown == again, "what one recovery has shown, the next does not")
}

/// A call of an open fails: whatever it answers, nothing is taken for absent that cannot be read.
fn failed_open(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let keyspace = db.keyspace("k").map_err(text)?;
    for at in 0..2 + rng.below(4) {
        keyspace.put([at as u8], b"acknowledged").map_err(text)?;
    }
    let before = contents(&keyspace)?;
    sim.fs.cut_power();
    drop((keyspace, db));
    let sim = sim.crash(CrashPolicy::KeepAll, seed);
    for at in 0..30 {
        let faults = FaultFs::new(Arc::new(sim.fs.fork()));
        faults.inject(Rule::new(Fault::Fail(Failure::Io)).after(at));
        let opened = small(World { fs: Arc::new(faults), ..sim.world() }).open("/db");
        if let Ok(db) = opened {
            let found = contents(&db.keyspace("k").map_err(text)?)?;
            expect(found == before, "an open takes what it cannot read for absent")?;
        }
    }
    Ok(())
}

/// A sync of the manifest fails, perhaps only so it says: whatever it named stays on the disk.
fn manifest_in_doubt(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let keyspace = db.keyspace("k").map_err(text)?;
    for at in 0..6 {
        keyspace.put([at % 3], vec![at; 2000]).map_err(text)?;
        if rng.chance(50) {
            db.flush().map_err(text)?;
        }
    }
    let before = contents(&keyspace)?;
    sim.fs.fail_syncs(".manifest.tmp", *rng.pick(&FAILURES), Some(1));
    let _ = if rng.chance(50) { db.flush() } else { db.compact() };
    for _ in 0..3 {
        // Nothing to do is as fine as nothing that can be done.
        let _ = db.run_background_step(BackgroundStep::CleanUp);
    }
    drop((keyspace, db));
    sim.fs.heal_syncs();
    let sim = if rng.chance(50) { sim } else { sim.crash(CrashPolicy::DropAll, seed) };
    let db = open(&sim)?;
    db.verify().map_err(text)?;
    let after = contents(&db.keyspace("k").map_err(text)?)?;
    expect(after == before, "the failed sync of a manifest has changed the entries")
}

/// A weak batch over two keyspaces, and a power cut while they are flushed: both parts are there, or none.
fn two_keyspaces(seed: u64) -> Verdict {
    let mut rng = Rng::new(seed);
    (0..8).try_for_each(|_| split_batch(rng.number()))
}

fn split_batch(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let both = [db.keyspace("a").map_err(text)?, db.keyspace("b").map_err(text)?];
    let mut batch = db.batch();
    both.iter().for_each(|keyspace| batch.put(keyspace, b"k", b"v"));
    db.write_with(batch, *rng.pick(&STRENGTHS)).map_err(text)?;
    sim.fs.cut_power_at(sim.fs.ops() + rng.below(40));
    let _ = db.flush();
    drop((both, db));
    let sim = sim.crash(CrashPolicy::DropAll, seed);
    let db = open(&sim)?;
    let found = ["a", "b"].map(|name| db.keyspace(name).and_then(|k| k.contains(b"k")));
    match found {
        [Ok(a), Ok(b)] => expect(a == b, "a power cut has split a batch"),
        _ => Err("a keyspace cannot be read".to_string()),
    }
}

/// Memtables fill and wait while more is written; then some are flushed, and the power fails.
fn full_memtable(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let keyspace = db.keyspace("k").map_err(text)?;
    let mut map = Map::new();
    for at in 0..60 + rng.below(60) {
        let (key, value) = (key(&mut rng), vec![at as u8; 4000]);
        let durability = if at % 8 == 0 { Durability::Sync } else { Durability::Volatile };
        keyspace.put_with(&key, &value, durability).map_err(text)?;
        map.insert(key, value);
        if at % 8 == 0 {
            for (key, value) in &map {
                let found = keyspace.get(key).map_err(text)?;
                expect(found.as_deref() == Some(value), "a key has an older value")?;
            }
        }
        if at > 40 && rng.chance(5) {
            db.run_background_step(BackgroundStep::Flush).map_err(text)?;
        }
    }
    keyspace.put(b"last", b"").map_err(text)?;
    map.insert(b"last".to_vec(), Vec::new());
    db.run_background_step(BackgroundStep::Flush).map_err(text)?;
    drop((keyspace, db));
    let sim = sim.crash(CrashPolicy::DropAll, seed);
    let found = contents(&open(&sim)?.keyspace("k").map_err(text)?)?;
    expect(found == map, "an acknowledged write is lost behind a flush")
}

/// A large old file and small young ones full of deletes, which are merged without it.
fn partial_merge(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let strategy = *rng.pick(&[CompactionStrategy::Tiered, CompactionStrategy::Leveled]);
    let options = KeyspaceOptions {
        strategy,
        compress: false,
        large_value_bytes: *rng.pick(&[None, Some(16)]),
    };
    let keyspace = db.create_keyspace("k", options).map_err(text)?;
    let mut map = Map::new();
    for at in 0..40u8 {
        keyspace.put_with([at], vec![at; 2000], Durability::Volatile).map_err(text)?;
        map.insert(vec![at], vec![at; 2000]);
    }
    db.flush().map_err(text)?;
    if rng.chance(50) {
        db.compact().map_err(text)?;
    }
    for _ in 0..12 {
        for _ in 0..3 {
            let at = rng.below(40) as u8;
            keyspace.delete([at]).map_err(text)?;
            map.remove(&[at][..]);
        }
        db.flush().map_err(text)?;
        while rng.chance(70) && db.run_background_step(BackgroundStep::Compact).map_err(text)? {}
        expect(contents(&keyspace)? == map, "a deleted key is back, or another is gone")?;
    }
    Ok(())
}

/// Two versions of a key with a snapshot right between them, merged.
fn two_versions(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let keyspace = db.keyspace("k").map_err(text)?;
    let mut held = Vec::new();
    for version in 0..4u8 {
        keyspace.put(b"k", [version]).map_err(text)?;
        let (snapshot, twin) = (db.snapshot(), db.snapshot());
        drop(twin);
        if rng.chance(70) {
            held.push((version, snapshot));
        }
        if rng.chance(30) {
            db.flush().map_err(text)?;
        }
    }
    db.compact().map_err(text)?;
    for (version, snapshot) in &held {
        let found = keyspace.get_at(snapshot, b"k").map_err(text)?;
        expect(found.as_deref() == Some(&[*version][..]), "a snapshot has lost what it saw")?;
    }
    Ok(())
}

/// Files leave the database while a range over them is open and has not touched them yet: sstables that are dropped for
/// their size, or value files whose values were all overwritten.
fn held_reader(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let is_fifo = rng.chance(50);
    let options = KeyspaceOptions {
        strategy: match is_fifo {
            true => CompactionStrategy::Fifo { size_bytes_max: 10_000 },
            false => CompactionStrategy::Leveled,
        },
        compress: false,
        large_value_bytes: Some(16),
    };
    let db = open(&sim)?;
    let keyspace = db.create_keyspace("k", options).map_err(text)?;
    let count = 2 + rng.below(4) as u8;
    for at in 0..count {
        keyspace.put([at], vec![at; 2000]).map_err(text)?;
        db.flush().map_err(text)?;
    }
    db.close().map_err(text)?;
    drop((keyspace, db));
    // No file is open yet.
    let db = open(&sim)?;
    let keyspace = db.keyspace("k").map_err(text)?;
    let range = keyspace.iter();
    for round in 0..8u8 {
        let at = if is_fifo { 100 + round } else { round % count };
        keyspace.put([at], vec![100 + round; 2000]).map_err(text)?;
        db.flush().map_err(text)?;
        db.run_background_step(BackgroundStep::Compact).map_err(text)?;
        db.run_background_step(BackgroundStep::CleanUp).map_err(text)?;
    }
    db.compact().map_err(text)?;
    db.run_background_step(BackgroundStep::CleanUp).map_err(text)?;
    let mut expected = 0..count;
    for entry in range {
        let (key, value) = entry.map_err(text)?;
        let at = expected.next().ok_or("a range has entries that came later")?;
        let is_same = key[..] == [at] && value[..] == *vec![at; 2000];
        expect(is_same, "a range has another entry than when it began")?;
    }
    expect(expected.is_empty(), "a range has lost entries of files that left meanwhile")
}

/// The process ends at once: the system keeps what it was given, which is all through the last write that was not Volatile.
fn killed_process(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let keyspace = db.keyspace("k").map_err(text)?;
    let (mut written, mut given) = (Map::new(), Map::new());
    for at in 0..1 + rng.below(20) as u8 {
        let durability = *rng.pick(&STRENGTHS);
        let value = vec![at; rng.below(40) as usize];
        keyspace.put_with([at], &value, durability).map_err(text)?;
        written.insert(vec![at], value);
        if durability > Durability::Volatile {
            given = written.clone();
        }
    }
    let sim = sim.crash(CrashPolicy::KeepAll, seed);
    let found = contents(&open(&sim)?.keyspace("k").map_err(text)?)?;
    let is_prefix = written.iter().take(found.len()).eq(found.iter());
    expect(is_prefix, "a killed process leaves something else than the first writes")?;
    expect(found.len() >= given.len(), "a write that the system was given died with the process")
}

/// A range that is walked to and fro must yield each entry once.
fn turns(seed: u64) -> Verdict {
    let (sim, mut rng) = (Simulation::new(seed), Rng::new(seed));
    let db = open(&sim)?;
    let keyspace = db.keyspace("k").map_err(text)?;
    for at in 0..30 {
        let key = key(&mut rng);
        if rng.chance(30) { keyspace.delete(&key) } else { keyspace.put(&key, [at]) }
            .map_err(text)?;
        if rng.chance(20) {
            db.flush().map_err(text)?;
        }
    }
    let map = contents(&keyspace)?;
    let mut range = keyspace.iter();
    let mut met = Map::new();
    while let Some(entry) = if rng.chance(50) { range.next() } else { range.next_back() } {
        let (key, value) = entry.map_err(text)?;
        let known = met.insert(key.to_vec(), value.to_vec());
        expect(known.is_none(), "the ends of a range have passed each other")?;
    }
    expect(met == map, "a range from both ends misses an entry")?;
    let mut range = keyspace.iter();
    for _ in 0..20 {
        // A jump of one end, and a few steps from there.
        let target = key(&mut rng);
        let (mut expected, backward): (Vec<&Vec<u8>>, bool) = if rng.chance(50) {
            range.seek(&target);
            (map.range(target..).map(|(key, _)| key).collect(), false)
        } else {
            range.seek_back(&target);
            (map.range(..=target).rev().map(|(key, _)| key).collect(), true)
        };
        expected.truncate(3);
        for want in expected {
            let step = if backward { range.next_back() } else { range.next() };
            let found = step.transpose().map_err(text)?.map(|(key, _)| key);
            // The ends may meet; what was yielded by the other is not yielded again.
            if found.is_none() {
                break;
            }
            expect(found.as_deref() == Some(want), "a range yields another key after a turn")?;
        }
    }
    Ok(())
}

/// Readers see all of a batch or nothing of it, at any moment.
fn seen_whole(seed: u64) -> Verdict {
    const KEYS: u32 = 600;
    let db = open(&Simulation::new(seed))?;
    let keyspace = db.keyspace("k").map_err(text)?;
    let ended = AtomicBool::new(false);
    let (first, last) = (0u32.to_be_bytes(), (KEYS - 1).to_be_bytes());
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                let seen = keyspace.get_many(&[last, first]).map_err(text)?;
                expect(seen[0] == seen[1], "a reader has seen a part of a batch")?;
            }
            Ok(())
        });
        let write = |round: u8| {
            let mut batch = db.batch();
            (0..KEYS).for_each(|at| batch.put(&keyspace, at.to_be_bytes(), [round]));
            db.write_with(batch, Durability::Buffered)
        };
        let written = (0..40).try_for_each(write).map_err(text);
        ended.store(true, Ordering::Release);
        reader.join().unwrap_or_else(|_| Err("a reader panicked".to_string())).and(written)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_keeps_its_promise() {
        let report = check(&Budget::test(1));
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert_eq!(report.figures.len(), SCENES.len(), "{report:?}");
    }
}
