//! Making a segment file: named, sized, with its header, durable before its first frame. The engine
//! makes the spare segment with it, `tail` the ones that a recovery writes. It never touches a
//! segment that the log needs. Also here: how bytes get into a segment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::names::{FileKind, TEMPORARY_SUFFIX};
use esker_base::{Epoch, Error, FileId, FileNumber, LogPosition, Result, checksum, mutant};
use esker_vfs::{File, Fs, OpenMode, WriteMap};

use crate::format::{CONTROL_LEN, HEADER_LEN, Header, blank_step};
use crate::frame::{self, Place};

/// The largest segment, in bytes (1 GiB): a reader holds one segment in memory.
pub const SEGMENT_LEN_MAX: u64 = 1 << 30;

const _: () = assert!(SEGMENT_LEN_MAX <= u32::MAX as u64);

/// Segment sizes that [`segment_size_for`] returns are multiples of this.
const SIZE_STEP: u64 = 4096;

/// How much is zeroed at a time.
const CHUNK_LEN: usize = 1 << 20;

/// Enough for a step ahead of stores, without asking for memory while the log is held.
static ZEROS: [u8; STORE_STEP as usize] = [0; STORE_STEP as usize];

/// A segment may grow to so many times the length that it was made with.
pub const GROWTH_MAX: u64 = 4;

/// Larger frames are written by a call even where they could be stored: it costs 0.9 us and then 50 ns for every KiB, a
/// store 150 ns for every KiB, where this was measured.
const STORE_LEN_MAX: usize = 8 << 10;

/// So much is written ahead of stores at a time, at multiples of it: what a map makes ready at a time lies inside.
const STORE_STEP: u64 = 64 << 10;

/// What a new segment is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSpec {
    /// Its number; higher than that of every segment before it in the log.
    pub number: FileNumber,
    /// Its identity, random. One that is made of a retired segment takes only 12 bytes of it; see [`Segment::file_id`].
    pub file_id: FileId,
    /// The writable open that makes it.
    pub epoch: Epoch,
    /// Its size in bytes, allocated at once; see [`segment_size_for`].
    pub size_bytes: u64,
    /// Whether to write zeros over the whole of it. Allocated space already reads as zeros, but
    /// then a sync must also record that it is in use: 355 us against 220 us a sync where this was
    /// measured.
    pub zero_fill: bool,
    /// A retired segment, under its [`retired_name`], whose file becomes this one: its blocks are in use already, so that
    /// nothing has to be filled with zeros. It is given up at once; no log may need it any more, and nobody else hold it.
    pub recycle: Option<FileNumber>,
    /// Whether to map it for writes, where that is safe; see [`crate::Writer::append_buffered`]. Zeros are written a step ahead
    /// of the stores. Where the disk fails while mapped pages are used, the process may end.
    pub map: bool,
}

/// A segment that is ready for its first frame.
#[derive(Debug)]
pub struct Segment {
    pub(crate) file: Arc<dyn File>,
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    pub(crate) size_bytes: u64,
    /// Where its frames stand.
    pub(crate) place: Place,
    map: Option<Box<dyn WriteMap>>,
    /// How much of it `map` covers.
    mapped_bytes: u64,
    /// Up to here all was written by calls, frames or zeros: stores find their blocks, and what is no frame is zeros. Never
    /// before the end of the last frame.
    written_to: u64,
}

impl Segment {
    /// Its number.
    pub fn number(&self) -> FileNumber {
        self.header.number
    }

    /// Its identity.
    pub fn file_id(&self) -> FileId {
        self.header.file_id
    }

    /// Which writable open made it.
    pub fn epoch(&self) -> Epoch {
        self.header.epoch
    }

    /// Its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The size in bytes that it was made with; it may have grown since.
    pub fn made_bytes(&self) -> u64 {
        self.header.size_bytes.into()
    }

    /// Whether buffered groups are stored through a map.
    pub fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// Writes a frame right behind what was written before; by a store where `by_store` allows and it pays.
    pub(crate) fn put(&mut self, frame: &[u8], offset: u64, by_store: bool) -> std::io::Result<()> {
        let end = offset + frame.len() as u64;
        let by_store = by_store && frame.len() <= STORE_LEN_MAX && end <= self.mapped_bytes;
        if end > self.written_to {
            match self.header.is_recycled || by_store && self.map.is_some() {
                true => self.blank_ahead(frame.len(), end)?,
                false => self.written_to = end,
            }
        }
        match &mut self.map {
            Some(map) if by_store => map.store(frame, offset),
            _ => self.file.write_all_at(frame, offset),
        }
    }

    /// Makes it longer, by its first length; see [`crate::Writer::grow`].
    pub(crate) fn grow(&mut self) -> bool {
        let grown = self.size_bytes + self.made_bytes();
        let most = (GROWTH_MAX * self.made_bytes()).min(SEGMENT_LEN_MAX);
        if grown > most || self.file.allocate(grown).is_err() {
            return false;
        }
        self.size_bytes = grown;
        if self.map.is_some()
            && let Some(map) = self.file.map_for_writes(grown).ok().flatten()
        {
            self.map = Some(map);
            self.mapped_bytes = grown;
        }
        true
    }

    /// Writes zeros up to the step behind `end`: over what a recycled segment held before, and under the stores to come,
    /// which need blocks. Whole pages are written, so that none has to be read from the disk first, and a disk that is full or
    /// fails says so here and not in a store.
    #[cold]
    fn blank_ahead(&mut self, frame_len: usize, end: u64) -> std::io::Result<()> {
        let step = if self.header.is_recycled { blank_step(self.made_bytes()) } else { STORE_STEP };
        let to = end.next_multiple_of(step).min(self.size_bytes);
        // What a large frame covers is written once.
        let is_large = frame_len as u64 > step;
        let from = if is_large { to.saturating_sub(step) } else { 0 }.max(self.written_to);
        zero(&*self.file, from, to)?;
        self.written_to = to;
        Ok(())
    }

    /// Zeros have been written from the last frame to the end.
    pub(crate) fn zeros_written(&mut self) {
        self.written_to = self.size_bytes;
    }

    /// Makes a fresh segment durable: all of the file, or of a recycled one in a log that nobody syncs the first step
    /// alone. Its length and its blocks are as an earlier sync has left them, and what was written further on is no frame of
    /// this segment: a sync of it all would write a retired log to the device for nothing. Where the log is synced there is
    /// hardly anything to write, and the first sync of a commit shall not find more.
    fn make_durable(&self, spec: &SegmentSpec) -> std::io::Result<()> {
        if !self.header.is_recycled || spec.zero_fill {
            return self.file.sync_all();
        }
        let mut first = vec![0; self.written_to as usize];
        first[..HEADER_LEN].copy_from_slice(&self.header.encode());
        self.file.write_durably_at(&first, 0)
    }

    /// Maps it. Without a map it is as good, only slower.
    pub(crate) fn map(&mut self) {
        self.map = self.file.map_for_writes(self.size_bytes).ok().flatten();
        self.mapped_bytes = self.size_bytes;
    }

    /// Lets go of the map: the file is about to be cut, or takes no more frames.
    pub(crate) fn unmap(&mut self) {
        self.map = None;
    }

    /// Where its first frame goes.
    pub fn start(&self) -> LogPosition {
        LogPosition { file: self.number(), offset: HEADER_LEN as u64 }
    }
}

/// The size in bytes of a segment that can take one group of `payload_len` bytes: a multiple of
/// 4096.
pub fn segment_size_for(payload_len: usize) -> u64 {
    let frames = frame::encoded_len(payload_len) as u64 + CONTROL_LEN;
    (HEADER_LEN as u64 + frames).next_multiple_of(SIZE_STEP)
}

/// The name under which a segment waits to be used again: not that of a log segment, so that nobody who looks for those
/// takes it for one.
pub fn retired_name(number: FileNumber) -> String {
    format!("{}{TEMPORARY_SUFFIX}", FileKind::Wal.name(number))
}

/// Makes a segment and makes it durable, name included. It is built under a temporary name, so that
/// a segment's name never stands for less than a whole header; what an interrupted attempt left is
/// replaced. The file stays open as it was created, so failures scripted by path have to name
/// `*.wal.tmp` to strike a writer.
///
/// InvalidArgument for a size that is too small for any group or over 1 GiB; NoSpace, among other
/// errors of the file system, when the disk cannot hold it: nothing is left behind then, but a
/// recycled spare is gone.
pub fn create_segment(fs: &dyn Fs, dir: &Path, spec: &SegmentSpec) -> Result<Segment> {
    let segment = prepare(fs, dir, spec)?;
    let done = match mutant!("wal_segment_not_synced") {
        true => Ok(()),
        false => segment.make_durable(spec),
    };
    let done = done.map_err(|error| Error::io("sync", &segment.path, error));
    let name = if mutant!("wal_segment_dir_not_synced") { |_, _| Ok(()) } else { sync_dir };
    match done.and_then(|()| publish(fs, &segment.path)).and_then(|()| name(fs, dir)) {
        Ok(()) => Ok(segment),
        Err(error) => {
            discard(fs, &segment.path);
            Err(error)
        }
    }
}

/// Makes a segment under its temporary name; nothing is synced. [`publish`] or [`discard`] must
/// follow.
pub(crate) fn prepare(fs: &dyn Fs, dir: &Path, spec: &SegmentSpec) -> Result<Segment> {
    if !(segment_size_for(1)..=SEGMENT_LEN_MAX).contains(&spec.size_bytes) {
        return Err(Error::invalid(format!(
            "a log segment of {} bytes; it takes {} to {SEGMENT_LEN_MAX}",
            spec.size_bytes,
            segment_size_for(1),
        )));
    }
    let path = dir.join(FileKind::Wal.name(spec.number));
    let temporary = temporary(&path);
    remove_if_there(fs, &temporary)?;
    let made = match spec.recycle {
        None => create(fs, &temporary, spec).map(|file| (file, spec.file_id)),
        Some(retired) => recycle(fs, &dir.join(retired_name(retired)), &temporary, spec),
    };
    let made = made.and_then(|(file, file_id)| {
        let header = Header {
            number: spec.number,
            epoch: spec.epoch,
            file_id,
            size_bytes: spec.size_bytes as u32,
            is_recycled: spec.recycle.is_some(),
        };
        let written = file.write_all_at(&header.encode(), 0);
        written.map_err(|error| Error::io("write", &temporary, error)).map(|()| (file, header))
    });
    match made {
        Ok((file, header)) => {
            let size_bytes = spec.size_bytes;
            let is_recycled = spec.recycle.is_some();
            let written_to = match (is_recycled, spec.zero_fill) {
                (true, _) => blank_step(size_bytes),
                (false, true) => size_bytes,
                (false, false) => HEADER_LEN as u64,
            };
            let place = header.place();
            let mut segment = Segment {
                file,
                path,
                header,
                size_bytes,
                place,
                map: None,
                mapped_bytes: 0,
                written_to,
            };
            if spec.map {
                segment.map();
            }
            Ok(segment)
        }
        Err(error) => {
            discard(fs, &path);
            Err(error)
        }
    }
}

/// Gives a prepared segment its name. The caller has synced the file and goes on to sync the
/// directory.
pub(crate) fn publish(fs: &dyn Fs, path: &Path) -> Result<()> {
    fs.rename(&temporary(path), path).map_err(|error| Error::io("rename to", path, error))
}

/// Removes the temporary file of a segment that came to nothing. A failure only leaves a file that
/// the next writable open removes, so it does not hide the first error.
pub(crate) fn discard(fs: &dyn Fs, path: &Path) {
    let _ = fs.remove_file(&temporary(path));
}

pub(crate) fn sync_dir(fs: &dyn Fs, dir: &Path) -> Result<()> {
    fs.sync_dir(dir).map_err(|error| Error::io("sync directory", dir, error))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

fn remove_if_there(fs: &dyn Fs, path: &Path) -> Result<()> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn create(fs: &dyn Fs, temporary: &Path, spec: &SegmentSpec) -> Result<Arc<dyn File>> {
    let file = fs.create_new(temporary).map_err(|error| Error::io("create", temporary, error))?;
    file.allocate(spec.size_bytes).map_err(|error| Error::io("allocate", temporary, error))?;
    if spec.zero_fill {
        zero(&*file, 0, spec.size_bytes)
            .map_err(|error| Error::io("write zeros to", temporary, error))?;
    }
    Ok(file)
}

/// The id of a segment made of the file of `old`: `drawn`, but for its last bytes. They are chosen so that its CRC is one more
/// than that of `old`. All checks of a frame begin with the CRC of the id, so that frames that are left of `old`, and of
/// the segments that `old` was made of in the same way, are certain to fail where they stand.
fn succeeding(old: FileId, drawn: FileId) -> FileId {
    let mut id = drawn;
    let (kept, chosen) = id.0.split_at_mut(12);
    let wanted = checksum::plain(&old.0).wrapping_add(1);
    chosen.copy_from_slice(&checksum::bridge(checksum::plain(kept), wanted));
    id
}

/// Takes over the file of a retired segment, and says which id it has from now on. What it held stays, but for the first step
/// of zeros: its frames cannot pass under that id.
fn recycle(
    fs: &dyn Fs,
    retired: &Path,
    temporary: &Path,
    spec: &SegmentSpec,
) -> Result<(Arc<dyn File>, FileId)> {
    fs.rename(retired, temporary).map_err(|error| Error::io("rename", retired, error))?;
    let mut header = [0; HEADER_LEN];
    let made = fs.open(temporary, OpenMode::ReadWrite).and_then(|file| {
        file.read_exact_at(&mut header, 0)?;
        let old_len = file.len()?;
        if old_len > spec.size_bytes {
            file.truncate(spec.size_bytes)?;
        }
        if old_len < spec.size_bytes {
            file.allocate(spec.size_bytes)?;
            if spec.zero_fill {
                zero(&*file, old_len, spec.size_bytes)?;
            }
        }
        if old_len != spec.size_bytes {
            file.sync_all()?;
        }
        zero(&*file, 0, blank_step(spec.size_bytes))?;
        Ok(file)
    });
    let file = made.map_err(|error| Error::io("recycle", temporary, error))?;
    let old = Header::decode(&header, temporary)?.file_id;
    let is_kept = mutant!("wal_recycled_keeps_id");
    Ok((file, if is_kept { old } else { succeeding(old, spec.file_id) }))
}

/// Writes zeros, and has the system write them back as they come: a long dirty range would hold up everybody else's syncs
/// all at once.
pub(crate) fn zero(file: &dyn File, mut offset: u64, end: u64) -> std::io::Result<()> {
    let chunk_len = CHUNK_LEN.min(end.saturating_sub(offset) as usize);
    let made;
    let zeros = match ZEROS.get(..chunk_len) {
        Some(zeros) => zeros,
        None => {
            made = vec![0; chunk_len];
            made.as_slice()
        }
    };
    while offset < end {
        let len = CHUNK_LEN.min((end - offset) as usize);
        file.write_all_at(&zeros[..len], offset)?;
        if len == CHUNK_LEN {
            file.start_writeback(offset, len as u64)?;
        }
        offset += len as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{simulated, spec, world};
    use esker_base::ErrorKind;

    fn content(file: &dyn File) -> Vec<u8> {
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_segment_is_a_header_and_zeros() {
        let (fs, dir) = world();
        for zero_fill in [false, true] {
            let spec = SegmentSpec { zero_fill, ..spec(7) };
            let segment = create_segment(&*fs, &dir, &spec).unwrap();
            let bytes = content(&*segment.file);
            assert_eq!(bytes.len() as u64, spec.size_bytes);
            assert_eq!(Header::decode(&bytes, &segment.path).unwrap(), segment.header);
            assert!(bytes[HEADER_LEN..].iter().all(|&byte| byte == 0));
            assert_eq!(fs.list(&dir).unwrap(), ["0000000007.wal"]);
        }
    }

    #[test]
    fn what_an_interrupted_attempt_left_is_replaced() {
        let (fs, dir) = world();
        prepare(&*fs, &dir, &spec(7)).unwrap();
        assert_eq!(fs.list(&dir).unwrap(), ["0000000007.wal.tmp"]);
        create_segment(&*fs, &dir, &spec(7)).unwrap();
        create_segment(&*fs, &dir, &spec(7)).unwrap();
        assert_eq!(fs.list(&dir).unwrap(), ["0000000007.wal"]);
    }

    /// Its old bytes are left where they are; only the first step is zeros.
    #[test]
    fn a_recycled_segment_has_a_new_identity_and_the_size_asked_for() {
        let (fs, dir) = world();
        let size_bytes = 3 << 16;
        let step = blank_step(size_bytes) as usize;
        for (number, old_size) in [(1, 4096), (3, size_bytes), (5, 4 << 16)] {
            let old = SegmentSpec { size_bytes: old_size, ..spec(number) };
            let old = create_segment(&*fs, &dir, &old).unwrap();
            old.file.write_all_at(&vec![7; old_size as usize - 90], 90).unwrap();
            fs.rename(&old.path, &dir.join(retired_name(old.number()))).unwrap();
            let spec =
                SegmentSpec { size_bytes, recycle: Some(FileNumber(number)), ..spec(number + 1) };
            let segment = create_segment(&*fs, &dir, &spec).unwrap();
            let bytes = content(&*segment.file);
            assert_eq!(bytes.len(), size_bytes as usize);
            let header = Header::decode(&bytes, &segment.path).unwrap();
            assert!(header.number == spec.number && header.is_recycled && header == segment.header);
            assert!(bytes[HEADER_LEN..step].iter().all(|&byte| byte == 0));
            let left = bytes[step..].iter().filter(|&&byte| byte == 7).count();
            assert_eq!(left, (old_size.min(size_bytes) as usize).saturating_sub(step));
        }
        let names = ["0000000002.wal", "0000000004.wal", "0000000006.wal"];
        assert_eq!(fs.list(&dir).unwrap(), names);
    }

    /// Where the id that was drawn has the CRC of the old one, every old frame was valid.
    #[test]
    fn no_frame_of_any_segment_that_a_file_was_before_is_valid() {
        let (fs, dir) = world();
        let size_bytes = 2 << 20;
        let drawn = spec(1).file_id;
        let made = SegmentSpec { size_bytes, file_id: drawn, ..spec(1) };
        let mut segment = create_segment(&*fs, &dir, &made).unwrap();
        let step = blank_step(size_bytes);
        let mut at = size_bytes - 4 * step;
        for number in 2..=6 {
            // Each leaves a frame behind those that the ones to come write over.
            let mut frame = Vec::new();
            let none = LogPosition::default();
            frame::encode(segment.place, at, 1, none, &[number as u8; 5000], &mut frame);
            segment.file.write_all_at(&frame, at).unwrap();
            let old = content(&*segment.file);
            assert_eq!(frame::scan(segment.place, at, &old).count(), 1, "{number}");
            at -= step;
            fs.rename(&segment.path, &dir.join(retired_name(segment.number()))).unwrap();
            let recycle = Some(segment.number());
            // The same, and another of the same CRC.
            let mut file_id = drawn;
            if number % 2 == 0 {
                file_id.0[0] ^= 1;
                let front = checksum::plain(&file_id.0[..12]);
                let tail = checksum::bridge(front, checksum::plain(&drawn.0));
                file_id.0[12..].copy_from_slice(&tail);
            }
            let made = SegmentSpec { size_bytes, recycle, file_id, ..spec(number) };
            segment = create_segment(&*fs, &dir, &made).unwrap();
            assert_eq!(segment.file_id().0[..12], file_id.0[..12]);
            let bytes = content(&*segment.file);
            assert_eq!(Header::decode(&bytes, &segment.path).unwrap(), segment.header);
            assert_eq!(frame::scan(segment.place, 64, &bytes).count(), 0, "{number}");
        }
    }

    /// What a retired segment held was written to the device each time its file was used again.
    #[test]
    fn recycling_makes_the_first_step_durable_and_leaves_what_was_not() {
        use esker_vfs::simulated::CrashPolicy;
        for zero_fill in [false, true] {
            let (fs, dir) = simulated();
            let size_bytes = 3 << 16;
            let step = blank_step(size_bytes) as usize;
            let old = SegmentSpec { size_bytes, zero_fill, ..spec(1) };
            let old = create_segment(&fs, &dir, &old).unwrap();
            old.file.write_all_at(&vec![7; size_bytes as usize - 64], 64).unwrap();
            fs.rename(&old.path, &dir.join(retired_name(old.number()))).unwrap();
            let recycle = Some(FileNumber(1));
            let spec = SegmentSpec { size_bytes, recycle, zero_fill, ..spec(2) };
            let segment = create_segment(&fs, &dir, &spec).unwrap();
            let after = fs.crash(CrashPolicy::DropAll, 0);
            let bytes = content(&*after.open(&segment.path, OpenMode::Read).unwrap());
            assert_eq!(Header::decode(&bytes, &segment.path).unwrap(), segment.header);
            assert!(bytes[HEADER_LEN..step].iter().all(|&byte| byte == 0));
            // Where the log is synced, the first sync of a commit finds nothing old to write.
            let left = if zero_fill { 7 } else { 0 };
            assert!(bytes[step..].iter().all(|&byte| byte == left), "{zero_fill}");
        }
    }

    /// Whatever the frames' lengths, only zeros stand between the last one and the next step.
    #[test]
    fn a_recycled_segment_is_zeros_a_step_ahead() {
        let (fs, dir) = world();
        let size_bytes = (40 << 16) + 4096;
        let step = blank_step(size_bytes) as usize;
        assert_eq!((step, blank_step(4096)), (64 << 10, 512));
        let old = create_segment(&*fs, &dir, &SegmentSpec { size_bytes, ..spec(1) }).unwrap();
        old.file.write_all_at(&vec![7; size_bytes as usize - 64], 64).unwrap();
        fs.rename(&old.path, &dir.join(retired_name(old.number()))).unwrap();
        let recycle = Some(FileNumber(1));
        let spec = SegmentSpec { size_bytes, recycle, map: true, ..spec(2) };
        let mut segment = create_segment(&*fs, &dir, &spec).unwrap();
        let mut end = 64;
        for len in [8, 4000, 60_000, 8, step + 8, 2 * step - 200, 4000, 68_000] {
            segment.put(&vec![9; len], end as u64, true).unwrap();
            end += len;
            let bytes = content(&*segment.file);
            assert!(bytes[64..end].iter().all(|&byte| byte == 9), "{end}");
            let ahead = end.next_multiple_of(step).min(bytes.len());
            assert!(bytes[end..ahead].iter().all(|&byte| byte == 0), "{end}");
            assert!(bytes[ahead..].iter().all(|&byte| byte == 7), "{end}");
            assert_eq!(segment.header.unwritten(&bytes, end as u64).len(), ahead - end);
        }
    }

    /// Whatever is stored and whatever written, and however it grows: frames stand where they were put, behind them are
    /// zeros, and no store goes where nothing was written.
    #[test]
    fn a_fresh_segment_is_written_ahead_of_stores() {
        let (fs, dir) = world();
        let spec = SegmentSpec { size_bytes: 300 << 10, map: true, ..spec(1) };
        let mut segment = create_segment(&*fs, &dir, &spec).unwrap();
        let is_mapped = segment.is_mapped();
        let (mut end, mut random) = (HEADER_LEN as u64, 7_u64);
        while end < 1000 << 10 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (len, kind) = (1 + (random >> 40) % 9000 / 4 * 4, random >> 33 & 7);
            let len = if kind == 0 { len * 10 } else { len };
            if end + len > segment.size_bytes() {
                assert!(segment.grow());
                assert_eq!(segment.is_mapped(), is_mapped);
            }
            segment.put(&vec![9; len as usize], end, kind < 6).unwrap();
            end += len;
            assert!(segment.written_to >= end);
        }
        let bytes = content(&*segment.file);
        assert_eq!(bytes.len(), 4 * (300 << 10));
        assert!(bytes[HEADER_LEN..end as usize].iter().all(|&byte| byte == 9));
        assert!(bytes[end as usize..].iter().all(|&byte| byte == 0));
    }

    /// Stores have their blocks: what fails is the writing ahead, and only when it is due.
    #[test]
    fn a_full_disk_is_an_error_of_the_writing_ahead() {
        use esker_vfs::Call;
        use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
        for recycles in [false, true] {
            let (disk, dir) = simulated();
            let fs = FaultFs::new(Arc::new(disk));
            let mut spec = SegmentSpec { size_bytes: 1 << 20, map: true, ..spec(2) };
            if recycles {
                let old = create_segment(&fs, &dir, &SegmentSpec { number: FileNumber(1), ..spec });
                let old = old.unwrap();
                fs.rename(&old.path, &dir.join(retired_name(old.number()))).unwrap();
                spec.recycle = Some(old.number());
            }
            let mut segment = create_segment(&fs, &dir, &spec).unwrap();
            let mut end = HEADER_LEN as u64;
            segment.put(&[9; 4096], end, true).unwrap();
            end += 4096;
            assert_eq!((segment.written_to, fs.calls_of(Call::Store)), (STORE_STEP, 1));
            let full = Rule::new(Fault::Fail(Failure::NoSpace)).on(&[Call::WriteAllAt]);
            fs.inject(full.sticky());
            while end + 4096 <= STORE_STEP {
                segment.put(&[9; 4096], end, true).unwrap();
                end += 4096;
            }
            assert_eq!((fs.calls_of(Call::Store), fs.strikes()), (15, 0));
            let error = segment.put(&[9; 4096], end, true).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
            assert_eq!((fs.calls_of(Call::Store), fs.strikes()), (15, 1));
            // Nothing of it was stored, and with space it is.
            fs.clear();
            let bytes = content(&*segment.file);
            assert!(bytes[end as usize..STORE_STEP as usize].iter().all(|&byte| byte == 0));
            segment.put(&[9; 4096], end, true).unwrap();
            assert_eq!((segment.written_to, fs.calls_of(Call::Store)), (2 * STORE_STEP, 16));
        }
    }

    #[test]
    fn a_segment_is_mapped_where_that_can_be_had() {
        let (fs, dir) = simulated();
        for (map, zero_fill) in [(false, false), (true, false), (false, true), (true, true)] {
            let made = create_segment(&fs, &dir, &SegmentSpec { map, zero_fill, ..spec(1) });
            assert_eq!(made.unwrap().is_mapped(), map);
        }
        let name = dir.join(FileKind::Wal.name(FileNumber(1)));
        fs.rename(&name, &dir.join(retired_name(FileNumber(1)))).unwrap();
        let recycled = SegmentSpec { map: true, recycle: Some(FileNumber(1)), ..spec(2) };
        assert!(create_segment(&fs, &dir, &recycled).unwrap().is_mapped());
        // A map that cannot be had costs speed alone.
        use esker_vfs::Call;
        use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
        let fs = FaultFs::new(Arc::new(fs));
        fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::MapForWrites]));
        let made = SegmentSpec { map: true, zero_fill: true, ..spec(3) };
        assert!(!create_segment(&fs, &dir, &made).unwrap().is_mapped());
    }

    #[test]
    fn a_segment_that_cannot_be_made_leaves_nothing_behind() {
        use esker_vfs::Call;
        use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
        for (recycle, zero_fill, call, skipped) in [
            (None, false, Call::CreateNew, 0),
            (None, false, Call::Allocate, 0),
            (None, true, Call::WriteAllAt, 0),
            (None, false, Call::WriteAllAt, 0),
            (None, false, Call::SyncAll, 0),
            (None, false, Call::Rename, 0),
            (Some(FileNumber(3)), false, Call::Rename, 0),
            (Some(FileNumber(3)), false, Call::Open, 0),
            (Some(FileNumber(3)), false, Call::Len, 0),
            (Some(FileNumber(3)), false, Call::ReadAt, 0),
            (Some(FileNumber(3)), true, Call::WriteAllAt, 0),
            (Some(FileNumber(3)), true, Call::WriteAllAt, 1),
            (Some(FileNumber(3)), true, Call::SyncAll, 0),
            (Some(FileNumber(3)), false, Call::WriteAllAt, 2),
            (Some(FileNumber(3)), false, Call::SyncData, 0),
        ] {
            let (disk, dir) = world();
            let fs = FaultFs::new(disk);
            create_segment(&fs, &dir, &spec(3)).unwrap();
            fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[call]).after(skipped));
            let spec = SegmentSpec { recycle, zero_fill, ..spec(7) };
            let error = create_segment(&fs, &dir, &spec).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{call:?}");
            assert!(!fs.list(&dir).unwrap().iter().any(|name| name.contains("07.wal")), "{call:?}");
        }
        // What an earlier attempt left and cannot be removed is not written over.
        let (disk, dir) = world();
        prepare(&*disk, &dir, &spec(7)).unwrap();
        let fs = FaultFs::new(disk);
        fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::RemoveFile]));
        assert_eq!(create_segment(&fs, &dir, &spec(7)).unwrap_err().kind(), ErrorKind::Io);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        let (fs, dir) = world();
        for size_bytes in [0, 64, segment_size_for(1) - 1, SEGMENT_LEN_MAX + 1, u64::MAX] {
            let spec = SegmentSpec { size_bytes, ..spec(1) };
            let error = create_segment(&*fs, &dir, &spec).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
        assert!(fs.list(&dir).unwrap().is_empty());
        let most = segment_size_for(esker_base::limits::FRAME_PAYLOAD_MAX);
        assert!(most < SEGMENT_LEN_MAX);
    }
}
