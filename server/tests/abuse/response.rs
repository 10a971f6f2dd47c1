//! Large responses that nobody takes: what the server holds for them is bounded, and who comes too late is told to come
//! again.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::request;
use crate::victim::{
    Victim, exchange, get_large_items, is_long, put_large_items, replies, rest, statuses,
};

/// Asks on connections of their own, and reads no more than the statuses.
fn ask(victim: &Victim, asked: &[u8], count: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
    let mut streams: Vec<TcpStream> = (0..count).map(|_| victim.server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(asked).unwrap();
    }
    let (mut served, mut refused) = (Vec::new(), Vec::new());
    for mut stream in streams {
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        match &head {
            b"HTTP/1.1 200" => served.push(stream),
            b"HTTP/1.1 503" => refused.push(stream),
            _ => panic!("{head:?}"),
        }
    }
    (served, refused)
}

fn check_body(stream: &mut TcpStream) {
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let text = [b"HTTP/1.1 200".to_vec(), rest(stream)].concat();
    let reply = replies(&text).pop().unwrap();
    let checksum = reply.head.split("x-amz-crc32: ").nth(1).unwrap().lines().next().unwrap();
    assert_eq!(checksum.parse::<u32>().unwrap(), crc32fast::hash(reply.body.as_bytes()));
}

fn slow_readers(name: &str, asked: &[u8], count: usize, growth_mib_max: u64) {
    let is_batch = name == "batches";
    let victim = Victim::start(&["responses-bytes=50000000", "write-ms=600000"]);
    put_large_items(&victim, 40);
    let (mut served, mut refused) = ask(&victim, asked, count);
    // Nobody has read anything: the budget is used up, small requests are served as ever.
    victim.during();
    println!("{name}: {} of {count} served, {} refused", served.len(), refused.len());
    assert!(!served.is_empty());
    // What the operating system takes from the server at once is held by nobody; of a batch it takes a part.
    assert!(!is_batch || !refused.is_empty());
    for stream in &mut refused {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let text = [b"HTTP/1.1 503".to_vec(), rest(stream)].concat();
        let reply = replies(&text).pop().unwrap();
        assert!(reply.body.contains("#ServiceUnavailableException"), "{reply:?}");
    }
    // Some vanish, the others take their whole response, which is right.
    let vanishing = served.len() / 2;
    drop(served.drain(..vanishing));
    served.iter_mut().for_each(check_body);
    // The budget is whole again once the server has seen the ends.
    let mut stream = victim.server.connect();
    while exchange(&mut stream, asked).0 == 503 {}
    victim.end(name, growth_mib_max);
}

#[test]
fn batches_of_sixteen_megabytes_are_not_read() {
    slow_readers("batches", &get_large_items(40), if is_long() { 512 } else { 48 }, 350);
}

#[test]
fn pages_of_a_scan_are_not_read() {
    let scan = request("Scan", r#"{"TableName":"Tab"}"#);
    slow_readers("scans", &scan, if is_long() { 512 } else { 256 }, 350);
}

#[test]
fn items_are_not_read() {
    let get = request("GetItem", r#"{"TableName":"Tab","Key":{"k":{"S":"large 7"}}}"#);
    slow_readers("items", &get, 512, 350);
}

/// Lists of nulls take a multiple of their bytes in memory and as JSON.
#[test]
fn values_that_grow_when_they_are_read() {
    const ITEMS: usize = 40;
    let victim = Victim::start(&[]);
    let nulls = r#"{"NULL":true},"#.repeat(200_000);
    for number in 0..ITEMS {
        let put = format!(
            r#"{{"TableName":"Tab","Item":{{"k":{{"S":"large {number}"}},"v":{{"L":[{}]}}}}}}"#,
            &nulls[..nulls.len() - 1]
        );
        victim.server.ok("PutItem", &put);
    }
    let count = if is_long() { 64 } else { 8 };
    let (served, refused) = ask(&victim, &get_large_items(ITEMS), count);
    victim.during();
    println!("growing values: {} of {count} served, {} refused", served.len(), refused.len());
    drop((served, refused));
    victim.end("growing values", 2000);
}

/// A PutItem of an item of many nulls, which is seven times as long as JSON.
fn put_wide_item(extra: &str) -> String {
    let nulls = r#"{"NULL":true},"#.repeat(200_000);
    let nulls = &nulls[..nulls.len() - 1];
    format!(r#"{{"TableName":"Tab","Item":{{"k":{{"S":"wide"}},"v":{{"L":[{nulls}]}}}}{extra}}}"#)
}

#[test]
fn reads_leave_room_for_what_writes_answer() {
    let victim = Victim::start(&["responses-bytes=34000000", "write-ms=600000"]);
    put_large_items(&victim, 40);
    victim.server.ok("PutItem", &put_wide_item(""));
    let (served, refused) = ask(&victim, &get_large_items(40), 8);
    assert!(!served.is_empty() && !refused.is_empty());
    let answer = victim.server.ok("PutItem", &put_wide_item(r#","ReturnValues":"ALL_OLD""#));
    assert!(answer.starts_with(r#"{"Attributes":"#), "{}", &answer[..100]);
    drop((served, refused));
    victim.end("reads and writes", 400);
}

#[test]
fn a_write_whose_answer_has_no_room_is_not_called_undone() {
    let victim = Victim::start(&["responses-bytes=4000000"]);
    victim.server.ok("PutItem", &put_wide_item(""));
    let put = put_wide_item(r#","ReturnValues":"ALL_OLD""#);
    let reply = victim.call("PutItem", put.as_bytes());
    assert_eq!(reply.status, 500);
    assert!(reply.body.contains("#InternalServerError"), "{}", reply.body);
    assert!(reply.body.contains("The write was made"), "{}", reply.body);
    victim.end("no room for an answer", 200);
}

#[test]
fn clients_vanish_amid_their_responses() {
    let victim = Victim::start(&[]);
    put_large_items(&victim, 10);
    let get = get_large_items(10);
    for round in 0..60 {
        let mut stream = victim.server.connect();
        stream.write_all(&get).unwrap();
        // Before the answer, in its head, and in its body.
        let wanted = [0, 5, 200, 100_000][round % 4];
        stream.read_exact(&mut vec![0; wanted]).unwrap();
        drop(stream);
    }
    assert_eq!(statuses(&victim.send(&get)), [200]);
    victim.end("vanishing", 350);
}
