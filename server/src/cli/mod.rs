//! The command line: which commands there are, and how each ends. One file per command. A failure is one line that
//! says what to do, and exit code 1; an import, a verification or a repair that found something is exit code 2.

mod client;
mod descriptors;
mod destination;
mod export;
mod import;
mod input;
mod inspect;
mod kept;
mod open;
mod plain;
mod rejected;
mod repair;
mod serve;
mod verify;

use std::fmt;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// What `--help` says about how commands end.
const EXIT_CODES: &str = "Exit codes: 0 all is well; 1 an error, said on stderr; 2 an import rejected lines, or a \
                          verification found damage.";

/// A DynamoDB-compatible database on one machine.
///
/// Without a command, `esker` serves.
#[derive(Parser)]
#[command(name = "esker", version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: serve::Arguments,

    /// What to log to stderr: error, warn, info, debug, trace, or filters such as esker_server=debug.
    #[arg(long, global = true, env = "ESKER_LOG", default_value = "warn", value_name = "FILTER")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Serve tables over the DynamoDB wire protocol (the default).
    Serve(serve::Arguments),
    /// Read JSON lines into a table.
    #[command(after_help = EXIT_CODES)]
    Import(import::Arguments),
    /// Write the items of a table as JSON lines. A FILE that exists is replaced, once the new one is complete.
    Export(export::Arguments),
    /// Show the keyspaces, levels and files of a data directory that no server has open.
    Inspect(inspect::Arguments),
    /// Read every file of a data directory and check every byte; no server may have it open.
    #[command(after_help = EXIT_CODES)]
    Verify(verify::Arguments),
    /// Say what is wrong with a data directory and, with --apply, save what can be saved; nothing is deleted.
    Repair(repair::Arguments),
}

/// How a command that did not fail ended.
enum Outcome {
    /// Everything was done.
    Done,
    /// Something was found or left out, and reported: exit code 2.
    Incomplete,
}

/// Why a command failed: one line for people.
#[derive(Debug)]
pub(crate) struct CliError(String);

impl CliError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody may be reading. Exit code 2, clap's own for this, has another meaning here.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    if let Err(error) = start_log(&cli.log) {
        return failed(&error);
    }
    let outcome = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(arguments)) => serve::run(&arguments),
        Some(Command::Import(arguments)) => import::run(&arguments),
        Some(Command::Export(arguments)) => export::run(&arguments),
        Some(Command::Inspect(arguments)) => inspect::run(&arguments),
        Some(Command::Verify(arguments)) => verify::run(&arguments),
        Some(Command::Repair(arguments)) => repair::run(&arguments),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::from(2),
        Err(error) => failed(&error),
    }
}

fn failed(error: &CliError) -> ExitCode {
    eprintln!("esker: {error}");
    ExitCode::FAILURE
}

fn start_log(filter: &str) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| CliError::new(format!("--log '{filter}' is not a log filter: {error}")))?;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(!plain && std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

/// A number of things: `1 item`, `2 items`, `3 entries`.
fn counted(count: u64, thing: &str) -> String {
    match thing.strip_suffix('y') {
        _ if count == 1 => format!("1 {thing}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn numbers_agree_with_their_nouns() {
        assert_eq!(counted(1, "entry"), "1 entry");
        assert_eq!(counted(0, "entry"), "0 entries");
        assert_eq!(counted(2, "item"), "2 items");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["esker"]).unwrap().command.is_none());
        let cli = Cli::try_parse_from(["esker", "--port", "0", "--log", "info"]).unwrap();
        assert!(cli.command.is_none());
        let cli = Cli::try_parse_from(["esker", "serve", "--port", "0"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Serve(_))));
        assert!(Cli::try_parse_from(["esker", "import", "-", "--table", "T"]).is_ok());
        assert!(Cli::try_parse_from(["esker", "import", "-"]).is_err());
    }
}
