//! Clients that take their time. Each kind of slowness has a deadline of its own, and none costs the others anything
//! but memory that is bounded.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::support::request;
use crate::victim::{Victim, exchange, get_large_items, put_large_items, replies, rest, statuses};

/// A limit that a test must not run into.
const NEVER: &str = "600000";

fn with(limits: &[(&str, &str)]) -> Victim {
    let mut all: Vec<String> = Vec::new();
    for name in ["idle-ms", "header-ms", "body-ms", "write-ms", "response-ms"] {
        let value = limits.iter().find(|(n, _)| *n == name).map_or(NEVER, |(_, value)| value);
        all.push(format!("{name}={value}"));
    }
    let others = limits.iter().filter(|(name, _)| !name.ends_with("-ms"));
    all.extend(others.map(|(name, value)| format!("{name}={value}")));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    Victim::start(&all)
}

#[test]
fn a_request_byte_by_byte_is_a_request() {
    let victim = Victim::start(&[]);
    let put = r#"{"TableName":"Tab","Item":{"k":{"S":"slow"}}}"#;
    let mut stream = victim.server.connect();
    stream.set_nodelay(true).unwrap();
    let whole = request("PutItem", put);
    let (last, first) = whole.split_last().unwrap();
    for byte in first {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(exchange(&mut stream, &[*last]), (200, "{}".into()));

    // A body in chunks of one byte, most of it blanks.
    let mut body = vec![b' '; 500_000];
    body.extend_from_slice(put.as_bytes());
    let mut sent =
        b"POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: x\r\nConnection: close\r\n\
        X-Amz-Target: DynamoDB_20120810.PutItem\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for byte in body {
        sent.extend([b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    sent.extend(b"0\r\n\r\n");
    assert_eq!(statuses(&victim.send(&sent)), [200]);
    victim.end("byte by byte", 50);
}

/// Files that this process may still open, with some left for the rest.
fn sockets(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    let possible = soft.unwrap_or(256usize) / 3;
    if possible < wanted {
        println!("{possible} sockets instead of {wanted}: no more files may be open");
    }
    wanted.min(possible)
}

/// Connections that stand still in every part of a request and of its response.
pub fn stalled(victim: &Victim, count: usize) -> Vec<TcpStream> {
    let put = request("PutItem", r#"{"TableName":"Tab","Item":{"k":{"S":"never"}}}"#);
    let get = get_large_items(8);
    let parts = [&put[..0], &put[..20], &put[..put.len() - 9], &get[..]];
    let part = |number: usize| {
        let mut stream = victim.server.connect();
        stream.write_all(parts[number % parts.len()]).unwrap();
        stream
    };
    (0..count).map(part).collect()
}

#[test]
fn a_thousand_sockets_stand_still() {
    let victim = with(&[]);
    put_large_items(&victim, 8);
    let count = sockets(1000);
    let open = stalled(&victim, count);
    victim.during();
    // They are all still there: nothing has ended them.
    assert_eq!(open.len(), count);
    drop(open);
    assert_eq!(
        victim.server.ok("GetItem", r#"{"TableName":"Tab","Key":{"k":{"S":"never"}}}"#),
        "{}"
    );
    victim.end("a thousand sockets", 400);
}

#[test]
fn silence_ends_by_the_idle_deadline() {
    let victim = with(&[("idle-ms", "3000")]);
    let mut silent = victim.server.connect();
    let mut used = victim.server.connect();
    assert_eq!(exchange(&mut used, &request("ListTables", "{}")).0, 200);
    assert_eq!(rest(&mut silent), b"");
    assert_eq!(rest(&mut used), b"");
    victim.end("silence", 50);
}

/// One byte at a time, for as long as the server takes them.
fn drip(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.set_nonblocking(true).unwrap();
    let mut got = Vec::new();
    for byte in bytes.iter().cycle().take(60_000) {
        let sent = stream.write(&[*byte]);
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => return got,
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return got,
        }
        if sent.is_err() {
            return got;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the server reads on");
}

#[test]
fn a_dripping_header_ends_by_its_own_deadline() {
    let victim = with(&[("header-ms", "300")]);
    let mut stream = victim.server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Drip: ").unwrap();
    assert_eq!(drip(&mut stream, b"x"), b"");
    // Also as a second request, and where its first bytes came together with the first.
    let mut stream = victim.server.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /").unwrap();
    assert_eq!(statuses(&replies(&drip(&mut stream, b"x"))), [200]);
    // A header that stands still altogether.
    let mut stream = victim.server.connect();
    stream.write_all(b"G").unwrap();
    assert_eq!(rest(&mut stream), b"");
    // Silence before a request is no slow header.
    let mut patient = victim.server.connect();
    assert_eq!(exchange(&mut patient, &request("ListTables", "{}")).0, 200);
    let mut other = victim.server.connect();
    other.write_all(b"G").unwrap();
    assert_eq!(rest(&mut other), b"");
    assert_eq!(exchange(&mut patient, &request("ListTables", "{}")).0, 200);
    victim.end("a dripping header", 50);
}

#[test]
fn a_dripping_body_ends_by_its_own_deadline() {
    let victim = with(&[("body-ms", "300")]);
    let whole = request("ListTables", &" ".repeat(1 << 20));
    let head = whole.len() - (1 << 20);
    let mut still = victim.server.connect();
    still.write_all(&whole[..head + 10]).unwrap();
    let mut dripping = victim.server.connect();
    dripping.write_all(&whole[..head]).unwrap();
    assert_eq!(statuses(&replies(&drip(&mut dripping, b" "))), [408]);
    assert_eq!(statuses(&replies(&rest(&mut still))), [408]);
    victim.end("a dripping body", 50);
}

/// How many bytes come until the server gives up, of a response that is read at this pace.
fn read_slowly(stream: &mut TcpStream, pace: Duration) -> usize {
    let mut buffer = vec![0; 16 << 10];
    let mut read = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return read,
            Ok(count) => read += count,
        }
        std::thread::sleep(pace);
    }
}

/// Items of nearly 400 KB in a response that is much more than the operating system buffers for a connection.
const ITEMS: usize = 40;
const RESPONSE_BYTES: usize = ITEMS * 409_000;

#[test]
fn a_response_that_is_not_taken_ends_by_the_write_deadline() {
    // In the part of reads there is room for one response at a time.
    let victim = with(&[("write-ms", "500"), ("responses-bytes", "26000000")]);
    put_large_items(&victim, ITEMS);
    let ask = || {
        let mut stream = victim.server.connect();
        stream.write_all(&get_large_items(ITEMS)).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (stream, &status == b"HTTP/1.1 200")
    };
    let (mut deaf, is_served) = ask();
    assert!(is_served);
    // Another gets the room once the server has given the first one up.
    let mut next = loop {
        match ask() {
            (next, true) => break next,
            (_, false) => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    next.shutdown(Shutdown::Write).unwrap();
    assert!(read_slowly(&mut next, Duration::ZERO) > RESPONSE_BYTES);
    let read = read_slowly(&mut deaf, Duration::ZERO);
    assert!(read < RESPONSE_BYTES, "all {read} bytes came");
    victim.end("write deadline", 300);
}

#[test]
fn a_response_that_drips_ends_by_its_own_deadline() {
    let victim = with(&[("response-ms", "1000")]);
    put_large_items(&victim, ITEMS);
    let mut stream = victim.server.connect();
    stream.write_all(&get_large_items(ITEMS)).unwrap();
    let read = read_slowly(&mut stream, Duration::from_millis(20));
    assert!(read < RESPONSE_BYTES, "all {read} bytes came");
    victim.end("response deadline", 300);
}

/// A client that takes a little now and then keeps its room only while others do not need it.
#[test]
fn a_response_that_drips_makes_room_where_it_is_scarce() {
    let victim = with(&[("write-ms", "1500"), ("responses-bytes", "26000000")]);
    put_large_items(&victim, ITEMS);
    let mut stream = victim.server.connect();
    stream.write_all(&get_large_items(ITEMS)).unwrap();
    let read = read_slowly(&mut stream, Duration::from_millis(10));
    assert!(read < RESPONSE_BYTES, "all {read} bytes came");
    victim.end("scarce room", 300);
}
