//! A life of a database with power cuts and failed syncs: the input chooses the steps, the simulator lives them and holds
//! the database to a model. What fails is printed as a replay file for `esker-sim replay`.

use std::fmt::Write as _;

use super::source::Source;

/// Steps that a life has at most, so that no input takes long.
const STEPS_MAX: usize = 60;

/// Lives the life that `data` describes.
pub fn check(data: &[u8]) {
    let text = script(data);
    let report = esker_sim::lives::replay(&text).expect("every script can be read");
    let messages: Vec<_> = report.findings.iter().map(|finding| &finding.message).collect();
    assert!(messages.is_empty(), "{messages:?} in the life\ncheck lives\n{text}");
}

fn script(data: &[u8]) -> String {
    let mut source = Source::new(data);
    let mut text = format!("seed {}\n", source.byte());
    open(&mut source, &mut text);
    let mut steps = 0;
    while !source.is_empty() && steps < STEPS_MAX {
        step(&mut source, &mut text);
        steps += 1;
    }
    // Whatever has happened, the database comes back from it.
    text.push_str("heal\ncrash none 0\nopen 0 0 0\ncheck\nverify\n");
    text
}

fn add(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("invariant: a string takes everything");
}

fn open(source: &mut Source<'_>, text: &mut String) {
    let shifts = source.byte();
    let (memory, segment, sstable) = (shifts % 2, shifts / 2 % 4, shifts / 8 % 4);
    add(text, format_args!("open {memory} {segment} {sstable}"));
}

fn step(source: &mut Source<'_>, text: &mut String) {
    match source.byte() % 24 {
        0..=5 => {
            let durability = durability(source);
            let puts = puts(source);
            add(text, format_args!("write {durability}{puts}"));
        }
        6 | 7 => {
            let (durability, rival) = (durability(source), source.pick(&["alone", "rival"]));
            let puts = puts(source);
            add(text, format_args!("transaction {durability} {rival}{puts}"));
        }
        8 | 9 => {
            let (keyspace, options) = (source.byte() % 4, source.byte());
            let (strategy, compress) = (options % 3, options / 3 % 2);
            add(text, format_args!("create {keyspace} {strategy} {compress}"));
        }
        10 => add(text, format_args!("drop {}", source.byte() % 4)),
        11 => text.push_str("flush\n"),
        12 => text.push_str("compact\n"),
        13 => add(text, format_args!("background {}", source.byte() % 4)),
        14 => text.push_str(source.pick(&["sync\n", "verify\n", "check\n"])),
        15 => text.push_str(source.pick(&["snapshot\n", "release\n"])),
        16 => text.push_str("checkpoint\n"),
        17 => {
            text.push_str("close\n");
            open(source, text);
        }
        18 | 19 => add(text, format_args!("cut {}", source.number() % 600)),
        20 | 21 => {
            let policy = policy(source);
            add(text, format_args!("crash {policy} {}", source.byte()));
            // The power may go again while it recovers.
            if source.byte() % 2 == 1 {
                add(text, format_args!("cut {}", source.byte()));
            }
            open(source, text);
        }
        22 => {
            let suffix = source.pick(&[".wal", ".sst", ".manifest", "/db"]);
            let failure = source.pick(&["cached", "reverted", "persisted"]);
            add(text, format_args!("failsyncs {suffix} {failure} {}", 1 + source.byte() % 3));
        }
        _ => text.push_str("heal\n"),
    }
}

fn durability(source: &mut Source<'_>) -> &'static str {
    source.pick(&["sync", "buffered", "volatile"])
}

fn puts(source: &mut Source<'_>) -> String {
    let count = 1 + source.byte() % 3;
    let mut text = String::new();
    for _ in 0..count {
        let (keyspace, key, choice) = (source.byte() % 4, source.byte() % 16, source.byte());
        let put = match [0, 5, 5, 300, 3000, 20_000].get(usize::from(choice % 8)) {
            None => format!(" {keyspace}.{key}"),
            // An empty value has no fill to compare.
            Some(0) => format!(" {keyspace}.{key}.0.0"),
            Some(len) => format!(" {keyspace}.{key}.{len}.{}", choice / 8),
        };
        text.push_str(&put);
    }
    text
}

fn policy(source: &mut Source<'_>) -> String {
    match source.byte() % 9 {
        0 => "none".to_owned(),
        1 => "all".to_owned(),
        2 => "ordered".to_owned(),
        3 => "posix".to_owned(),
        4 => "hostile".to_owned(),
        5 => format!("prefix:{}", source.byte()),
        6 => format!("drop:{}", source.byte()),
        7 => format!("tear:{}:{}", source.byte(), source.number()),
        _ => format!("hole:{}:{}", source.byte(), source.number()),
    }
}

/// Short lives around each kind of step.
pub fn seeds() -> Vec<Vec<u8>> {
    let create = [8, 0, 3, 9, 1, 1];
    let write = [0, 0, 1, 0, 1, 9, 1, 2, 17];
    let mut seeds = vec![vec![], [&[1, 0][..], &create, &write].concat()];
    for kind in 6..24 {
        let tail = [kind, 1, 0, 1, 0, 2, 12, 3, 0, 1];
        seeds.push([&[kind, 0][..], &create, &write, &[11], &write, &tail, &write].concat());
    }
    for policy in 0..9 {
        let crash = [20, policy, 2, 3, 0, 1, 1, 40, 0];
        let cut = [18, 90 + 20 * policy, 0];
        let body = [&write[..], &cut, &write, &[11, 12], &write, &crash, &[14, 2], &write];
        seeds.push([&[policy, policy][..], &create, &body.concat(), &body.concat()].concat());
    }
    seeds
}
