//! Checkpoints: an independent copy of the database, as of one moment, by hard links.
//!
//! Sstables are linked (immutable, and identified by more than their name). Log segments are copied up to where the log
//! stood, because the original goes on being written. The copy gets a manifest and a database id of its own; `CURRENT`
//! is made last, so a half-made copy is no database.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use esker_base::names::{FileKind, LOCK};
use esker_base::{Error, FileNumber, Result, mutant};
use esker_manifest::{ManifestLog, Shutdown, Version, WalSegmentMeta};
use esker_vfs::OpenMode;

use crate::core::{Core, new_file_id};
use crate::open::{create_dir, sync_parent};

/// How much is copied at a time, in bytes.
const CHUNK_LEN: u64 = 1 << 20;

impl Core {
    pub(crate) fn checkpoint(&self, target: &Path) -> Result<()> {
        self.check_writable()?;
        let fs = &*self.world.fs;
        match fs.list(target) {
            Ok(names) if names.is_empty() => sync_parent(&self.world, target)?,
            Ok(_) => {
                let message = format!("{} is not empty; choose a new directory", target.display());
                return Err(Error::invalid(message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_dir(&self.world, target)?;
            }
            Err(error) => return Err(Error::io("list", target, error)),
        }
        // From here to the end no file is removed, so what the version names stays.
        self.file_pins.fetch_add(1, Ordering::AcqRel);
        let result = self.picture().and_then(|(version, ends)| self.copy(version, &ends, target));
        self.file_pins.fetch_sub(1, Ordering::AcqRel);
        self.background.wake();
        if result.is_err() {
            for name in fs.list(target).unwrap_or_default() {
                let _ = fs.remove_file(&target.join(name));
            }
            let _ = fs.remove_dir(target);
        }
        result
    }

    /// The version, and where each log segment ended, at one moment between two commits. Everything acknowledged is in
    /// the files by then.
    fn picture(&self) -> Result<(Version, Vec<(FileNumber, u64)>)> {
        let mut log = self.log.lock();
        // After a failure the log may lack what was acknowledged, and hold a commit that was not.
        self.health.check_writable()?;
        self.write_deferred(&mut log)?;
        self.sync_log(&mut log)?;
        let mut ends: Vec<_> = log.finished.iter().map(|s| (s.number, s.end)).collect();
        let current = log.writer()?.position();
        ends.push((current.file, current.offset));
        let mut version = Version::clone(&self.manifest.lock().version);
        version.last_seq = log.last_seq;
        Ok((version, ends))
    }

    fn copy(&self, mut version: Version, ends: &[(FileNumber, u64)], target: &Path) -> Result<()> {
        for number in version.live_sstables() {
            self.link(&FileKind::Sstable.name(number), target)?;
        }
        for number in version.live_value_files() {
            if !mutant!("values_not_in_checkpoint") {
                self.link(&FileKind::Values.name(number), target)?;
            }
        }
        let mut segments = Vec::new();
        for &(number, end) in ends {
            let Some(meta) = version.wal.iter().find(|meta| meta.number == number) else {
                continue;
            };
            self.copy_bytes(&FileKind::Wal.name(number), end, target)?;
            segments.push(WalSegmentMeta { ends_at: Some(end), ..meta.clone() });
        }
        version.wal = segments;
        self.world.random.fill(&mut version.database_id);
        version.shutdown = Shutdown::Open;
        let number = version.next_file;
        version.next_file = number.next();
        let fs = &*self.world.fs;
        let lock = fs.create_new(&target.join(LOCK));
        lock.map_err(|error| Error::io("create a lock in", target, error))?;
        fs.sync_dir(target).map_err(|error| Error::io("sync", target, error))?;
        let id = new_file_id(&self.world);
        ManifestLog::create(&self.world, target, number, id, &version).map(|_| ())
    }

    /// Links a file, or copies it where links cannot be made.
    fn link(&self, name: &str, target: &Path) -> Result<()> {
        let fs = &*self.world.fs;
        if fs.hard_link(&self.dir.join(name), &target.join(name)).is_ok() {
            return Ok(());
        }
        let path = self.dir.join(name);
        let metadata = fs.metadata(&path).map_err(|error| Error::io("look at", &path, error))?;
        self.copy_bytes(name, metadata.len, target)
    }

    /// Copies the first `len` bytes of a file and makes them durable.
    fn copy_bytes(&self, name: &str, len: u64, target: &Path) -> Result<()> {
        let fs = &*self.world.fs;
        let (from_path, to_path) = (self.dir.join(name), target.join(name));
        let from = fs
            .open(&from_path, OpenMode::Read)
            .map_err(|error| Error::io("open", &from_path, error))?;
        let to = fs.create_new(&to_path).map_err(|error| Error::io("create", &to_path, error))?;
        let mut chunk = vec![0; CHUNK_LEN.min(len) as usize];
        let mut offset = 0;
        while offset < len {
            let part = &mut chunk[..CHUNK_LEN.min(len - offset) as usize];
            from.read_exact_at(part, offset)
                .map_err(|error| Error::io("read", &from_path, error))?;
            to.write_all_at(part, offset).map_err(|error| Error::io("write", &to_path, error))?;
            offset += part.len() as u64;
        }
        to.sync_all().map_err(|error| Error::io("sync", &to_path, error))
    }
}
