//! `esker verify`: reads every file of a data directory and checks every checksum, without changing anything.
//! Damage is exit code 2 and names the file and the offset.

use std::path::PathBuf;

use esker::ErrorKind;

use super::inspect::{bytes, print};
use super::{CliError, Outcome, open};

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
        db.close()?;
        Ok(report)
    });
    match outcome {
        Ok(report) => {
            print(&format!(
                "{} is sound: {} sstables of {}, {} blocks, {} entries; {} finished log segments, \
                 {} commit groups\n",
                arguments.dir.display(),
                report.sstables,
                bytes(report.sstable_bytes),
                report.blocks,
                report.entries,
                report.wal_segments,
                report.wal_groups,
            ));
            Ok(Outcome::Done)
        }
        Err(error) if error.kind() == ErrorKind::Corruption => {
            print(&format!("{} is damaged: {error}\n", arguments.dir.display()));
            Ok(Outcome::Incomplete)
        }
        Err(error) => Err(open::failed(&arguments.dir, &error)),
    }
}
