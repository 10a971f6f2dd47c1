//! A valid request of every operation, cut after every byte: nothing of it is run, and nothing of it reaches another.

use std::io::Write;
use std::net::Shutdown;

use crate::support::request;
use crate::victim::{Victim, exchange, is_long, replies, rest, statuses};

const CORPUS: &[(&str, &str)] = &[
    ("BatchGetItem", r#"{"RequestItems":{"Tab":{"Keys":[{"k":{"S":"cut"}}]}}}"#),
    ("BatchWriteItem", r#"{"RequestItems":{"Tab":[{"PutRequest":{"Item":{"k":{"S":"cut"}}}}]}}"#),
    (
        "CreateTable",
        r#"{"TableName":"Cut","AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}],"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"BillingMode":"PAY_PER_REQUEST"}"#,
    ),
    ("DescribeTable", r#"{"TableName":"Cut"}"#),
    ("DeleteTable", r#"{"TableName":"Cut"}"#),
    ("PutItem", r#"{"TableName":"Tab","Item":{"k":{"S":"cut"},"v":{"N":"1"}}}"#),
    ("GetItem", r#"{"TableName":"Tab","Key":{"k":{"S":"cut"}}}"#),
    (
        "Query",
        r#"{"TableName":"Tab","KeyConditionExpression":"k = :k","ExpressionAttributeValues":{":k":{"S":"cut"}}}"#,
    ),
    ("Scan", r#"{"TableName":"Tab","Limit":1}"#),
    ("DeleteItem", r#"{"TableName":"Tab","Key":{"k":{"S":"cut"}}}"#),
    ("ListTables", r#"{"Limit":1}"#),
    (
        "TransactWriteItems",
        r#"{"TransactItems":[{"Put":{"TableName":"Tab","Item":{"k":{"S":"cut"}}}}],"ClientRequestToken":"t"}"#,
    ),
    (
        "TransactGetItems",
        r#"{"TransactItems":[{"Get":{"TableName":"Tab","Key":{"k":{"S":"cut"}}}}]}"#,
    ),
];

/// The same request with its body in chunks.
fn chunked(whole: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(whole.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (head, _) = head.split_once("Content-Length").unwrap();
    let (one, two) = body.split_at(body.len() / 2);
    format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    )
    .into_bytes()
}

#[test]
fn requests_are_cut_after_every_byte() {
    let victim = Victim::start(&[]);
    let count = || victim.server.ok("Scan", r#"{"TableName":"Tab","Select":"COUNT"}"#);
    let mut fresh = victim.server.connect();
    // The probe has written all of its items.
    victim.rounds(8);
    let before = count();
    let mut cuts = 0;
    for (operation, body) in CORPUS {
        let whole = request(operation, body);
        for (is_chunked, whole) in [(false, whole.clone()), (true, chunked(&whole))] {
            for end in 0..whole.len() {
                // Closed, and half closed: then the answer is the close.
                let mut stream = victim.server.connect();
                stream.write_all(&whole[..end]).unwrap();
                if end % 2 == 0 || is_long() {
                    stream.shutdown(Shutdown::Write).unwrap();
                    let got = replies(&rest(&mut stream));
                    assert!(got.is_empty(), "{operation} {is_chunked} {end}: {got:?}");
                }
                drop(stream);
                cuts += 1;
                if end % 16 == 0 || is_long() {
                    assert_eq!(exchange(&mut fresh, &request("ListTables", "{}")).0, 200);
                }
            }
        }
        // Nothing of what was cut was run.
        assert_eq!(
            victim.server.ok("ListTables", "{}"),
            r#"{"TableNames":["Tab"]}"#,
            "{operation}"
        );
        assert_eq!(count(), before, "{operation}");
    }
    // Whole, each of them works, in this order.
    for (operation, body) in CORPUS {
        for whole in [request(operation, body), chunked(&request(operation, body))] {
            let got = statuses(&victim.send(&whole));
            let again = ["CreateTable", "DeleteTable"].contains(operation);
            assert!(got == [200] || (again && got == [400]), "{operation}: {got:?}");
        }
    }
    println!("{cuts} cuts");
    victim.end("cuts", 50);
}
