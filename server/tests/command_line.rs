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
    for signal in ["TERM", "INT", "HUP"] {
        if signal == "HUP" && ignores_hangups() {
            // The server inherits that, and keeps to it.
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path());
        assert!(
            server.printed.contains(&format!("{}", dir.path().display())),
            "{}",
            server.printed
        );
        assert!(server.printed.contains(
            "aws dynamodb list-tables --region us-east-1 --endpoint-url http://127.0.0.1:"
        ));
        let mut idle = server.connect();
        assert_eq!(exchange(&mut idle, &request("ListTables", "{}")).unwrap().status, 200);
        server.signal(signal);
        assert_eq!(server.rest_printed(), "closed\n");
        assert_eq!(server.wait().code(), Some(0));
        let shown = run(&["inspect", dir.path().to_str().unwrap()], dir.path());
        let text = String::from_utf8(shown.stdout).unwrap();
        assert!(text.contains("closed cleanly") && !text.contains("not closed"), "{text}");
        let verified = run(&["verify", dir.path().to_str().unwrap()], dir.path());
        assert_eq!(verified.status.code(), Some(0), "{}", stderr(&verified));
    }
}

/// Whether this process was started to outlive its terminal, as by `nohup`.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    // SIGHUP is 1, the lowest bit.
    ignored.is_some_and(|set| set & 1 == 1)
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
    fails(&["--limit", "speed=9", "--port", "0"], dir.path(), "no such limit in 'speed=9'");
    fails(&["import", "nowhere.jsonl", "--table", "Things"], dir.path(), "nowhere.jsonl");
    fails(&["verify", data], dir.path(), "look at a checkpoint");
    fails(&["export", "--table", "T", "--data-dir", data], dir.path(), "--endpoint");
    let endpoint = format!("http://{}", server.address);
    std::fs::write(dir.path().join("one.jsonl"), "{\"a\":\"x\"}\n").unwrap();
    for command in [&["inspect", "one.jsonl"][..], &["--port", "0", "--data-dir", "one.jsonl"]] {
        fails(command, dir.path(), "one.jsonl is a file, not a directory");
    }
    let schemeless = ["export", "--table", "T", "--endpoint", "127.0.0.1:8000"];
    fails(&schemeless, dir.path(), "do you mean http://127.0.0.1:8000?");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}");
    fails(&["export", "--table", "T", "--endpoint", &nobody], dir.path(), &nobody);
    let import = ["import", "one.jsonl", "--table", "Missing", "--endpoint", &endpoint];
    fails(&import, dir.path(), "--key");
    let rejected = [&import[..], &["--key", "a", "--rejected", "./one.jsonl"]].concat();
    fails(&rejected, dir.path(), "is the file that is read");
    assert_eq!(std::fs::read(dir.path().join("one.jsonl")).unwrap().len(), 10);

    // Exit code 2 is for what a command found, not for how it was called.
    assert_eq!(run(&["import"], dir.path()).status.code(), Some(1));
    let help = run(&["--help"], dir.path());
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes:"));
    let logged = run(&["--log", "trace", "--port", &port, "--data-dir", "other"], dir.path());
    assert!(!stderr(&logged).contains('\u{1b}'), "{}", stderr(&logged));
}

#[test]
fn what_pipes_brought_and_was_rejected_stays_reported() {
    let dir = tempfile::tempdir().unwrap();
    let import = |line: &str| {
        let mut import = esker()
            .args(["import", "-", "--table", "Things", "--key", "id", "--data-dir", "data"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        import.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        import.wait().unwrap().code()
    };
    assert_eq!(import("{\"name\": \"first\"}\n"), Some(2));
    assert_eq!(import("{\"id\": \"a\"}\n"), Some(0));
    assert_eq!(import("{\"name\": \"second\"}\n"), Some(2));
    let report = std::fs::read_to_string(dir.path().join("stdin.rejected.jsonl")).unwrap();
    assert!(report.contains("first") && report.contains("second"), "{report}");
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
    let numbers: Vec<&str> = report.lines().map(|line| &line[..9]).collect();
    assert!(numbers.is_sorted(), "{report}");
    for (said, needle) in [
        (&["--key", "name"][..], "--key id:S"),
        (&["--key", "id:N"], "--key id:S"),
        (&["--key", "id", "--sort-key", "n"], "--key id:S"),
        (&["--key", "id:X"], "S, N or B"),
    ] {
        let wrong = [&["import", "in.jsonl", "--table", "Things"], said, place].concat();
        let output = run(&wrong, dir);
        assert_eq!(output.status.code(), Some(1), "{said:?}");
        assert!(stderr(&output).contains(needle), "{said:?}: {}", stderr(&output));
    }

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

    // An export that fails leaves the file alone.
    let missing = [&["export", "--table", "Missing", "out.jsonl"], place].concat();
    fails(&missing, dir, "there is no table Missing");
    assert_eq!(std::fs::read_to_string(dir.join("out.jsonl")).unwrap(), text);
    assert!(!dir.join("out.jsonl.tmp").exists());

    // What was exported goes in again as it is, from where one says.
    let again =
        [&["import", "out.jsonl", "--table", "Again", "--key", "id:S", "--skip-lines", "1"], place]
            .concat();
    let output = run(&again, dir);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("imported 1 item into Again"), "{}", stderr(&output));
    let past = [&["import", "out.jsonl", "--table", "Again", "--skip-lines", "9"], place].concat();
    let output = run(&past, dir);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("--skip-lines 9 is past the end"), "{}", stderr(&output));
    // A report is about the last import that began at the start.
    std::fs::write(dir.join("in.jsonl"), "\u{feff}{\"id\":\"b\"}\n").unwrap();
    let bom = [&["import", "in.jsonl", "--table", "Again", "--key", "id:S"], place].concat();
    let output = run(&bom, dir);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!dir.join("in.jsonl.rejected.jsonl").exists());
    let plain = [&["export", "--table", "Things", "--format", "plain"], place].concat();
    let text = String::from_utf8(run(&plain, dir).stdout).unwrap();
    assert!(text.contains(r#"{"bytes":"AAE=","id":"b","set":[1,2]}"#), "{text}");
}

#[test]
fn import_and_export_through_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    import_and_export(dir.path(), &["--data-dir", "data"]);
}

/// Every file with its bytes.
fn contents(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn an_export_changes_nothing_and_the_environment_names_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in.jsonl"), "{\"id\":\"a\"}\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = esker();
        command.args(arguments).current_dir(dir.path()).env("ESKER_DATA_DIR", "elsewhere");
        command.output().unwrap()
    };
    let output = run(&["import", "in.jsonl", "--table", "Things", "--key", "id"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!dir.path().join("esker-data").exists());
    let before = contents(&dir.path().join("elsewhere"));
    let output = run(&["export", "--table", "Things", "out.jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("exported 1 item of"), "{}", stderr(&output));
    assert_eq!(contents(&dir.path().join("elsewhere")), before);
    // A server that is named counts more than the environment.
    let output = run(&["export", "--table", "Things", "--endpoint", "nonsense"]);
    assert!(stderr(&output).contains("nonsense"), "{}", stderr(&output));
    let output = run(&["inspect"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("table \"Things\" (keyspace esker.t.1): 1 item of"), "{text}");
}

#[test]
fn verification_says_what_the_log_held() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    server.ok(
        "CreateTable",
        r#"{"TableName":"Things","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"a",
        "AttributeType":"S"}],"KeySchema":[{"AttributeName":"a","KeyType":"HASH"}]}"#,
    );
    server.ok("PutItem", r#"{"TableName":"Things","Item":{"a":{"S":"x"}}}"#);
    server.kill();
    let output = run(&["verify", "data"], dir.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("entries replayed from the log"), "{text}");
    assert!(!text.contains(" 0 entries replayed") && text.contains("1 table, 1 item of"), "{text}");
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
    assert!(text.contains(&format!("1 table, {} items", lines - 1)), "{text}");
    let shown = run(&["inspect", "data"], dir.path());
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains(&format!("(keyspace esker.t.1): {} items of", lines - 1)), "{text}");
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
