//! A server process for the tests, found by what it prints and ended by its pid, and raw HTTP to talk to it. The
//! test files share it; not each of them uses all of it.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

pub fn esker() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
    let variables = [
        "ESKER_DATA_DIR",
        "ESKER_HOST",
        "ESKER_PORT",
        "ESKER_LOG",
        "ESKER_ALLOW_HOST",
        "ESKER_LIMIT",
        "ESKER_CREDENTIALS_FILE",
        "ESKER_ACCESS_KEY_ID",
        "ESKER_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "ESKER_CORS_ORIGIN",
        "ESKER_THROTTLE",
    ];
    for variable in variables {
        command.env_remove(variable);
    }
    command
}

/// `esker serve` on a port of its own choice; killed when it is dropped.
pub struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub address: SocketAddr,
    /// What it printed when it started.
    pub printed: String,
}

impl Server {
    pub fn start(data_dir: &Path) -> Self {
        let mut command = esker();
        command.args(["serve", "--port", "0", "--data-dir"]).arg(data_dir);
        Self::run(command)
    }

    /// A server that is started with `command`.
    pub fn run(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.contains("  try ") {
            assert_ne!(stdout.read_line(&mut printed).unwrap(), 0, "the server ended");
        }
        let address = printed.split("http://").nth(1).unwrap().split_whitespace().next().unwrap();
        let address = address.parse().unwrap();
        Self { child, stdout, address, printed }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub fn call(&self, operation: &str, body: &str) -> Answer {
        exchange(&mut self.connect(), &request(operation, body)).unwrap()
    }

    /// The body of an operation that succeeds.
    pub fn ok(&self, operation: &str, body: &str) -> String {
        let answer = self.call(operation, body);
        assert_eq!(answer.status, 200, "{operation} {body}: {}", answer.body);
        answer.body
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn terminate(&self) {
        self.signal("TERM");
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// What it prints from here to its end.
    pub fn rest_printed(&mut self) -> String {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        text
    }

    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The body as it was sent.
    pub bytes: Vec<u8>,
    /// The same as text, unless it is compressed.
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

pub fn request(operation: &str, body: &str) -> Vec<u8> {
    let target = format!("X-Amz-Target: DynamoDB_20120810.{operation}\r\nAuthorization: x\r\n");
    post(&target, body)
}

pub fn post(headers: &str, body: &str) -> Vec<u8> {
    post_bytes(headers, body.as_bytes())
}

pub fn post_bytes(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("POST / HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Sends a request and reads one response; `None` where the server closed the connection instead.
pub fn exchange(stream: &mut TcpStream, request: &[u8]) -> Option<Answer> {
    stream.write_all(request).unwrap();
    read_answer(stream)
}

pub fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut answer = Answer { status, headers, bytes: Vec::new(), body: String::new() };
    let length: usize = answer.header("content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if answer.header("content-encoding").is_none() {
        answer.body = String::from_utf8(body.clone()).unwrap();
    }
    answer.bytes = body;
    Some(answer)
}

/// Sends a signal to a process that the test started.
pub fn signal(process: u32, name: &str) {
    let kill = format!("kill -{name} {process}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}
