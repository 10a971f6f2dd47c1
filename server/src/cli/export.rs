//! `esker export`: writes every item of a table as a line of JSON, to a file or to stdout. A file is written beside
//! the one that it replaces and takes its name only when it is complete.

#![allow(clippy::disallowed_methods, reason = "a file that the user asked for, not the database")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use esker_table::Item;

use super::destination::{self, CallError, Destination};
use super::plain::PlainItem;
use super::{CliError, Outcome, counted};
use crate::json::ItemOut;

/// The arguments of `esker export`.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The file to write; `-` or nothing for stdout. It is FILE.tmp until it is complete, then it replaces FILE; an export
    /// that fails leaves FILE as it was.
    file: Option<PathBuf>,

    /// The table to read.
    #[arg(long, value_name = "NAME")]
    table: String,

    /// How to write the items: plain JSON cannot tell sets from lists nor bytes from text.
    #[arg(long, value_enum, default_value = "dynamodb")]
    format: Format,

    #[command(flatten)]
    source: destination::Arguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// `{"Item": {...}}` with typed values, as AWS exports a table.
    Dynamodb,
    /// Plain JSON objects.
    Plain,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, CliError> {
    let source = Destination::open(&arguments.source, false)?;
    // Before a file is touched.
    source.key(&arguments.table).map_err(|error| refused(arguments, error))?;
    let mut count = 0;
    let written = match arguments.file.as_deref() {
        Some(path) if path.as_os_str() != "-" => to_file(&source, arguments, path, &mut count),
        _ => {
            let mut out = BufWriter::new(io::stdout().lock());
            write_all(&source, arguments, &mut out, &mut count, "stdout")
        }
    };
    written?;
    source.close()?;
    eprintln!("exported {} of {}", counted(count, "item"), arguments.table);
    Ok(Outcome::Done)
}

fn refused(arguments: &Arguments, error: CallError) -> CliError {
    match error {
        CallError::NoTable => CliError::new(format!("there is no table {}", arguments.table)),
        other => other.into(),
    }
}

fn to_file(
    source: &Destination,
    arguments: &Arguments,
    path: &Path,
    count: &mut u64,
) -> Result<(), CliError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error| CliError::new(format!("could not write {path}: {error}"))
    };
    // A link stays one, and its file is replaced; a device or a pipe is written to.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let mut out = BufWriter::new(File::options().write(true).open(path).map_err(failed(path))?);
        return write_all(source, arguments, &mut out, count, &path.display().to_string());
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = Path::new(&unfinished);
    let name = unfinished.display().to_string();
    let mut out = BufWriter::new(File::create(unfinished).map_err(failed(unfinished))?);
    write_all(source, arguments, &mut out, count, &name)
        .map_err(|error| CliError::new(format!("{error}; {} is as it was", path.display())))?;
    out.get_ref().sync_all().map_err(failed(unfinished))?;
    fs::rename(unfinished, path).map_err(failed(path))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed(path))
}

/// Writes every item to `out`, which people know as `name`, and counts what was written.
fn write_all(
    source: &Destination,
    arguments: &Arguments,
    out: &mut impl Write,
    count: &mut u64,
    name: &str,
) -> Result<(), CliError> {
    let outcome = write_pages(source, arguments, out, count, name);
    let flushed = out.flush().map_err(|error| write_failed(name, &error));
    outcome.and(flushed).map_err(|error| {
        let written = counted(*count, "item");
        CliError::new(format!("the export is incomplete: {written} written to {name}: {error}"))
    })
}

fn write_failed(name: &str, error: &io::Error) -> CliError {
    CliError::new(format!("could not write to {name}: {error}"))
}

fn write_pages(
    source: &Destination,
    arguments: &Arguments,
    out: &mut impl Write,
    count: &mut u64,
    name: &str,
) -> Result<(), CliError> {
    let mut start = None;
    loop {
        let page = source.scan(&arguments.table, start).map_err(|e| refused(arguments, e))?;
        for item in &page.items {
            write_line(item, arguments.format, out).map_err(|error| write_failed(name, &error))?;
            *count += 1;
        }
        start = page.last_evaluated_key;
        if start.is_none() {
            return Ok(());
        }
    }
}

/// Writes an item as a line that an import reads.
pub(super) fn write_line(item: &Item, format: Format, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Dynamodb => {
            out.write_all(b"{\"Item\":")?;
            serde_json::to_writer(&mut *out, &ItemOut(item))?;
            out.write_all(b"}\n")
        }
        Format::Plain => {
            serde_json::to_writer(&mut *out, &PlainItem(item))?;
            out.write_all(b"\n")
        }
    }
}
