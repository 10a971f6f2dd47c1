//! Too many of what is harmless alone: requests on one connection, and connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use crate::support::{Server, esker, request};
use crate::victim::{Victim, exchange, replies, rest};

#[test]
fn ten_thousand_requests_at_once_on_one_connection() {
    const COUNT: usize = 10_000;
    let victim = Victim::start(&[]);
    let get = request("GetItem", r#"{"TableName":"Tab","Key":{"k":{"S":"nobody"}}}"#);
    let list = request("ListTables", "{}");
    let answers = victim.send(&[get, list].concat().repeat(COUNT / 2));
    assert_eq!(answers.len(), COUNT);
    for (number, answer) in answers.iter().enumerate() {
        let expected = if number % 2 == 0 { "{}" } else { r#"{"TableNames":["Tab"]}"# };
        assert_eq!((answer.status, answer.body.as_str()), (200, expected), "{number}");
    }
    victim.end("pipelining", 100);
}

#[test]
fn connections_beyond_the_cap_are_closed() {
    // The probe has one.
    let victim = Victim::start(&["connections=50"]);
    let opened: Vec<TcpStream> = (0..49).map(|_| victim.server.connect()).collect();
    let mut kept = Vec::new();
    for mut stream in opened {
        // The place of the connection that made the table may not be free yet.
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if stream.read_exact(&mut [0; 12]).is_ok() {
            kept.push(stream);
        }
    }
    assert!(kept.len() >= 48, "{}", kept.len());
    let mut closed = 0;
    for _ in 0..500 {
        let mut stream = victim.server.connect();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let _ = stream.shutdown(Shutdown::Write);
        closed += usize::from(rest(&mut stream).is_empty());
    }
    assert!(closed >= 499 - (49 - kept.len()), "{closed}");
    victim.during();
    drop(kept);
    // The places come back.
    let mut served = 0;
    while served < 20 {
        let mut stream = victim.server.connect();
        let _ = stream.write_all(&request("ListTables", "{}"));
        let _ = stream.shutdown(Shutdown::Write);
        served += replies(&rest(&mut stream)).len();
    }
    victim.end("connections", 50);
}

/// Every connection is a descriptor, and so is every file of the database.
#[test]
fn connections_leave_descriptors_to_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n 256; exec "$@""#, "sh"]).arg(esker().get_program());
    command.args(["serve", "--port", "0", "--data-dir"]).arg(dir.path()).env("ESKER_LOG", "error");
    let server = Server::run(command);
    let mut stream = server.connect();
    let table = |name| {
        format!(
            r#"{{"TableName":"{name}","AttributeDefinitions":[{{"AttributeName":"k","AttributeType":"S"}}],"KeySchema":[{{"AttributeName":"k","KeyType":"HASH"}}],"BillingMode":"PAY_PER_REQUEST"}}"#
        )
    };
    assert_eq!(exchange(&mut stream, &request("CreateTable", &table("Tab"))).0, 200);
    let open: Vec<TcpStream> = (0..400).map(|_| server.connect()).collect();
    // Enough for files to be made, while the connections are open.
    let filling = "v".repeat(400_000);
    for number in 0..40 {
        let put = format!(
            r#"{{"TableName":"Tab","Item":{{"k":{{"S":"{number}"}},"v":{{"S":"{filling}"}}}}}}"#
        );
        assert_eq!(exchange(&mut stream, &request("PutItem", &put)), (200, "{}".into()));
    }
    drop(open);
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn connections_come_and_go() {
    let victim = Victim::start(&[]);
    for round in 0..3000 {
        let mut stream = victim.server.connect();
        if round % 100 == 0 {
            assert_eq!(exchange(&mut stream, &request("ListTables", "{}")).0, 200);
        }
    }
    victim.end("coming and going", 50);
}

#[test]
fn logs_stay_short_and_plain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = std::fs::File::create(&path).unwrap();
    let victim = Victim::start_logging(&[], "debug", log.into());
    let long = "x".repeat(1 << 20);
    let nasty = r"\r\n2026-01-01T00:00:00Z ERROR forged \u001b[31m\u0000\u0007 \u2028 ";
    for text in [long.as_str(), nasty, &nasty.repeat(10_000)] {
        for (operation, body) in [
            ("Scan", format!(r#"{{"TableName":"Tab","Select":"{text}"}}"#)),
            ("Scan", format!(r#"{{"TableName":"{text}"}}"#)),
            ("Query", format!(r#"{{"TableName":"Tab","KeyConditionExpression":"{text}"}}"#)),
            ("BatchGetItem", format!(r#"{{"RequestItems":{{"{text}":{{}}}}}}"#)),
            ("PutItem", format!(r#"{{"TableName":"Tab","Item":{{"k":{{"N":"{text}"}}}}}}"#)),
        ] {
            assert_eq!(victim.call(operation, body.as_bytes()).status, 400);
        }
    }
    victim.send(b"GET \x1b[31m HTTP/1.1\r\n\r\n");
    victim.end("logs", 100);
    let log = std::fs::read(&path).unwrap();
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("ValidationException"), "the log has the errors");
    for line in log.lines() {
        assert!(line.len() < 8 << 10, "a line of {} bytes", line.len());
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
    }
}
