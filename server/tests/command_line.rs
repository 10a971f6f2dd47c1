//! The command line against the real binary: starting, stopping, failing with one clear line, import and export.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "tests write the files that the commands read")]

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use support::{Server, esker, exchange, request};

fn run(arguments: &[&str], directory: &Path) -> Output {
    esker().args(arguments).current_dir(directory).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A failure is exit code 1 and one line.
fn fails(arguments: &[&str], directory: &Path, needle: &str) {
    let output = run(arguments, directory);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert!(text.starts_with("esker: ") && text.lines().count() == 1, "{arguments:?}: {text}");
    assert!(text.contains(needle), "{arguments:?}: {text}");
}

#[test]
fn signals_drain_and_close() {
    for signal in ["TERM", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path());
        assert!(
            server.printed.contains(&format!("{}", dir.path().display())),
            "{}",
            server.printed
        );
        assert!(
            server.printed.contains("aws dynamodb list-tables --endpoint-url http://127.0.0.1:")
        );
        let mut idle = server.connect();
        assert_eq!(exchange(&mut idle, &request("ListTables", "{}")).unwrap().status, 200);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        let shown = run(&["inspect", dir.path().to_str().unwrap()], dir.path());
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(text.contains("closed cleanly") && !text.contains("not closed"), "{text}");
        let verified = run(&["verify", dir.path().to_str().unwrap()], dir.path());
        assert_eq!(verified.status.code(), Some(0), "{}", stderr(&verified));
    }
}

#[test]
fn failures_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    let data = data.to_str().unwrap();
    let port = server.address.port().to_string();
    fails(&["--port", &port, "--data-dir", "other"], dir.path(), "is in use");
    assert!(!dir.path().join("other").exists(), "a mistaken start leaves nothing behind");
    fails(&["--port", "0", "--data-dir", data], dir.path(), "in use by another process");
    fails(&["inspect", data], dir.path(), "in use by another process");
    fails(&["inspect", "nowhere"], dir.path(), "no Esker database");
    fails(
        &["export", "--table", "Things", "--data-dir", "nowhere"],
        dir.path(),
        "no data directory",
    );
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let export = ["export", "--table", "Things", "--data-dir", "empty"];
    fails(&export, dir.path(), "no Esker database");
    assert!(!dir.path().join("empty/CURRENT").exists(), "an export makes no database");
    fails(&["--host", "0.0.0.0", "--port", "0"], dir.path(), "--insecure");
    fails(&["import", "nowhere.jsonl", "--table", "Things"], dir.path(), "nowhere.jsonl");
    let endpoint = format!("http://{}", server.address);
    std::fs::write(dir.path().join("one.jsonl"), "{\"a\":\"x\"}\n").unwrap();
    let import = ["import", "one.jsonl", "--table", "Missing", "--endpoint", &endpoint];
    fails(&import, dir.path(), "--key");
}

const LINES: &str = r#"{"id": "a", "n": 12345678901234567890.123456789012345678, "tags": ["x", {"y": null}]}
{"Item": {"id": {"S": "b"}, "set": {"NS": ["2", "1"]}, "bytes": {"B": "AAE="}}}

{"id": 5}
not json
{"id": "a", "n": 2}
{"Item": {"id": {"S": "c"}, "empty": {"SS": []}}}
{"name": "no key"}
"#;

fn import_and_export(dir: &Path, place: &[&str]) {
    std::fs::write(dir.join("in.jsonl"), LINES).unwrap();
    let import = [&["import", "in.jsonl", "--table", "Things", "--key", "id"], place].concat();
    let output = run(&import, dir);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let summary = stderr(&output);
    assert!(summary.contains("imported 3 items into Things"), "{summary}");
    assert!(summary.contains("8 lines read, 0 skipped, 1 blank, 4 rejected"), "{summary}");
    let report = std::fs::read_to_string(dir.join("in.jsonl.rejected.jsonl")).unwrap();
    for line in [4, 5, 7, 8] {
        assert!(report.contains(&format!("{{\"line\":{line},\"reason\":\"")), "{report}");
    }
    assert_eq!(report.lines().count(), 4);

    // The later of two lines with the same key won; the last line of a file needs no end.
    let export = [&["export", "--table", "Things", "out.jsonl"], place].concat();
    let output = run(&export, dir);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = std::fs::read_to_string(dir.join("out.jsonl")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            r#"{"Item":{"bytes":{"B":"AAE="},"id":{"S":"b"},"set":{"NS":["1","2"]}}}"#,
            r#"{"Item":{"id":{"S":"a"},"n":{"N":"2"}}}"#,
        ]
    );

    // What was exported goes in again as it is, from where one says.
    let again =
        [&["import", "out.jsonl", "--table", "Again", "--key", "id:S", "--skip-lines", "1"], place]
            .concat();
    let output = run(&again, dir);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("imported 1 items into Again"), "{}", stderr(&output));
    let plain = [&["export", "--table", "Things", "--format", "plain"], place].concat();
    let text = String::from_utf8(run(&plain, dir).stdout).unwrap();
    assert!(text.contains(r#"{"bytes":"AAE=","id":"b","set":[1,2]}"#), "{text}");
}

#[test]
fn import_and_export_through_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    import_and_export(dir.path(), &["--data-dir", "data"]);
}

#[test]
fn import_and_export_through_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let endpoint = format!("http://{}", server.address);
    import_and_export(dir.path(), &["--endpoint", &endpoint]);
}

#[test]
fn an_interrupted_import_says_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let line = |n: u32| match n {
        7 => "not json\n".to_owned(),
        n => format!("{{\"id\":\"{n}\",\"text\":\"{}\"}}\n", "x".repeat(400)),
    };
    let place = ["--table", "Things", "--data-dir", "data", "--key", "id"];
    let report = ["--rejected", "rejected.jsonl"];
    let mut import = esker()
        .args([&["import", "-"], &place[..], &report[..]].concat())
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = import.stdin.take().unwrap();
    let mut lines = 0;
    // More than a pipe holds: the import is at work. Then lines without end, until it has stopped.
    for _ in 0..3000 {
        lines += 1;
        stdin.write_all(line(lines).as_bytes()).unwrap();
    }
    support::signal(import.id(), "INT");
    while stdin.write_all(line(lines + 1).as_bytes()).is_ok() {
        lines += 1;
    }
    let output = import.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("lines read") && said.contains("stopped: interrupted"), "{said}");
    let from = said.split("--skip-lines ").nth(1).unwrap().trim().to_owned();
    assert!(from.parse::<u32>().unwrap() > 0, "{said}");

    // Going on from there, everything is there in the end, and the line rejected at first is still reported.
    let all: String = (1..=lines).map(line).collect();
    std::fs::write(dir.path().join("all.jsonl"), all + "nor this\n").unwrap();
    let again = [&["import", "all.jsonl", "--skip-lines", &from], &place[..], &report[..]].concat();
    let output = run(&again, dir.path());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let report = std::fs::read_to_string(dir.path().join("rejected.jsonl")).unwrap();
    assert!(report.contains("not json") && report.contains("nor this"), "{report}");
    let verified = run(&["verify", "data"], dir.path());
    let text = String::from_utf8(verified.stdout).unwrap();
    assert!(text.contains(&format!("1 tables, {} items", lines - 1)), "{text}");
    let shown = run(&["inspect", "data"], dir.path());
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains(&format!("table Things: {} items of", lines - 1)), "{text}");
}

#[test]
fn thousands_of_lines_keep_their_order_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String =
        (0..6000).map(|i| format!("{{\"id\":\"{}\",\"version\":{i}}}\n", i % 1500)).collect();
    std::fs::write(dir.path().join("many.jsonl"), lines).unwrap();
    let place = ["--table", "Things", "--data-dir", "data"];
    let output = run(&[&["import", "many.jsonl", "--key", "id"], &place[..]].concat(), dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("imported 6000 items"), "{}", stderr(&output));
    let output = run(&[&["export", "--format", "plain"], &place[..]].concat(), dir.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1500);
    for line in text.lines() {
        let version: u32 =
            line.split("\"version\":").nth(1).unwrap().trim_end_matches('}').parse().unwrap();
        assert!(version >= 4500, "{line}");
    }
}
