//! The command `esker-sim`: runs the checks, prints the table of figures, and fails if anything was found.

#![forbid(unsafe_code)]
// The program's own files: the replay files that it reads and writes.
#![allow(clippy::disallowed_methods)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, value_parser};
use esker_sim::allocation::Counting;
use esker_sim::report::{Row, Table};
use esker_sim::{checks, kernel, mutants, replay};

/// Counts, so that checks can promise a bound.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

const EXIT_CODES: &str = "Exit codes: 0 nothing was found; 1 something was, a figure is below its floor, or a planted bug \
    was not found; 2 it could not run.";

/// The longest soak, in minutes: a year. Keeps shares and floors within their types.
const SOAK_MINUTES_MAX: u64 = 366 * 24 * 60;

/// Proves that Esker keeps its promises: exhaustively where that is possible, at random and reproducibly elsewhere.
#[derive(Parser)]
#[command(name = "esker-sim", bin_name = "esker-sim", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check once, in about ten minutes on two cores. Fails if anything is found, or if a figure stays below its
    /// floor although neither the machine nor the limit stood in the way.
    Ci {
        /// The seed of all choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The most that one check may take, in seconds.
        #[arg(long, default_value_t = checks::CI_LIMIT.as_secs(), value_parser = value_parser!(u64).range(1..))]
        limit: u64,
        /// Run only these checks, separated by commas or each with its own `--only`.
        #[arg(long, value_name = "CHECK", value_delimiter = ',', value_parser = check_names())]
        only: Vec<String>,
        /// Where the replay files of findings go.
        #[arg(long, default_value = "esker-sim-findings")]
        findings: PathBuf,
    },
    /// Run the checks with other seeds, each for its share of the time. The floors are those of three hours, in proportion.
    Soak {
        /// For how long, in minutes; at most a year.
        #[arg(long, value_parser = value_parser!(u64).range(1..=SOAK_MINUTES_MAX))]
        minutes: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1000)]
        seed: u64,
        /// Run only these checks, separated by commas or each with its own `--only`.
        #[arg(long, value_name = "CHECK", value_delimiter = ',', value_parser = check_names())]
        only: Vec<String>,
        /// Where the replay files of findings go.
        #[arg(long, default_value = "esker-sim-findings")]
        findings: PathBuf,
    },
    /// Run one replay file.
    Replay {
        /// The file.
        file: PathBuf,
    },
    /// Plant one bug after the other and see that a check finds it; needs a build with the feature `mutants`.
    Mutants {
        /// The seed of all choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Plant only these.
        #[arg(long)]
        only: Vec<String>,
        /// Give up on a mutant sooner: for CI, about four minutes on two cores.
        #[arg(long)]
        quick: bool,
        /// Run the checks with whatever is planted in this process.
        #[arg(long, hide = true)]
        child: bool,
        /// The check that looks first.
        #[arg(long, hide = true)]
        first: Option<String>,
    },
    /// Print the names of the checks.
    List,
    /// The process that some checks kill.
    #[command(hide = true)]
    Victim {
        /// What it is told.
        orders: Vec<String>,
    },
}

/// Takes the names that `list` prints: a check that does not run because of a slip must not look like one that passed.
fn check_names() -> PossibleValuesParser {
    PossibleValuesParser::new(checks::CHECKS.iter().map(|entry| entry.name))
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Ci { seed, limit, only, findings } => {
            let limit = Duration::from_secs(limit);
            finish(&checks::ci(seed, limit, &only, progress), &findings)
        }
        Command::Soak { minutes, seed, only, findings } => {
            let limit = Duration::from_secs(minutes.saturating_mul(60));
            finish(&checks::soak(seed, limit, &only, progress), &findings)
        }
        Command::Replay { file } => {
            let text = std::fs::read_to_string(&file).map_err(|error| error.to_string());
            match text.and_then(|text| replay::run(&text)) {
                Ok(report) => {
                    let (elapsed, seeds) = (Duration::ZERO, file.display().to_string());
                    let rows = vec![Row { report, elapsed, seeds, floors: Vec::new() }];
                    finish(&Table { commit: String::new(), rows }, Path::new(""))
                }
                Err(error) => {
                    eprintln!("{}: {error}", file.display());
                    ExitCode::from(2)
                }
            }
        }
        Command::Mutants { seed, quick, child: true, first, .. } => {
            mutants::child(seed, first.as_deref(), quick)
        }
        Command::Mutants { seed, only, quick, .. } => mutants::run(seed, &only, quick),
        Command::Victim { orders } => kernel::victim(&orders),
        Command::List => {
            checks::CHECKS.iter().for_each(|entry| show(&format!("{}\n", entry.name)));
            ExitCode::SUCCESS
        }
    }
}

/// Says that a check has ended, beside the table that comes last.
fn progress(row: &Row) {
    let (found, seconds) = (row.report.findings.len(), row.elapsed.as_secs_f64());
    eprintln!("{}: {found} findings, {seconds:.0} s", row.report.name);
}

/// Keeps the replay files and prints the table; a failure if anything was found, a floor was missed, or nothing ran.
fn finish(table: &Table, directory: &Path) -> ExitCode {
    // The files come first: whoever reads the table may go away, as `head` does.
    let mut text = table.to_string();
    for row in &table.rows {
        for (at, finding) in row.report.findings.iter().enumerate() {
            let Some(replay) =
                finding.replay.as_ref().filter(|_| !directory.as_os_str().is_empty())
            else {
                continue;
            };
            let path = directory.join(format!("{}-{at}.replay", row.report.name));
            let written = std::fs::create_dir_all(directory);
            match written.and_then(|()| std::fs::write(&path, replay)) {
                Ok(()) => text.push_str(&format!("replay file: {}\n", path.display())),
                Err(error) => eprintln!("cannot write {}: {error}", path.display()),
            }
        }
    }
    show(&text);
    if table.rows.is_empty() {
        eprintln!("no check has run");
    }
    if table.findings() == 0 && table.missed() == 0 && !table.rows.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Writes to stdout. A reader that has gone changes nothing about what was found.
fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
