//! `esker inspect`: shows what a data directory consists of, without changing it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use esker::{Inspection, KeyspaceInspection};
use esker_table::StoredTable;

use super::{CliError, Outcome, counted, open};

/// The arguments of `esker inspect`.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The data directory.
    #[arg(env = "ESKER_DATA_DIR", default_value = "esker-data")]
    dir: PathBuf,

    /// Show every sstable, with its keys.
    #[arg(long)]
    files: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, CliError> {
    let db = open::read_only(&arguments.dir)?;
    // What the files are is shown even where the tables cannot be read.
    let tables = esker_table::stored_tables(&db).map_err(|error| error.to_string());
    let text = render(&arguments.dir, &db.inspect(), &tables, arguments.files);
    open::close_db(&db)?;
    print(&text);
    Ok(Outcome::Done)
}

/// Prints; nobody may be reading any more, and that is no failure.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn render(
    dir: &Path,
    inspection: &Inspection,
    tables: &Result<Vec<StoredTable>, String>,
    files: bool,
) -> String {
    let mut text = String::new();
    let sstables = |keyspace: &KeyspaceInspection| -> (u64, u64) {
        keyspace
            .levels
            .iter()
            .fold((0, 0), |(count, bytes), l| (count + l.sstables.len() as u64, bytes + l.bytes()))
    };
    let total: u64 = inspection.keyspaces.iter().map(|keyspace| sstables(keyspace).1).sum();
    let state = if inspection.is_closed { "closed cleanly" } else { "not closed cleanly" };
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };
    line(format!("directory  {}", dir.display()));
    line(format!("database   {}, {state}", inspection.database_id));
    line(format!("opened     {} for writing", counted(inspection.epoch, "time")));
    line(format!("sequence   {}", inspection.last_seq));
    line(format!("log        {}", counted(inspection.wal.len() as u64, "segment")));
    line(format!("sstables   {}", bytes(total)));
    if let Err(error) = tables {
        line(format!("tables     cannot be read: {error}"));
    }
    for keyspace in &inspection.keyspaces {
        let (count, size) = sstables(keyspace);
        line(String::new());
        let mut tables = tables.iter().flatten();
        match tables.find(|table| table.keyspace == keyspace.name) {
            Some(table) => line(format!(
                "table {:?} (keyspace {}): {} of {}",
                table.name,
                keyspace.name,
                counted(table.item_count, "item"),
                bytes(table.size_bytes)
            )),
            None => line(format!("keyspace {:?}", keyspace.name)),
        }
        line(format!(
            "  id {}, {}, {} of {}, {} in memory",
            keyspace.id,
            keyspace.strategy,
            counted(count, "sstable"),
            bytes(size),
            counted(keyspace.memtable_entries, "entry"),
        ));
        for level in &keyspace.levels {
            let entries: u64 = level.sstables.iter().map(|sstable| sstable.entries).sum();
            line(format!(
                "  level {}  {:>12}  {:>10}  {:>20}",
                level.level,
                counted(level.sstables.len() as u64, "file"),
                bytes(level.bytes()),
                counted(entries, "entry"),
            ));
            for sstable in level.sstables.iter().filter(|_| files) {
                line(format!(
                    "    {:>8}  {:>10}  {:>10} entries  {:>8} deletes  {}..{}",
                    sstable.number,
                    bytes(sstable.bytes),
                    sstable.entries,
                    sstable.deletes,
                    key(&sstable.smallest),
                    key(&sstable.largest),
                ));
            }
        }
    }
    text
}

/// A number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// The start of a key: printable characters as they are, other bytes in hexadecimal.
fn key(key: &[u8]) -> String {
    const SHOWN_BYTES: usize = 24;
    let mut text = String::new();
    for byte in key.iter().take(SHOWN_BYTES) {
        if byte.is_ascii_graphic() && *byte != b'\\' {
            text.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if key.len() > SHOWN_BYTES {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_keys_are_readable() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(key(b"ab\\\x00\xff"), "ab\\x5c\\x00\\xff");
        assert!(key(&[b'x'; 30]).ends_with('…'));
    }

    #[test]
    fn a_database_is_shown_with_its_levels() {
        let dir = tempfile::tempdir().unwrap();
        let db = esker::Db::open(dir.path()).unwrap();
        let users = db.keyspace("users").unwrap();
        users.put(b"alice", b"1").unwrap();
        db.flush().unwrap();
        db.close().unwrap();
        let db = open::read_only(dir.path()).unwrap();
        let text = render(dir.path(), &db.inspect(), &Ok(vec![]), true);
        assert!(text.contains("\"users\"") && text.contains("level 0"), "{text}");
        assert!(text.contains("closed cleanly") && text.contains("alice..alice"), "{text}");
    }
}
