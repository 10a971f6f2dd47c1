//! The corruption matrix: every bit of every file of a closed database, every length, blocks and files that are zeroed,
//! swapped, stale or foreign. Each damage is found, or it is harmless: never a panic, a hang, a wrong answer or memory
//! without bound. Beside it, every bit of the log of a database whose power was cut: damage before the last group of
//! commits is found, damage within it cannot be told from a torn write, and is counted.

mod corpus;
mod damage;
mod trial;

use std::sync::Arc;

use crate::parallel;
use crate::report::{Budget, CheckReport, Floor, Scale};
use corpus::{Corpus, kind};
use damage::Damage;
use trial::Outcome;

/// The name of the check.
pub const NAME: &str = "corruption";

const FLIPS: &str = "bit flips";
const ALL: &str = "damages of all kinds";

/// What must be reached. The first is every bit of 64 KiB.
pub const FLOORS: &[Floor] = &[Floor::new(FLIPS, 524_288, 0), Floor::new(ALL, 0, 5_000_000)];

/// Trials of one unit of work.
const UNIT: u64 = 256;

/// How much more memory than an undamaged directory a damaged one may take, in bytes: an error's text and a second
/// attempt at most.
const MEMORY_SLACK: u64 = 2 << 20;

/// What all units share.
struct Matrix {
    closed: Corpus,
    live: Corpus,
    damages: Vec<Damage>,
    /// In a test, only every so-many-th flip and damage.
    stride: u64,
    /// The memory that a trial may take: that of an undamaged directory and some slack, in bytes.
    memory_max: u64,
}

/// Runs the matrix; in a soak, one after the other with other databases.
pub fn check(budget: &Budget) -> CheckReport {
    let stride = if budget.scale == Scale::Test { 487 } else { 1 };
    let mut report = CheckReport::new(NAME);
    for more in 0..budget.count(1, 1, 8) {
        if more > 0 && budget.is_over() {
            break;
        }
        // Far from the seeds of the next round.
        let seed = budget.seed.wrapping_add(more << 24);
        match Matrix::new(seed, stride) {
            Ok(matrix) => report.merge(matrix.run(budget)),
            Err(message) => report.find(message),
        }
    }
    report
}

impl Matrix {
    fn new(seed: u64, stride: u64) -> Result<Matrix, String> {
        let text = |error: esker::Error| format!("the corpus of seed {seed}: {error:?}");
        let closed = corpus::closed(seed).map_err(text)?;
        let live = corpus::live(seed).map_err(text)?;
        // Another seed and another identity, but the same shape.
        let foreign = corpus::closed(seed.wrapping_add(1 << 32)).map_err(text)?;
        let damages = damage::all_but_flips(&closed, &foreign);
        let mut memory = 0;
        for corpus in [&closed, &live] {
            let (outcome, peak) = trial::run(corpus, corpus.disk.fork());
            if outcome != Outcome::Harmless {
                return Err(format!("seed {seed}: without any damage: {outcome:?}"));
            }
            memory = peak.max(memory);
        }
        Ok(Matrix { closed, live, damages, stride, memory_max: memory + MEMORY_SLACK })
    }

    fn run(self, budget: &Budget) -> CheckReport {
        let matrix = Arc::new(self);
        let flips = |corpus: &Corpus| bits(corpus) / matrix.stride + 1;
        let others = matrix.damages.len() as u64 / matrix.stride + 1;
        // The many flips come last: where the time is short, each of the other damages is still done.
        let counts = [others, flips(&matrix.live), flips(&matrix.closed)];
        let [others, live, closed] = counts.map(|count| count.div_ceil(UNIT));
        let shared = Arc::clone(&matrix);
        let work = move |unit: u64, report: &mut CheckReport| {
            let first = |before: u64| (unit - before) * UNIT;
            let numbers = |first: u64| (first..first + UNIT).map(|at| at * shared.stride);
            if unit < others {
                numbers(first(0)).for_each(|at| shared.damage(at, report));
            } else if unit < others + live {
                numbers(first(others)).for_each(|at| shared.flip(&shared.live, at, report));
            } else {
                let first = first(others + live);
                numbers(first).for_each(|at| shared.flip(&shared.closed, at, report));
            }
        };
        let mut report = parallel::run(NAME, budget, others + live + closed, Arc::new(work));
        report.add("bytes of the closed databases", bits(&matrix.closed) / 8);
        let group = matrix.live.last_group.as_ref().map_or(0, |(_, start, end)| end - start);
        report.add("live: bytes of the last groups", group);
        report
    }

    /// Flips bit number `at` of all that are to be flipped, file by file.
    fn flip(&self, corpus: &Corpus, mut at: u64, report: &mut CheckReport) {
        for (file, image) in corpus.files.iter().enumerate() {
            let per_byte = bits_per_byte(corpus, &image.name);
            let bits = image.bytes.len() as u64 * per_byte;
            if at < bits {
                let offset = at / per_byte;
                // One bit a byte: another one in each.
                let bit = if per_byte == 8 { at % 8 } else { offset % 8 };
                let damage = Damage::Flip { file, offset, bit: bit as u8 };
                return self.try_damage(corpus, &damage, report);
            }
            at -= bits;
        }
    }

    fn damage(&self, at: u64, report: &mut CheckReport) {
        if let Some(damage) = usize::try_from(at).ok().and_then(|at| self.damages.get(at)) {
            self.try_damage(&self.closed, damage, report);
        }
    }

    fn try_damage(&self, corpus: &Corpus, damage: &Damage, report: &mut CheckReport) {
        let disk = corpus.disk.fork();
        if let Err(error) = damage.apply(corpus, &disk) {
            return report.find(format!("cannot do {}: {error}", damage.describe(corpus)));
        }
        let (outcome, memory) = trial::run(corpus, disk);
        let outcome = match outcome {
            Outcome::Torn if !is_in_last_group(corpus, damage) => {
                Outcome::Broken("durable commits are lost".to_owned())
            }
            _ if memory > self.memory_max => {
                Outcome::Broken(format!("{memory} bytes of memory, of {}", self.memory_max))
            }
            outcome => outcome,
        };
        let verdict = match outcome {
            Outcome::Refused | Outcome::Reported => "detected",
            Outcome::Harmless => "harmless",
            Outcome::Torn => "taken for a tear",
            Outcome::Broken(broken) => {
                report.find(format!("{}: {broken}", damage.describe(corpus)));
                "broken"
            }
        };
        let live = if corpus.last_group.is_some() { "live: " } else { "" };
        let family = damage.family();
        report.add(ALL, 1);
        report.add(&format!("{live}{family}"), 1);
        report.add(&format!("{live}{family}, {verdict}"), 1);
        if let Damage::Flip { .. } = damage {
            let kind = kind(&corpus.files[damage.file()].name);
            report.add(&format!("{live}{family}, {kind}, {verdict}"), 1);
        }
    }
}

/// How many bits of each byte of a file are flipped: all, where the database was closed. A live one differs in its log,
/// and in its manifest, which is not vouched for as a whole; its sstables are the same.
fn bits_per_byte(corpus: &Corpus, name: &str) -> u64 {
    match (corpus.last_group.is_some(), kind(name)) {
        (false, _) | (true, "wal") => 8,
        (true, "sst" | "val") => 0,
        (true, _) => 1,
    }
}

fn bits(corpus: &Corpus) -> u64 {
    let bits =
        |image: &corpus::FileImage| image.bytes.len() as u64 * bits_per_byte(corpus, &image.name);
    corpus.files.iter().map(bits).sum()
}

fn is_in_last_group(corpus: &Corpus, damage: &Damage) -> bool {
    match (&corpus.last_group, damage) {
        (Some((name, start, end)), Damage::Flip { file, offset, .. }) => {
            corpus.files[*file].name == *name && (*start..*end).contains(offset)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
