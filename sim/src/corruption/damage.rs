//! What is done to a directory: the damages, how many of each there are, and doing them.
//!
//! Flips and cuts are enumerated completely, blocks and whole files by all pairs. A damage that changes nothing is not
//! in the list.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use esker::vfs::simulated::SimulatedFs;
use esker::vfs::{Fs, OpenMode};

use super::corpus::{Corpus, path};

/// The sizes of the blocks that are damaged as a whole: a sector, and a page.
const BLOCKS: [usize; 2] = [512, 4096];

/// One change of a directory. Files are named by their index in the corpus.
#[derive(Clone, Debug)]
pub(super) enum Damage {
    /// One bit is inverted.
    Flip { file: usize, offset: u64, bit: u8 },
    /// The file ends here.
    Cut { file: usize, len: u64 },
    /// Bytes follow the file's end.
    Grow { file: usize, bytes: Vec<u8> },
    /// A range holds something else; `what` names it for the figures.
    Overwrite { file: usize, offset: u64, bytes: Arc<[u8]>, what: &'static str },
    /// Two ranges of the same length are exchanged: (file, offset) and (file, offset).
    Swap { one: (usize, usize), other: (usize, usize), len: usize },
    /// The file is not there.
    Remove { file: usize },
    /// The whole content is another.
    Replace { file: usize, bytes: Arc<[u8]>, what: &'static str },
    /// Two files have each other's name.
    SwapNames { one: usize, other: usize },
}

impl Damage {
    /// The figure that counts it.
    pub(super) fn family(&self) -> &'static str {
        match self {
            Damage::Flip { .. } => super::FLIPS,
            Damage::Cut { .. } => "files cut",
            Damage::Grow { .. } => "files grown",
            Damage::Overwrite { what, .. } | Damage::Replace { what, .. } => what,
            Damage::Swap { .. } => "blocks swapped",
            Damage::Remove { .. } => "files missing",
            Damage::SwapNames { .. } => "files swapped",
        }
    }

    /// The file that it is about; for pairs, the first.
    pub(super) fn file(&self) -> usize {
        match *self {
            Damage::Flip { file, .. }
            | Damage::Cut { file, .. }
            | Damage::Grow { file, .. }
            | Damage::Overwrite { file, .. }
            | Damage::Remove { file }
            | Damage::Replace { file, .. } => file,
            Damage::Swap { one, .. } => one.0,
            Damage::SwapNames { one, .. } => one,
        }
    }

    /// Where it is and what it is, for a message.
    pub(super) fn describe(&self, corpus: &Corpus) -> String {
        let name = &corpus.files[self.file()].name;
        match self {
            Damage::Flip { offset, bit, .. } => format!("bit {bit} of byte {offset} of {name}"),
            Damage::Cut { len, .. } => format!("{name} cut to {len} bytes"),
            Damage::Grow { bytes, .. } => format!("{name} grown by {bytes:?}"),
            Damage::Overwrite { offset, bytes, what, .. } => {
                format!("{what}: {} bytes at {offset} of {name}", bytes.len())
            }
            Damage::Swap { one, other, len } => {
                let second = &corpus.files[other.0].name;
                format!("{len} bytes at {} of {name} and {} of {second} swapped", one.1, other.1)
            }
            Damage::Remove { .. } => format!("{name} missing"),
            Damage::Replace { bytes, what, .. } => format!("{what}: {name}, {} bytes", bytes.len()),
            Damage::SwapNames { other, .. } => {
                format!("{name} and {} swapped", corpus.files[*other].name)
            }
        }
    }

    /// Does it to `disk`, a copy of the corpus.
    pub(super) fn apply(&self, corpus: &Corpus, disk: &SimulatedFs) -> io::Result<()> {
        let path = path(&corpus.files[self.file()].name);
        if let Damage::Remove { .. } = self {
            return disk.remove_file(&path);
        }
        let file = disk.open(&path, OpenMode::ReadWrite)?;
        match self {
            Damage::Flip { offset, bit, .. } => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, *offset)?;
                file.write_all_at(&[byte[0] ^ (1 << bit)], *offset)
            }
            Damage::Cut { len, .. } => file.truncate(*len),
            Damage::Grow { bytes, .. } => file.write_all_at(bytes, file.len()?),
            Damage::Overwrite { offset, bytes, .. } => file.write_all_at(bytes, *offset),
            Damage::Swap { one, other, len } => {
                let part = |(file, at): (usize, usize)| &corpus.files[file].bytes[at..at + len];
                let second = self::path(&corpus.files[other.0].name);
                let second = disk.open(&second, OpenMode::ReadWrite)?;
                file.write_all_at(part(*other), one.1 as u64)?;
                second.write_all_at(part(*one), other.1 as u64)
            }
            Damage::Replace { bytes, .. } => {
                file.truncate(0)?;
                file.write_all_at(bytes, 0)
            }
            Damage::SwapNames { one, other } => {
                let [one, other] = [one, other].map(|file| &corpus.files[*file]);
                let second = disk.open(&self::path(&other.name), OpenMode::ReadWrite)?;
                file.truncate(0)?;
                second.truncate(0)?;
                file.write_all_at(&other.bytes, 0)?;
                second.write_all_at(&one.bytes, 0)
            }
            Damage::Remove { .. } => Ok(()),
        }
    }
}

/// Every damage but the flips: cuts, blocks and whole files. `foreign` is a database of the same shape and other
/// content.
pub(super) fn all_but_flips(corpus: &Corpus, foreign: &Corpus) -> Vec<Damage> {
    let mut damages = Vec::new();
    for (file, image) in corpus.files.iter().enumerate() {
        let len = image.bytes.len();
        damages.extend((0..len).map(|len| Damage::Cut { file, len: len as u64 }));
        for grown in [1, 8, 512, 4096] {
            for byte in [0, 0xff] {
                damages.push(Damage::Grow { file, bytes: vec![byte; grown] });
            }
        }
        damages.push(Damage::Remove { file });
        if len > 0 {
            damages.push(Damage::Replace {
                file,
                bytes: vec![0; len].into(),
                what: "files zeroed",
            });
        }
        for size in BLOCKS {
            zeroed(corpus, file, size, &mut damages);
            stale_blocks(corpus, file, size, &mut damages);
            foreign_blocks(corpus, foreign, file, size, &mut damages);
        }
        for bytes in &image.stale {
            let bytes = bytes.as_slice().into();
            damages.push(Damage::Replace { file, bytes, what: "files stale" });
        }
        for other in &foreign.files {
            if super::corpus::kind(&other.name) == super::corpus::kind(&image.name)
                && other.bytes != image.bytes
            {
                let bytes = other.bytes.as_slice().into();
                damages.push(Damage::Replace { file, bytes, what: "files foreign" });
            }
        }
        for other in file + 1..corpus.files.len() {
            if corpus.files[other].bytes != image.bytes {
                damages.push(Damage::SwapNames { one: file, other });
            }
        }
    }
    for size in BLOCKS {
        swapped(corpus, size, &mut damages);
    }
    damages
}

/// The blocks of a file: where each starts and what it holds. The last may be shorter.
fn blocks(bytes: &[u8], size: usize) -> impl Iterator<Item = (usize, &[u8])> {
    bytes.chunks(size).enumerate().map(move |(at, block)| (at * size, block))
}

fn zeroed(corpus: &Corpus, file: usize, size: usize, damages: &mut Vec<Damage>) {
    for (offset, block) in blocks(&corpus.files[file].bytes, size) {
        if block.iter().any(|&byte| byte != 0) {
            let (offset, bytes) = (offset as u64, vec![0; block.len()].into());
            damages.push(Damage::Overwrite { file, offset, bytes, what: "blocks zeroed" });
        }
    }
}

/// Each block as it was at some earlier moment.
fn stale_blocks(corpus: &Corpus, file: usize, size: usize, damages: &mut Vec<Damage>) {
    let image = &corpus.files[file];
    let now: Vec<&[u8]> = image.bytes.chunks(size).collect();
    let mut seen = BTreeSet::new();
    for earlier in &image.stale {
        for (offset, block) in blocks(earlier, size) {
            let differs =
                now.get(offset / size).is_some_and(|n| n.len() == block.len() && *n != block);
            if differs && seen.insert((offset, block)) {
                let (offset, bytes) = (offset as u64, block.into());
                damages.push(Damage::Overwrite { file, offset, bytes, what: "blocks stale" });
            }
        }
    }
}

/// Each block as another database has it at the same place of a file of the same name.
fn foreign_blocks(
    corpus: &Corpus,
    foreign: &Corpus,
    file: usize,
    size: usize,
    damages: &mut Vec<Damage>,
) {
    let image = &corpus.files[file];
    let Some(other) = foreign.files.iter().find(|other| other.name == image.name) else { return };
    let pairs = blocks(&image.bytes, size).zip(blocks(&other.bytes, size));
    for ((offset, own), (_, theirs)) in pairs {
        if own.len() == theirs.len() && own != theirs {
            let (offset, bytes) = (offset as u64, theirs.into());
            damages.push(Damage::Overwrite { file, offset, bytes, what: "blocks foreign" });
        }
    }
}

/// All pairs of whole blocks, within a file and between files.
fn swapped(corpus: &Corpus, size: usize, damages: &mut Vec<Damage>) {
    let mut all = Vec::new();
    for (file, image) in corpus.files.iter().enumerate() {
        let whole = blocks(&image.bytes, size).filter(|(_, block)| block.len() == size);
        all.extend(whole.map(|(offset, block)| ((file, offset), block)));
    }
    for (at, (one, first)) in all.iter().enumerate() {
        for (other, second) in &all[at + 1..] {
            if first != second {
                damages.push(Damage::Swap { one: *one, other: *other, len: size });
            }
        }
    }
}
