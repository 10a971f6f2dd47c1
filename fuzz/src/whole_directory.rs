//! A damaged directory: the input is a list of edits to the files of a small database, closed or left by a power cut. An
//! open is refused and changes nothing, or every answer is an error or that of one moment of the database's life; a
//! repair makes it open again without a value that was never written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use esker::vfs::simulated::{CrashPolicy, SimulatedFs, Simulation};
use esker::vfs::{Fs, OpenMode};
use esker::{Builder, Db, Error, ErrorKind, Keyspace, RepairOptions};
use esker_sim::small;

use super::{disk, source::Source};

const DIR: &str = "/db";

/// Edits that are applied at most.
const EDITS_MAX: usize = 12;

/// More calls than an open with all questions makes by far: beyond it the disk fails, which ends a loop.
const CALLS_MAX: u64 = 20_000;

/// What a database holds: keyspace, then key, then value.
type Content = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// A directory to damage.
struct Sample {
    disk: SimulatedFs,
    files: Vec<String>,
    /// What a reader may find, of which the last is what was acknowledged. Only bytes behind which nothing is known can
    /// be lost: none of a closed database, and what was written since the last flush of one whose power was cut.
    states: Vec<Content>,
    /// Every value that a key ever had.
    values: BTreeSet<(Vec<u8>, Vec<u8>)>,
}

static CLOSED: LazyLock<Sample> = LazyLock::new(|| Sample::new(true));
static LIVE: LazyLock<Sample> = LazyLock::new(|| Sample::new(false));

/// Damages a database as `data` says and asks it everything.
pub fn check(data: &[u8]) {
    let mut source = Source::new(data);
    let sample = if source.byte().is_multiple_of(2) { &CLOSED } else { &LIVE };
    let damaged = sample.disk.fork();
    for _ in 0..EDITS_MAX {
        if source.is_empty() {
            break;
        }
        edit(&damaged, &sample.files, &mut source);
    }
    read_only(sample, &damaged);
    read_write(sample, &damaged);
    repaired(sample, &damaged);
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Carries out one edit; of a file that is gone, none.
fn edit(fs: &SimulatedFs, files: &[String], source: &mut Source<'_>) {
    let kind = source.byte() % 9;
    let mut file = || path(&files[usize::from(source.byte()) % files.len()]);
    let (name, other) = (file(), file());
    let Ok(there) = fs.open(&name, OpenMode::Read) else { return };
    drop(there);
    let old = disk::read(fs, &name);
    let mut new = old.clone();
    // A place in the part of the file that is not reserved space.
    let used = old.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let at = usize::from(source.number()) % (used + 8);
    let inside = at.min(old.len());
    match kind {
        0 => {
            if let Some(byte) = new.get_mut(at) {
                *byte ^= 1 << (source.byte() % 8);
            }
        }
        1 => {
            let len = usize::from(source.byte() % 32);
            new[inside..].iter_mut().take(len).for_each(|byte| *byte = source.byte());
        }
        2 => {
            let (len, fill) = (source.number(), source.byte());
            new[inside..].iter_mut().take(len.into()).for_each(|byte| *byte = fill);
        }
        3 => new.truncate(at),
        4 => {
            let len = old.len() + usize::from(source.number());
            new.resize(len, source.byte());
        }
        5 => return fs.remove_file(&name).expect("the file is there"),
        6 => {
            // Another file takes its place, and it that of the other.
            let Ok(there) = fs.open(&other, OpenMode::Read) else { return };
            drop(there);
            new = disk::read(fs, &other);
            replace(fs, &other, &old);
        }
        7 => {
            // Bytes of another file, or of another place in this one.
            let Ok(there) = fs.open(&other, OpenMode::Read) else { return };
            drop(there);
            let piece = disk::read(fs, &other);
            let from = usize::from(source.number()).min(piece.len());
            let len = usize::from(source.number());
            let copied = new[inside..].iter_mut().zip(&piece[from..]);
            copied.take(len).for_each(|(byte, copy)| *byte = *copy);
        }
        _ => {
            // Bytes are cut out, and what is behind them moves up.
            let end = (inside + usize::from(source.byte())).min(old.len());
            new.drain(inside..end);
        }
    }
    replace(fs, &name, &new);
}

fn replace(fs: &SimulatedFs, name: &Path, content: &[u8]) {
    let file = fs.open(name, OpenMode::ReadWrite).expect("the file is there");
    file.truncate(content.len() as u64).expect("a healthy disk");
    file.write_all_at(content, 0).expect("a healthy disk");
    file.sync_all().expect("a healthy disk");
}

fn builder(sim: &Simulation) -> Builder {
    small(sim.world()).create_if_missing(false)
}

fn read_only(sample: &Sample, damaged: &SimulatedFs) {
    let fs = damaged.fork();
    let before = fs.image_hash();
    fs.cut_power_at(CALLS_MAX);
    let sim = Simulation::with_fs(fs, 1);
    match builder(&sim).read_only(true).open(DIR) {
        Ok(db) => ask(&db, &sample.states),
        Err(error) => refusal(&error),
    }
    assert!(!sim.fs.power_is_off(), "a read-only database makes too many calls");
    assert_eq!(sim.fs.image_hash(), before, "a read-only database writes");
}

fn read_write(sample: &Sample, damaged: &SimulatedFs) {
    let fs = damaged.fork();
    let before = fs.image_hash();
    fs.cut_power_at(CALLS_MAX);
    let sim = Simulation::with_fs(fs, 2);
    match builder(&sim).open(DIR) {
        Ok(db) => {
            ask(&db, &sample.states);
            let keyspace = db.keyspace("a").expect("it was found");
            keyspace.put(b"new", b"value").expect("damage to old files stops no write");
            assert_eq!(keyspace.get(b"new").expect("just written").as_deref(), Some(&b"value"[..]));
            db.close().expect("a healthy disk");
            drop((keyspace, db));
            let db = builder(&sim).open(DIR).expect("it was closed in good order");
            let found = db.keyspace("a").and_then(|keyspace| keyspace.get(b"new"));
            assert_eq!(found.expect("just written").as_deref(), Some(&b"value"[..]));
        }
        Err(error) => {
            refusal(&error);
            let after = sim.fs.fork();
            if !damaged.exists(&path("LOCK")).expect("a healthy disk") {
                // To look at the files it must have the lock, which has to be made where it is gone.
                let _ = after.remove_file(&path("LOCK"));
            }
            assert_eq!(after.image_hash(), before, "refused, but changed: {error}");
        }
    }
    assert!(!sim.fs.power_is_off(), "too many calls");
}

fn repaired(sample: &Sample, damaged: &SimulatedFs) {
    let fs = damaged.fork();
    let before = fs.image_hash();
    fs.cut_power_at(CALLS_MAX);
    let sim = Simulation::with_fs(fs, 3);
    let options = RepairOptions { world: Some(sim.world()), ..RepairOptions::default() };
    let planned = esker::repair(DIR, &options);
    assert_eq!(sim.fs.image_hash(), before, "a repair that only looks writes");
    let report = match esker::repair(DIR, &RepairOptions { apply: true, ..options }) {
        Ok(report) => report,
        Err(error) => {
            assert!(planned.is_err(), "what was planned is not done: {error}");
            return refusal(&error);
        }
    };
    let planned = planned.expect("what can be done can be planned");
    assert_eq!(planned.damage, report.damage);
    let db = match builder(&sim).open(DIR) {
        Ok(db) => db,
        Err(error) => panic!("repaired, but does not open: {error}; {report:?}"),
    };
    for name in db.keyspaces().expect("open") {
        let keyspace = db.existing_keyspace(&name).expect("open").expect("listed");
        for entry in keyspace.iter() {
            let (key, value) = match entry {
                Ok(entry) => entry,
                Err(error) => panic!("repaired, but does not read: {error}; {report:?}"),
            };
            let known = (key.to_vec(), value.to_vec());
            assert!(sample.values.contains(&known), "{known:?} was never written; {report:?}");
        }
    }
    if let Err(error) = db.verify() {
        panic!("repaired, but not sound: {error}; {report:?}");
    }
    assert!(!sim.fs.power_is_off(), "too many calls");
}

/// An error that a damaged directory may give when it is opened.
fn refusal(error: &Error) {
    match error.kind() {
        ErrorKind::NotFound => {}
        _ => damage(error),
    }
}

fn damage(error: &Error) {
    match error.kind() {
        ErrorKind::Corruption => assert!(error.path().is_some() && error.offset().is_some()),
        ErrorKind::Unsupported => assert!(error.path().is_some(), "{error:?}"),
        other => panic!("{other:?}: {error}"),
    }
}

/// Asks for everything in every way. The answers that are no errors must be those of one state, and where one is an
/// error, verification finds something too.
fn ask(db: &Db, states: &[Content]) {
    let names = db.keyspaces().expect("open");
    let mut errors = 0;
    let mut note = |error: &Error| {
        damage(error);
        errors += 1;
    };
    let last = states.last().expect("invariant: there is a state");
    let mut fits = vec![true; states.len()];
    for name in &names {
        let keyspace = db.existing_keyspace(name).expect("open").expect("listed");
        let (forward, error) = walk(keyspace.iter());
        error.iter().for_each(&mut note);
        let whole = error.is_none();
        let (mut backward, error) = walk(keyspace.iter().rev());
        error.iter().for_each(&mut note);
        let (whole_back, len) = (error.is_none(), backward.len());
        backward.reverse();
        let gets = get_all(&keyspace, last, &mut note);
        for (state, fits) in states.iter().zip(&mut fits) {
            let empty = BTreeMap::new();
            let known = state.get(name).unwrap_or(&empty);
            let same = |found: &[(Vec<u8>, Vec<u8>)], skip: usize| {
                known
                    .iter()
                    .skip(skip)
                    .zip(found)
                    .all(|((k, v), (key, value))| k == key && v == value)
            };
            *fits &= forward.len() <= known.len()
                && len <= known.len()
                && same(&forward, 0)
                && same(&backward, known.len() - len)
                && (!whole || forward.len() == known.len())
                && (!whole_back || len == known.len())
                && gets.iter().all(|(key, value)| known.get(key) == value.as_ref());
        }
    }
    for (state, fits) in states.iter().zip(&mut fits) {
        *fits &= state.keys().eq(names.iter());
    }
    assert!(fits.contains(&true), "no moment of the database's life gives these answers");
    match db.verify() {
        Ok(_) => assert_eq!(errors, 0, "reads fail, but verification finds nothing"),
        Err(error) => damage(&error),
    }
}

type Walked = (Vec<(Vec<u8>, Vec<u8>)>, Option<Error>);

fn walk(
    entries: impl Iterator<Item = esker::Result<(impl AsRef<[u8]>, impl AsRef<[u8]>)>>,
) -> Walked {
    let mut found = Vec::new();
    for entry in entries {
        match entry {
            Ok((key, value)) => found.push((key.as_ref().to_vec(), value.as_ref().to_vec())),
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

fn get_all(
    keyspace: &Keyspace,
    last: &Content,
    note: &mut impl FnMut(&Error),
) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut gets = Vec::new();
    for key in last.values().flat_map(BTreeMap::keys).chain([&b"absent".to_vec()]) {
        match keyspace.get(key) {
            Ok(value) => gets.push((key.clone(), value.map(|value| value.to_vec()))),
            Err(error) => note(&error),
        }
    }
    gets
}

impl Sample {
    fn new(close: bool) -> Sample {
        let sim = Simulation::new(11);
        let db = small(sim.world()).open(DIR).expect("an empty disk");
        let mut life =
            Life { content: Content::new(), states: Vec::new(), values: BTreeSet::new() };
        for name in ["a", "b"] {
            db.keyspace(name).expect("a healthy disk");
            life.content.insert(name.to_owned(), BTreeMap::new());
        }
        for round in 0..3u8 {
            for at in 0..18 {
                life.put(&db, "a", at * 3 + round, 90);
                life.put(&db, "b", at * 5 % 32 + round, 40);
            }
            db.flush().expect("a healthy disk");
            if round == 1 {
                db.compact().expect("a healthy disk");
            }
        }
        life.states.clear();
        for at in 0..12 {
            life.put(&db, if at % 3 == 0 { "b" } else { "a" }, at * 4, 30);
        }
        if close {
            db.close().expect("a healthy disk");
            life.states = vec![life.content];
        }
        let disk = sim.fs.image(CrashPolicy::KeepAll, 0);
        drop(db);
        let files = disk.list(Path::new(DIR)).expect("a healthy disk");
        Sample { disk, files, states: life.states, values: life.values }
    }
}

struct Life {
    content: Content,
    states: Vec<Content>,
    values: BTreeSet<(Vec<u8>, Vec<u8>)>,
}

impl Life {
    fn put(&mut self, db: &Db, name: &str, number: u8, len: u8) {
        if self.states.is_empty() {
            self.states.push(self.content.clone());
        }
        let keyspace = db.keyspace(name).expect("a healthy disk");
        let key = format!("{name}-{number:03}").into_bytes();
        let fill = |at: u8| at.wrapping_mul(37).wrapping_add(number) ^ self.states.len() as u8;
        let value: Vec<u8> = (0..len).map(fill).collect();
        keyspace.put(&key, &value).expect("a healthy disk");
        self.values.insert((key.clone(), value.clone()));
        self.content.entry(name.to_owned()).or_default().insert(key, value);
        self.states.push(self.content.clone());
    }
}

/// No edit, every kind of edit on every file, and some edits together.
pub fn seeds() -> Vec<Vec<u8>> {
    let files = CLOSED.files.len().max(LIVE.files.len()) as u8;
    let mut seeds = vec![vec![0], vec![1]];
    for kind in 0..9 {
        for file in 0..files {
            seeds.push(vec![file % 2, kind, file, file + 1, 40, 0, 200, 0, 200, 0]);
        }
        seeds.push(vec![1, kind, kind, 2, 90, 0, 3, 0, 1, 0, 0, kind, 3, 120, 0, 1]);
    }
    seeds
}
