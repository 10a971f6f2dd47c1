//! What a way to run does: its options, the operations, and between them what must not show. Drawn from seeds, written to
//! replay files and read from them.
//!
//! The operations follow from the list's seed alone and are the same for every way; everything else follows from the
//! way's. Every choice stands in the plan, so that leaving out a step changes no other.

use esker::{BackgroundStep, CompactionStrategy, Durability, ReadMode};

use crate::Rng;

/// Different keys; few, so that most are overwritten, deleted and written again.
const KEYS: u64 = 600;

/// The longest value that a replay file may ask for, in bytes.
const VALUE_LEN_MAX: usize = 1 << 20;

const DURABILITIES: [(&str, Durability); 3] = [
    ("volatile", Durability::Volatile),
    ("buffered", Durability::Buffered),
    ("sync", Durability::Sync),
];

const MODES: [(&str, ReadMode); 2] =
    [("positioned", ReadMode::Positioned), ("mapped", ReadMode::Mapped)];

const STRATEGIES: [(&str, CompactionStrategy); 3] = [
    ("leveled", CompactionStrategy::Leveled),
    ("tiered", CompactionStrategy::Tiered),
    // Far more than is ever written: nothing is dropped.
    ("fifo", CompactionStrategy::Fifo { size_bytes_max: 1 << 40 }),
];

/// Steps without arguments.
const PLAIN: [(&str, Step); 6] = [
    ("snapshot", Step::TakeSnapshot),
    ("release", Step::DropSnapshot),
    ("flush", Step::Flush),
    ("compact", Step::Compact),
    ("verify", Step::Verify),
    ("sync", Step::Sync),
];

/// A key by its number, and the length and filling of its new value; `None` deletes.
pub(super) type Put = (u64, Option<(usize, u8)>);

/// A walk: two bounds in any order, at most so many entries, and for each a bit that says whether it comes from the back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) bounds: (u64, u64),
    pub(super) count: u8,
    pub(super) turns: u64,
}

/// The options that each open chooses anew; sizes as powers of two times the smallest, see [`super::run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) mode: ReadMode,
    pub(super) memory: u8,
    pub(super) segment: u8,
    pub(super) sstable: u8,
}

/// The door through which a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Batch,
    Transaction,
    /// As durable as can be, whatever is asked for.
    Ingest,
}

const DOORS: [(&str, Door); 3] =
    [("write", Door::Batch), ("transaction", Door::Transaction), ("ingest", Door::Ingest)];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    // The operations: what every way is asked alike.
    Write {
        durability: Durability,
        door: Door,
        puts: Vec<Put>,
    },
    Get(u64),
    Range(Walk),
    /// Of the oldest snapshot that is held: its second bound's key, and a walk.
    Past(Walk),
    TakeSnapshot,
    DropSnapshot,
    // What must not show.
    Flush,
    Compact,
    Verify,
    Sync,
    Background(u8),
    /// Closes the database, or only drops it, and opens it.
    Reopen {
        closes: bool,
        opening: Opening,
    },
}

impl Step {
    /// Whether it is one of the operations, whose answers are compared.
    pub(super) fn is_operation(&self) -> bool {
        matches!(
            self,
            Step::Write { .. }
                | Step::Get(_)
                | Step::Range(_)
                | Step::Past(_)
                | Step::TakeSnapshot
                | Step::DropSnapshot
        )
    }
}

/// One way to run a list of operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The seed of the simulated disk's world.
    pub(super) disk: u64,
    pub(super) strategy: CompactionStrategy,
    pub(super) compress: bool,
    pub(super) opening: Opening,
    pub(super) steps: Vec<Step>,
}

/// Draws `length` operations. How a write is made is for the ways to choose.
pub(super) fn draw(rng: &mut Rng, length: usize) -> Vec<Step> {
    let operation = |rng: &mut Rng| match rng.below(100) {
        0..30 => {
            let put = |rng: &mut Rng| {
                let len = *rng.pick(&[0, 3, 3, 20, 20, 100, 400]);
                let value = (len, rng.below(256) as u8);
                (rng.below(KEYS), rng.chance(70).then_some(value))
            };
            let puts = (0..1 + rng.below(3)).map(|_| put(rng)).collect();
            Step::Write { durability: Durability::Buffered, door: Door::Batch, puts }
        }
        30..72 => Step::Get(rng.below(KEYS)),
        72..84 => Step::Range(walk(rng)),
        84..96 => Step::Past(walk(rng)),
        96..98 => Step::TakeSnapshot,
        _ => Step::DropSnapshot,
    };
    (0..length).map(|_| operation(rng)).collect()
}

fn walk(rng: &mut Rng) -> Walk {
    let (bounds, count) = ((rng.below(KEYS), rng.below(KEYS)), rng.below(20) as u8);
    // From the front only, from the back only, or mixed.
    let turns = [0, u64::MAX, rng.number()][rng.below(3) as usize];
    Walk { bounds, count, turns }
}

impl Plan {
    /// Draws options for `operations`, and what happens between them.
    pub(super) fn draw(rng: &mut Rng, operations: &[Step]) -> Plan {
        let disk = rng.number();
        let strategy = rng.pick(&STRATEGIES).1;
        let compress = rng.chance(50);
        // Of so many operations, one is followed by background work, or by a reopen; it varies a lot.
        let work_every = *rng.pick(&[5, 20, 100, 1000]);
        let reopen_every = *rng.pick(&[200, 1000, 100_000]);
        let opening = Opening::draw(rng);
        let mut steps = Vec::with_capacity(operations.len() + operations.len() / 4);
        for operation in operations {
            let mut operation = operation.clone();
            if let Step::Write { durability, door, .. } = &mut operation {
                *durability = rng.pick(&DURABILITIES).1;
                *door = match rng.below(100) {
                    0..25 => Door::Transaction,
                    25..28 => Door::Ingest,
                    _ => Door::Batch,
                };
            }
            steps.push(operation);
            if rng.below(work_every) == 0 {
                steps.push(match rng.below(60) {
                    0..8 => Step::Flush,
                    8 => Step::Compact,
                    9 => Step::Verify,
                    10..12 => Step::Sync,
                    at => Step::Background(at as u8 % BackgroundStep::ALL.len() as u8),
                });
            }
            if rng.below(reopen_every) == 0 {
                steps.push(Step::Reopen { closes: rng.chance(50), opening: Opening::draw(rng) });
            }
        }
        Plan { disk, strategy, compress, opening, steps }
    }

    /// The lines of a replay file.
    pub(super) fn write(&self) -> String {
        let strategy = STRATEGIES.iter().find(|(_, known)| *known == self.strategy);
        let strategy = strategy.map_or("leveled", |(name, _)| name);
        let compress = if self.compress { "compressed" } else { "plain" };
        let mut text = format!("disk {}\nkeyspace {strategy} {compress}\n", self.disk);
        text.push_str(&format!("open {}\n", self.opening.write()));
        self.steps.iter().for_each(|step| text.push_str(&(step.write() + "\n")));
        text
    }

    /// Reads what [`Plan::write`] has written; the line that cannot be read otherwise.
    pub(super) fn read(text: &str) -> Result<Plan, String> {
        let opening = Opening { mode: ReadMode::Positioned, memory: 0, segment: 0, sstable: 0 };
        let strategy = CompactionStrategy::Leveled;
        let mut plan = Plan { disk: 0, strategy, compress: false, opening, steps: Vec::new() };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            plan.read_line(line).ok_or_else(|| format!("cannot read the line {line:?}"))?;
        }
        Ok(plan)
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["disk", seed] => self.disk = seed.parse().ok()?,
            ["keyspace", strategy, compress] => {
                self.strategy = named(&STRATEGIES, strategy)?;
                self.compress = compress == "compressed";
            }
            ["open", ref words @ ..] => self.opening = Opening::read(words)?,
            ref words => self.steps.push(Step::read(words)?),
        }
        Some(())
    }
}

impl Opening {
    fn draw(rng: &mut Rng) -> Opening {
        Opening {
            mode: rng.pick(&MODES).1,
            memory: rng.below(4) as u8,
            segment: rng.below(4) as u8,
            sstable: rng.below(6) as u8,
        }
    }

    fn write(&self) -> String {
        let Opening { mode, memory, segment, sstable } = self;
        format!("{} {memory} {segment} {sstable}", name_of(&MODES, mode))
    }

    fn read(words: &[&str]) -> Option<Opening> {
        let &[mode, memory, segment, sstable] = words else { return None };
        let shift = |word: &str| word.parse::<u8>().ok().filter(|shift| *shift < 8);
        Some(Opening {
            mode: named(&MODES, mode)?,
            memory: shift(memory)?,
            segment: shift(segment)?,
            sstable: shift(sstable)?,
        })
    }
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], wanted: &T) -> &'static str {
    names.iter().find(|(_, known)| known == wanted).map_or("", |(name, _)| name)
}

fn named<T: Clone>(names: &[(&'static str, T)], wanted: &str) -> Option<T> {
    names.iter().find(|(name, _)| *name == wanted).map(|(_, known)| known.clone())
}

impl Walk {
    fn write(&self) -> String {
        let Walk { bounds: (low, high), count, turns } = self;
        format!("{low} {high} {count} {turns:x}")
    }

    fn read(words: &[&str]) -> Option<Walk> {
        let &[low, high, count, turns] = words else { return None };
        let bounds = (low.parse().ok()?, high.parse().ok()?);
        let turns = u64::from_str_radix(turns, 16).ok()?;
        Some(Walk { bounds, count: count.parse().ok()?, turns })
    }
}

fn read_put(word: &str) -> Option<Put> {
    let numbers: Vec<u64> = word.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match numbers[..] {
        [key] => Some((key, None)),
        [key, len, fill] => {
            let len = usize::try_from(len).ok().filter(|len| *len <= VALUE_LEN_MAX)?;
            Some((key, Some((len, u8::try_from(fill).ok()?))))
        }
        _ => None,
    }
}

impl Step {
    pub(super) fn write(&self) -> String {
        match self {
            Step::Write { durability, door, puts } => {
                let door = name_of(&DOORS, door);
                let mut text = format!("{door} {}", name_of(&DURABILITIES, durability));
                for (key, value) in puts {
                    text.push_str(&format!(" {key}"));
                    if let Some((len, fill)) = value {
                        text.push_str(&format!(".{len}.{fill}"));
                    }
                }
                text
            }
            Step::Get(key) => format!("get {key}"),
            Step::Range(walk) => format!("range {}", walk.write()),
            Step::Past(walk) => format!("past {}", walk.write()),
            Step::Background(step) => format!("background {step}"),
            Step::Reopen { closes, opening } => {
                format!("reopen {} {}", if *closes { "closed" } else { "dropped" }, opening.write())
            }
            plain => name_of(&PLAIN, plain).to_string(),
        }
    }

    fn read(words: &[&str]) -> Option<Step> {
        Some(match *words {
            [door @ ("write" | "transaction" | "ingest"), durability, ref puts @ ..] => {
                Step::Write {
                    durability: named(&DURABILITIES, durability)?,
                    door: named(&DOORS, door)?,
                    puts: puts.iter().map(|put| read_put(put)).collect::<Option<_>>()?,
                }
            }
            ["get", key] => Step::Get(key.parse().ok()?),
            ["range", ref walk @ ..] => Step::Range(Walk::read(walk)?),
            ["past", ref walk @ ..] => Step::Past(Walk::read(walk)?),
            ["background", step] => Step::Background(step.parse().ok()?),
            ["reopen", how @ ("closed" | "dropped"), ref opening @ ..] => {
                Step::Reopen { closes: how == "closed", opening: Opening::read(opening)? }
            }
            [plain] => named(&PLAIN, plain)?,
            _ => return None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_back_from_its_text() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let operations = draw(&mut rng, 300);
            let plan = Plan::draw(&mut rng, &operations);
            assert_eq!(plan.steps.iter().filter(|step| step.is_operation()).count(), 300);
            assert_eq!(Plan::read(&plan.write()).unwrap(), plan);
        }
        for line in ["jump", "get", "write sync 5.1", "write sync 1.9999999.1", "open mapped 9 0 0"]
        {
            assert!(Plan::read(line).unwrap_err().contains(line));
        }
    }
}
