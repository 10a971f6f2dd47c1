//! The error sweep: one small life of a database, repeated with a failure at its first call of the file system, at its
//! second, and so on to the last. Whatever fails, nothing panics, a refused write stays invisible, and what was
//! acknowledged is there: on the disk that a power cut leaves, and after the fault is healed and the database reopened.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use esker_vfs::World;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, SimulatedFs, Simulation};

use super::support::small;
use crate::{BackgroundStep, Db, Durability, ErrorKind, Keyspace};

type Key = (usize, u32);
type Value = Option<u32>;

/// What must be read, and what may be read after a crash.
#[derive(Default)]
struct Model {
    now: BTreeMap<Key, Value>,
    /// For every key ever written.
    after: BTreeMap<Key, BTreeSet<Value>>,
}

impl Model {
    fn all_durable(&mut self) {
        for (key, allowed) in &mut self.after {
            *allowed = BTreeSet::from([self.now.get(key).copied().flatten()]);
        }
    }

    fn wrote(&mut self, ops: &[(Key, Value)], acknowledged: bool, durability: Durability) {
        for &(key, value) in ops {
            self.after.entry(key).or_insert_with(|| BTreeSet::from([None])).insert(value);
            if acknowledged {
                self.now.insert(key, value);
            }
        }
        if acknowledged && durability == Durability::Sync {
            self.all_durable();
        }
    }
}

fn content(value: u32) -> Vec<u8> {
    let mut bytes = vec![0; 700];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn read(keyspace: &Keyspace, key: u32) -> crate::Result<Value> {
    let value = keyspace.get(key.to_be_bytes())?;
    Ok(value.map(|bytes| u32::from_le_bytes(bytes[..4].try_into().unwrap())))
}

/// The workload. Errors are noted in the model and otherwise ignored.
fn live(db: &Db, model: &mut Model) {
    let (Ok(a), Ok(b)) = (db.keyspace("a"), db.keyspace("b")) else { return };
    let keyspaces = [a, b];
    for at in 0..24u32 {
        let durability = match at % 4 {
            0 => Durability::Volatile,
            1 => Durability::Buffered,
            _ => Durability::Sync,
        };
        let ops = [((0, at % 7), Some(at)), ((1, at % 5), (at % 3 > 0).then_some(at))];
        let mut batch = db.batch();
        for ((keyspace, key), value) in ops {
            match value {
                Some(value) => batch.put(&keyspaces[keyspace], key.to_be_bytes(), content(value)),
                None => batch.delete(&keyspaces[keyspace], key.to_be_bytes()),
            }
        }
        let result = db.write_with(batch, durability);
        model.wrote(&ops, result.is_ok(), durability);
        match at {
            5 | 11 | 17 if db.flush().is_ok() => model.all_durable(),
            13 | 20 => drop(db.compact()),
            15 if db.sync().is_ok() => model.all_durable(),
            18 => drop(db.checkpoint("/copy")),
            9 | 19 => {
                let ops: Vec<_> = (3..9).map(|key| ((0, key), Some(100 * at + key))).collect();
                let entries = (3..9u32).map(|key| (key.to_be_bytes(), content(100 * at + key)));
                let result = keyspaces[0].ingest(entries);
                model.wrote(&ops, result.is_ok(), Durability::Sync);
            }
            _ => {
                drop(db.run_background_step(
                    BackgroundStep::ALL[at as usize % BackgroundStep::ALL.len()],
                ))
            }
        }
    }
    for (&(keyspace, key), &value) in &model.now {
        match read(&keyspaces[keyspace], key) {
            Ok(found) => assert_eq!(found, value, "key {key} of keyspace {keyspace}"),
            // A disk that goes on failing cannot be read; it must only not answer wrongly.
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::NoSpace), "{error:?}");
            }
        }
    }
}

/// The state after a crash or a reopen, checked against the model.
fn check(db: &Db, model: &Model, what: &str) -> BTreeMap<Key, Value> {
    let keyspaces = ["a", "b"].map(|name| db.existing_keyspace(name).unwrap());
    let mut found = BTreeMap::new();
    for (&(keyspace, key), allowed) in &model.after {
        let value = keyspaces[keyspace].as_ref().and_then(|k| read(k, key).unwrap());
        assert!(allowed.contains(&value), "{what}: {value:?} of {allowed:?} for {keyspace}/{key}");
        found.insert((keyspace, key), value);
    }
    db.verify().unwrap();
    found
}

/// One life with `rule`; whether the rule struck.
fn run(rule: Rule) -> bool {
    let sim = Simulation::new(1);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    faults.inject(rule);
    let world = World { fs: faults.clone(), ..sim.world() };
    let mut model = Model::default();
    let opened = small(world).open("/db");
    if let Ok(db) = &opened {
        live(db, &mut model);
    }
    let struck = faults.strikes() > 0;
    let crashed = Simulation::with_fs(sim.fs.image(CrashPolicy::DropAll, 7), 7);
    check(&small(crashed.world()).open("/db").unwrap(), &model, "after a power cut");

    faults.clear();
    if let Ok(db) = &opened
        && db.metrics().read_only_cause.is_none()
    {
        // Once the cause is gone, everything works again.
        let keyspace = db.keyspace("a").unwrap();
        keyspace.put(99u32.to_be_bytes(), content(99)).unwrap();
        model.wrote(&[((0, 99), Some(99))], true, Durability::Sync);
        db.flush().unwrap();
        db.verify().unwrap();
    }
    drop(opened);
    let db = small(sim.world()).open("/db").unwrap();
    let shown = check(&db, &model, "after a reopen");
    drop(db);
    // What a recovery has shown stays, whatever the power does next.
    let crashed = Simulation::with_fs(sim.fs.image(CrashPolicy::DropAll, 8), 8);
    let again = check(&small(crashed.world()).open("/db").unwrap(), &model, "after both");
    assert!(again == shown, "a power cut took back what a recovery had shown");
    struck
}

/// Opens what a killed process left, with `rule`; whether the rule struck.
fn reopen(left: &SimulatedFs, model: &Model, rule: Rule) -> bool {
    let sim = Simulation::with_fs(left.image(CrashPolicy::KeepAll, 5), 5);
    let faults = Arc::new(FaultFs::new(sim.world().fs));
    faults.inject(rule);
    let world = World { fs: faults.clone(), ..sim.world() };
    if let Ok(db) = small(world).open("/db") {
        for keyspace in ["a", "b"] {
            for key in 0..10u32 {
                if let Ok(Some(keyspace)) = db.existing_keyspace(keyspace) {
                    let _ = read(&keyspace, key);
                }
            }
        }
        let _ = db.flush();
        let _ = db.close();
    }
    let struck = faults.strikes() > 0;
    let crashed = Simulation::with_fs(sim.fs.image(CrashPolicy::DropAll, 7), 7);
    check(&small(crashed.world()).open("/db").unwrap(), model, "after a power cut");
    check(&small(sim.world()).open("/db").unwrap(), model, "after a reopen");
    struck
}

/// Makes `fault` strike the first call of `run`, then the second, until it strikes no more.
fn sweep_with(fault: &Fault, sticky: bool, calls_min: u64, run: impl Fn(Rule) -> bool) {
    for at in 0.. {
        let rule = Rule::new(fault.clone()).after(at);
        let rule = if sticky { rule.sticky() } else { rule };
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(rule)));
        match outcome {
            Ok(true) => {}
            Ok(false) => {
                assert!(at > calls_min, "only {at} calls");
                return;
            }
            Err(panic) => {
                eprintln!("{fault:?} at call {at}, sticky: {sticky}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn sweep(fault: &Fault, sticky: bool) {
    sweep_with(fault, sticky, 100, run);
}

#[test]
fn an_io_error_at_any_call_breaks_no_promise() {
    sweep(&Fault::Fail(Failure::Io), false);
}

#[test]
fn a_disk_that_dies_at_any_call_breaks_no_promise() {
    sweep(&Fault::Fail(Failure::Io), true);
}

#[test]
fn a_full_disk_at_any_call_breaks_no_promise() {
    sweep(&Fault::Fail(Failure::NoSpace), false);
}

#[test]
fn a_disk_that_stays_full_from_any_call_breaks_no_promise() {
    sweep(&Fault::Fail(Failure::NoSpace), true);
}

#[test]
fn a_call_that_succeeds_but_reports_a_failure_breaks_no_promise() {
    sweep(&Fault::FailAfter(Failure::Io), false);
}

#[test]
fn a_call_that_fails_halfway_breaks_no_promise() {
    sweep(&Fault::FailHalfway(Failure::NoSpace), false);
}

#[test]
fn too_many_open_files_at_any_call_break_no_promise() {
    sweep(&Fault::Fail(Failure::TooManyFiles), false);
}

#[test]
fn a_failure_at_any_call_of_an_open_breaks_no_promise() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open("/db").unwrap();
    let mut model = Model::default();
    live(&db, &mut model);
    // The process is killed: what it wrote is in the page cache, some of it on the disk.
    let left = sim.fs.image(CrashPolicy::KeepAll, 3);
    for failure in [Failure::Io, Failure::NoSpace] {
        for (fault, sticky) in [
            (Fault::Fail(failure), false),
            (Fault::Fail(failure), true),
            (Fault::FailHalfway(failure), false),
            (Fault::FailAfter(failure), false),
        ] {
            sweep_with(&fault, sticky, 20, |rule| reopen(&left, &model, rule));
        }
    }
}
