//! `esker export`: writes every item of a table as a line of JSON, to a file or to stdout.

#![allow(clippy::disallowed_methods, reason = "a file that the user asked for, not the database")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use esker_table::Item;

use super::destination::{self, CallError, Destination};
use super::plain::PlainItem;
use super::{CliError, Outcome};
use crate::json::ItemOut;

/// The arguments of `esker export`.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The file to write; `-` or nothing for stdout.
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
enum Format {
    /// `{"Item": {...}}` with typed values, as AWS exports a table.
    Dynamodb,
    /// Plain JSON objects.
    Plain,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, CliError> {
    let source = Destination::open(&arguments.source, false)?;
    let count = match arguments.file.as_deref() {
        Some(path) if path.as_os_str() != "-" => {
            let failed =
                |error| CliError::new(format!("could not write {}: {error}", path.display()));
            let mut file = BufWriter::new(File::create(path).map_err(failed)?);
            let count = write_all(&source, arguments, &mut file, &failed)?;
            file.into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.sync_all())
                .map_err(failed)?;
            count
        }
        _ => {
            let failed = |error| CliError::new(format!("could not write to stdout: {error}"));
            let mut out = BufWriter::new(io::stdout().lock());
            let count = write_all(&source, arguments, &mut out, &failed)?;
            out.flush().map_err(failed)?;
            count
        }
    };
    source.close()?;
    eprintln!("exported {count} items of {}", arguments.table);
    Ok(Outcome::Done)
}

fn write_all(
    source: &Destination,
    arguments: &Arguments,
    out: &mut impl Write,
    failed: &impl Fn(io::Error) -> CliError,
) -> Result<u64, CliError> {
    let mut count = 0;
    let mut start = None;
    loop {
        let page = source.scan(&arguments.table, start).map_err(|error| match error {
            CallError::NoTable => CliError::new(format!("there is no table {}", arguments.table)),
            other => other.into(),
        })?;
        for item in &page.items {
            write_line(item, arguments.format, out).map_err(failed)?;
        }
        count += page.items.len() as u64;
        start = page.last_evaluated_key;
        if start.is_none() {
            return Ok(count);
        }
    }
}

fn write_line(item: &Item, format: Format, out: &mut impl Write) -> io::Result<()> {
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
