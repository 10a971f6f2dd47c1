//! The report of what an import did not take: a JSON line for each, with the line's number, the reason and what it
//! held, in the order of the input. Written by `import.rs`; the file exists only once something was rejected. The
//! contents can be imported again once they are mended.

#![allow(clippy::disallowed_methods, reason = "a report that the user asked for, not the database")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Bytes of entries that are held back for the sake of their order. Beyond that the first of them are written, even if a
/// line before them may still be rejected: order is a convenience, memory is not.
const HELD_BYTES_MAX: usize = 64 << 20;

/// The report.
pub(super) struct Rejected {
    path: PathBuf,
    append: bool,
    file: Option<BufWriter<File>>,
    count: u64,
    /// Entries before which others may still come, by line.
    held: BTreeMap<u64, Vec<u8>>,
    held_bytes: usize,
}

#[derive(Serialize)]
struct Entry<'a> {
    line: u64,
    reason: &'a str,
    content: &'a str,
}

impl Rejected {
    /// A report at `path`: at the end of the one that is there, or in its place. In the latter case the old one is removed
    /// at once: what is there afterwards is about this import.
    pub(super) fn new(path: PathBuf, append: bool) -> io::Result<Self> {
        // A link or a device is not the import's to remove.
        if !append && path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            fs::remove_file(&path)?;
        }
        Ok(Self { path, append, file: None, count: 0, held: BTreeMap::new(), held_bytes: 0 })
    }

    /// Adds one line. No line up to `settled` will come any more, except this one.
    pub(super) fn add(
        &mut self,
        line: u64,
        reason: &str,
        content: &str,
        settled: u64,
    ) -> io::Result<()> {
        self.count += 1;
        let mut entry = serde_json::to_vec(&Entry { line, reason, content })?;
        entry.push(b'\n');
        self.held_bytes += entry.len();
        self.held.insert(line, entry);
        while let Some(first) = self.held.first_entry() {
            if *first.key() > settled && self.held_bytes <= HELD_BYTES_MAX {
                break;
            }
            let entry = first.remove();
            self.write(&entry)?;
        }
        Ok(())
    }

    fn write(&mut self, entry: &[u8]) -> io::Result<()> {
        self.held_bytes -= entry.len();
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                options.create(true).write(true).append(self.append).truncate(!self.append);
                self.file.insert(BufWriter::new(options.open(&self.path)?))
            }
        };
        file.write_all(entry)
    }

    /// How many lines there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Where the report is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes out what is held and buffered.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        while let Some((_, entry)) = self.held.pop_first() {
            self.write(&entry)?;
        }
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_in_the_order_of_the_lines_and_about_one_import() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let mut report = Rejected::new(path.clone(), false).unwrap();
        for (line, settled) in [(5, 2), (3, 2), (4, 3), (9, 4), (6, 5), (7, 9)] {
            report.add(line, "why", "what", settled).unwrap();
        }
        report.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|l| l.split([':', ',']).nth(1).unwrap()).collect();
        assert_eq!(lines, ["3", "4", "5", "6", "7", "9"]);
        assert_eq!(report.count(), 6);

        let mut going_on = Rejected::new(path.clone(), true).unwrap();
        going_on.add(12, "why", "what", 12).unwrap();
        going_on.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 7);
        Rejected::new(path.clone(), false).unwrap();
        assert!(!path.exists());
    }
}
