//! A real ext4 that runs full: writes are refused and nothing else, the database opens, and when there is space again
//! writes go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use esker::vfs::World;
use esker::{Db, Durability, Error, ErrorKind, Keyspace};

use super::mount::Image;
use super::script::choices;
use super::writers;
use crate::Rng;
use crate::report::{Budget, CheckReport};

/// The size of the file system.
const IMAGE_BYTES: u64 = 24 << 20;

/// What is freed later.
const BALLAST_BYTES: usize = 4 << 20;

/// Writes must go on this soon after there is space again.
const RESUME_WITHIN: Duration = Duration::from_secs(5);

/// Writes that are tried on the full disk after the first refusal.
const TRIES: u64 = 20;

/// Runs the check.
pub(super) fn check(budget: &Budget) -> CheckReport {
    let mut report = CheckReport::default();
    for round in 0..budget.count(2, 10, 20) {
        if budget.is_over() {
            break;
        }
        let image = match Image::create(IMAGE_BYTES) {
            Ok(image) => image,
            Err(reason) => {
                report.skipped = Some(reason);
                break;
            }
        };
        if let Err(message) = run_round(&image, budget.seed, round, &mut report) {
            report.find(format!("full disk, seed {}, round {round}: {message}", budget.seed));
        }
        report.add("disks filled", 1);
    }
    report
}

fn run_round(image: &Image, seed: u64, round: u64, report: &mut CheckReport) -> Result<(), String> {
    let mount = image.mount("data=ordered")?;
    let (path, ballast) = (mount.path().join("db"), mount.path().join("ballast"));
    fs::write(&ballast, vec![7; BALLAST_BYTES]).map_err(|error| error.to_string())?;
    let rng = choices(seed, &[30, round]);
    let mut disk = Disk { path, ballast, rng, model: BTreeMap::new(), unsure: None, report };
    let result =
        if round.is_multiple_of(2) { disk.freed_while_open() } else { disk.opened_while_full() };
    let result = result.and_then(|()| disk.check_all());
    match result {
        Ok(()) => mount.unmount(),
        Err(message) => Err(format!("{message}; {}", super::keep_copy(&mount.path().join("db")))),
    }
}

struct Disk<'a> {
    path: PathBuf,
    ballast: PathBuf,
    rng: Rng,
    /// What was acknowledged.
    model: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A write whose sync failed: it may be there after the next open.
    unsure: Option<(Vec<u8>, Vec<u8>)>,
    report: &'a mut CheckReport,
}

impl Disk<'_> {
    fn open(&mut self) -> Result<(Db, Keyspace), String> {
        let db = writers::options(self.rng.number()).open(&self.path);
        let db = db.map_err(|error| format!("cannot open: {error:?}"))?;
        let keyspace = db.keyspace("k").map_err(|error| format!("keyspace: {error:?}"))?;
        Ok((db, keyspace))
    }

    /// One write of up to 2 KiB that does not compress. Refused, it must have changed nothing.
    fn write(&mut self, keyspace: &Keyspace) -> Result<(), Error> {
        let key = format!("{:06}", self.rng.below(40_000)).into_bytes();
        let len = self.rng.below(256);
        let value: Vec<u8> = (0..len).flat_map(|_| self.rng.number().to_le_bytes()).collect();
        let durability = *self.rng.pick(&[Durability::Buffered, Durability::Sync]);
        match keyspace.put_with(&key, &value, durability) {
            Ok(()) => {
                self.model.insert(key, value);
                Ok(())
            }
            Err(error) => {
                if error.kind() == ErrorKind::Indeterminate && self.unsure.is_none() {
                    self.unsure = Some((key, value));
                }
                Err(error)
            }
        }
    }

    /// Writes until the disk is full, and then some. True if the database still takes writes in principle.
    fn fill(&mut self, keyspace: &Keyspace) -> Result<bool, String> {
        let mut refused = 0;
        while refused < TRIES {
            match self.write(keyspace) {
                Ok(()) if self.model.len() > 39_000 => return Err("it never filled".to_string()),
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NoSpace => {
                    self.report.add("writes refused with NoSpace", 1);
                    refused += 1;
                }
                Err(error) if is_read_only_for_space(&error) => {
                    self.report.add("databases that turned read-only for want of space", 1);
                    return Ok(false);
                }
                Err(error) => return Err(format!("on the full disk: {error:?}")),
            }
        }
        Ok(true)
    }

    fn free(&mut self) -> Result<(), String> {
        fs::remove_file(&self.ballast).map_err(|error| format!("the ballast: {error}"))
    }

    /// Space comes back under the open database.
    fn freed_while_open(&mut self) -> Result<(), String> {
        let (db, keyspace) = self.open()?;
        let is_writable = self.fill(&keyspace)?;
        self.compare(&keyspace)?;
        self.free()?;
        if is_writable {
            self.resume(&keyspace)?;
            self.compare(&keyspace)?;
        }
        db.close()
            .or_else(|error| if is_writable { Err(format!("close: {error:?}")) } else { Ok(()) })
    }

    /// The database is opened on the full disk.
    fn opened_while_full(&mut self) -> Result<(), String> {
        let (db, keyspace) = self.open()?;
        self.fill(&keyspace)?;
        // The seal may find no room; the data is as safe without it.
        let sealed = db.close();
        self.report.add("closed without a seal on a full disk", u64::from(sealed.is_err()));
        drop((db, keyspace));
        let (_db, keyspace) = self.open()?;
        self.report.add("opened on a full disk", 1);
        self.settle(&keyspace)?;
        self.compare(&keyspace)?;
        let is_writable = self.fill(&keyspace)?;
        self.compare(&keyspace)?;
        self.free()?;
        if is_writable {
            self.resume(&keyspace)?;
            self.compare(&keyspace)?;
        }
        Ok(())
    }

    /// Writes go on without a restart.
    fn resume(&mut self, keyspace: &Keyspace) -> Result<(), String> {
        let clock = World::real().clock;
        let began = clock.monotonic();
        loop {
            let result = self.write(keyspace);
            let waited = clock.monotonic().saturating_sub(began);
            match result {
                Ok(()) => {
                    let label = "ms until writes went on, in all";
                    self.report.add(label, waited.as_millis() as u64);
                    self.report.add("databases that went on without a restart", 1);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::NoSpace && waited < RESUME_WITHIN => {
                    clock.sleep(Duration::from_millis(10));
                }
                Err(error) => {
                    return Err(format!("{waited:?} after there was space again: {error:?}"));
                }
            }
        }
    }

    /// After an open: an indeterminate write is there or not, and stays so.
    fn settle(&mut self, keyspace: &Keyspace) -> Result<(), String> {
        if let Some((key, value)) = self.unsure.take() {
            let found = keyspace.get(&key).map_err(|error| format!("get: {error:?}"))?;
            if found.as_deref() == Some(&value[..]) {
                self.model.insert(key, value);
            }
        }
        Ok(())
    }

    fn compare(&mut self, keyspace: &Keyspace) -> Result<(), String> {
        let mut expected = self.model.iter();
        for entry in keyspace.iter() {
            let (key, value) =
                entry.map_err(|error| format!("a walk on a full disk: {error:?}"))?;
            if expected.next() != Some((&key.to_vec(), &value.to_vec())) {
                return Err(format!("{key:?} is not what was acknowledged"));
            }
            self.report.add("entries compared", 1);
        }
        if let Some((key, _)) = expected.next() {
            return Err(format!("{key:?} was acknowledged and is gone"));
        }
        for (key, value) in self.model.iter().step_by(17) {
            let found = keyspace.get(key).map_err(|error| format!("a get: {error:?}"))?;
            if found.as_deref() != Some(&value[..]) {
                return Err(format!("a get of {key:?} is not what was acknowledged"));
            }
        }
        Ok(())
    }

    /// In the end the database opens, takes writes, and every byte of it checks.
    fn check_all(&mut self) -> Result<(), String> {
        let (db, keyspace) = self.open()?;
        self.settle(&keyspace)?;
        self.compare(&keyspace)?;
        self.write(&keyspace).map_err(|error| format!("in the end: {error:?}"))?;
        self.compare(&keyspace)?;
        db.verify().map_err(|error| format!("verify: {error:?}"))?;
        db.close().map_err(|error| format!("the last close: {error:?}"))
    }
}

/// Read-only, or in doubt, is the answer to a failed sync or manifest, and its cause must be the space.
fn is_read_only_for_space(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Error>());
    matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Indeterminate)
        && cause.is_some_and(|cause| cause.kind() == ErrorKind::NoSpace)
}
