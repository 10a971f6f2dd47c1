//! Every data operation over HTTP or, without a server, through the table API:
//!
//!     operations --endpoint http://127.0.0.1:8000 --pid 1234
//!     operations --directory /disk/empty
//!
//! One thread and one connection for each client, each with one request under way. Two tables are filled; then one
//! operation after the other is measured. Every answer is compared with what was written: key, version and text of each
//! item, counters, and nothing that is missing or comes twice. An operation that the server refuses to know is reported
//! as such. Called by hand and by `scripts/compare_dynamodb.py --operations`; must never write to a table that it has not
//! created.

// A client of the network, outside the rule that only `vfs` reads clocks and files.
#![allow(clippy::disallowed_methods)]

mod embedded;
mod http;
mod work;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use esker_benches::{cpu_us, quantile_ms};
use work::{Answer, Operation, Request, State};

type Failure = Box<dyn Error + Send + Sync>;

/// Measure every data operation.
#[derive(Parser)]
struct Arguments {
    /// Where the server listens: http://host:port.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    endpoint: String,
    /// Measure the table API instead, with a database in this directory, which must be empty.
    #[arg(long)]
    directory: Option<std::path::PathBuf>,
    /// Clients, each with one request under way.
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Items in the table of single items; a tenth of it is the number of partitions of ten in the other.
    #[arg(long, default_value_t = 2000)]
    items: u64,
    /// How long each operation is measured, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The server's process, to measure its processor time.
    #[arg(long)]
    pid: Option<u32>,
}

/// What carries a request out: a connection, or the tables themselves.
trait Peer: Send {
    /// The answer, or `None` where the operation is not known.
    fn call(&mut self, request: &Request) -> Result<Option<Answer>, Failure>;
}

/// What one client did.
#[derive(Default)]
struct Done {
    latencies_us: Vec<u32>,
    wrong: u64,
    unknown: bool,
}

/// One client's part of an operation, until `end` or until there is nothing left to do.
fn client(
    peer: &mut dyn Peer,
    state: &State,
    operation: Operation,
    mine: u64,
    end: Instant,
    stop: &AtomicBool,
) -> Result<Done, Failure> {
    let mut done = Done::default();
    for round in 0.. {
        if stop.load(Ordering::Relaxed) || Instant::now() >= end {
            break;
        }
        let Some(request) = state.request(operation, mine, round) else { break };
        let answer = peer.call(&request).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        let Some(answer) = answer else {
            done.unknown = true;
            break;
        };
        done.latencies_us.push(u32::try_from(answer.taken.as_micros()).unwrap_or(u32::MAX));
        done.wrong += u64::from(!state.is_right(&request, &answer));
    }
    Ok(done)
}

/// All clients at once; how long they took with it.
fn all(
    peers: &mut [Box<dyn Peer>],
    state: &State,
    operation: Operation,
    seconds: f64,
) -> Result<(Done, Duration), Failure> {
    let stop = AtomicBool::new(false);
    let since = Instant::now();
    let end = since + Duration::from_secs_f64(seconds);
    let parts = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..)
            .zip(peers.iter_mut())
            .map(|(mine, peer)| {
                let stop = &stop;
                scope.spawn(move || client(peer.as_mut(), state, operation, mine, end, stop))
            })
            .collect();
        let ended = clients.into_iter().map(|client| client.join().expect("no client panics"));
        ended.collect::<Result<Vec<Done>, Failure>>()
    })?;
    let taken = since.elapsed();
    let mut whole = Done::default();
    for part in parts {
        whole.latencies_us.extend(part.latencies_us);
        whole.wrong += part.wrong;
        whole.unknown |= part.unknown;
    }
    Ok((whole, taken))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { connections, items, seconds, .. } = *arguments;
    if connections == 0 || items / 100 < connections {
        return Err("--items must be at least a hundred times --connections".into());
    }
    let state = State::new(items, connections);
    let pid = arguments.pid.map(|pid| pid.to_string());
    let mut peers: Vec<Box<dyn Peer>> = match &arguments.directory {
        Some(directory) => embedded::open(directory, connections)?,
        None => http::open(&arguments.endpoint, connections)?,
    };
    for operation in [Operation::LoadPoints, Operation::LoadLists] {
        let (done, _) = all(&mut peers, &state, operation, 600.0)?;
        if done.wrong > 0 || done.unknown {
            return Err("the tables could not be filled".into());
        }
    }
    let mut wrong_at_end = 0;
    for operation in Operation::MEASURED {
        if operation == Operation::DeleteItem {
            // The last, and without a warm-up, because there is only so much to delete. What was acknowledged is there.
            let (read, _) = all(&mut peers, &state, Operation::ReadBack, 600.0)?;
            wrong_at_end = read.wrong;
        } else {
            all(&mut peers, &state, operation, seconds / 4.0)?;
        }
        let cpu = || pid.as_deref().and_then(cpu_us);
        let before = cpu();
        let (mut done, taken) = all(&mut peers, &state, operation, seconds)?;
        let count = done.latencies_us.len();
        let server_us = before.zip(cpu()).map_or(f64::NAN, |(a, b)| (b - a) / count.max(1) as f64);
        done.latencies_us.sort_unstable();
        let quantile = |q| quantile_ms(&done.latencies_us, q);
        let rate = if done.unknown { 0.0 } else { count as f64 / taken.as_secs_f64() };
        println!(
            "phase={operation:?} requests={count} rate={rate:.1} p50_ms={:.3} p99_ms={:.3} \
             server_us={server_us:.1} wrong={}",
            quantile(0.5),
            quantile(0.99),
            done.wrong + std::mem::take(&mut wrong_at_end)
        );
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("operations: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
