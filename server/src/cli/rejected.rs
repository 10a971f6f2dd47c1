//! The report of what an import did not take: a JSON line for each, with the line's number, the reason and what it
//! held. Written by `import.rs`; the file exists only once something was rejected. The contents can be imported
//! again once they are mended.

#![allow(clippy::disallowed_methods, reason = "a report that the user asked for, not the database")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The report.
pub(super) struct Rejected {
    path: PathBuf,
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
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, count: 0 }
    }

    /// Adds one line.
    pub(super) fn add(&mut self, line: u64, reason: &str, content: &str) -> io::Result<()> {
        self.count += 1;
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(File::create(&self.path)?)),
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
