//! One trial: open a damaged directory, ask it everything, and say what came of it.
//!
//! The matrix calls [`run`] for every damage. A trial never panics: what the engine does wrong is an [`Outcome`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use esker::vfs::simulated::{SimulatedFs, Simulation};
use esker::{Db, Error, ErrorKind, Keyspace};

use super::corpus::{Content, Corpus, DIR, builder};
use crate::allocation;
use crate::checks::panic_text;

/// More calls than any open, with all questions, makes by far: beyond it, the disk fails, and so ends a loop.
const CALLS_MAX: u64 = 20_000;

/// What came of a damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The open was refused, and the directory left as it was.
    Refused,
    /// The open succeeded, but reading the damaged part is an error, and verification finds it.
    Reported,
    /// Every answer was right and nothing is wrong any more.
    Harmless,
    /// The database came up without its last group of commits, as after a torn write.
    Torn,
    /// A broken promise.
    Broken(String),
}

/// How a directory answers.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    /// Some answers were errors, of the right kind.
    errors: bool,
    /// Some of the keys of the last group were absent.
    torn: bool,
}

/// What a trial found, and the memory that it took, in bytes.
pub(super) fn run(corpus: &Corpus, disk: SimulatedFs) -> (Outcome, u64) {
    allocation::peak_of(|| {
        catch_unwind(AssertUnwindSafe(|| attempt(corpus, disk)))
            .unwrap_or_else(|panic| Outcome::Broken(format!("panic: {}", panic_text(&*panic))))
    })
}

fn attempt(corpus: &Corpus, disk: SimulatedFs) -> Outcome {
    let before = disk.fork();
    disk.cut_power_at(disk.ops() + CALLS_MAX);
    let sim = Simulation::with_fs(disk, 1);
    match builder(&sim).open(DIR) {
        Err(error) => match check_error(&error) {
            Err(broken) => Outcome::Broken(format!("refused with {broken}")),
            Ok(()) if before.image_hash() != sim.fs.image_hash() => {
                Outcome::Broken(format!("refused, but the directory was changed: {error:?}"))
            }
            Ok(()) => Outcome::Refused,
        },
        Ok(db) => {
            let outcome = question(corpus, &db);
            let ran_away = sim.fs.power_is_off();
            // A close would only cost time: the disk is thrown away.
            sim.fs.cut_power();
            if ran_away { Outcome::Broken("too many calls".to_owned()) } else { outcome }
        }
    }
}

/// Whether an error says what damage must say.
fn check_error(error: &Error) -> Result<(), String> {
    let complete = match error.kind() {
        ErrorKind::Corruption => error.path().is_some() && error.offset().is_some(),
        ErrorKind::Unsupported => error.path().is_some(),
        _ => false,
    };
    if complete { Ok(()) } else { Err(format!("{error:?}")) }
}

fn question(corpus: &Corpus, db: &Db) -> Outcome {
    let full = ask(&corpus.content, db);
    let answers = match (full, &corpus.without_last_group) {
        (Ok(answers), _) => Ok(answers),
        (Err(_), Some(torn)) => ask(torn, db).map(|answers| Answers { torn: true, ..answers }),
        (Err(broken), None) => Err(broken),
    };
    let verified = match db.verify() {
        Ok(_) => Ok(true),
        Err(error) => check_error(&error).map(|()| false),
    };
    match (answers, verified) {
        (Err(broken), _) => Outcome::Broken(broken),
        (_, Err(broken)) => Outcome::Broken(format!("verify says {broken}")),
        (Ok(Answers { errors: true, .. }), Ok(true)) => {
            Outcome::Broken("a read failed, but verify finds nothing".to_owned())
        }
        (Ok(_), Ok(false)) => Outcome::Reported,
        (Ok(Answers { torn: true, .. }), Ok(true)) => Outcome::Torn,
        (Ok(_), Ok(true)) => Outcome::Harmless,
    }
}

/// Asks for everything in every way; whether some answers were errors. A wrong answer is an error here.
fn ask(content: &Content, db: &Db) -> Result<Answers, String> {
    let names = db.keyspaces().map_err(|error| format!("{error:?}"))?;
    if !names.iter().eq(content.keys()) {
        return Err(format!("the keyspaces are {names:?}"));
    }
    let mut answers = Answers::default();
    for (name, entries) in content {
        let keyspace = match db.existing_keyspace(name) {
            Ok(Some(keyspace)) => keyspace,
            other => return Err(format!("keyspace {name}: {other:?}")),
        };
        let mut absent = Vec::new();
        for (key, value) in entries {
            answers.errors |= get(&keyspace, key, Some(value))?;
            absent.clone_from(key);
            absent.push(0);
            answers.errors |= get(&keyspace, &absent, None)?;
        }
        let forward = keyspace.iter().map(|entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())));
        answers.errors |= walk(forward, entries.iter())?;
        let backward = keyspace.iter().rev();
        let backward = backward.map(|entry| entry.map(|(k, v)| (k.to_vec(), v.to_vec())));
        answers.errors |= walk(backward, entries.iter().rev())?;
    }
    Ok(answers)
}

fn get(keyspace: &Keyspace, key: &[u8], expected: Option<&Vec<u8>>) -> Result<bool, String> {
    match keyspace.get_and(key, |found| Some(found) == expected.map(Vec::as_slice)) {
        Err(error) => check_error(&error).map(|()| true),
        Ok(found) if found.unwrap_or(expected.is_none()) => Ok(false),
        Ok(_) => Err(format!("a wrong answer for {:?}", String::from_utf8_lossy(key))),
    }
}

/// Walks a range; whether it ended in an error. What comes before one must be right, and without one it is complete.
fn walk<'c>(
    found: impl Iterator<Item = esker::Result<(Vec<u8>, Vec<u8>)>>,
    mut expected: impl Iterator<Item = (&'c Vec<u8>, &'c Vec<u8>)>,
) -> Result<bool, String> {
    for entry in found {
        match (entry, expected.next()) {
            (Err(error), _) => return check_error(&error).map(|()| true),
            (Ok((key, value)), Some((k, v))) if key == *k && value == *v => {}
            (Ok((key, _)), _) => {
                let key = String::from_utf8_lossy(&key).into_owned();
                return Err(format!("a walk has a wrong entry at {key:?}"));
            }
        }
    }
    match expected.next() {
        None => Ok(false),
        Some((key, _)) => Err(format!("a walk ends before {:?}", String::from_utf8_lossy(key))),
    }
}
