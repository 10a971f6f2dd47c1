//! Text cases: `testdata/*.txt` draw the levels, run a strategy and show the task and the picture
//! after it. Every task is applied through the manifest's own rules, so an illegal one fails.
//!
//! A file is drawn as `number[low-high]bytes`, followed by `dN` for N percent of deletes, `@N` for
//! the time it was made, `sN` for its highest sequence number, `*` if it is busy. The output of a
//! merge is drawn as file 100.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use esker_base::{EntryKind, FileId, KeyspaceId, key};
use esker_manifest::{AddedFile, Edit, KeyspaceMeta, MovedFile, RemovedFile, Version};
use proptest::{prelude::any, prop_assert, prop_assert_eq, proptest};

use super::*;

const KEYSPACE: KeyspaceId = KeyspaceId(1);

fn file(number: u64, low: &str, high: &str, len: u64) -> FileMeta {
    FileMeta {
        number: FileNumber(number),
        file_id: FileId([number as u8; 16]),
        len,
        checksum: 0,
        smallest: key::encode(low.as_bytes(), SeqNo(number), EntryKind::Put),
        largest: key::encode(high.as_bytes(), SeqNo(0), EntryKind::Put),
        min_seq: SeqNo(0),
        max_seq: SeqNo(number),
        entry_count: 100,
        delete_count: 0,
        seq_override: None,
        created_ms: 0,
        values: Vec::new(),
    }
}

fn parse_file(text: &str, busy: &mut BTreeSet<FileNumber>) -> FileMeta {
    let (number, rest) = text.split_once('[').unwrap();
    let (bounds, rest) = rest.split_once(']').unwrap();
    let (low, high) = bounds.split_once('-').unwrap();
    let mut rest = rest.to_string();
    let mut file = file(number.parse().unwrap(), low, high, 0);
    if rest.ends_with('*') {
        rest.pop();
        busy.insert(file.number);
    }
    let mut tags = rest;
    for tag in ["d", "@", "s"] {
        tags = tags.replace(tag, &format!(" {tag}"));
    }
    let mut tags = tags.split(' ');
    file.len = tags.next().unwrap().parse().unwrap();
    for tag in tags {
        let (kind, value) = tag.split_at(1);
        let value: u64 = value.parse().unwrap();
        match kind {
            "d" => file.delete_count = value,
            "@" => file.created_ms = value,
            _ => file.max_seq = SeqNo(value),
        }
    }
    file
}

fn parse_option(options: &mut Options, text: &str) {
    let (name, value) = text.split_once('=').unwrap();
    let value: u64 = value.parse().unwrap();
    match name {
        "base" => options.base_level_bytes = value,
        "multiplier" => options.level_multiplier = value,
        "trigger" => options.level0_trigger = value as usize,
        "target" => options.target_file_bytes = value,
        "deletes" => options.delete_percent_max = value,
        "droppable" => options.droppable_through = SeqNo(value),
        "age" => options.age_limit_ms = value,
        "now" => options.now_ms = value,
        "fifo" => options.fifo_max_bytes = value,
        "space" => options.tiered_space_percent_max = value,
        _ => panic!("unknown option {name}"),
    }
}

fn version_of(files: Vec<(usize, FileMeta)>) -> Version {
    let mut edit = Edit::default();
    edit.created_keyspaces.push(KeyspaceMeta::new(KEYSPACE, "k"));
    edit.added_files = files
        .into_iter()
        .map(|(level, file)| AddedFile { keyspace: KEYSPACE, level, file: Arc::new(file) })
        .collect();
    Version::new([0; 16]).apply(&edit).unwrap()
}

/// The picture after a task; a merge leaves one file as large as its inputs.
fn after(version: &Version, task: &Task) -> Version {
    let mut edit = Edit::default();
    for (level, file) in &task.inputs {
        let (keyspace, number, level) = (KEYSPACE, file.number, *level);
        match task.kind {
            TaskKind::Move => {
                let to = task.output_level;
                edit.moved_files.push(MovedFile { keyspace, number, from: level, to });
            }
            _ => edit.removed_files.push(RemovedFile { keyspace, level, number }),
        }
    }
    if task.kind == TaskKind::Merge {
        let (low, high) = bounds_of(task.inputs.iter().map(|(_, file)| file)).unwrap();
        let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
        let mut output = file(100, &text(low), &text(high), task.input_bytes());
        output.max_seq = task.inputs.iter().map(|(_, file)| file.max_seq).max().unwrap();
        let (keyspace, level) = (KEYSPACE, task.output_level);
        edit.added_files.push(AddedFile { keyspace, level, file: Arc::new(output) });
    }
    let next = version.apply(&edit).unwrap();
    next.check().unwrap();
    next
}

fn draw(version: &Version, out: &mut String) {
    for (level, files) in version.keyspaces[&KEYSPACE].levels.iter().enumerate() {
        if !files.is_empty() {
            write!(out, "L{level}:").unwrap();
            for file in files {
                let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
                let (low, high) = (text(file.smallest_user_key()), text(file.largest_user_key()));
                write!(out, " {}[{low}-{high}]{}", file.number, file.len).unwrap();
            }
            out.push('\n');
        }
    }
}

fn describe(task: &Task, out: &mut String) {
    write!(out, "{:?}", task.kind).unwrap();
    for run in task.inputs.chunk_by(|a, b| a.0 == b.0) {
        let numbers: Vec<String> = run.iter().map(|(_, file)| file.number.to_string()).collect();
        write!(out, " L{}:{}", run[0].0, numbers.join(",")).unwrap();
    }
    writeln!(out, " -> L{} ({})", task.output_level, task.reason).unwrap();
}

fn run_case(case: &str) -> String {
    let (mut files, mut busy, mut options) = (Vec::new(), BTreeSet::new(), Options::default());
    (options.base_level_bytes, options.target_file_bytes) = (100, 50);
    let mut out = String::new();
    for line in case.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] | ["#", ..] => {}
            ["options", rest @ ..] => {
                rest.iter().for_each(|option| parse_option(&mut options, option));
            }
            [level, rest @ ..] if level.starts_with('L') => {
                let level = level[1..2].parse().unwrap();
                files.extend(rest.iter().map(|text| (level, parse_file(text, &mut busy))));
            }
            [command, rest @ ..] => {
                let version = version_of(files.clone());
                let levels = &version.keyspaces[&KEYSPACE].levels;
                let picture = Picture { levels, busy: &busy, options: &options };
                let strategy: &dyn Strategy = match *command {
                    "tiered" => &Tiered,
                    "fifo" => &Fifo,
                    _ => &Leveled,
                };
                let task = match *command {
                    "range" => {
                        let bound = |at: usize| Some(rest[at].as_bytes()).filter(|b| b != b"*");
                        pick_range(&picture, bound(0), bound(1))
                    }
                    _ => strategy.pick(&picture),
                };
                if rest == ["debt"] {
                    writeln!(out, "debt {}", strategy.debt_bytes(&picture)).unwrap();
                }
                match task {
                    Some(task) => {
                        describe(&task, &mut out);
                        draw(&after(&version, &task), &mut out);
                    }
                    None => out.push_str("nothing\n"),
                }
            }
        }
    }
    out
}

/// Runs the cases of a file: separated by `====`, each with what is expected behind `----`.
fn run_file(name: &str, text: &str) {
    let mut actual = Vec::new();
    let mut wrong = false;
    for case in text.split("====\n") {
        let (input, expected) = case.split_once("----\n").unwrap();
        let got = run_case(input);
        wrong |= got != expected;
        actual.push(format!("{input}----\n{got}"));
    }
    assert!(!wrong, "testdata/{name}.txt should read:\n{}", actual.join("====\n"));
}

#[test]
fn leveled_text_cases() {
    run_file("leveled", include_str!("../../testdata/leveled.txt"));
}

#[test]
fn tiered_text_cases() {
    run_file("tiered", include_str!("../../testdata/tiered.txt"));
}

#[test]
fn fifo_text_cases() {
    run_file("fifo", include_str!("../../testdata/fifo.txt"));
}

#[test]
fn range_text_cases() {
    run_file("range", include_str!("../../testdata/range.txt"));
}

proptest! {
    /// From any legal picture, doing what a strategy asks for ends, each step legal, and then no
    /// debt is left.
    #[test]
    fn strategies_come_to_rest(
        flushes in proptest::collection::vec((0u8..20, 0u8..8, 1u64..60, 0u64..100), 1..40),
        tiered in any::<bool>(),
    ) {
        let options = Options {
            base_level_bytes: 100,
            level_multiplier: 4,
            target_file_bytes: 50,
            droppable_through: SeqNo(0),
            ..Options::default()
        };
        let strategy: &dyn Strategy = if tiered { &Tiered } else { &Leveled };
        let letter = |at: u8| char::from(b'a' + at).to_string();
        let mut version = version_of(Vec::new());
        let mut next = 1000;
        for (low, width, len, deletes) in flushes {
            next += 1;
            let high = (low + width).min(25);
            let mut flushed = file(next, &letter(low), &letter(high), len);
            flushed.delete_count = deletes;
            let mut edit = Edit::default();
            let file = Arc::new(flushed);
            edit.added_files.push(AddedFile { keyspace: KEYSPACE, level: 0, file });
            version = version.apply(&edit).unwrap();
            let mut steps = 0;
            loop {
                let levels = &version.keyspaces[&KEYSPACE].levels;
                let busy = BTreeSet::new();
                let picture = Picture { levels, busy: &busy, options: &options };
                let Some(task) = strategy.pick(&picture) else {
                    prop_assert_eq!(strategy.debt_bytes(&picture), 0);
                    break;
                };
                // The output gets a fresh number, so that the next step can tell it apart.
                let mut done = after(&version, &task);
                let state = Arc::make_mut(done.keyspaces.get_mut(&KEYSPACE).unwrap());
                for output in state.levels.iter_mut().flatten().filter(|f| f.number.0 == 100) {
                    next += 1;
                    Arc::make_mut(output).number = FileNumber(next);
                }
                done.next_file = FileNumber(next + 1);
                version = done;
                steps += 1;
                prop_assert!(steps < 100, "never at rest");
            }
        }
    }
}
