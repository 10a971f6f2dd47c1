//! Compares Esker with other storage engines, side by side in one run: `all`, `quick`, or a choice of engines and
//! workloads. This file is the command line; `plan.rs` says what is measured, `run.rs` starts a child process for each
//! measurement (`child.rs`), `table.rs`, `targets.rs` and `plot.rs` show the results. Called by people and never by CI.

// A program of its own beside the product: it reads clocks and files itself.
#![allow(clippy::disallowed_methods)]
#![deny(unsafe_code)]

mod child;
mod engine;
mod engines;
mod generator;
mod machine;
mod measure;
mod outcome;
mod plan;
mod plot;
mod run;
mod table;
mod targets;
mod workload;
mod zipf;

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
    /// Every workload, in both modes: hours.
    All(Box<plan::Choice>),
    /// The main workloads on small sizes: about five minutes.
    Quick(Box<plan::Choice>),
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
        Command::Child { spec } => child::run(&spec).map(|()| true),
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
