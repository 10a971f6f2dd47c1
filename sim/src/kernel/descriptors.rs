//! File descriptors run out: the victim takes them all from itself while its database works, and gives them back.
//!
//! Refused writes must change nothing, reads be right or refused, and all go on once there are descriptors again. The
//! limit is the process's own, so this needs a process of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use esker::vfs::World;
use esker::{Db, Durability, ErrorKind, Keyspace};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::kill::{Moment, kill_at};
use super::script::choices;
use super::victim::{Line, Orders, Task, say};
use super::writers::{self, Report};
use crate::Rng;
use crate::report::{Budget, CheckReport};

/// Writes must go on this soon after there are descriptors again.
const RESUME_WITHIN: Duration = Duration::from_secs(5);

/// Runs the check with `program` as the victim.
pub(super) fn check(budget: &Budget, program: &Path) -> CheckReport {
    let mut report = CheckReport::default();
    for round in 0..budget.count(2, 20, 40) {
        if budget.is_over() {
            break;
        }
        if let Err(message) = run_round(budget.seed, round, program, &mut report) {
            report.find(format!("descriptors, seed {}, round {round}: {message}", budget.seed));
        }
    }
    report
}

fn run_round(
    seed: u64,
    round: u64,
    program: &Path,
    report: &mut CheckReport,
) -> Result<(), String> {
    let directory = super::directory_in(&super::memory_directory())?;
    let mut rng = choices(seed, &[50, round]);
    let orders = Orders {
        task: Task::Descriptors,
        directory: directory.path().join("db"),
        seed: rng.number(),
        options: rng.number() >> 1,
        starts: Vec::new(),
    };
    let mut is_done = false;
    kill_at(program, &orders, Moment::Never, &mut |line| {
        match line {
            Line::Figure(label, count) => report.add(label, *count),
            Line::Report(Report::Refused { kind, message, .. }) => {
                return Err(format!("{kind}: {message}"));
            }
            Line::Report(said) => return Err(format!("{said:?}")),
            Line::Opened => {}
            Line::Done => is_done = true,
        }
        Ok(())
    })?;
    if !is_done {
        return Err("the victim ended early".to_string());
    }
    report.add("processes that ran out of descriptors", 1);
    Ok(())
}

/// The victim's side.
pub(super) fn run_victim(orders: &Orders) -> esker::Result<()> {
    let mut task = Exhaustion {
        rng: choices(orders.seed, &[51]),
        model: BTreeMap::new(),
        refused: 0,
        path: &orders.directory,
        options: orders.options,
    };
    match task.run()? {
        Ok(()) => {
            say(&Line::Figure("writes refused without descriptors".to_string(), task.refused))
        }
        Err(message) => say(&Line::Report(Report::Wrong(message))),
    };
    say(&Line::Done);
    Ok(())
}

struct Exhaustion<'a> {
    rng: Rng,
    model: BTreeMap<Vec<u8>, Vec<u8>>,
    refused: u64,
    path: &'a Path,
    options: u64,
}

impl Exhaustion<'_> {
    /// The outer error ends the task before it began in earnest; the inner one is a finding.
    fn run(&mut self) -> esker::Result<Result<(), String>> {
        let db = writers::options(self.options).open(self.path)?;
        say(&Line::Opened);
        let keyspace = db.keyspace("k")?;
        for _ in 0..600 {
            self.write(&keyspace)?;
        }
        Ok(self.exhaust(&db, &keyspace).and_then(|()| {
            drop((keyspace, db));
            self.open_without()
        }))
    }

    fn write(&mut self, keyspace: &Keyspace) -> esker::Result<()> {
        let key = format!("{:04}", self.rng.below(3000)).into_bytes();
        let len = self.rng.below(150);
        let value: Vec<u8> = (0..len).flat_map(|_| self.rng.number().to_le_bytes()).collect();
        let durabilities = [Durability::Volatile, Durability::Buffered, Durability::Sync];
        let durability = *self.rng.pick(&durabilities);
        if self.rng.below(8) == 0 {
            keyspace.delete(&key)?;
            self.model.remove(&key);
        } else {
            keyspace.put_with(&key, &value, durability)?;
            self.model.insert(key, value);
        }
        Ok(())
    }

    fn exhaust(&mut self, db: &Db, keyspace: &Keyspace) -> Result<(), String> {
        let taken = Taken::all()?;
        for at in 0..3000 {
            match self.write(keyspace) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Io => self.refused += 1,
                Err(error) => return Err(format!("without descriptors: {error:?}")),
            }
            if at % 300 == 0 {
                // They may succeed where the files are open already.
                for result in [db.flush(), keyspace.compact(), db.sync()] {
                    if let Err(error) = result {
                        if error.kind() != ErrorKind::Io {
                            return Err(format!("without descriptors: {error:?}"));
                        }
                        self.refused += 1;
                    }
                }
                self.compare(keyspace, true)?;
            }
            if self.refused > 500 {
                break;
            }
        }
        drop(taken);
        let clock = World::real().clock;
        let began = clock.monotonic();
        loop {
            let waited = clock.monotonic().saturating_sub(began);
            match self.write(keyspace).and_then(|()| db.flush()) {
                Ok(()) => break,
                Err(error) if waited > RESUME_WITHIN => {
                    return Err(format!(
                        "{waited:?} after there were descriptors again: {error:?}"
                    ));
                }
                Err(_) => clock.sleep(Duration::from_millis(10)),
            }
        }
        self.compare(keyspace, false)?;
        db.verify().map_err(|error| format!("verify: {error:?}"))?;
        db.close().map_err(|error| format!("close: {error:?}"))
    }

    /// Opening without descriptors fails, and changes nothing.
    fn open_without(&mut self) -> Result<(), String> {
        let taken = Taken::all()?;
        match writers::options(self.options).open(self.path) {
            Err(error) if error.kind() == ErrorKind::Io => {}
            other => return Err(format!("open without descriptors: {other:?}")),
        }
        drop(taken);
        let db = writers::options(self.options).open(self.path);
        let db = db.map_err(|error| format!("open: {error:?}"))?;
        let keyspace = db.keyspace("k").map_err(|error| format!("keyspace: {error:?}"))?;
        self.compare(&keyspace, false)
    }

    /// Reads are right; or refused, where `may_fail` says so.
    fn compare(&self, keyspace: &Keyspace, may_fail: bool) -> Result<(), String> {
        let tolerable = |error: &esker::Error| may_fail && error.kind() == ErrorKind::Io;
        let mut expected = self.model.iter();
        for entry in keyspace.iter() {
            match entry {
                Ok((key, value)) => {
                    if expected.next() != Some((&key.to_vec(), &value.to_vec())) {
                        return Err(format!("a walk shows a wrong value at {key:?}"));
                    }
                }
                Err(error) if tolerable(&error) => return Ok(()),
                Err(error) => return Err(format!("a walk: {error:?}")),
            }
        }
        if let Some((key, _)) = expected.next() {
            return Err(format!("a walk misses {key:?}"));
        }
        for (key, value) in self.model.iter().step_by(7) {
            match keyspace.get(key) {
                Ok(found) if found.as_deref() == Some(&value[..]) => {}
                Err(error) if tolerable(&error) => {}
                other => return Err(format!("a get of {key:?} says {other:?}")),
            }
        }
        Ok(())
    }
}

/// Every descriptor that the process could still have, under a lowered limit; given back when it goes.
struct Taken {
    _files: Vec<File>,
    before: Rlimit,
}

impl Taken {
    fn all() -> Result<Taken, String> {
        let before = getrlimit(Resource::Nofile);
        // Enough for what is open, few enough to be taken quickly.
        let lowered = Rlimit { current: Some(256), ..before };
        setrlimit(Resource::Nofile, lowered).map_err(|error| format!("setrlimit: {error}"))?;
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        Ok(Taken { _files: files, before })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Raising the soft limit to what it was is always allowed.
        let _ = setrlimit(Resource::Nofile, self.before);
    }
}
