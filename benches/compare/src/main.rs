//! Compares Esker with other storage engines, side by side in one run: `all`, `quick`, or a choice of engines and
//! workloads. This file is the command line; `plan.rs` says what is measured, `run.rs` starts a child process for each
//! measurement (`child.rs`) and writes the raw results (`record.rs`), `report.rs` shows them. Called by people and never
//! by CI.

// A program of its own beside the product: it reads clocks and files itself.
#![allow(clippy::disallowed_methods)]
#![deny(unsafe_code)]

mod child;
mod engine;
mod engines;
mod generator;
mod group;
mod machine;
mod measure;
mod outcome;
mod plan;
mod plot;
mod process;
mod record;
mod report;
mod run;
mod table;
mod targets;
mod template;
mod workload;
mod zipf;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "esker-compare", about = "Esker beside other storage engines, in one run")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every workload, with reads in both modes: about 40 minutes.
    All(Box<plan::Choice>),
    /// The main workloads on small sizes: less than five minutes.
    Quick(Box<plan::Choice>),
    /// The report from raw results that are there, of one invocation or several put together.
    Report {
        /// Files of raw results [default: target/compare/results.jsonl].
        files: Vec<PathBuf>,
        /// Draws the results as SVG into this folder.
        #[arg(long, num_args = 0..=1, default_missing_value = "docs/plots")]
        plots: Option<PathBuf>,
    },
    /// Prints the engines of this build and the workloads.
    List,
    /// One measurement, in a process of its own; started by the others.
    #[command(hide = true)]
    Child {
        /// The measurement, as JSON.
        spec: String,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::All(choice) => run::run(&choice, false),
        Command::Quick(choice) => run::run(&choice, true),
        Command::List => {
            list();
            Ok(true)
        }
        Command::Report { mut files, plots } => {
            if files.is_empty() {
                files.push("target/compare/results.jsonl".into());
            }
            report::report(&files, plots.as_deref())
        }
        Command::Child { spec } => child::run(&spec).map(|()| true).inspect_err(|error| {
            // To the parent.
            println!("{}{error}", process::ERROR);
        }),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    println!("engines:");
    for engine in engines::ENGINES {
        let modes = if engines::can_compress(engine.name) {
            "compressed, uncompressed"
        } else {
            "uncompressed"
        };
        println!("  {:<20} {modes}", engine.name);
    }
    println!("workloads:");
    for workload in workload::WORKLOADS {
        let quick = if workload.quick { " (quick)" } else { "" };
        println!("  {:<20} {}{quick}", workload.name, workload.about);
    }
}
