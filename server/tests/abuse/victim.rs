//! A server under attack: the child process with its limits, the probe that uses it meanwhile, its memory, and raw
//! exchanges. All tests of this folder use it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{Server, esker, request};

/// Rounds of the probe that must fall into every attack.
const ROUNDS_MIN: u64 = 3;

/// Whether the long attacks are asked for.
pub fn is_long() -> bool {
    std::env::var_os("ESKER_ABUSE_LONG").is_some()
}

/// A server with a table `Tab` (key `k`, a string) and a probe.
pub struct Victim {
    pub server: Server,
    probe: Option<Probe>,
    peak_kib_before: Option<u64>,
    _dir: tempfile::TempDir,
}

struct Probe {
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Victim {
    /// Starts a server with these limits.
    pub fn start(limits: &[&str]) -> Self {
        Self::start_logging(limits, "warn", Stdio::inherit())
    }

    /// Starts a server that logs to `log`.
    pub fn start_logging(limits: &[&str], filter: &str, log: Stdio) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = esker();
        command.args(["serve", "--port", "0", "--data-dir"]).arg(dir.path());
        for limit in limits {
            command.args(["--limit", limit]);
        }
        command.env("ESKER_LOG", filter).env("NO_COLOR", "1").stderr(log);
        let server = Server::run(command);
        server.ok(
            "CreateTable",
            r#"{"TableName":"Tab","AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST"}"#,
        );
        let probe = Some(Probe::start(server.connect()));
        let mut victim = Self { server, probe, peak_kib_before: None, _dir: dir };
        victim.rounds(ROUNDS_MIN);
        victim.peak_kib_before = victim.peak_kib();
        victim
    }

    /// Waits until the probe has made so many rounds from now.
    pub fn rounds(&self, count: u64) {
        let probe = self.probe.as_ref().unwrap();
        let target = probe.rounds.load(Ordering::Acquire) + count;
        while probe.rounds.load(Ordering::Acquire) < target {
            assert!(!probe.thread.is_finished(), "the probe was not served");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The attack is at its height: the probe is served.
    pub fn during(&self) {
        self.rounds(ROUNDS_MIN);
    }

    /// The most memory that the server's process has had, where that can be told.
    fn peak_kib(&self) -> Option<u64> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.server.process())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }

    /// The attack is over: the probe was served all the time, memory grew by `growth_mib_max` at most, the server
    /// works and ends cleanly.
    pub fn end(mut self, name: &str, growth_mib_max: u64) {
        self.during();
        let probe = self.probe.take().unwrap();
        probe.stop.store(true, Ordering::Release);
        let rounds = probe.rounds.load(Ordering::Acquire);
        probe.thread.join().expect("the probe was served");
        assert!(self.server.ok("ListTables", "{}").contains(r#""Tab""#));
        match (self.peak_kib_before, self.peak_kib()) {
            (Some(before), Some(peak)) => {
                let growth_mib = peak.saturating_sub(before) / 1024;
                println!(
                    "{name}: peak {} MiB, {growth_mib} MiB of it by the attack; {rounds} rounds of \
                     the probe",
                    peak / 1024
                );
                assert!(growth_mib <= growth_mib_max, "{name}: {growth_mib} MiB");
            }
            _ => println!("{name}: skipped the check of memory: there is no /proc here"),
        }
        self.server.terminate();
        assert_eq!(self.server.rest_printed(), "closed\n");
        assert_eq!(self.server.wait().code(), Some(0));
    }

    /// Sends bytes on a connection of their own, ends the sending half, and reads all answers until the server closes.
    pub fn send(&self, bytes: &[u8]) -> Vec<Reply> {
        let mut stream = self.server.connect();
        let mut reader = stream.try_clone().unwrap();
        let answers = std::thread::scope(|scope| {
            let reading = scope.spawn(move || rest(&mut reader));
            // The server may answer and close before it has read everything.
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(Shutdown::Write);
            reading.join().unwrap()
        });
        replies(&answers)
    }

    /// The one reply to one operation.
    pub fn call(&self, operation: &str, body: &[u8]) -> Reply {
        let mut bytes = request(operation, "");
        let head = String::from_utf8(bytes.clone()).unwrap();
        let head = head.replace("Content-Length: 0", &format!("Content-Length: {}", body.len()));
        bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        let mut replies = self.send(&bytes);
        assert_eq!(replies.len(), 1, "{operation}: {replies:?}");
        replies.pop().unwrap()
    }
}

impl Probe {
    fn start(mut stream: TcpStream) -> Self {
        let rounds = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (rounds_made, stopped) = (Arc::clone(&rounds), Arc::clone(&stop));
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let thread = std::thread::spawn(move || {
            for round in 0u64.. {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let item =
                    format!(r#"{{"k":{{"S":"probe {}"}},"v":{{"N":"{round}"}}}}"#, round % 7);
                let put = format!(r#"{{"TableName":"Tab","Item":{item}}}"#);
                assert_eq!(exchange(&mut stream, &request("PutItem", &put)), (200, "{}".into()));
                let key =
                    format!(r#"{{"TableName":"Tab","Key":{{"k":{{"S":"probe {}"}}}}}}"#, round % 7);
                let expected = (200, format!(r#"{{"Item":{item}}}"#));
                assert_eq!(exchange(&mut stream, &request("GetItem", &key)), expected);
                rounds_made.store(round + 1, Ordering::Release);
            }
        });
        Self { rounds, stop, thread }
    }
}

/// One request on an open connection: its status and body.
pub fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> (u16, String) {
    let answer = crate::support::exchange(stream, bytes).expect("an answer");
    (answer.status, answer.body)
}

/// What was answered to one request.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Everything until the server closes; a reset after the answer is its right. Fails where it does not close.
pub fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let outcome = stream.read_to_end(&mut bytes);
    let kind = outcome.err().map(|error| error.kind());
    let waits = [Some(std::io::ErrorKind::WouldBlock), Some(std::io::ErrorKind::TimedOut)];
    assert!(!waits.contains(&kind), "the server keeps the connection");
    bytes
}

/// The replies in a stream of bytes; nothing may follow the last.
pub fn replies(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        assert!(!head.contains("access-control-"), "{head}");
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let body = &bytes[end + 4..end + 4 + length];
        let body = String::from_utf8(body.to_vec()).unwrap();
        if status >= 200 && length > 0 {
            assert!(head.contains("x-amzn-requestid: "), "{head}");
        }
        bytes = &bytes[end + 4 + length..];
        replies.push(Reply { status, head, body });
    }
    replies
}

/// The statuses of replies.
pub fn statuses(replies: &[Reply]) -> Vec<u16> {
    replies.iter().map(|reply| reply.status).collect()
}

/// Stores `count` items `large 0`, `large 1`, ... of nearly 400 KB.
pub fn put_large_items(victim: &Victim, count: usize) {
    let filling = "v".repeat(409_000);
    for number in 0..count {
        let put = format!(
            r#"{{"TableName":"Tab","Item":{{"k":{{"S":"large {number}"}},"v":{{"S":"{filling}"}}}}}}"#
        );
        victim.server.ok("PutItem", &put);
    }
}

/// A BatchGetItem of those.
pub fn get_large_items(count: usize) -> Vec<u8> {
    let keys: Vec<String> =
        (0..count).map(|number| format!(r#"{{"k":{{"S":"large {number}"}}}}"#)).collect();
    let body = format!(r#"{{"RequestItems":{{"Tab":{{"Keys":[{}]}}}}}}"#, keys.join(","));
    request("BatchGetItem", &body)
}
