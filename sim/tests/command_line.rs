//! The command `esker-sim` on slips of the command line and on files that are no replay files: it says so and fails, and
//! never looks like a run that has found nothing.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::Path;
use std::process::{Command, Stdio};

/// The exit code, stdout and stderr of `esker-sim` in the directory `at`.
fn run(at: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_esker-sim"));
    let output = command.current_dir(at).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_slip_of_the_command_line_runs_nothing() {
    let at = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["ci", "--only", "nonsense"][..], "possible values: exhaustive, lives"),
        (&["ci", "--only", "groups", "--only", "nonsense"], "possible values"),
        (&["ci", "--only", "groups,Lives"], "possible values"),
        (&["ci", "--only", "groups", "--limit", "0"], "--limit"),
        (&["soak", "--minutes", "1", "--only", "nonsense"], "possible values"),
        (&["soak", "--minutes", "0"], "--minutes"),
        (&["soak", "--minutes", "18446744073709551615"], "--minutes"),
    ] {
        let (code, stdout, stderr) = run(at.path(), arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_file_that_is_no_replay_file_is_refused() {
    let at = tempfile::tempdir().unwrap();
    let cases: [(&[u8], &str); 6] = [
        (b"", "the first line must be"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"check nonsense\n", "no check \"nonsense\" replays"),
        (b"check lives\n", "nothing to replay"),
        (b"check metamorphic\n", "nothing to replay"),
        (b"check lives\nseed x\n", "cannot read the line"),
    ];
    for (bytes, said) in cases {
        std::fs::write(at.path().join("file"), bytes).unwrap();
        let (code, stdout, stderr) = run(at.path(), &["replay", "file"]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{said}: {stderr}");
        assert!(stderr.starts_with("file: ") && stderr.contains(said), "{said}: {stderr}");
    }
    assert_eq!(run(at.path(), &["replay", "missing"]).0, 2);
}

#[test]
fn a_replay_file_runs_from_any_directory() {
    let at = tempfile::tempdir().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/replays/lives-unproven-tail.replay");
    let (code, stdout, stderr) = run(at.path(), &["replay", file]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("check ") && stdout.contains("steps replayed"), "{stdout}");
}

#[test]
fn a_reader_of_the_table_may_go_away() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/replays/lives-unproven-tail.replay");
    for arguments in [&["list"][..], &["replay", file]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_esker-sim"));
        let child = command.args(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
