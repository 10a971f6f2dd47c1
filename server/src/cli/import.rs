//! `esker import`: reads JSON lines into a table. This thread reads and parses the lines; several workers write them
//! in batches, so that they share syncs. Lines with the same key go to the same worker and keep their order: the
//! last one wins, as if there were one worker. What is not imported is reported exactly: lines that cannot be, in a
//! file; after a failure, the line from which to go on.

#![allow(clippy::disallowed_methods, reason = "the user's input file, and a clock for the summary")]

mod worker;

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, IsTerminal};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use esker_table::operation::CreateTableRequest;
use esker_table::schema::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::worker::{Shared, Work, write_batches};
use super::destination::{self, CallError, Destination, Key};
use super::input::{self, Format, Line};
use super::rejected::Rejected;
use super::serve::stop_signal;
use super::{CliError, Outcome, counted};

/// How many batches are written at a time.
const WORKERS: usize = 8;
/// How many items wait for each worker.
const QUEUE_ITEMS: usize = 64;
/// How often to tell about progress where there is no bar.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The arguments of `esker import`.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The file to read, one JSON object a line; `-` for stdin.
    file: PathBuf,

    /// The table to write to.
    #[arg(long, value_name = "NAME")]
    table: String,

    /// The partition key, to create the table where it is missing; its type is S unless it says N or B. A table that is
    /// there must have this key.
    #[arg(long, value_name = "ATTRIBUTE[:TYPE]", value_parser = key)]
    key: Option<Key>,

    /// The sort key, likewise.
    #[arg(long, value_name = "ATTRIBUTE[:TYPE]", value_parser = key, requires = "key")]
    sort_key: Option<Key>,

    /// How the lines are written.
    #[arg(long, value_enum, default_value = "auto")]
    format: Format,

    /// Leave out so many lines at the start: how to go on after an import that stopped.
    #[arg(long, default_value_t = 0, value_name = "N")]
    skip_lines: u64,

    /// Where to report lines that are not imported [default: FILE.rejected.jsonl, or at the end of
    /// stdin.rejected.jsonl].
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,

    #[command(flatten)]
    destination: destination::Arguments,
}

fn key(text: &str) -> Result<Key, String> {
    let (name, kind) = match text.rsplit_once(':') {
        Some((name, letter)) => {
            let kind = destination::key_type(letter).ok_or_else(|| {
                format!("the type after the last colon must be S, N or B, not {letter:?}")
            })?;
            (name, Some(kind))
        }
        None => (text, None),
    };
    if name.is_empty() {
        return Err("the attribute's name is missing".to_owned());
    }
    Ok(Key { name: name.to_owned(), kind })
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    lines: u64,
    blank: u64,
    bytes: u64,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, CliError> {
    let started = Instant::now();
    let (mut input, total_bytes) = open_input(&arguments.file)?;
    let report = arguments.rejected.clone().unwrap_or_else(|| report_path(&arguments.file));
    if is_same_file(&arguments.file, &report) {
        let report = report.display();
        return Err(CliError::new(format!("--rejected {report} is the file that is read")));
    }
    let destination = Destination::open(&arguments.destination, true)?;
    let key_names = prepare_table(&destination, arguments)?;
    // Going on after an import that stopped, the lines that it reported stay reported.
    // And what comes by a pipe has no name: the reports of all that did share a file.
    let is_unnamed = arguments.rejected.is_none() && arguments.file.as_os_str() == "-";
    let append = arguments.skip_lines > 0 || is_unnamed;
    let rejected = Rejected::new(report.clone(), append).map_err(|error| {
        CliError::new(format!("could not remove the old report {}: {error}", report.display()))
    })?;
    let shared = Arc::new(Shared::new(rejected));
    stop_on_signal(&shared)?;
    let mut reading = Reading::default();

    let read = std::thread::scope(|scope| {
        let (destination, shared, key_names) = (&destination, &*shared, key_names.as_slice());
        let mut queues = Vec::new();
        for _ in 0..WORKERS {
            let (queue, work) = sync_channel(QUEUE_ITEMS);
            scope.spawn(move || {
                let (table, format) = (&arguments.table, arguments.format);
                write_batches(destination, table, format, key_names, &work, shared);
            });
            queues.push(queue);
        }
        let progress = Progress::new(total_bytes, started);
        read_lines(arguments, &mut input, key_names, &queues, shared, progress, &mut reading)
    });
    let closed = destination.close();
    let rejected = shared.finish_report();
    if let Err(error) = read.and(closed).and(rejected) {
        shared.fail(error.to_string());
    }
    summarise(arguments, &shared, &reading, started.elapsed())
}

/// Stops the import at the first Ctrl-C, SIGTERM or SIGHUP, and the process at the second: the first waits for the line that
/// is being read, which may never end where a person types.
fn stop_on_signal(shared: &Arc<Shared>) -> Result<(), CliError> {
    let failed = |error| CliError::new(format!("could not listen for signals: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let entered = runtime.enter();
    let stop = stop_signal()?;
    drop(entered);
    let shared = Arc::clone(shared);
    let wait = async move {
        stop.await;
        shared.fail("interrupted".to_owned());
        if let Ok(again) = stop_signal() {
            again.await;
            std::process::exit(130);
        }
    };
    let listener = std::thread::Builder::new().name("signals".to_owned());
    listener.spawn(move || runtime.block_on(wait)).map(drop).map_err(failed)
}

fn open_input(path: &Path) -> Result<(Box<dyn io::BufRead>, Option<u64>), CliError> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let failed = |error| CliError::new(format!("could not read {}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(1 << 20, file)), length))
}

/// Whether the two are one file, by whatever names.
fn is_same_file(input: &Path, other: &Path) -> bool {
    let input = if input.as_os_str() == "-" { Path::new("/dev/stdin") } else { input };
    let (Ok(input), Ok(other)) = (input.metadata(), other.metadata()) else { return false };
    input.is_file() && (input.dev(), input.ino()) == (other.dev(), other.ino())
}

fn report_path(input: &Path) -> PathBuf {
    if input.as_os_str() == "-" {
        return PathBuf::from("stdin.rejected.jsonl");
    }
    let mut name = input.as_os_str().to_owned();
    name.push(".rejected.jsonl");
    PathBuf::from(name)
}

/// Finds the table, or creates it; answers the names of its key attributes.
fn prepare_table(
    destination: &Destination,
    arguments: &Arguments,
) -> Result<Vec<String>, CliError> {
    let table = &arguments.table;
    match destination.key(table) {
        Ok(key) => {
            check_key(arguments, &key)?;
            return Ok(key.into_iter().map(|key| key.name).collect());
        }
        Err(CallError::NoTable) => {}
        Err(error) => return Err(error.into()),
    }
    let Some(key) = &arguments.key else {
        return Err(CliError::new(format!(
            "there is no table {table}: create it, or name its partition key with --key"
        )));
    };
    let keys = [(Some(key), KeyType::Hash), (arguments.sort_key.as_ref(), KeyType::Range)];
    let keys = || keys.iter().filter_map(|(key, role)| key.map(|key| (key, *role)));
    let definition = |(key, _): (&Key, _)| AttributeDefinition {
        attribute_name: key.name.clone(),
        attribute_type: key.kind.unwrap_or(ScalarAttributeType::S),
    };
    let element = |(key, key_type): (&Key, _)| KeySchemaElement {
        attribute_name: key.name.clone(),
        key_type,
    };
    destination.create_table(CreateTableRequest {
        table_name: table.clone(),
        attribute_definitions: keys().map(definition).collect(),
        key_schema: keys().map(element).collect(),
        billing_mode: Some(BillingMode::PayPerRequest),
        ..Default::default()
    })?;
    Ok(keys().map(|(key, _)| key.name.clone()).collect())
}

/// Refuses a table whose key is another than the arguments say, where they say one.
fn check_key(arguments: &Arguments, table_key: &[Key]) -> Result<(), CliError> {
    let Some(key) = &arguments.key else { return Ok(()) };
    let said: Vec<&Key> = [key].into_iter().chain(&arguments.sort_key).collect();
    let agrees = |(said, is): (&&Key, &Key)| {
        said.name == is.name && (said.kind.is_none() || is.kind.is_none() || said.kind == is.kind)
    };
    if said.len() == table_key.len() && said.iter().zip(table_key).all(agrees) {
        return Ok(());
    }
    let shown = |key: &Key| match key.kind {
        Some(kind) => format!("{}:{kind:?}", key.name),
        None => key.name.clone(),
    };
    let mut is = format!("--key {}", table_key.first().map(shown).unwrap_or_default());
    if let Some(sort_key) = table_key.get(1) {
        is.push_str(&format!(" --sort-key {}", shown(sort_key)));
    }
    let table = &arguments.table;
    Err(CliError::new(format!("the table {table} is there with another key: {is}")))
}

fn read_lines(
    arguments: &Arguments,
    input: &mut dyn io::BufRead,
    key_names: &[String],
    queues: &[SyncSender<Work>],
    shared: &Shared,
    mut progress: Progress,
    reading: &mut Reading,
) -> Result<(), CliError> {
    let failed =
        |error| CliError::new(format!("could not read {}: {error}", arguments.file.display()));
    let mut input = input;
    while !shared.failed() {
        let Some(line) = input::next_line(&mut input, &mut reading.bytes).map_err(failed)? else {
            break;
        };
        let number = reading.lines + 1;
        if number > arguments.skip_lines {
            take_line(arguments, number, line, key_names, queues, shared, reading)?;
        }
        reading.lines = number;
        progress.show(reading, shared);
    }
    progress.end();
    Ok(())
}

fn take_line(
    arguments: &Arguments,
    number: u64,
    line: Line,
    key_names: &[String],
    queues: &[SyncSender<Work>],
    shared: &Shared,
    reading: &mut Reading,
) -> Result<(), CliError> {
    let text = match line {
        // A byte order mark is no part of the text.
        Line::Text(mut text) if number == 1 && text.starts_with('\u{feff}') => {
            text.split_off('\u{feff}'.len_utf8())
        }
        Line::Text(text) => text,
        Line::Unreadable(reason) => return shared.reject(number, &reason, ""),
    };
    if text.trim().is_empty() {
        reading.blank += 1;
        return Ok(());
    }
    let item = match input::parse(&text, arguments.format) {
        Ok(item) => item,
        Err(reason) => return shared.reject(number, &reason, &text),
    };
    let mut hasher = DefaultHasher::new();
    worker::key_text(&item, key_names).hash(&mut hasher);
    let queue = &queues[(hasher.finish() % queues.len() as u64) as usize];
    shared.begin(number);
    // A worker that has ended has noted why, and the loop above ends too.
    let _ = queue.send(Work { line: number, text, item });
    Ok(())
}

/// A bar on a terminal, an occasional line elsewhere.
struct Progress {
    bar: ProgressBar,
    next_report: Option<Instant>,
}

impl Progress {
    fn new(total_bytes: Option<u64>, started: Instant) -> Self {
        if !io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), next_report: Some(started + REPORT_EVERY) };
        }
        let (bar, template) = match total_bytes {
            Some(bytes) => (
                ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()),
                "{bar:30} {bytes}/{total_bytes}  {msg}  {eta} left",
            ),
            None => (
                ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
                "{spinner} {bytes}  {msg}  {elapsed}",
            ),
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: bar.with_style(style), next_report: None }
    }

    fn show(&mut self, reading: &Reading, shared: &Shared) {
        // Counting and asking for the time cost more than most lines.
        if !reading.lines.is_multiple_of(256) {
            return;
        }
        let imported = shared.imported();
        match &mut self.next_report {
            Some(next) if Instant::now() >= *next => {
                *next += REPORT_EVERY;
                let (items, lines) = (counted(imported, "item"), counted(reading.lines, "line"));
                eprintln!("imported {items}, read {lines}");
            }
            Some(_) => {}
            None => {
                self.bar.set_position(reading.bytes);
                self.bar.set_message(counted(imported, "item"));
            }
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn summarise(
    arguments: &Arguments,
    shared: &Shared,
    reading: &Reading,
    elapsed: Duration,
) -> Result<Outcome, CliError> {
    let imported = shared.imported();
    let (rejected, report) = shared.rejected();
    eprintln!(
        "imported {} into {} in {:.1} s: {} read, {} skipped, {} blank, {rejected} rejected",
        counted(imported, "item"),
        arguments.table,
        elapsed.as_secs_f64(),
        counted(reading.lines, "line"),
        arguments.skip_lines.min(reading.lines),
        reading.blank,
    );
    if rejected > 0 {
        eprintln!("the rejected lines and their reasons are in {}", report.display());
    }
    let failure = shared.failure();
    if failure.is_none() && arguments.skip_lines > reading.lines {
        eprintln!(
            "warning: --skip-lines {} is past the end: the input has {}",
            arguments.skip_lines,
            counted(reading.lines, "line")
        );
    }
    match failure {
        Some(failure) => Err(CliError::new(format!(
            "stopped: {failure}. Every line up to {done} has been dealt with; go on with --skip-lines \
             {done}",
            done = shared.done_up_to(reading.lines)
        ))),
        None if rejected > 0 => Ok(Outcome::Incomplete),
        None => Ok(Outcome::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_name_and_perhaps_a_type() {
        let of = |text| key(text).map(|key| (key.name, key.kind));
        assert_eq!(of("Package"), Ok(("Package".to_owned(), None)));
        assert_eq!(of("id:N"), Ok(("id".to_owned(), Some(ScalarAttributeType::N))));
        assert_eq!(of("a:b:B"), Ok(("a:b".to_owned(), Some(ScalarAttributeType::B))));
        for wrong in [":N", "", "a:b", "id:X", "id:"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
