//! Carrying a merge out: sorted entries in, sstables out.
//!
//! Flush calls [`build`] on a memtable's cursor, compaction calls [`compact`] with a task. Each
//! output is synced as it is finished and the directory once at the end; only then does the caller
//! write the manifest edit. On any error, also when cancelled, every output is removed again and
//! the inputs are untouched.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use esker_base::merge::MergingCursor;
use esker_base::names::FileKind;
use esker_base::{Cursor, Error, ErrorKind, FileId, FileNumber, Result, key, mutant};
use esker_manifest::{Compression, FileMeta, ValueFileMeta};
use esker_sstable::{
    FileSource, LevelCursor, Reader, SstableCursor, Summary, Writer, WriterOptions,
};
use esker_vfs::Fs;

use crate::retain::{Below, Retain, Rules, Survivors};
use crate::strategy::{Task, TaskKind};
use crate::values::{Place, ValuePolicy, Values};

#[cfg(test)]
mod tests;

/// Entries between two looks at the cancellation flag.
const CANCEL_INTERVAL: u64 = 256;
/// Bytes copied out of value files between two looks at it.
const CANCEL_BYTES: u64 = 1 << 20;
/// Bytes written between two calls of the limiter.
const LIMITER_BYTES: u64 = 64 * 1024;
/// An output is cut for the sake of the level below only when it has this part of its target
/// length.
const EARLY_CUT_PART: u64 = 4;

/// Spreads writing over time.
pub trait Limiter: Sync {
    /// Called after about so many bytes were written; may block.
    fn spend(&self, bytes: u64);
}

/// A limiter that does not limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Limiter for Unlimited {
    fn spend(&self, _bytes: u64) {}
}

/// Where and how outputs are written.
pub struct BuildContext<'a> {
    /// The file system.
    pub fs: Arc<dyn Fs>,
    /// The database's directory.
    pub dir: &'a Path,
    /// How each file is written.
    pub writer: WriterOptions,
    /// What becomes of large values.
    pub values: ValuePolicy,
    /// An output is cut at the first new user key after this many bytes; `u64::MAX` for a single
    /// file.
    pub target_file_bytes: u64,
    /// The files of the level below the outputs, by key: an output that would overlap too many of
    /// them is cut early. [`compact`] sets it; a flush leaves it empty.
    pub grandparents: Vec<Arc<FileMeta>>,
    /// The most bytes of grandparents that one output should overlap.
    pub grandparent_bytes_max: u64,
    /// Ends the work with [`ErrorKind::Closed`] when it becomes true.
    pub cancel: &'a AtomicBool,
    /// The pace.
    pub limiter: &'a dyn Limiter,
    /// The number and the fresh identity of each output.
    pub next_file: &'a mut dyn FnMut() -> Result<(FileNumber, FileId)>,
    /// The wall-clock time that the outputs record, in milliseconds since 1970.
    pub now_ms: u64,
}

/// What a merge wrote.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// The sstables, by key.
    pub files: Vec<FileMeta>,
    /// The value files that only these sstables point into.
    pub value_files: Vec<ValueFileMeta>,
    /// The value files out of which a value was to be copied that cannot be read, and what is wrong. Their entries point
    /// to them as before.
    pub damaged: Vec<(FileNumber, Error)>,
}

impl Built {
    /// Bytes that were written.
    pub fn bytes(&self) -> u64 {
        let values = self.value_files.iter().map(|file| file.len);
        self.files.iter().map(|file| file.len).chain(values).sum()
    }

    /// The files by kind and number.
    pub fn names(&self) -> Vec<(FileKind, FileNumber)> {
        let values = self.value_files.iter().map(|file| (FileKind::Values, file.number));
        self.files.iter().map(|file| (FileKind::Sstable, file.number)).chain(values).collect()
    }
}

/// The sstable writer's word for a keyspace's compression.
pub fn compression_of(compression: Compression) -> esker_sstable::Compression {
    match compression {
        Compression::None => esker_sstable::Compression::None,
        Compression::Lz4 => esker_sstable::Compression::Lz4,
    }
}

/// Writes what survives of `cursor`'s entries, from its first on, into sstables with ascending
/// keys, and large values into value files; none if nothing survives. All versions of a user key land in one file. The files and their
/// names are durable when this returns.
///
/// Errors are the cursor's, the file system's, those of `next_file`, or [`ErrorKind::Closed`] after
/// a cancellation; the outputs are then removed again.
pub fn build<C: Cursor + ?Sized>(
    cursor: &mut C,
    retain: Retain<'_>,
    ctx: &mut BuildContext<'_>,
) -> Result<Built> {
    let policy = std::mem::replace(&mut ctx.values, ValuePolicy::none());
    let mut outputs = Outputs::new(ctx, policy);
    match outputs.run(Survivors::new(cursor, retain)) {
        Ok(()) => Ok(Built {
            files: outputs.finished,
            value_files: outputs.values.take(),
            damaged: outputs.values.take_damaged(),
        }),
        Err(error) => {
            outputs.remove();
            Err(error)
        }
    }
}

/// Carries out a merge: reads the task's inputs through `open`, and writes what survives. `levels`
/// is the picture that the task was picked from. An output for level 0 is a single file.
/// `InvalidArgument` if the task is not a merge; otherwise as [`build`].
pub fn compact(
    task: &Task,
    levels: &[Vec<Arc<FileMeta>>],
    rules: Rules<'_>,
    open: &dyn Fn(&Arc<FileMeta>) -> Result<Arc<Reader>>,
    ctx: &mut BuildContext<'_>,
) -> Result<Built> {
    if task.kind != TaskKind::Merge {
        return Err(Error::invalid("only merges are carried out; moves and drops are edits"));
    }
    if task.output_level == 0 {
        ctx.target_file_bytes = u64::MAX;
        ctx.grandparents = Vec::new();
    } else {
        ctx.grandparents = levels.get(task.output_level + 1).cloned().unwrap_or_default();
    }
    let mut merged = MergingCursor::new(inputs(task, open)?);
    build(&mut merged, Retain::new(rules, Below::of_task(task, levels)), ctx)
}

/// One child of the merge.
enum Input<'a> {
    File(SstableCursor),
    Level(LevelCursor<Vec<Source<'a>>>),
}

/// A file of a level, opened when the merge gets to it.
struct Source<'a> {
    meta: &'a Arc<FileMeta>,
    open: &'a dyn Fn(&Arc<FileMeta>) -> Result<Arc<Reader>>,
}

impl FileSource for Source<'_> {
    fn smallest(&self) -> &[u8] {
        &self.meta.smallest
    }
    fn largest(&self) -> &[u8] {
        &self.meta.largest
    }
    fn open(&self) -> Result<Arc<Reader>> {
        (self.open)(self.meta)
    }
}

/// Each file of level 0 by itself, each deeper level as one run. Nothing is kept in the block
/// cache.
fn inputs<'a>(
    task: &'a Task,
    open: &'a dyn Fn(&Arc<FileMeta>) -> Result<Arc<Reader>>,
) -> Result<Vec<Input<'a>>> {
    let mut children = Vec::new();
    for run in task.inputs.chunk_by(|a, b| a.0 == b.0 && a.0 != 0) {
        if run[0].0 == 0 {
            children.push(Input::File(open(&run[0].1)?.cursor(false)));
        } else {
            let sources: Vec<_> = run.iter().map(|(_, meta)| Source { meta, open }).collect();
            children.push(Input::Level(LevelCursor::new(sources, false)));
        }
    }
    Ok(children)
}

/// Files under construction.
struct Outputs<'c, 'a> {
    ctx: &'c mut BuildContext<'a>,
    finished: Vec<FileMeta>,
    values: Values,
    writer: Option<Writer>,
    /// The user key added last.
    last: Vec<u8>,
    /// Bytes of the current file that the limiter has heard of.
    spent: u64,
    /// The first grandparent that does not end before the keys to come, and the bytes passed with
    /// the current file.
    grandparent: usize,
    passed_bytes: u64,
}

impl<'c, 'a> Outputs<'c, 'a> {
    fn new(ctx: &'c mut BuildContext<'a>, policy: ValuePolicy) -> Outputs<'c, 'a> {
        Outputs {
            ctx,
            values: Values::new(policy),
            finished: Vec::new(),
            writer: None,
            last: Vec::new(),
            spent: 0,
            grandparent: 0,
            passed_bytes: 0,
        }
    }

    fn run<C: Cursor + ?Sized>(&mut self, mut survivors: Survivors<'_, '_, C>) -> Result<()> {
        let (mut seen, mut copied_before) = (0u64, 0);
        while let Some(stays) = survivors.step()? {
            let copied = self.values.copied_bytes();
            if seen.is_multiple_of(CANCEL_INTERVAL) || copied - copied_before >= CANCEL_BYTES {
                self.check_cancelled()?;
                copied_before = copied;
            }
            seen += 1;
            if stays {
                self.add(survivors.key(), survivors.value())?;
            }
        }
        self.values.finish()?;
        self.finish_file()?;
        self.check_cancelled()?;
        if !self.finished.is_empty() {
            let (fs, dir) = (&self.ctx.fs, self.ctx.dir);
            if !mutant!("sstable_dir_not_synced") {
                fs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
            }
        }
        Ok(())
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.ctx.cancel.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Closed, "the merge was cancelled"));
        }
        Ok(())
    }

    fn add(&mut self, internal_key: &[u8], value: &[u8]) -> Result<()> {
        let user_key = key::user_key(internal_key);
        // Versions of one key stay together: below level 0, files are disjoint by user key.
        if self.writer.is_none() || self.last != user_key || mutant!("compact_versions_split") {
            self.pass_grandparents(user_key);
            if self.is_full() {
                self.finish_file()?;
                if mutant!("compact_entry_lost_at_cut") {
                    return Ok(());
                }
            }
            self.last.clear();
            self.last.extend_from_slice(user_key);
        } else if mutant!("values_snapshots_ignored") && self.values.empties(internal_key, value) {
            return Ok(());
        }
        let mut place =
            Place { fs: &self.ctx.fs, dir: self.ctx.dir, next_file: &mut *self.ctx.next_file };
        let (internal_key, value) = self.values.place(internal_key, value, &mut place)?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let (number, file_id) = (self.ctx.next_file)()?;
                self.spent = 0;
                self.passed_bytes = 0;
                let (fs, options) = (self.ctx.fs.clone(), self.ctx.writer.clone());
                self.writer.insert(Writer::create(fs, self.ctx.dir, number, file_id, options)?)
            }
        };
        writer.add(internal_key, value)?;
        let written = writer.written_bytes();
        if written - self.spent.min(written) >= LIMITER_BYTES {
            self.ctx.limiter.spend(written - self.spent);
            self.spent = written;
        }
        Ok(())
    }

    /// Counts the grandparents that end before `user_key`.
    fn pass_grandparents(&mut self, user_key: &[u8]) {
        while let Some(file) = self.ctx.grandparents.get(self.grandparent) {
            if file.largest_user_key() >= user_key {
                return;
            }
            self.passed_bytes = self.passed_bytes.saturating_add(file.len);
            self.grandparent += 1;
        }
    }

    fn is_full(&self) -> bool {
        let written = self.writer.as_ref().map_or(0, Writer::written_bytes);
        let target = self.ctx.target_file_bytes;
        written >= target
            || self.passed_bytes > self.ctx.grandparent_bytes_max
                && written >= target / EARLY_CUT_PART
    }

    fn finish_file(&mut self) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let summary = writer.finish()?;
        let rest = summary.len.saturating_sub(self.spent);
        self.finished.push(file_meta(summary, self.ctx.now_ms));
        self.ctx.limiter.spend(rest);
        Ok(())
    }

    /// Takes back what was written. What cannot be removed is an orphan that the next open removes.
    fn remove(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.abandon();
        }
        self.values.remove(&*self.ctx.fs, self.ctx.dir);
        for file in self.finished.drain(..) {
            let path = self.ctx.dir.join(FileKind::Sstable.name(file.number));
            let _ = self.ctx.fs.remove_file(&path);
        }
    }
}

/// What the manifest is to know of a file that was written.
pub fn file_meta(summary: Summary, created_ms: u64) -> FileMeta {
    FileMeta {
        number: summary.number,
        file_id: summary.file_id,
        len: summary.len,
        checksum: summary.checksum,
        smallest: summary.smallest,
        largest: summary.largest,
        min_seq: summary.min_seq,
        max_seq: summary.max_seq,
        entry_count: summary.entry_count,
        delete_count: summary.delete_count,
        seq_override: None,
        created_ms,
        values: summary.values,
    }
}

impl Cursor for Input<'_> {
    fn valid(&self) -> bool {
        match self {
            Input::File(cursor) => cursor.valid(),
            Input::Level(cursor) => cursor.valid(),
        }
    }
    fn seek_to_first(&mut self) -> Result<()> {
        match self {
            Input::File(cursor) => cursor.seek_to_first(),
            Input::Level(cursor) => cursor.seek_to_first(),
        }
    }
    fn seek_to_last(&mut self) -> Result<()> {
        match self {
            Input::File(cursor) => cursor.seek_to_last(),
            Input::Level(cursor) => cursor.seek_to_last(),
        }
    }
    fn seek(&mut self, target: &[u8]) -> Result<()> {
        match self {
            Input::File(cursor) => cursor.seek(target),
            Input::Level(cursor) => cursor.seek(target),
        }
    }
    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        match self {
            Input::File(cursor) => cursor.seek_for_prev(target),
            Input::Level(cursor) => cursor.seek_for_prev(target),
        }
    }
    fn next(&mut self) -> Result<()> {
        match self {
            Input::File(cursor) => cursor.next(),
            Input::Level(cursor) => cursor.next(),
        }
    }
    fn prev(&mut self) -> Result<()> {
        match self {
            Input::File(cursor) => cursor.prev(),
            Input::Level(cursor) => cursor.prev(),
        }
    }
    fn key(&self) -> &[u8] {
        match self {
            Input::File(cursor) => cursor.key(),
            Input::Level(cursor) => cursor.key(),
        }
    }
    fn value(&self) -> &[u8] {
        match self {
            Input::File(cursor) => cursor.value(),
            Input::Level(cursor) => cursor.value(),
        }
    }
}
