//! Databases made by hand: manifests that say what a test wants, and log segments with frames that the engine would never
//! write, each behind matching checksums; and their repair.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{Batch, Epoch, FileId, FileNumber, KeyspaceId, LogPosition, SeqNo, frame};
use esker_manifest::format::Header;
use esker_manifest::{Edit, KeyspaceMeta, ManifestLog, Version, WalSegmentMeta};
use esker_vfs::simulated::Simulation;
use esker_vfs::{Fs, OpenMode, World};
use esker_wal::frame::{self as wal_frame, Place};
use esker_wal::{SegmentSpec, create_segment};

use super::support::small;
use crate::{Db, RepairOptions, RepairReport, Result, repair};

pub(super) const DIR: &str = "/db";

pub(super) fn path(kind: FileKind, number: u64) -> PathBuf {
    Path::new(DIR).join(kind.name(FileNumber(number)))
}

pub(super) fn bytes_of(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

pub(super) fn overwrite(fs: &dyn Fs, path: &Path, offset: u64, bytes: &[u8]) {
    fs.open(path, OpenMode::ReadWrite).unwrap().write_all_at(bytes, offset).unwrap();
}

/// The files of one kind, oldest first.
pub(super) fn files(fs: &dyn Fs, kind: FileKind) -> Vec<PathBuf> {
    let names = fs.list(Path::new(DIR)).unwrap();
    let mut names: Vec<_> = names
        .into_iter()
        .filter(|name| esker_base::names::parse(name).is_some_and(|(found, _)| found == kind))
        .collect();
    names.sort();
    names.into_iter().map(|name| Path::new(DIR).join(name)).collect()
}

/// Where the frames of a manifest start.
pub(super) fn manifest_frames(fs: &dyn Fs, path: &Path) -> Vec<u64> {
    let bytes = bytes_of(fs, path);
    let id = Header::decode(&bytes, path).unwrap().file_id;
    frame::scan(id, 64, &bytes).map(|frame| frame.offset).collect()
}

/// A batch of puts into a keyspace; the value says the key.
pub(super) fn puts(keyspace: u64, keys: &[&str]) -> Batch {
    let mut batch = Batch::new();
    for key in keys {
        batch.put(KeyspaceId(keyspace), key.as_bytes(), key.as_bytes()).unwrap();
    }
    batch
}

/// A group's payload: batches as (bytes, number of operations that it claims).
pub(super) fn payload(first_seq: u64, batches: &[(&[u8], u32)]) -> Vec<u8> {
    let mut group = esker_wal::GroupBuilder::new();
    group.start(0, SeqNo(first_seq));
    for (bytes, count) in batches {
        group.push(bytes, *count).unwrap();
    }
    group.payload().to_vec()
}

/// A group of one batch of puts.
pub(super) fn group(first_seq: u64, keyspace: u64, keys: &[&str]) -> Vec<u8> {
    let batch = puts(keyspace, keys);
    payload(first_seq, &[(batch.as_bytes(), batch.count())])
}

pub(super) fn id_of(number: u64) -> FileId {
    FileId([number as u8; 16])
}

/// Log segment `number` of epoch 1 with these frames, as (kind, payload); where each frame starts, and the end.
pub(super) fn segment(world: &World, number: u64, frames: &[(u8, Vec<u8>)]) -> Vec<u64> {
    let of = |(_, payload): &(u8, Vec<u8>)| wal_frame::encoded_len(payload.len());
    let len: usize = frames.iter().map(of).sum();
    let spec = SegmentSpec {
        number: FileNumber(number),
        file_id: id_of(number),
        epoch: Epoch(1),
        size_bytes: (len as u64 + 256).next_multiple_of(4096),
        zero_fill: false,
        recycle: None,
        map: false,
    };
    create_segment(&*world.fs, Path::new(DIR), &spec).unwrap();
    let mut starts = vec![64];
    let mut bytes = Vec::new();
    for (kind, payload) in frames {
        let at = 64 + bytes.len() as u64;
        let place = Place::new(id_of(number), FileNumber(number));
        wal_frame::encode(place, at, *kind, LogPosition::default(), payload, &mut bytes);
        starts.push(64 + bytes.len() as u64);
    }
    overwrite(&*world.fs, &path(FileKind::Wal, number), 64, &bytes);
    starts
}

/// What the manifest says of a log segment.
pub(super) fn listed(number: u64, ends_at: Option<u64>) -> WalSegmentMeta {
    WalSegmentMeta {
        number: FileNumber(number),
        file_id: id_of(number),
        epoch: Epoch(1),
        ends_at,
        last_seq: None,
    }
}

/// A database of epoch 1 whose manifest has the number 90 and lists keyspaces, numbered from 1, and log segments.
pub(super) fn database(keyspaces: &[&str], wal: Vec<WalSegmentMeta>) -> Simulation {
    let sim = Simulation::new(1);
    let world = sim.world();
    world.fs.create_dir_all(Path::new(DIR)).unwrap();
    world.fs.create_new(&Path::new(DIR).join("LOCK")).unwrap();
    let created = (1..).zip(keyspaces).map(|(id, name)| KeyspaceMeta::new(KeyspaceId(id), *name));
    let edit = Edit {
        opened: Some(Epoch(1)),
        created_keyspaces: created.collect(),
        wal_added: wal,
        next_file: Some(FileNumber(91)),
        ..Edit::default()
    };
    let version = Version::new([7; 16]).apply(&edit).unwrap();
    write_manifest(&world, 90, &version);
    sim
}

pub(super) fn write_manifest(world: &World, number: u64, version: &Version) {
    let id = id_of(number);
    ManifestLog::create(world, Path::new(DIR), FileNumber(number), id, version).unwrap();
}

pub(super) fn open(world: World) -> Db {
    small(world).create_if_missing(false).open(DIR).unwrap()
}

pub(super) fn run(world: World, apply: bool) -> Result<RepairReport> {
    repair(DIR, &RepairOptions { apply, world: Some(world), ..RepairOptions::default() })
}

/// Repairs, and checks that the database is sound then.
pub(super) fn repaired(sim: &Simulation) -> RepairReport {
    let report = run(sim.world(), true).unwrap();
    assert!(report.is_applied && !report.is_sound(), "{report:#?}");
    let again = run(sim.world(), false).unwrap();
    assert!(again.is_sound(), "{again:#?}");
    open(sim.world()).verify().unwrap();
    report
}

pub(super) fn keys(sim: &Simulation, name: &str) -> Vec<String> {
    let db = open(sim.world());
    let Some(keyspace) = db.existing_keyspace(name).unwrap() else { return Vec::new() };
    keyspace.iter().map(|entry| String::from_utf8(entry.unwrap().0.to_vec()).unwrap()).collect()
}

/// Spoils one byte.
pub(super) fn spoil(fs: &dyn Fs, path: &Path, at: u64) {
    let byte = bytes_of(fs, path)[at as usize];
    overwrite(fs, path, at, &[byte ^ 0x10]);
}

/// Takes the manifests and `CURRENT` away.
pub(super) fn lose_manifest(fs: &dyn Fs) {
    files(fs, FileKind::Manifest).iter().for_each(|path| fs.remove_file(path).unwrap());
    fs.remove_file(&Path::new(DIR).join("CURRENT")).unwrap();
}

/// A file system that denies whatever touches a path that ends in `suffix` and is of the denied kind.
#[derive(Debug)]
pub(super) struct Denying {
    pub(super) inner: Arc<dyn Fs>,
    /// Opening files whose names end so.
    pub(super) open: &'static str,
    /// Syncing this directory.
    pub(super) sync_dir: &'static str,
}

impl Denying {
    fn judge(denied: bool) -> std::io::Result<()> {
        match denied {
            true => Err(std::io::ErrorKind::PermissionDenied.into()),
            false => Ok(()),
        }
    }
}

impl Fs for Denying {
    fn open(&self, path: &Path, mode: OpenMode) -> std::io::Result<Arc<dyn esker_vfs::File>> {
        let name = path.to_string_lossy();
        Denying::judge(!self.open.is_empty() && name.ends_with(self.open))?;
        self.inner.open(path, mode)
    }

    fn create_new(&self, path: &Path) -> std::io::Result<Arc<dyn esker_vfs::File>> {
        self.inner.create_new(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> std::io::Result<()> {
        self.inner.remove_file(path)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.inner.hard_link(from, to)
    }

    fn list(&self, dir: &Path) -> std::io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn metadata(&self, path: &Path) -> std::io::Result<esker_vfs::Metadata> {
        self.inner.metadata(path)
    }

    fn create_dir_all(&self, dir: &Path) -> std::io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn remove_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.inner.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        Denying::judge(dir == Path::new(self.sync_dir))?;
        self.inner.sync_dir(dir)
    }

    fn lock(
        &self,
        path: &Path,
        mode: esker_vfs::LockMode,
    ) -> std::io::Result<Box<dyn esker_vfs::FileLock>> {
        self.inner.lock(path, mode)
    }

    fn free_space(&self, path: &Path) -> std::io::Result<u64> {
        self.inner.free_space(path)
    }
}
