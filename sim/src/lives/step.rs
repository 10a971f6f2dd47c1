//! The steps of a random life, how they are drawn, and their text in a replay file: one line for each.

use esker::Durability;
use esker::vfs::simulated::{CrashPolicy, SyncFailure};

use crate::Rng;
use crate::policy_text;

/// One write: keyspace, key, and length and fill of the value, or none for a delete.
pub(super) type Put = (u8, u8, Option<(u32, u8)>);

/// One step. A step that is impossible when its turn comes does nothing, so any of them can be left out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Open, with shifts of the smallest memory, segment and sstable sizes; then compare with the model.
    Open([u8; 3]),
    Close,
    /// The power goes at the call so many from now.
    Cut(u64),
    Crash(CrashPolicy, u64),
    Write(Durability, Vec<Put>),
    /// Writes to one keyspace, brought by an ingest.
    Ingest(Vec<Put>),
    /// A transaction that reads and writes these keys; with a rival that writes the first of them meanwhile.
    Transaction(Durability, bool, Vec<Put>),
    /// Keyspace, strategy, compression.
    Create(u8, u8, bool),
    Drop(u8),
    Flush,
    Compact,
    Sync,
    Verify,
    Check,
    Snapshot,
    Release,
    Checkpoint,
    Background(u8),
    FailSyncs(String, SyncFailure, u32),
    Heal,
}

/// Whose syncs fail. The log's and the manifest's files keep the paths under which they were made.
const SUFFIXES: [&str; 6] = [".wal", ".wal.tmp", ".sst", ".manifest", ".manifest.tmp", "/db"];

const DURABILITIES: [(&str, Durability); 3] = [
    ("volatile", Durability::Volatile),
    ("buffered", Durability::Buffered),
    ("sync", Durability::Sync),
];

const FAILURES: [(&str, SyncFailure); 3] = [
    ("cached", SyncFailure::LostStillCached),
    ("reverted", SyncFailure::LostReverted),
    ("persisted", SyncFailure::PersistedAnyway),
];

/// Steps without anything to say beyond their name.
const PLAIN: [(&str, Step); 10] = [
    ("close", Step::Close),
    ("flush", Step::Flush),
    ("compact", Step::Compact),
    ("sync", Step::Sync),
    ("verify", Step::Verify),
    ("check", Step::Check),
    ("snapshot", Step::Snapshot),
    ("release", Step::Release),
    ("checkpoint", Step::Checkpoint),
    ("heal", Step::Heal),
];

/// Draws a life of several runs, each ended by a crash or a close.
pub(super) fn draw(rng: &mut Rng) -> Vec<Step> {
    let mut steps = Vec::new();
    // Some lives know power cuts only, some failed syncs too.
    let faulty = rng.chance(40);
    for _ in 0..2 + rng.below(6) {
        if rng.chance(30) {
            steps.push(Step::Cut(rng.below(60)));
        }
        if faulty && rng.chance(10) {
            steps.push(fail_syncs(rng));
        }
        steps.push(Step::Open([0; 3].map(|_| rng.below(3) as u8)));
        steps.extend((0..2).map(|at| Step::Create(at, rng.below(3) as u8, rng.chance(50))));
        if rng.chance(70) {
            steps.push(Step::Cut(rng.below(500)));
        }
        for _ in 0..rng.below(60) {
            steps.push(step(rng, faulty));
        }
        match rng.below(4) {
            0 => steps.push(Step::Close),
            _ => {
                let policy = *rng.pick(&[
                    CrashPolicy::DropAll,
                    CrashPolicy::KeepAll,
                    CrashPolicy::Ordered,
                    CrashPolicy::Posix,
                    CrashPolicy::Hostile,
                ]);
                steps.push(Step::Crash(policy, rng.below(1 << 32)));
            }
        }
    }
    steps.push(Step::Crash(CrashPolicy::DropAll, 0));
    steps.push(Step::Open([0; 3]));
    steps.push(Step::Verify);
    steps
}

fn fail_syncs(rng: &mut Rng) -> Step {
    let suffix = rng.pick(&SUFFIXES).to_string();
    Step::FailSyncs(suffix, rng.pick(&FAILURES).1, 1 + rng.below(2) as u32)
}

fn step(rng: &mut Rng, faulty: bool) -> Step {
    let durability = |rng: &mut Rng| DURABILITIES[(rng.below(4) as usize).min(2)].1;
    match rng.below(40) {
        0..=19 => Step::Write(durability(rng), puts(rng)),
        20..=22 => Step::Transaction(durability(rng), rng.chance(30), puts(rng)),
        23 => Step::Flush,
        24 => Step::Compact,
        25 => Step::Sync,
        26 => Step::Check,
        27 => Step::Snapshot,
        28 => Step::Release,
        29 if rng.chance(20) => Step::Checkpoint,
        30 if rng.chance(40) => Step::Drop(rng.below(4) as u8),
        31 => Step::Create(rng.below(4) as u8, rng.below(3) as u8, rng.chance(50)),
        32 if faulty && rng.chance(20) => fail_syncs(rng),
        33 if faulty => Step::Heal,
        34 if rng.chance(20) => Step::Verify,
        35 => Step::Ingest(ingested(rng)),
        _ => Step::Background(rng.below(4) as u8),
    }
}

fn puts(rng: &mut Rng) -> Vec<Put> {
    let put = |rng: &mut Rng| {
        let len = *rng.pick(&[0, 5, 5, 300, 3000, 20_000]);
        let fill = if len == 0 { 0 } else { rng.below(200) as u8 };
        let value = rng.chance(75).then_some((len, fill));
        (rng.below(4) as u8, rng.below(16) as u8, value)
    };
    (0..1 + rng.below(3)).map(|_| put(rng)).collect()
}

/// Some writes to one keyspace. What an ingest takes in order of the keys is drawn in any order.
fn ingested(rng: &mut Rng) -> Vec<Put> {
    let keyspace = rng.below(4) as u8;
    let puts = (0..1 + rng.below(4)).flat_map(|_| puts(rng));
    puts.map(|(_, key, value)| (keyspace, key, value)).collect()
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], wanted: &T) -> &'static str {
    names.iter().find(|(_, known)| known == wanted).map_or("", |(name, _)| name)
}

fn named<T: Clone>(names: &[(&'static str, T)], wanted: &str) -> Option<T> {
    names.iter().find(|(name, _)| *name == wanted).map(|(_, known)| known.clone())
}

fn write_puts(puts: &[Put]) -> String {
    let put = |(keyspace, key, value): &Put| match value {
        Some((len, fill)) => format!(" {keyspace}.{key}.{len}.{fill}"),
        None => format!(" {keyspace}.{key}"),
    };
    puts.iter().map(put).collect()
}

fn read_put(word: &str) -> Option<Put> {
    let numbers: Vec<u32> = word.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let small = |number: u32| u8::try_from(number).ok();
    match numbers[..] {
        [keyspace, key] => Some((small(keyspace)?, small(key)?, None)),
        // No replay file shall ask for more memory than a life would.
        [keyspace, key, len, fill] if len <= 1 << 20 => {
            Some((small(keyspace)?, small(key)?, Some((len, small(fill)?))))
        }
        _ => None,
    }
}

impl Step {
    pub(super) fn write(&self) -> String {
        match self {
            Step::Open([memory, segment, sstable]) => format!("open {memory} {segment} {sstable}"),
            Step::Cut(calls) => format!("cut {calls}"),
            Step::Crash(policy, seed) => format!("crash {} {seed}", policy_text::write(*policy)),
            Step::Write(durability, puts) => {
                format!("write {}{}", name_of(&DURABILITIES, durability), write_puts(puts))
            }
            Step::Ingest(puts) => format!("ingest{}", write_puts(puts)),
            Step::Transaction(durability, rival, puts) => {
                let name = name_of(&DURABILITIES, durability);
                let rival = if *rival { "rival" } else { "alone" };
                format!("transaction {name} {rival}{}", write_puts(puts))
            }
            Step::Create(keyspace, strategy, compress) => {
                format!("create {keyspace} {strategy} {}", u8::from(*compress))
            }
            Step::Drop(keyspace) => format!("drop {keyspace}"),
            Step::Background(step) => format!("background {step}"),
            Step::FailSyncs(suffix, failure, times) => {
                format!("failsyncs {suffix} {} {times}", name_of(&FAILURES, failure))
            }
            plain => name_of(&PLAIN, plain).to_string(),
        }
    }

    pub(super) fn read(line: &str) -> Option<Step> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, words) = words.split_first()?;
        let byte = |at: usize| words.get(at).and_then(|word| word.parse::<u8>().ok());
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        let puts = |from: usize| {
            words.get(from..)?.iter().map(|word| read_put(word)).collect::<Option<Vec<_>>>()
        };
        Some(match *name {
            "open" => {
                let shift = |at: usize| byte(at).filter(|shift| *shift < 8);
                Step::Open([shift(0)?, shift(1)?, shift(2)?])
            }
            "cut" => Step::Cut(number(0)?),
            "crash" => Step::Crash(policy_text::read(words.first()?)?, number(1)?),
            "write" => Step::Write(named(&DURABILITIES, words.first()?)?, puts(1)?),
            "ingest" => Step::Ingest(puts(0)?),
            "transaction" => {
                let durability = named(&DURABILITIES, words.first()?)?;
                Step::Transaction(durability, *words.get(1)? == "rival", puts(2)?)
            }
            "create" => Step::Create(byte(0)?, byte(1)?, byte(2)? == 1),
            "drop" => Step::Drop(byte(0)?),
            "background" => Step::Background(byte(0)?),
            "failsyncs" => {
                let failure = named(&FAILURES, words.get(1)?)?;
                Step::FailSyncs(words.first()?.to_string(), failure, u32::from(byte(2)?))
            }
            plain => named(&PLAIN, plain)?,
        })
    }
}
