//! Repair: makes a database that does not open any more open again, with everything that can still be read, and names
//! what is lost. `esker repair` calls it. It never makes things worse: nothing is deleted or changed in place; what the
//! repaired database does without is moved into a directory of its own, or all of it happens in a copy.
//!
//! 1. `examine`: reads everything and decides, writing nothing. If the manifest is sound, it is followed: damaged
//!    sstables are replaced by what can be read of them, and a damaged log is cut at its first hole. If it is not, or its
//!    last edit is lost, the picture is rebuilt from the sstables' own properties and the log.
//! 2. `apply`: records what is lost (`record`), writes new sstables, links everything that goes aside, and then makes the
//!    new manifest, which is the one step that counts. Interrupted before it, the database is what it was, and repairing
//!    it again starts over; interrupted anywhere, the next repair names the recorded losses too.
//!
//! Old files that were merged away, but not yet removed, cannot be told from live ones once the manifest is lost; what
//! was deleted shortly before may then be back.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use esker_base::names::{self, CURRENT, FileKind, LOCK};
use esker_base::{Error, FileNumber, KeyspaceId, Result, SeqNo};
use esker_vfs::{Fs, OpenMode, World};

use crate::open::{create_dir, take_lock};

mod apply;
mod examine;
mod log;
mod record;
mod values;

/// What [`repair`] is to do.
#[derive(Clone, Debug, Default)]
pub struct RepairOptions {
    /// Whether to do it; without, the report says what would be lost and nothing is written.
    pub apply: bool,
    /// Repair a copy in this new directory instead, and leave the database alone. Sstables are hard-linked where that is
    /// possible.
    pub to: Option<PathBuf>,
    /// Take commits from behind a hole in the log too. Without, the log ends at its first hole, so that what is kept is
    /// all of what was committed up to one moment.
    pub skip_damaged_log: bool,
    /// The file system, clock and randomness; the machine's by default.
    pub world: Option<World>,
}

/// What [`repair`] found, and what it did or would do.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// What is wrong, file by file.
    pub damage: Vec<String>,
    /// Whether the manifest was of no use, so that the picture is rebuilt from the other files.
    pub is_rebuilt: bool,
    /// Keys that may have lost their value, or gone back to an older one.
    pub lost_keys: Vec<LostKeys>,
    /// Commits that are lost.
    pub lost_commits: Vec<LostCommits>,
    /// Keyspaces whose names are lost and that are now called `recovered-<id>`.
    pub unnamed_keyspaces: Vec<String>,
    /// Sstables that are replaced by what can be read of them, or by a merge with others.
    pub replaced_sstables: u64,
    /// Entries of the log that are moved into sstables; 0 if the log is sound and stays.
    pub log_entries: u64,
    /// Files that the repaired database does without.
    pub moved: Vec<String>,
    /// Where they are, once that is done.
    pub moved_to: Option<PathBuf>,
    /// Whether it was done.
    pub is_applied: bool,
}

impl RepairReport {
    /// Whether nothing is wrong; then nothing is done.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }

    /// Whether nothing that was acknowledged is lost.
    pub fn is_lossless(&self) -> bool {
        self.lost_keys.is_empty() && self.lost_commits.is_empty()
    }
}

/// A range of keys that a damaged file held, or that commits wrote which are not taken, because they stand behind a hole in
/// the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostKeys {
    /// Whose keys; `None` if the file does not tell.
    pub keyspace: Option<(KeyspaceId, String)>,
    /// The file.
    pub file: String,
    /// The first key that may be lost; `None` for the first of all.
    pub from: Option<Vec<u8>>,
    /// The last key that may be lost, itself included; `None` for the last of all.
    pub through: Option<Vec<u8>>,
    /// The lowest and the highest sequence number of the file's entries, if known.
    pub seqs: Option<(SeqNo, SeqNo)>,
    /// Whether the keys are gone: their values are lost in a value file, and they read as deleted now, unless another file
    /// holds a newer version. Otherwise a key of the range may also have gone back to an older value.
    pub is_deleted: bool,
}

/// A range of the commit sequence that the log lost. Which keys were in it is known only as far as
/// [`RepairReport::lost_keys`] names files of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostCommits {
    /// The first sequence number that may be lost.
    pub from: SeqNo,
    /// The last one, if anything tells.
    pub through: Option<SeqNo>,
}

/// Repairs the database in `dir`, or says what a repair would lose; see [`RepairOptions`]. A sound database is left
/// alone.
///
/// # Errors
/// `NotFound` if there is no database; `Locked` if it is open; `Unsupported` if a newer version wrote it, which is not
/// damage; `InvalidArgument` if [`RepairOptions::to`] is not empty; `Io` and `NoSpace` from the file system, after which
/// the database is what it was.
pub fn repair(dir: impl AsRef<Path>, options: &RepairOptions) -> Result<RepairReport> {
    let dir = dir.as_ref();
    let world = options.world.clone().unwrap_or_else(World::real);
    let in_place = options.apply && options.to.is_none();
    if !exists(&*world.fs, dir)? {
        return Err(Error::new(
            esker_base::ErrorKind::NotFound,
            format!("{} holds no database", dir.display()),
        ));
    }
    // Only a repair in place may write, and so make the lock file where it is missing.
    let has_lock = exists(&*world.fs, &dir.join(LOCK))?;
    let _lock = match in_place || has_lock {
        true => Some(take_lock(&world, dir, !in_place)?),
        false => None,
    };
    match &options.to {
        Some(to) if options.apply => {
            copy_database(&world, dir, to)?;
            let _copy_lock = take_lock(&world, to, false)?;
            run(&world, to, dir, options)
        }
        _ => run(&world, dir, dir, options),
    }
}

/// Repairs `dir`, which may be a copy of `from`.
fn run(world: &World, dir: &Path, from: &Path, options: &RepairOptions) -> Result<RepairReport> {
    let (mut report, plan) = examine::examine(world, dir, options.skip_damaged_log)?;
    let is_needed = !report.is_sound();
    let interrupted = record::interrupted(&*world.fs, from)?;
    for aside in &interrupted {
        record::add(&*world.fs, aside, &mut report)?;
    }
    if report.is_sound() || !options.apply {
        return Ok(report);
    }
    match interrupted.last() {
        // What an earlier repair did needs nothing but to be told.
        Some(aside) if !is_needed => report.moved_to = Some(aside.clone()),
        _ => apply::apply(world, dir, plan, &mut report)?,
    }
    if from == dir {
        interrupted.iter().for_each(|aside| record::finish(&*world.fs, aside));
    }
    report.is_applied = true;
    Ok(report)
}

/// The numbered files of a directory.
fn numbered(fs: &dyn Fs, dir: &Path) -> Result<BTreeSet<(FileKind, FileNumber)>> {
    let names = fs.list(dir).map_err(|error| Error::io("list", dir, error))?;
    Ok(names.iter().filter_map(|name| names::parse(name)).collect())
}

fn copy_database(world: &World, dir: &Path, to: &Path) -> Result<()> {
    let fs = &*world.fs;
    match fs.list(to) {
        Ok(names) if !names.is_empty() => {
            let message = format!("{} is not empty; choose a new directory", to.display());
            return Err(Error::invalid(message));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_dir(world, to)?,
        Err(error) => return Err(Error::io("list", to, error)),
    }
    for (kind, number) in numbered(fs, dir)? {
        let name = kind.name(number);
        let (from, to) = (dir.join(&name), to.join(&name));
        let is_shared = matches!(kind, FileKind::Sstable | FileKind::Values);
        if !is_shared || fs.hard_link(&from, &to).is_err() {
            copy_file(fs, &from, &to)?;
        }
    }
    if exists(fs, &dir.join(CURRENT))? {
        copy_file(fs, &dir.join(CURRENT), &to.join(CURRENT))?;
    }
    fs.sync_dir(to).map_err(|error| Error::io("sync", to, error))
}

/// Whether there is such a file. Not knowing is not a no.
fn exists(fs: &dyn Fs, path: &Path) -> Result<bool> {
    fs.exists(path).map_err(|error| Error::io("look at", path, error))
}

/// Puts a file under another name too; it is the same file where links can be made.
fn link_or_copy(fs: &dyn Fs, from: &Path, to: &Path) -> Result<()> {
    match fs.hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => copy_file(fs, from, to),
    }
}

/// Copies a file durably, with zeros where it cannot be read: what a repair copies is damaged.
fn copy_file(fs: &dyn Fs, from: &Path, to: &Path) -> Result<()> {
    const CHUNK_LEN: u64 = 64 << 10;
    const SECTOR_LEN: usize = 4096;
    let source = fs.open(from, OpenMode::Read).map_err(|error| Error::io("open", from, error))?;
    let target = fs.create_new(to).map_err(|error| Error::io("create", to, error))?;
    let len = source.len().map_err(|error| Error::io("stat", from, error))?;
    let mut offset = 0;
    let mut chunk = vec![0; CHUNK_LEN.min(len) as usize];
    while offset < len {
        let part = &mut chunk[..CHUNK_LEN.min(len - offset) as usize];
        if source.read_exact_at(part, offset).is_err() {
            for (at, sector) in part.chunks_mut(SECTOR_LEN).enumerate() {
                if source.read_exact_at(sector, offset + (at * SECTOR_LEN) as u64).is_err() {
                    sector.fill(0);
                }
            }
        }
        target.write_all_at(part, offset).map_err(|error| Error::io("write", to, error))?;
        offset += part.len() as u64;
    }
    target.sync_all().map_err(|error| Error::io("sync", to, error))
}
