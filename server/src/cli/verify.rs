//! `esker verify`: reads every file of a data directory and checks every checksum, then every item of every table,
//! without changing anything. Damage is exit code 2 and names the file and the offset, or the table and the key.

use std::path::{Path, PathBuf};

use esker::ErrorKind;
use esker_table::TablesReport;

use super::inspect::{bytes, print};
use super::{CliError, Outcome, counted, open};

/// The arguments of `esker verify`.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The data directory.
    #[arg(env = "ESKER_DATA_DIR", default_value = "esker-data")]
    dir: PathBuf,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, CliError> {
    let outcome = open::try_read_only(&arguments.dir).and_then(|db| {
        let report = db.verify()?;
        let tables = esker_table::verify(&db);
        db.close()?;
        Ok((report, tables))
    });
    match outcome {
        Ok((report, tables)) => {
            let tables = match tables {
                Ok(tables) if tables.problem_count == 0 => tables,
                Ok(tables) => return Ok(damaged_tables(&arguments.dir, &tables)),
                Err(error) => {
                    print(&format!("{} is damaged: {error}\n", arguments.dir.display()));
                    return Ok(Outcome::Incomplete);
                }
            };
            print(&format!(
                "{} is sound: {} of {} ({}, {}); {} replayed from the log ({}), {} of it read again ({}); \
                 {}, {} of {}\n",
                arguments.dir.display(),
                counted(report.sstables, "sstable"),
                bytes(report.sstable_bytes),
                counted(report.blocks, "block"),
                counted(report.entries, "entry"),
                counted(report.replayed_entries, "entry"),
                counted(report.replayed_groups, "commit group"),
                counted(report.wal_segments, "finished segment"),
                counted(report.wal_groups, "commit group"),
                counted(tables.tables, "table"),
                counted(tables.items, "item"),
                bytes(tables.item_bytes),
            ));
            Ok(Outcome::Done)
        }
        Err(error) if error.kind() == ErrorKind::Corruption => {
            print(&format!("{} is damaged: {error}\n", arguments.dir.display()));
            Ok(Outcome::Incomplete)
        }
        Err(error) => Err(open::failed(&arguments.dir, open::Use::Look, &error)),
    }
}

fn damaged_tables(dir: &Path, tables: &TablesReport) -> Outcome {
    let mut text = format!(
        "{} is damaged: {} in its tables\n",
        dir.display(),
        counted(tables.problem_count, "problem")
    );
    for problem in &tables.problems {
        text.push_str(&format!("  {problem}\n"));
    }
    print(&text);
    Outcome::Incomplete
}
