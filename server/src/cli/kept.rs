//! What a repair takes out of the indexes of tables, kept in a lost-and-found directory before it goes: an entry may be
//! the only thing that is left of an item. Up to three files per index, by what has become of the items: a line of an item
//! that is lost can be imported, one of an item that the table has would replace it. Called by `repair.rs`, which changes
//! nothing before all of it is durable.

#![allow(
    clippy::disallowed_methods,
    reason = "files for people, beside the database and no part of it"
)]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use esker::Db;
use esker_table::{ReplacedEntry, TableError};

use super::export::{self, Format};

/// What the table has of an entry's item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing: it is lost.
    Lost,
    /// The item, but another one than the entry says.
    Differs,
    /// Nobody knows: the entry cannot be read.
    Unreadable,
}

impl Fate {
    fn of(entry: &ReplacedEntry<'_>) -> Self {
        match (&entry.item, entry.has_item) {
            (None, _) => Self::Unreadable,
            (Some(_), true) => Self::Differs,
            (Some(_), false) => Self::Lost,
        }
    }

    /// How the names of such files end.
    fn suffix(self) -> &'static str {
        match self {
            Self::Lost => "jsonl",
            Self::Differs => "differs.jsonl",
            Self::Unreadable => "unreadable.jsonl",
        }
    }
}

/// The entries of one index and one fate that are kept.
#[derive(Debug)]
pub(super) struct KeptEntries {
    pub(super) fate: Fate,
    pub(super) table: String,
    pub(super) index: String,
    pub(super) path: PathBuf,
    pub(super) count: u64,
    /// Whether they hold whole items.
    pub(super) is_whole: bool,
    keyspace: String,
}

/// Why nothing could be kept.
#[derive(Debug)]
pub(super) enum KeepError {
    Tables(TableError),
    Write(PathBuf, io::Error),
}

impl From<TableError> for KeepError {
    fn from(error: TableError) -> Self {
        Self::Tables(error)
    }
}

/// Keeps every entry that the correction of the indexes of `db`, which is in `dir`, would delete or overwrite: in
/// `aside`, which a repair has made, or in a directory of their own.
pub(super) fn keep(
    db: &Db,
    dir: &Path,
    aside: Option<&Path>,
) -> Result<Vec<KeptEntries>, KeepError> {
    let mut keeper =
        Keeper { dir, aside: aside.map(Path::to_owned), files: Vec::new(), kept: Vec::new() };
    let mut failed = None;
    esker_table::replaced_entries(db, |entry| {
        if failed.is_none() {
            failed = keeper.add(entry).err();
        }
    })?;
    let finished = match failed {
        Some(error) => Err(error),
        None => keeper.finish(),
    };
    match finished {
        Ok(()) => Ok(keeper.kept),
        Err(error) => {
            let path = keeper.kept.pop().map(|kept| kept.path).or(keeper.aside);
            Err(KeepError::Write(path.unwrap_or_else(|| dir.to_owned()), error))
        }
    }
}

struct Keeper<'d> {
    dir: &'d Path,
    aside: Option<PathBuf>,
    /// Those of the last of `kept`, which are of one index, in their order.
    files: Vec<BufWriter<File>>,
    kept: Vec<KeptEntries>,
}

impl Keeper<'_> {
    fn add(&mut self, entry: &ReplacedEntry<'_>) -> io::Result<()> {
        let fate = Fate::of(entry);
        if self.kept.last().is_none_or(|last| last.keyspace != entry.keyspace) {
            self.end_files()?;
        }
        let first = self.kept.len() - self.files.len();
        let at = match self.kept[first..].iter().position(|kept| kept.fate == fate) {
            Some(at) => at,
            None => {
                let path = self.aside()?.join(format!("{}.{}", entry.keyspace, fate.suffix()));
                self.files.push(BufWriter::new(File::create_new(&path)?));
                self.kept.push(KeptEntries {
                    fate,
                    table: entry.table.to_owned(),
                    index: entry.index.to_owned(),
                    path,
                    count: 0,
                    is_whole: entry.is_whole,
                    keyspace: entry.keyspace.to_owned(),
                });
                self.files.len() - 1
            }
        };
        let file = &mut self.files[at];
        self.kept[first + at].count += 1;
        match &entry.item {
            Some(item) => export::write_line(item, Format::Dynamodb, file),
            // No item can be made of it, but perhaps somebody can.
            None => {
                let (key, value) = (STANDARD.encode(entry.key), STANDARD.encode(entry.value));
                writeln!(file, "{{\"Key\":\"{key}\",\"Value\":\"{value}\"}}")
            }
        }
    }

    /// The directory, which is made at the first need.
    fn aside(&mut self) -> io::Result<PathBuf> {
        if let Some(aside) = &self.aside {
            return Ok(aside.clone());
        }
        let mut number = 1u64;
        loop {
            let path = self.dir.join(format!("lost-and-found-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(self.aside.insert(path).clone()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn end_files(&mut self) -> io::Result<()> {
        for file in self.files.drain(..) {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        Ok(())
    }

    /// Makes everything durable.
    fn finish(&mut self) -> io::Result<()> {
        self.end_files()?;
        if let Some(aside) = self.aside.as_ref().filter(|_| !self.kept.is_empty()) {
            File::open(aside)?.sync_all()?;
            File::open(self.dir)?.sync_all()?;
        }
        Ok(())
    }
}
