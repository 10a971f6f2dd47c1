//! The writing half of an import: batches of items, written by several workers, and the account that all of them
//! keep of what is done. `import.rs` starts them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use esker_table::{AttributeValue, Item};
use parking_lot::Mutex;

use crate::cli::CliError;
use crate::cli::destination::{CallError, Destination};
use crate::cli::input::{self, Format};
use crate::cli::rejected::Rejected;

/// Items of a batch: the most that BatchWriteItem takes.
const BATCH_ITEMS: usize = 25;

/// One line's item.
pub(super) struct Work {
    pub(super) line: u64,
    pub(super) text: String,
    pub(super) item: Item,
}

/// The account. The locks are never held together.
pub(super) struct Shared {
    imported: AtomicU64,
    stop: AtomicBool,
    failure: Mutex<Option<String>>,
    rejected: Mutex<Rejected>,
    /// Lines that have been handed to a worker and are not dealt with.
    open_lines: Mutex<BTreeSet<u64>>,
}

impl Shared {
    pub(super) fn new(rejected: Rejected) -> Self {
        Self {
            imported: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            failure: Mutex::new(None),
            rejected: Mutex::new(rejected),
            open_lines: Mutex::new(BTreeSet::new()),
        }
    }

    /// Notes that a line is on its way.
    pub(super) fn begin(&self, line: u64) {
        self.open_lines.lock().insert(line);
    }

    fn done(&self, lines: impl Iterator<Item = u64>) {
        let mut open = self.open_lines.lock();
        for line in lines {
            open.remove(&line);
        }
    }

    /// Reports a line that is not imported.
    pub(super) fn reject(&self, line: u64, reason: &str, content: &str) -> Result<(), CliError> {
        // Lines that begin later come later in the file too; only what is open may still go before others.
        let settled = self.done_up_to(u64::MAX);
        let mut rejected = self.rejected.lock();
        rejected.add(line, reason, content, settled).map_err(|error| {
            let path = rejected.path().display();
            CliError::new(format!("could not write the report {path}: {error}"))
        })
    }

    /// Stops the import; the first reason counts.
    pub(super) fn fail(&self, reason: String) {
        self.failure.lock().get_or_insert(reason);
        self.stop.store(true, Ordering::Release);
    }

    pub(super) fn failed(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    pub(super) fn imported(&self) -> u64 {
        self.imported.load(Ordering::Relaxed)
    }

    /// How many lines were rejected, and where they are reported.
    pub(super) fn rejected(&self) -> (u64, PathBuf) {
        let rejected = self.rejected.lock();
        (rejected.count(), rejected.path().to_owned())
    }

    pub(super) fn finish_report(&self) -> Result<(), CliError> {
        let mut rejected = self.rejected.lock();
        rejected.finish().map_err(|error| {
            let path = rejected.path().display();
            CliError::new(format!("could not write the report {path}: {error}"))
        })
    }

    /// The last line with nothing open before it, of `read` lines.
    pub(super) fn done_up_to(&self, read: u64) -> u64 {
        self.open_lines.lock().first().map_or(read, |line| line - 1)
    }
}

/// What tells an item's key from another's; equal for keys that the table takes for equal.
pub(super) fn key_text(item: &Item, key_names: &[String]) -> String {
    let mut text = String::new();
    for name in key_names {
        let part = match item.get(name) {
            Some(AttributeValue::S(value)) => value.clone(),
            Some(AttributeValue::N(value)) => value.to_string(),
            other => format!("{other:?}"),
        };
        text.push_str(&format!("{}:{part}", part.len()));
    }
    text
}

/// Writes what arrives, in batches, until there is no more or the import has failed.
pub(super) fn write_batches(
    destination: &Destination,
    table: &str,
    format: Format,
    key_names: &[String],
    work: &Receiver<Work>,
    shared: &Shared,
) {
    let mut batch: Vec<Work> = Vec::with_capacity(BATCH_ITEMS);
    let mut keys = BTreeSet::new();
    while let Ok(next) = work.recv() {
        if shared.failed() {
            return;
        }
        // A batch may not name a key twice; the later line must win.
        let new_key = keys.insert(key_text(&next.item, key_names));
        if !new_key || batch.len() == BATCH_ITEMS {
            if !write(destination, table, format, &mut batch, shared) {
                return;
            }
            keys.clear();
            keys.insert(key_text(&next.item, key_names));
        }
        batch.push(next);
    }
    if !shared.failed() {
        write(destination, table, format, &mut batch, shared);
    }
}

/// Writes a batch and empties it; false where the import cannot go on.
fn write(
    destination: &Destination,
    table: &str,
    format: Format,
    batch: &mut Vec<Work>,
    shared: &Shared,
) -> bool {
    let lines: Vec<u64> = batch.iter().map(|work| work.line).collect();
    let (items, texts): (Vec<Item>, Vec<(u64, String)>) =
        batch.drain(..).map(|work| (work.item, (work.line, work.text))).unzip();
    if items.is_empty() {
        return true;
    }
    let outcome = match destination.write(table, items) {
        Err(CallError::Rejected(_)) if texts.len() > 1 => {
            // One bad item refuses the whole batch: find out which. The items are read again, because this is seldom
            // and keeping copies of all items would cost every batch.
            texts.iter().try_for_each(|source| {
                let item = input::parse(&source.1, format).map_err(CallError::Rejected);
                let outcome = item.and_then(|item| destination.write(table, vec![item]));
                account(outcome, 1, source, shared)
            })
        }
        outcome => account(outcome, texts.len() as u64, &texts[0], shared),
    };
    match outcome {
        Ok(()) => {
            shared.done(lines.into_iter());
            true
        }
        Err(reason) => {
            shared.fail(reason);
            false
        }
    }
}

/// Books the outcome of writing `count` items, the first from `source`.
fn account(
    outcome: Result<(), CallError>,
    count: u64,
    (line, text): &(u64, String),
    shared: &Shared,
) -> Result<(), String> {
    match outcome {
        Ok(()) => {
            shared.imported.fetch_add(count, Ordering::Relaxed);
            Ok(())
        }
        Err(CallError::Rejected(reason)) => {
            shared.reject(*line, &reason, text).map_err(|error| error.to_string())
        }
        Err(CallError::NoTable) => Err("the table was deleted".to_owned()),
        Err(CallError::Fatal(reason)) => Err(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_knows_from_where_to_go_on() {
        let shared = Shared::new(Rejected::new(PathBuf::from("unused"), true).unwrap());
        assert_eq!(shared.done_up_to(7), 7);
        for line in [3, 4, 5] {
            shared.begin(line);
        }
        shared.done([4].into_iter());
        assert_eq!(shared.done_up_to(7), 2);
        shared.done([3].into_iter());
        assert_eq!(shared.done_up_to(7), 4);
    }

    #[test]
    fn equal_keys_have_equal_texts() {
        let names = ["a".to_owned(), "b".to_owned()];
        let item = |a: &str, b: &str| {
            Item::from([
                ("a".to_owned(), AttributeValue::N(a.parse().unwrap())),
                ("b".to_owned(), b.into()),
            ])
        };
        assert_eq!(key_text(&item("1.0", "x"), &names), key_text(&item("1", "x"), &names));
        assert_ne!(key_text(&item("1", "2:x"), &names), key_text(&item("12", ":x"), &names));
    }
}
