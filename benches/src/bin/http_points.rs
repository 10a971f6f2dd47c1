//! Single puts and gets over HTTP, as many clients at a time as there are connections:
//!
//!     http_points --endpoint http://127.0.0.1:8000 --pid 1234
//!
//! It writes every item once, then measures puts, gets, and gets that come at a steady rate of half of what was reached
//! before (where a request that has to wait for the one before it is late by that wait too). Each answer to a get is held against
//! the last put that was acknowledged. With `--pid` it also says how much processor time that process took for a request.
//! The client is as cheap as can be made with little code, because it shares the machine with the server: one thread,
//! plain sockets, requests of fixed text. Called by hand and by `scripts/compare_dynamodb.py`, which starts several servers in turn;
//! must never write to a table that it has not created.

// A client of the network, outside the rule that only `vfs` reads clocks and files.
#![allow(clippy::disallowed_methods)]

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use esker_benches::{
    call_head, content_length, cpu_us, create_table_body, describe_table_body, find, host_of,
    is_active, key, mix, quantile_ms,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

type Failure = Box<dyn Error + Send + Sync>;

/// Measure single puts and gets over HTTP.
#[derive(Parser)]
struct Arguments {
    /// Where the server listens: http://host:port.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    endpoint: String,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 16)]
    connections: u64,
    /// Items in the table.
    #[arg(long, default_value_t = 10_000)]
    items: u64,
    /// Bytes of text in each item.
    #[arg(long, default_value_t = 1000)]
    value_bytes: usize,
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The server's process, to measure its processor time.
    #[arg(long)]
    pid: Option<u32>,
    /// The table to create; it must not exist.
    #[arg(long, default_value = "http_points")]
    table: String,
    /// Print lines of `name=value` pairs instead of sentences.
    #[arg(long)]
    plain: bool,
}

/// Appends the text of one version of an item: known from both, not worth compressing.
fn push_text(out: &mut Vec<u8>, number: u64, version: u32, len: usize) {
    const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    let end = out.len() + len;
    let mut state = mix(number ^ u64::from(version) << 40);
    while out.len() < end {
        state = mix(state);
        out.extend((0..10).map(|at| DIGITS[(state >> (6 * at)) as usize % 64]));
    }
    out.truncate(end);
}

/// One keep-alive connection.
struct Connection {
    stream: TcpStream,
    /// The request line and the headers up to the body's length, per operation.
    heads: [String; 2],
    request: Vec<u8>,
    response: Vec<u8>,
}

const PUT: usize = 0;
const GET: usize = 1;

impl Connection {
    async fn open(endpoint: &str) -> Result<Connection, Failure> {
        let host = host_of(endpoint)?;
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        let heads = ["PutItem", "GetItem"].map(|operation| call_head(host, operation));
        Ok(Connection { stream, heads, request: Vec::new(), response: Vec::new() })
    }

    /// Sends a request whose body `body` appends, and reads its answer; the body's place in `response`.
    async fn call(
        &mut self,
        operation: usize,
        body_bytes: usize,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Range<usize>, Failure> {
        self.request.clear();
        self.request.extend_from_slice(self.heads[operation].as_bytes());
        self.request.extend_from_slice(body_bytes.to_string().as_bytes());
        self.request.extend_from_slice(b"\r\n\r\n");
        let start = self.request.len();
        body(&mut self.request);
        assert_eq!(self.request.len() - start, body_bytes, "the body is as long as announced");
        self.exchange().await
    }

    async fn exchange(&mut self) -> Result<Range<usize>, Failure> {
        self.stream.write_all(&self.request).await?;
        self.response.clear();
        loop {
            if self.stream.read_buf(&mut self.response).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let Some(at) = find(&self.response, b"\r\n\r\n") else { continue };
            let (body, length) = (at + 4, content_length(&self.response[..at])?);
            while self.response.len() < body + length {
                if self.stream.read_buf(&mut self.response).await? == 0 {
                    return Err("the server closed the connection".into());
                }
            }
            if !self.response.starts_with(b"HTTP/1.1 200") {
                return Err(String::from_utf8_lossy(&self.response).into_owned().into());
            }
            return Ok(body..body + length);
        }
    }

    /// One call of another operation.
    async fn control(&mut self, operation: &str, body: &str) -> Result<serde_json::Value, Failure> {
        let host = self.stream.peer_addr()?.to_string();
        self.request.clear();
        let head = call_head(&host, operation);
        self.request.extend_from_slice(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes());
        let answer = self.exchange().await?;
        Ok(serde_json::from_slice(&self.response[answer])?)
    }
}

/// What the connections share.
struct Run {
    arguments: Arguments,
    /// The version of each item that was acknowledged last.
    versions: RefCell<Vec<u32>>,
    wrong: Cell<u64>,
}

impl Run {
    /// Writes the next version of an item. Only one connection writes it.
    async fn put(&self, connection: &mut Connection, number: u64) -> Result<(), Failure> {
        let version = self.versions.borrow()[number as usize] + 1;
        let before = format!(
            r#"{{"TableName":"{}","Item":{{"id":{{"S":"{}"}},"n":{{"N":"{number}"}},"text":{{"S":""#,
            self.arguments.table,
            key(number)
        );
        let (value_bytes, after) = (self.arguments.value_bytes, r#""}}}"#);
        let len = before.len() + value_bytes + after.len();
        let body = |out: &mut Vec<u8>| {
            out.extend_from_slice(before.as_bytes());
            push_text(out, number, version, value_bytes);
            out.extend_from_slice(after.as_bytes());
        };
        connection.call(PUT, len, body).await?;
        self.versions.borrow_mut()[number as usize] = version;
        Ok(())
    }

    /// Reads an item and checks it.
    async fn get(&self, connection: &mut Connection, number: u64) -> Result<(), Failure> {
        let body = format!(
            r#"{{"TableName":"{}","Key":{{"id":{{"S":"{}"}}}},"ConsistentRead":true}}"#,
            self.arguments.table,
            key(number)
        );
        let answer =
            connection.call(GET, body.len(), |out| out.extend_from_slice(body.as_bytes())).await?;
        let mut expected = br#""text":{"S":""#.to_vec();
        let version = self.versions.borrow()[number as usize];
        push_text(&mut expected, number, version, self.arguments.value_bytes);
        expected.extend_from_slice(br#""}"#);
        let answer = &connection.response[answer];
        let number = format!(r#""n":{{"N":"{number}"}}"#);
        let is_right = |part: &[u8]| {
            let start = find(answer, &part[..part.len().min(12)]);
            start.is_some_and(|start| answer[start..].starts_with(part))
        };
        if !is_right(&expected) || !is_right(number.as_bytes()) {
            self.wrong.set(self.wrong.get() + 1);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// Every item once.
    Load,
    Put,
    Get,
    /// So many gets a second, of all connections together.
    GetAt(f64),
}

/// One connection's part of a measurement; the latencies in microseconds.
async fn work(run: Rc<Run>, mine: u64, work: Work, since: Instant) -> Result<Vec<u32>, Failure> {
    let mut connection = Connection::open(&run.arguments.endpoint).await?;
    let Arguments { connections, items, seconds, .. } = run.arguments;
    let end = Duration::from_secs_f64(seconds);
    let mut latencies = Vec::new();
    let mut state = mix(mine);
    for round in 0.. {
        state = mix(state);
        let number = match work {
            Work::Load if round * connections + mine >= items => break,
            Work::Load => round * connections + mine,
            // The items that this connection alone writes.
            Work::Put => (state % (items / connections)) * connections + mine,
            Work::Get | Work::GetAt(_) => state % items,
        };
        let mut begin = since.elapsed();
        if let Work::GetAt(rate) = work {
            let due = Duration::from_secs_f64((round * connections + mine) as f64 / rate);
            if due > begin {
                // The timers turn once a millisecond: how late they are is not the server's doing.
                tokio::time::sleep(due - begin).await;
                begin = since.elapsed();
            } else {
                begin = due;
            }
        }
        if work != Work::Load && begin >= end {
            break;
        }
        match work {
            Work::Load | Work::Put => run.put(&mut connection, number).await?,
            Work::Get | Work::GetAt(_) => run.get(&mut connection, number).await?,
        }
        let taken = since.elapsed() - begin;
        latencies.push(u32::try_from(taken.as_micros()).unwrap_or(u32::MAX));
    }
    Ok(latencies)
}

struct Measured {
    rate: f64,
}

async fn measure(run: &Rc<Run>, name: &str, kind: Work) -> Result<Measured, Failure> {
    let pid = run.arguments.pid.map(|pid| pid.to_string());
    let cpu = || pid.as_deref().and_then(cpu_us);
    let (cpu_before, own_before, since) = (cpu(), cpu_us("self"), Instant::now());
    let local = LocalSet::new();
    let connections = 0..run.arguments.connections;
    let tasks: Vec<_> = connections
        .map(|mine| local.spawn_local(work(Rc::clone(run), mine, kind, since)))
        .collect();
    let all = local.run_until(async {
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await??);
        }
        Ok::<_, Failure>(all)
    });
    let mut latencies = all.await?;
    let elapsed = since.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let count = latencies.len().max(1);
    let rate = latencies.len() as f64 / elapsed;
    let quantile = |q: f64| quantile_ms(&latencies, q);
    let per_request = |before: Option<f64>, after: Option<f64>| {
        before.zip(after).map_or(f64::NAN, |(before, after)| (after - before) / count as f64)
    };
    let server_us = per_request(cpu_before, cpu());
    let client_us = per_request(own_before, cpu_us("self"));
    let (p50, p99, p999, max) = (quantile(0.5), quantile(0.99), quantile(0.999), quantile(1.0));
    let wrong = run.wrong.take();
    let mut line = String::new();
    if run.arguments.plain {
        write!(
            line,
            "phase={name} requests={} rate={rate:.1} p50_ms={p50:.3} p99_ms={p99:.3} \
             p999_ms={p999:.3} max_ms={max:.3} server_us={server_us:.2} client_us={client_us:.2} \
             wrong={wrong}",
            latencies.len(),
        )?;
    } else {
        write!(
            line,
            "{name}: {rate:.0}/s; ms: p50 {p50:.3}, p99 {p99:.3}, p99.9 {p999:.3}, max {max:.3}; \
             processor us a request: server {server_us:.1}, client {client_us:.1}; {wrong} wrong",
        )?;
    }
    println!("{line}");
    Ok(Measured { rate })
}

async fn create_table(arguments: &Arguments) -> Result<(), Failure> {
    let table = &arguments.table;
    let mut connection = Connection::open(&arguments.endpoint).await?;
    let body = create_table_body(table);
    connection.control("CreateTable", &body).await?;
    loop {
        let answer = connection.control("DescribeTable", &describe_table_body(table)).await?;
        if is_active(&answer) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.connections == 0 || arguments.items < arguments.connections {
        return Err("--items must be at least --connections, and that at least 1".into());
    }
    create_table(&arguments).await?;
    let versions = RefCell::new(vec![0; arguments.items as usize]);
    let run = Rc::new(Run { arguments, versions, wrong: Cell::new(0) });
    measure(&run, "load", Work::Load).await?;
    measure(&run, "puts", Work::Put).await?;
    let full = measure(&run, "gets", Work::Get).await?;
    measure(&run, "gets_half", Work::GetAt(full.rate / 2.0)).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_points: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
