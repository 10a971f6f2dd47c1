//! HTTP that is wrong, ambiguous or strange: each request gets its error or its close, and what follows it on the
//! connection is never run where its beginning is in doubt.

use std::io::{Read, Write};

use crate::support::request;
use crate::victim::{Victim, replies, rest, statuses};

/// What is sent after an ambiguous request: were it run, the table would be gone.
fn smuggled() -> Vec<u8> {
    request("DeleteTable", r#"{"TableName":"Tab"}"#)
}

/// A ListTables with further headers and this body, as it stands.
fn list(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: x\r\n\
         X-Amz-Target: DynamoDB_20120810.ListTables\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn lengths_that_lie_or_conflict() {
    let victim = Victim::start(&["body-bytes=1000000"]);
    // The body never ends: nothing is run, nothing answered.
    let longer = list("Content-Length: 100\r\n", b"{}");
    assert_eq!(statuses(&victim.send(&longer)), [0; 0]);
    // What is left is no request.
    let shorter = list("Content-Length: 2\r\n", b"{}{}{}\r\n\r\n");
    assert_eq!(statuses(&victim.send(&shorter)), [200, 400]);

    for length in [
        "-1",
        "+2",
        "0x2",
        "2 2",
        "2,3",
        "2;",
        "",
        "two",
        "1e1",
        "18446744073709551616",
        "99999999999999999999999999999",
    ] {
        let sent = [list(&format!("Content-Length: {length}\r\n"), b"{}"), smuggled()].concat();
        let got = statuses(&victim.send(&sent));
        assert!(got == [400] || got.is_empty(), "{length}: {got:?}");
    }
    let conflicting = list("Content-Length: 2\r\nContent-Length: 3\r\n", b"{} ");
    assert_eq!(statuses(&victim.send(&[conflicting, smuggled()].concat())), [400]);
    let twice = list("Content-Length: 2\r\nContent-Length: 2\r\n", b"{}");
    assert_eq!(statuses(&victim.send(&twice)), [200]);
    for announced in ["1000001", "17000000000", "18446744073709551610"] {
        let sent = list(&format!("Content-Length: {announced}\r\n"), b"{}");
        let got = statuses(&victim.send(&sent));
        assert!(got == [413] || got == [400], "{announced}: {got:?}");
    }

    // Both lengths: the chunks count, and the connection ends after them.
    for headers in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 7\r\nContent-Length: 8\r\n",
    ] {
        let sent = [list(headers, b"2\r\n{}\r\n0\r\n\r\n"), smuggled()].concat();
        let got = statuses(&victim.send(&sent));
        assert!(got == [200] || got == [400], "{headers}: {got:?}");
    }
    for encoding in
        ["identity", "gzip", "xchunked", "chunked, identity", "chunked\u{b}", "\"chunked\""]
    {
        let headers = format!("Transfer-Encoding: {encoding}\r\n");
        let sent = [list(&headers, b"2\r\n{}\r\n0\r\n\r\n"), smuggled()].concat();
        assert_eq!(statuses(&victim.send(&sent)), [400], "{encoding}");
    }
    victim.end("lengths", 50);
}

#[test]
fn chunks_that_lie() {
    let victim = Victim::start(&["body-bytes=1000000"]);
    let chunked = |body: &[u8]| list("Transfer-Encoding: chunked\r\n", body);
    let extension = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let extensions = format!("{}0\r\n\r\n", "1;a=b\r\n \r\n".repeat(20_000));
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X-T: x\r\n".repeat(100_000));
    let trailer = format!("2\r\n{{}}\r\n0\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    for body in [
        "FFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        "10000000000000002\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "G\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{} \r\n0\r\n\r\n",
        "2\r{}\r\n0\r\n\r\n",
        "2",
        "2\r\n{}\r\n0\r\n",
        extension.as_str(),
        extensions.as_str(),
        trailers.as_str(),
        trailer.as_str(),
    ] {
        let got = statuses(&victim.send(&[chunked(body.as_bytes()), smuggled()].concat()));
        let shown = &body[..body.len().min(40)];
        let was_closed = got.is_empty() || got == [400] || got == [413];
        assert!(was_closed, "{shown:?}: {got:?}");
    }
    assert_eq!(statuses(&victim.send(&chunked(b"02\r\n{}\r\n000\r\n\r\n"))), [200]);
    // Too much in all, by chunks that are small.
    let mut much = b"8000\r\n".to_vec();
    much.extend([b' '; 0x8000]);
    much.extend(b"\r\n");
    let got = statuses(&victim.send(&chunked(&much.repeat(100))));
    assert_eq!(got, [413]);
    victim.end("chunks", 50);
}

#[test]
fn heads_that_are_no_heads() {
    let victim = Victim::start(&[]);
    let ok = list("Content-Length: 2\r\n", b"{}");
    let text = String::from_utf8(ok.clone()).unwrap();
    let with =
        |header: &str| text.replacen("Authorization", &format!("{header}\r\nAuthorization"), 1);
    for (name, head) in [
        ("fold", with("X-Fold: a\r\n b")),
        ("fold of a length", text.replace("Content-Length: 2", "Content-Length:\r\n 2")),
        ("blank before the colon", text.replace("Content-Length:", "Content-Length :")),
        ("blank first", text.replacen("\r\nHost", "\r\n Host", 1)),
        ("no colon", with("Nothing")),
        ("no name", with(": value")),
        ("NUL", with("X-Nul: a\0b")),
        ("CR", with("X-Cr: a\rb")),
        ("name", with("X\u{7f}: a")),
        ("version", text.replace("HTTP/1.1", "HTTP/3.0")),
        ("no version", text.replace(" HTTP/1.1", "")),
        ("target", text.replace("POST /", "POST /\0")),
        ("no method", text.replace("POST ", " ")),
    ] {
        let got = statuses(&victim.send(&[head.as_bytes(), &smuggled()].concat()));
        assert_eq!(got, [400], "{name}");
    }
    for garbage in
        [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], b"\0\0\0\0", b"SSH-2.0-x\r\n\r\n"]
    {
        let got = statuses(&victim.send(garbage));
        assert!(got.is_empty() || got == [400], "{got:?}");
    }
    let preface = victim.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(preface.iter().all(|reply| (400..500).contains(&reply.status)), "{preface:?}");
    // Line ends without a CR mean what they would mean with one, or nothing.
    let got = statuses(&victim.send(text.replace("\r\n", "\n").as_bytes()));
    assert!(got == [200] || got == [400], "{got:?}");

    for (count, expected) in [(50, 200), (1000, 431), (100_000, 431)] {
        let many: String = (0..count).map(|n| format!("X-{n}: x\r\n")).collect();
        let got = statuses(&victim.send(with(many.trim_end()).as_bytes()));
        assert!(got == [expected] || (count > 1000 && got.is_empty()), "{count}: {got:?}");
    }
    for kilobytes in [70, 1 << 10, 16 << 10] {
        let long = with(&format!("X-Long: {}", "x".repeat(kilobytes << 10)));
        let got = statuses(&victim.send(long.as_bytes()));
        assert!(got == [431] || got.is_empty(), "{kilobytes}: {got:?}");
        let long = text.replacen("POST /", &format!("POST /{}", "x".repeat(kilobytes << 10)), 1);
        let got = statuses(&victim.send(long.as_bytes()));
        assert!(got.is_empty() || got == [431] || got == [414], "{kilobytes}: {got:?}");
    }
    victim.end("heads", 100);
}

#[test]
fn requests_for_somebody_else() {
    let victim = Victim::start(&[]);
    let ok = list("Content-Length: 2\r\n", b"{}");
    let text = String::from_utf8(ok).unwrap();
    let status = |head: String| {
        let got = victim.send(head.as_bytes());
        assert_eq!(got.len(), 1, "{head}: {got:?}");
        got[0].status
    };
    let health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(status(health.into()), 200);
    for method in ["OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "FOO"] {
        assert_eq!(status(text.replace("POST", method)), 404, "{method}");
    }
    let preflight = "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    assert_eq!(status(preflight.into()), 404);
    for connect in ["localhost:80", "evil.example:443"] {
        let head = format!("CONNECT {connect} HTTP/1.1\r\nHost: {connect}\r\n\r\n");
        assert!([403, 404].contains(&status(head)), "{connect}");
    }
    let upgrade =
        text.replacen("Authorization", "Connection: upgrade\r\nUpgrade: h2c\r\nAuthorization", 1);
    assert_eq!(status(upgrade), 200);

    for (host, expected) in [
        ("Host: evil.example\r\n", 403),
        ("Host: 127.0.0.1.evil.example\r\n", 403),
        ("Host: localhost@evil.example\r\n", 403),
        ("Host: localhost, evil.example\r\n", 403),
        ("Host: \r\n", 403),
        ("Host: localhost\r\nHost: evil.example\r\n", 400),
        ("Host: localhost\r\nHost: localhost\r\n", 400),
        ("", 400),
        ("Host: [::1]:8000\r\n", 200),
    ] {
        assert_eq!(status(text.replace("Host: localhost\r\n", host)), expected, "{host}");
    }
    let old = text.replace("Host: localhost\r\n", "").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(status(old), 200);
    for (target, expected) in [
        ("http://evil.example/", 403),
        ("http://localhost/", 200),
        ("http://localhost@evil.example/", 403),
        ("//evil.example/", 404),
        ("/../", 404),
        ("/%2e", 404),
        ("*", 404),
    ] {
        let got = victim.send(text.replace("POST /", &format!("POST {target}")).as_bytes());
        let got = statuses(&got);
        assert!(got == [expected] || got == [400], "{target}: {got:?}");
    }

    for (target, expected) in [
        ("", 400),
        ("X-Amz-Target: \r\n", 400),
        ("X-Amz-Target: DynamoDB_20120810\r\n", 400),
        ("X-Amz-Target: DynamoDB_20120810.\r\n", 400),
        ("X-Amz-Target: DynamoDB_20120810.ListTables.ListTables\r\n", 400),
        ("X-Amz-Target: DynamoDB_20120810.listtables\r\n", 400),
        ("X-Amz-Target: \u{e9}\u{e9}\r\n", 400),
        ("X-Amz-Target: DynamoDB_20120810.ListTables\r\nContent-Type: text/html\r\n", 200),
    ] {
        let head = text.replace("X-Amz-Target: DynamoDB_20120810.ListTables\r\n", target);
        assert_eq!(status(head), expected, "{target}");
    }
    let long = format!("X-Amz-Target: DynamoDB_20120810.{}\r\n", "x".repeat(60_000));
    let head = text.replace("X-Amz-Target: DynamoDB_20120810.ListTables\r\n", &long);
    let reply = victim.send(head.as_bytes()).pop().unwrap();
    assert!(reply.status == 400 && reply.body.len() < 10_000, "{reply:?}");

    // A body that is packed is not unpacked.
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    bomb.extend([0; 1000]);
    let headers = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", bomb.len());
    assert_eq!(statuses(&victim.send(&list(&headers, &bomb))), [400]);
    victim.end("requests for somebody else", 50);
}

#[test]
fn a_body_that_is_too_large_is_not_asked_for() {
    let victim = Victim::start(&[]);
    let mut stream = victim.server.connect();
    let head = |length: usize| {
        let headers = format!("Expect: 100-continue\r\nContent-Length: {length}\r\n");
        list(&headers, b"")
    };
    stream.write_all(&head(18 << 20)).unwrap();
    // Everything until the close: had the server said "100 Continue", that would be here first.
    let got = replies(&rest(&mut stream));
    assert_eq!(statuses(&got), [413]);

    let mut stream = victim.server.connect();
    stream.write_all(&head(2)).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(statuses(&replies(&rest(&mut stream))), [200]);
    victim.end("expectations", 50);
}
