//! The report of what an import did not take: a JSON line for each, with the line's number, the reason and what it
//! held. Written by `import.rs`; the file exists only once something was rejected. The contents can be imported
//! again once they are mended.

#![allow(clippy::disallowed_methods, reason = "a report that the user asked for, not the database")]

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The report.
pub(super) struct Rejected {
    path: PathBuf,
    append: bool,
    file: Option<BufWriter<File>>,
    count: u64,
}

#[derive(Serialize)]
struct Entry<'a> {
    line: u64,
    reason: &'a str,
    content: &'a str,
}

impl Rejected {
    /// A report at `path`: at the end of the one that is there, or in its place.
    pub(super) fn new(path: PathBuf, append: bool) -> Self {
        Self { path, append, file: None, count: 0 }
    }

    /// Adds one line.
    pub(super) fn add(&mut self, line: u64, reason: &str, content: &str) -> io::Result<()> {
        self.count += 1;
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                options.create(true).write(true).append(self.append).truncate(!self.append);
                self.file.insert(BufWriter::new(options.open(&self.path)?))
            }
        };
        serde_json::to_writer(&mut *file, &Entry { line, reason, content })?;
        file.write_all(b"\n")
    }

    /// How many lines there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Where the report is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes out what is buffered.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
