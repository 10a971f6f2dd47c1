//! The directories that are damaged: small databases with every kind of file, their content, and what their files held
//! earlier. Built by the matrix, from a seed, on the simulated disk; must give the same bytes for the same seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use esker::vfs::simulated::{CrashPolicy, SimulatedFs, Simulation};
use esker::vfs::{Fs, OpenMode};
use esker::{
    Background, BackgroundStep, Builder, CompactionStrategy, Db, Durability, Keyspace,
    KeyspaceOptions, ReadMode, Result,
};

use crate::Rng;

/// Where the database lives on the simulated disk.
pub(super) const DIR: &str = "/db";

/// What a database holds: keyspace, then key, then value.
pub(super) type Content = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// One file of the directory.
#[derive(Clone, Debug)]
pub(super) struct FileImage {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// What the file of this name held at earlier moments, oldest first, each different from the next.
    pub(super) stale: Vec<Vec<u8>>,
}

/// A directory to damage.
#[derive(Clone, Debug)]
pub(super) struct Corpus {
    /// The disk as it is: nothing pending, open or locked.
    pub(super) disk: SimulatedFs,
    pub(super) files: Vec<FileImage>,
    /// What a reader must find.
    pub(super) content: Content,
    /// What a reader of the live database may find instead: everything but the last group of commits.
    pub(super) without_last_group: Option<Content>,
    /// The bytes of that last group: the file, where it starts, and where it ends.
    pub(super) last_group: Option<(String, u64, u64)>,
}

/// Options that make many small files of little data, and leave every step to the caller.
pub(super) fn builder(sim: &Simulation) -> Builder {
    Db::builder()
        .memory_budget_bytes(1 << 20)
        .wal_segment_bytes(4096)
        .sstable_bytes(4096)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .background(Background::Manual)
        .world(sim.world())
}

/// The path of a file of the directory.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// The kind of file by its name, for the figures.
pub(super) fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "manifest")) => "manifest",
        Some((_, "wal")) => "wal",
        Some((_, "sst")) => "sst",
        Some((_, "val")) => "val",
        _ if name == "CURRENT" => "CURRENT",
        _ if name == "LOCK" => "LOCK",
        _ => "RESERVE",
    }
}

/// One life that fills a directory.
struct Life {
    sim: Simulation,
    rng: Rng,
    content: Content,
    /// Every content that each name has had.
    earlier: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Life {
    fn put(&mut self, keyspace: &Keyspace, key: u64, len: u64) -> Result<()> {
        let value: Vec<u8> = (0..len).map(|_| self.rng.below(256) as u8).collect();
        let key = format!("{}-{key:04}", keyspace.name()).into_bytes();
        keyspace.put(&key, &value)?;
        self.content.entry(keyspace.name().to_owned()).or_default().insert(key, value);
        self.note()
    }

    fn delete(&mut self, keyspace: &Keyspace, key: u64) -> Result<()> {
        let key = format!("{}-{key:04}", keyspace.name()).into_bytes();
        keyspace.delete(&key)?;
        if let Some(entries) = self.content.get_mut(keyspace.name()) {
            entries.remove(&key);
        }
        self.note()
    }

    /// Remembers what the files hold now.
    fn note(&mut self) -> Result<()> {
        for (name, bytes) in read_all(&self.sim.fs).map_err(|e| esker::Error::io("read", DIR, e))? {
            let seen = self.earlier.entry(name).or_default();
            if seen.last() != Some(&bytes) {
                seen.push(bytes);
            }
        }
        Ok(())
    }

    /// Fills two keyspaces over several levels, then reopens and leaves part of the writes to the log alone.
    fn fill(&mut self) -> Result<Db> {
        let db = builder(&self.sim).open(DIR)?;
        let plain = KeyspaceOptions {
            strategy: CompactionStrategy::Tiered,
            compress: false,
            large_value_bytes: Some(80),
        };
        let (a, b) = (db.keyspace("a")?, db.create_keyspace("b", plain)?);
        for round in 0..3u64 {
            for at in 0..55 {
                self.put(&a, at * 3 + round, 70)?;
                self.put(&b, at * 5 % 64 + round, 90)?;
            }
            // What compresses well, and what is deleted again.
            a.put(b"a-long", [b'x'; 900])?;
            self.content
                .entry("a".to_owned())
                .or_default()
                .insert(b"a-long".into(), vec![b'x'; 900]);
            self.delete(&a, round * 7)?;
            db.flush()?;
            self.note()?;
            if round == 1 {
                a.compact()?;
                self.note()?;
            }
        }
        db.close()?;
        drop((a, b, db));
        self.note()?;

        let db = builder(&self.sim).open(DIR)?;
        let (a, b) = (db.keyspace("a")?, db.keyspace("b")?);
        for at in 0..30 {
            self.put(&a, at * 11, 60)?;
        }
        db.flush()?;
        db.run_background_step(BackgroundStep::CleanUp)?;
        self.note()?;
        // These stay in the log.
        for at in 0..45 {
            self.put(&a, at * 5, 60)?;
            self.put(&b, at * 2, 60)?;
            if at % 9 == 0 {
                self.delete(&b, at)?;
            }
        }
        Ok(db)
    }

    fn finish(mut self, disk: SimulatedFs) -> Result<Corpus> {
        self.earlier.retain(|_, seen| !seen.is_empty());
        let files = read_all(&disk).map_err(|e| esker::Error::io("read", DIR, e))?;
        let mut images = Vec::new();
        for (name, bytes) in files {
            let mut stale = self.earlier.remove(&name).unwrap_or_default();
            stale.retain(|earlier| *earlier != bytes);
            images.push(FileImage { name, bytes, stale });
        }
        let content = self.content;
        Ok(Corpus { disk, files: images, content, without_last_group: None, last_group: None })
    }
}

/// Every file of the directory with its bytes.
pub(super) fn read_all(fs: &SimulatedFs) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for name in fs.list(Path::new(DIR))? {
        if name == "RESERVE" {
            // A mebibyte that nobody reads: its bytes are not part of the corpus, the file is.
            files.push((name, Vec::new()));
            continue;
        }
        let file = fs.open(&path(&name), OpenMode::Read)?;
        let mut bytes = vec![0; file.len()? as usize];
        file.read_exact_at(&mut bytes, 0)?;
        files.push((name, bytes));
    }
    Ok(files)
}

fn life(seed: u64) -> Life {
    Life {
        sim: Simulation::new(seed),
        rng: Rng::new(seed),
        content: Content::new(),
        earlier: BTreeMap::new(),
    }
}

/// A database that was closed.
pub(super) fn closed(seed: u64) -> Result<Corpus> {
    let mut life = life(seed);
    let db = life.fill()?;
    db.close()?;
    drop(db);
    life.note()?;
    let disk = life.sim.fs.image(CrashPolicy::KeepAll, seed);
    life.finish(disk)
}

/// A database whose power was cut behind its last acknowledged write.
pub(super) fn live(seed: u64) -> Result<Corpus> {
    let mut life = life(seed);
    let db = life.fill()?;
    let before = log_bytes(&life.sim.fs)?;
    let content_before = life.content.clone();
    let mut batch = db.batch();
    let a = db.keyspace("a")?;
    for at in 0..4u8 {
        let (key, value) = (vec![b'z', at], vec![at; 40]);
        batch.put(&a, &key, &value);
        life.content.entry("a".to_owned()).or_default().insert(key, value);
    }
    db.write_with(batch, Durability::Sync)?;
    let after = log_bytes(&life.sim.fs)?;
    let disk = life.sim.fs.image(CrashPolicy::DropAll, seed);
    life.note()?;
    let mut corpus = life.finish(disk)?;
    corpus.without_last_group = Some(content_before);
    corpus.last_group = difference(&before, &after);
    Ok(corpus)
}

type Files = BTreeMap<String, Vec<u8>>;

fn log_bytes(fs: &SimulatedFs) -> Result<Files> {
    let files = read_all(fs).map_err(|e| esker::Error::io("read", DIR, e))?;
    Ok(files.into_iter().filter(|(name, _)| kind(name) == "wal").collect())
}

/// The file that one write changed, and the range of its frame, which starts and ends at a multiple of 8 bytes.
fn difference(before: &Files, after: &Files) -> Option<(String, u64, u64)> {
    let changed: BTreeSet<&String> = after
        .iter()
        .filter(|(name, bytes)| before.get(*name) != Some(bytes))
        .map(|f| f.0)
        .collect();
    // With one write per segment at least, the last one holds it.
    let name = changed.last()?;
    let new = &after[*name];
    let empty = Vec::new();
    let old = before.get(*name).unwrap_or(&empty);
    let differs = |at: &usize| new.get(*at) != old.get(*at).or(Some(&0));
    let first = (0..new.len()).find(differs)? as u64;
    let last = (0..new.len()).rev().find(differs)? as u64 + 1;
    Some(((*name).clone(), first / 8 * 8, last.next_multiple_of(8)))
}
