//! Loads a running server with many small items over HTTP, then measures point reads while the load goes on.
//!
//!     http_load --endpoint http://127.0.0.1:8000 --items 2000000 --seconds 30
//!
//! First `--writers` connections write `--items` items by BatchWriteItem, 25 at a time. Then, for `--seconds`, the same
//! number of connections keeps rewriting them while `--readers` connections run GetItem on random ones; every answer
//! is checked. Each connection has one request in flight (a closed loop: a stall delays the requests behind it, which
//! is why the maximum is printed too). Latencies are what the client sees, its own scheduling included. Called by
//! hand and by `.ci/run`; must never write to a table it has not created.

// A client of the network, outside the rule that only `vfs` reads clocks.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use esker_benches::{
    create_table_body, describe_table_body, host_of, is_active, key, mix, quantile_ms,
};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

type Failure = Box<dyn Error + Send + Sync>;

/// BatchWriteItem takes no more.
const BATCH: u64 = 25;

/// Load a server with small items over HTTP and measure point reads meanwhile.
#[derive(Parser)]
struct Arguments {
    /// Where the server listens: http://host:port.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    endpoint: String,
    /// Items to write before the reads are measured.
    #[arg(long, default_value_t = 100_000)]
    items: u64,
    /// How long to read under load, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections that write.
    #[arg(long, default_value_t = 4)]
    writers: u64,
    /// Connections that read.
    #[arg(long, default_value_t = 2)]
    readers: u64,
    /// Bytes of text in each item.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// The table to create; it must not exist.
    #[arg(long, default_value = "http_load")]
    table: String,
    /// Delete the table at the end.
    #[arg(long)]
    delete: bool,
    /// Fail unless the 99th percentile of reads under load is at most this, in milliseconds.
    #[arg(long)]
    max_p99_ms: Option<f64>,
}

/// One keep-alive connection to the server.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    async fn open(endpoint: &str) -> Result<Connection, Failure> {
        let host = host_of(endpoint)?.to_string();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends by itself when the sender is dropped or the server closes; requests then report the error.
        tokio::spawn(connection);
        Ok(Connection { sender, host })
    }

    /// Runs one operation and returns the body of a successful answer.
    async fn call(&mut self, operation: &str, body: String) -> Result<Bytes, Failure> {
        let credential = "local/20260101/us-east-1/dynamodb/aws4_request";
        let request = Request::post("/")
            .header("host", &self.host)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                format!(
                    "AWS4-HMAC-SHA256 Credential={credential}, \
                     SignedHeaders=host;x-amz-date;x-amz-target, Signature=00"
                ),
            )
            .body(Full::new(Bytes::from(body)))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{operation}: {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body)
    }
}

/// The text of item `number`: known from the number, hard to compress.
fn text(number: u64, len: usize) -> String {
    let mut out = String::with_capacity(len + 16);
    let mut state = number;
    while out.len() < len {
        state = mix(state);
        out.push_str(&format!("{state:016x}"));
    }
    out.truncate(len);
    out
}

fn batch_body(table: &str, first: u64, end: u64, value_bytes: usize) -> String {
    let puts: Vec<String> = (first..end)
        .map(|number| {
            format!(
                r#"{{"PutRequest":{{"Item":{{"id":{{"S":"{}"}},"n":{{"N":"{number}"}},"text":{{"S":"{}"}}}}}}}}"#,
                key(number),
                text(number, value_bytes)
            )
        })
        .collect();
    format!(r#"{{"RequestItems":{{"{table}":[{}]}}}}"#, puts.join(","))
}

/// Writes items `first..end`, again where the server asks for it.
async fn write_batch(
    connection: &mut Connection,
    arguments: &Arguments,
    first: u64,
    end: u64,
) -> Result<(), Failure> {
    let mut body = batch_body(&arguments.table, first, end, arguments.value_bytes);
    loop {
        let answer = connection.call("BatchWriteItem", body).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        match answer.get("UnprocessedItems") {
            Some(left) if left.as_object().is_some_and(|left| !left.is_empty()) => {
                body = serde_json::json!({ "RequestItems": left }).to_string();
            }
            _ => return Ok(()),
        }
    }
}

/// Latencies in microseconds, and what is printed of them.
#[derive(Default)]
struct Latencies(Vec<u32>);

impl Latencies {
    fn add(&mut self, since: Instant) {
        self.0.push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
    }

    fn report(&mut self, what: &str, elapsed: Duration) {
        self.0.sort_unstable();
        println!(
            "{what}: {} requests, {:.0}/s; ms: p50 {:.3}, p90 {:.3}, p99 {:.3}, p99.9 {:.3}, max {:.3}",
            self.0.len(),
            self.0.len() as f64 / elapsed.as_secs_f64(),
            quantile_ms(&self.0, 0.5),
            quantile_ms(&self.0, 0.9),
            quantile_ms(&self.0, 0.99),
            quantile_ms(&self.0, 0.999),
            quantile_ms(&self.0, 1.0),
        );
    }
}

/// What the connections share.
struct Run {
    arguments: Arguments,
    next: AtomicU64,
    stop: AtomicBool,
}

/// One writing connection: takes batches from the shared counter until `limit` or until told to stop.
async fn writer(run: Arc<Run>, limit: Option<u64>) -> Result<Latencies, Failure> {
    let items = run.arguments.items;
    let mut connection = Connection::open(&run.arguments.endpoint).await?;
    let mut latencies = Latencies::default();
    while !run.stop.load(Ordering::Relaxed) {
        let first = run.next.fetch_add(BATCH, Ordering::Relaxed);
        if limit.is_some_and(|limit| first >= limit) {
            break;
        }
        let first = first % items;
        let since = Instant::now();
        write_batch(&mut connection, &run.arguments, first, (first + BATCH).min(items)).await?;
        latencies.add(since);
    }
    Ok(latencies)
}

/// One reading connection: random items until told to stop, each checked.
async fn reader(run: Arc<Run>, seed: u64) -> Result<Latencies, Failure> {
    let Arguments { table, items, value_bytes, .. } = &run.arguments;
    let mut connection = Connection::open(&run.arguments.endpoint).await?;
    let mut latencies = Latencies::default();
    let mut state = seed;
    while !run.stop.load(Ordering::Relaxed) {
        state = mix(state);
        let number = state % items;
        let body = format!(r#"{{"TableName":"{table}","Key":{{"id":{{"S":"{}"}}}}}}"#, key(number));
        let since = Instant::now();
        let answer = connection.call("GetItem", body).await?;
        latencies.add(since);
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let (n, text) = (&answer["Item"]["n"]["N"], &answer["Item"]["text"]["S"]);
        let expected = (number.to_string(), self::text(number, *value_bytes));
        if (n.as_str(), text.as_str()) != (Some(&expected.0), Some(&expected.1)) {
            return Err(format!("item {number} reads back wrong: {answer}").into());
        }
    }
    Ok(latencies)
}

type Worker = tokio::task::JoinHandle<Result<Latencies, Failure>>;

async fn finish(workers: Vec<Worker>) -> Result<Latencies, Failure> {
    let mut all = Latencies::default();
    for worker in workers {
        all.0.extend(worker.await??.0);
    }
    Ok(all)
}

async fn create_table(arguments: &Arguments) -> Result<(), Failure> {
    let table = &arguments.table;
    let mut connection = Connection::open(&arguments.endpoint).await?;
    let body = create_table_body(table);
    connection.call("CreateTable", body).await?;
    loop {
        let answer = connection.call("DescribeTable", describe_table_body(table)).await?;
        if is_active(&serde_json::from_slice(&answer)?) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.items == 0 || arguments.writers == 0 {
        return Err("--items and --writers must be at least 1".into());
    }
    create_table(&arguments).await?;
    let (items, writers, readers) = (arguments.items, arguments.writers, arguments.readers);
    let run = Arc::new(Run { arguments, next: AtomicU64::new(0), stop: AtomicBool::new(false) });

    let since = Instant::now();
    let load = (0..writers).map(|_| tokio::spawn(writer(run.clone(), Some(items)))).collect();
    let mut latencies = finish(load).await?;
    let elapsed = since.elapsed();
    println!("{items} items written at {:.0}/s", items as f64 / elapsed.as_secs_f64());
    latencies.report("load, batches of 25", elapsed);

    let since = Instant::now();
    run.next.store(0, Ordering::Relaxed);
    let writes = (0..writers).map(|_| tokio::spawn(writer(run.clone(), None))).collect();
    let reads = (0..readers).map(|seed| tokio::spawn(reader(run.clone(), seed))).collect();
    tokio::time::sleep(Duration::from_secs(run.arguments.seconds)).await;
    run.stop.store(true, Ordering::Relaxed);
    let (mut reads, mut writes) = (finish(reads).await?, finish(writes).await?);
    let elapsed = since.elapsed();
    writes.report("under load, batches of 25", elapsed);
    reads.report("under load, point reads", elapsed);

    if run.arguments.delete {
        let mut connection = Connection::open(&run.arguments.endpoint).await?;
        let body = format!(r#"{{"TableName":"{}"}}"#, run.arguments.table);
        connection.call("DeleteTable", body).await?;
    }
    let p99 = quantile_ms(&reads.0, 0.99);
    match run.arguments.max_p99_ms {
        Some(limit) if p99 > limit => {
            Err(format!("p99 of point reads is {p99:.3} ms, over the limit of {limit}").into())
        }
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_load: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
