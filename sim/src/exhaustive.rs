//! Every history of up to four operations, with the power cut before every call that changes the disk, and every way in
//! which what was not synced can have arrived.
//!
//! A history is run once; the disk keeps a copy of itself before each call of its last operation (the calls before that
//! belong to a shorter history). Each copy, crossed with each policy, gives an image. Images that were seen with the same
//! expectations are skipped. The others are opened: the database must hold a prefix of the history, not older than the
//! last write that was acknowledged as durable. For a sample the power is cut again at every call of that recovery, and of
//! the next: each must show what the first would have.

pub mod replay;

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use esker::vfs::World;
use esker::vfs::simulated::{CrashPolicy, SimulatedFs, Simulation};
use esker::{Builder, Db};
use parking_lot::Mutex;

use crate::checks::panic_text;
use crate::history::{self, Model, Op, State, Strength, read_all};
use crate::lying::{Lie, LyingFs};
use crate::machine::small;
use crate::report::{Budget, CheckReport, Finding, Floor, Scale};
use crate::{Rng, parallel};

/// The check's name.
pub const NAME: &str = "exhaustive";

const IMAGES: &str = "distinct crash images";
const ALL_IMAGES: &str = "crash images made";
const LOST: &str = "acknowledged writes lost";
const NESTED: &str = "crashes nested in recovery";
const DEEPER: &str = "recoveries cut again at depth 3 and 4";
const HISTORIES: &str = "histories";
const PROMISES: &str = "acknowledged writes looked for";

/// What must be reached.
pub const FLOORS: &[Floor] =
    &[Floor::new(IMAGES, 500_000, 5_000_000), Floor::new(NESTED, 50_000, 1_000_000)];

/// The power is cut so often in a row, the first cut included.
const DEPTH_MAX: u64 = 4;

/// After so many findings the rest would say the same.
const FINDINGS_MAX: usize = 20;

/// Identities that a recovery draws must differ from those of the run before it.
const RECOVERY_SEED: u64 = 0x7ec0_7e57;

/// What is explored.
#[derive(Clone, Copy, Debug)]
struct Space {
    /// Operations in the longest history.
    length: usize,
    /// Operations in the shortest history.
    length_min: usize,
    /// Writes are torn at multiples of so many bytes.
    tear_bytes: u64,
    /// The same in the longest histories.
    last_tear_bytes: u64,
    /// Of so many images, one is crashed again inside its recovery.
    nested_every: u64,
    /// Of so many nested images, one is crashed a third time.
    deeper_every: u64,
    /// Of so many histories of the greatest length, one is run.
    sample_every: u64,
    /// A fault below the engine, to see that it is found.
    lie: Option<Lie>,
}

/// What the rounds of a soak have seen together: images and nested ones. Their sum is to count none twice.
static SOAK_SEEN: LazyLock<[Arc<Seen>; 2]> = LazyLock::new(|| [Arc::default(), Arc::default()]);

/// Images by their content and what is expected of them, in parts with a lock each.
struct Seen {
    parts: Vec<Mutex<HashSet<u64, BuildHasherDefault<DefaultHasher>>>>,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { parts: (0..64).map(|_| Mutex::default()).collect() }
    }
}

impl Seen {
    fn insert(&self, hash: u64) -> bool {
        self.parts[(hash % 64) as usize].lock().insert(hash)
    }
}

struct Explorer {
    budget: Budget,
    space: Space,
    seen: Arc<Seen>,
    nested_seen: Arc<Seen>,
    /// Findings so far, of all threads.
    found: AtomicUsize,
}

/// One history, as a finding names it.
struct Case<'a> {
    ops: &'a [Op],
    strength: Strength,
}

/// Where the power was cut: before which call of the disk, and how. The first is in the history, the others are in the
/// recoveries.
type Cut = (u64, CrashPolicy);

/// Runs the check.
pub fn check(budget: &Budget) -> CheckReport {
    let test = Space {
        length: 2,
        length_min: 0,
        tear_bytes: 512,
        last_tear_bytes: 512,
        nested_every: 40,
        deeper_every: 40,
        sample_every: 1,
        lie: None,
    };
    let space = match budget.scale {
        Scale::Test => test,
        Scale::Ci => Space {
            length: 4,
            tear_bytes: 1,
            last_tear_bytes: 4,
            nested_every: 800,
            deeper_every: 25,
            ..test
        },
        Scale::Soak { round: 0 } => Space {
            length: 5,
            tear_bytes: 1,
            last_tear_bytes: 2,
            nested_every: 400,
            deeper_every: 50,
            ..test
        },
        // What the first round has not looked at.
        Scale::Soak { .. } => Space {
            length: 6,
            length_min: 6,
            last_tear_bytes: 8,
            nested_every: 400,
            deeper_every: 50,
            sample_every: 50,
            ..test
        },
    };
    let seen = match budget.scale {
        Scale::Soak { .. } => SOAK_SEEN.clone(),
        _ => Default::default(),
    };
    explore(budget, space, seen)
}

fn explore(budget: &Budget, space: Space, seen: [Arc<Seen>; 2]) -> CheckReport {
    let histories = histories(budget.seed, &space);
    let count = histories.len() as u64;
    let explorer = Explorer::new(budget, space, seen);
    let unit = move |at: u64, report: &mut CheckReport| {
        let (ops, strength) = &histories[at as usize];
        explorer.history(&Case { ops, strength: *strength }, report);
    };
    let mut report = parallel::run(NAME, budget, count, Arc::new(unit));
    // Shown even when there are none.
    report.add(LOST, 0);
    report
}

/// The histories, the shortest first; the longest in a random order, so that a limit cuts off any of them.
fn histories(seed: u64, space: &Space) -> Vec<(Vec<Op>, Strength)> {
    let mut all = vec![Vec::new()];
    let mut found = Vec::new();
    let mut at = 0;
    for length in 0..=space.length {
        let first = found.len();
        for ops in &all {
            for strength in Strength::ALL {
                at += 1;
                let is_sampled = (at + seed).is_multiple_of(space.sample_every);
                if length >= space.length_min && (length < space.length || is_sampled) {
                    found.push((ops.clone(), strength));
                }
            }
        }
        if length == space.length {
            shuffle(&mut found[first..], &mut Rng::new(seed));
            break;
        }
        let longer = |ops: &Vec<Op>| Op::ALL.map(|op| [ops.as_slice(), &[op]].concat());
        all = all.iter().flat_map(longer).collect();
    }
    found
}

fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for at in (1..items.len()).rev() {
        items.swap(at, rng.below(at as u64 + 1) as usize);
    }
}

fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A moment of a history: the disk, and what a recovery from it may show.
struct Moment {
    call: u64,
    disk: SimulatedFs,
    model: Model,
}

impl Space {
    fn world(&self, simulation: &Simulation) -> World {
        match self.lie {
            Some(lie) => LyingFs::under(simulation.world(), lie),
            None => simulation.world(),
        }
    }
}

/// Runs a history; the moments of its last operation and right after it.
fn moments(space: &Space, case: &Case<'_>) -> Result<Vec<Moment>, String> {
    let simulation = Simulation::new(1);
    let builder = || small(space.world(&simulation));
    let mut model = Model::new();
    let mut found = Vec::new();
    let text = |error: esker::Error| format!("refused without a fault: {error}");
    if case.ops.is_empty() {
        simulation.fs.record_states();
    }
    let mut db: Db = history::begin(builder()).map_err(text)?;
    for (place, op) in case.ops.iter().enumerate() {
        let is_last = place + 1 == case.ops.len();
        let before = model.durable;
        if is_last {
            simulation.fs.record_states();
        }
        history::run(&mut db, builder, *op, place, case.strength, &mut model).map_err(text)?;
        if is_last {
            // During the operation nothing of it was acknowledged yet.
            let model = Model { durable: before, ..model.clone() };
            take(&simulation, &model, &mut found);
        }
    }
    if case.ops.is_empty() {
        take(&simulation, &model, &mut found);
    }
    let (call, disk) = (simulation.fs.ops(), simulation.fs.fork());
    found.push(Moment { call, disk, model: model.clone() });
    if case.ops.len() == space.length {
        // Closing is in the other histories too, as the first half of a reopen.
        simulation.fs.record_states();
        db.close().map_err(text)?;
        take(&simulation, &model, &mut found);
    }
    Ok(found)
}

fn take(simulation: &Simulation, model: &Model, found: &mut Vec<Moment>) {
    let states = simulation.fs.take_states().into_iter();
    found.extend(states.map(|(call, disk)| Moment { call, disk, model: model.clone() }));
}

/// The disk before each change that a recovery makes to it, and that closing makes afterwards.
fn states_of_recovery(space: &Space, image: SimulatedFs, depth: u64) -> Vec<(u64, SimulatedFs)> {
    let recording = Simulation::with_fs(image, RECOVERY_SEED + depth);
    recording.fs.record_states();
    // Its outcome is known: the same recovery was run before.
    drop(small(space.world(&recording)).open("/db"));
    recording.fs.take_states()
}

/// Opens an image and reads it all.
fn recover(space: &Space, image: SimulatedFs, depth: u64) -> Result<State, String> {
    let simulation = Simulation::with_fs(image, RECOVERY_SEED + depth);
    let builder: Builder = small(space.world(&simulation));
    let read = || builder.open("/db").and_then(|db| read_all(&db));
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(state)) => Ok(state),
        Ok(Err(error)) => Err(format!("refused: {error}")),
        Err(panic) => Err(format!("panicked: {}", panic_text(&*panic))),
    }
}

impl Explorer {
    fn new(budget: &Budget, space: Space, [seen, nested_seen]: [Arc<Seen>; 2]) -> Explorer {
        let found = AtomicUsize::new(0);
        Explorer { budget: budget.clone(), space, seen, nested_seen, found }
    }

    fn is_enough(&self) -> bool {
        self.budget.is_over() || self.found.load(Ordering::Relaxed) >= FINDINGS_MAX
    }

    fn history(&self, case: &Case<'_>, report: &mut CheckReport) {
        if self.is_enough() {
            return;
        }
        let moments = match moments(&self.space, case) {
            Ok(moments) => moments,
            Err(message) => return self.find(case, &[], message, report),
        };
        report.add(HISTORIES, 1);
        let is_longest = case.ops.len() == self.space.length;
        let tear = if is_longest { self.space.last_tear_bytes } else { self.space.tear_bytes };
        for Moment { call, disk, model } in &moments {
            let expected = hash_of(model.allowed());
            for policy in disk.exhaustive_policies(tear) {
                let image = disk.image(policy, 0);
                report.add(ALL_IMAGES, 1);
                let identity = hash_of((image.image_hash(), expected));
                if !self.seen.insert(identity) {
                    continue;
                }
                report.add(IMAGES, 1);
                report.add(PROMISES, model.durable as u64);
                let again = identity % self.space.nested_every == 0;
                let copy = again.then(|| image.fork());
                let cuts = [(*call, policy)];
                match recover(&self.space, image, 0) {
                    Ok(state) if model.allowed().contains(&state) => {
                        if let Some(copy) = copy {
                            self.nested(case, &cuts, copy, &state, report);
                        }
                    }
                    Ok(state) => self.judge(case, &cuts, model, &state, report),
                    Err(message) => self.find(case, &cuts, message, report),
                }
            }
            if self.is_enough() {
                break;
            }
        }
    }

    /// Cuts the power at every call of a recovery. Whatever it had done by then, the next one must show the same.
    fn nested(
        &self,
        case: &Case<'_>,
        cuts: &[Cut],
        image: SimulatedFs,
        shown: &State,
        report: &mut CheckReport,
    ) {
        let depth = cuts.len() as u64;
        for (call, disk) in states_of_recovery(&self.space, image, depth - 1) {
            for policy in disk.exhaustive_policies(512) {
                let image = disk.image(policy, 0);
                let identity = hash_of((image.image_hash(), shown));
                if !self.nested_seen.insert(identity) {
                    continue;
                }
                report.add(NESTED, 1);
                let mut cuts = cuts.to_vec();
                cuts.push((call, policy));
                let deeper = depth + 1 < DEPTH_MAX && identity % self.space.deeper_every == 0;
                let copy = deeper.then(|| image.fork());
                match recover(&self.space, image, depth) {
                    Ok(state) if state == *shown => {
                        if let Some(copy) = copy {
                            report.add(DEEPER, 1);
                            self.nested(case, &cuts, copy, shown, report);
                        }
                    }
                    Ok(_) => {
                        let message = "a recovery that was interrupted shows another state";
                        self.find(case, &cuts, message.to_string(), report);
                    }
                    Err(message) => self.find(case, &cuts, message, report),
                }
            }
            if self.is_enough() {
                break;
            }
        }
    }

    /// A state that recovery must not show: counts what it lacks.
    fn judge(
        &self,
        case: &Case<'_>,
        cuts: &[Cut],
        model: &Model,
        state: &State,
        report: &mut CheckReport,
    ) {
        let older = model.states.iter().rposition(|known| known == state);
        let message = match older {
            Some(at) => {
                let lost = model.durable - at;
                report.add(LOST, lost as u64);
                format!("{lost} acknowledged writes are lost")
            }
            None => format!("{} entries are no prefix of the history", state.len()),
        };
        self.find(case, cuts, message, report);
    }

    fn find(&self, case: &Case<'_>, cuts: &[Cut], message: String, report: &mut CheckReport) {
        let replay = replay::write(case, cuts);
        let place = replay.trim_end().replace('\n', "; ");
        let message = format!("{message} ({place})");
        self.found.fetch_add(1, Ordering::Relaxed);
        report.findings.push(Finding { message, replay: Some(replay) });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn test_space(lie: Option<Lie>) -> Space {
        Space {
            length: 2,
            length_min: 0,
            tear_bytes: 512,
            last_tear_bytes: 512,
            nested_every: 50,
            deeper_every: 50,
            sample_every: 1,
            lie,
        }
    }

    #[test]
    fn short_histories_lose_nothing() {
        let report = check(&Budget::test(1));
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert!(report.figure(IMAGES) > 1000 && report.figure(NESTED) > 100, "{report:?}");
        assert_eq!(report.figure(HISTORIES), 43 * 3);
    }

    #[test]
    fn a_disk_that_forgets_its_syncs_is_found() {
        for lie in
            [Lie::Directories, Lie::Files(".wal"), Lie::Files(".sst"), Lie::Files(".manifest")]
        {
            let report = explore(&Budget::test(1), test_space(Some(lie)), Default::default());
            assert!(!report.findings.is_empty(), "{lie:?}: {report:?}");
        }
    }

    #[test]
    fn a_replay_file_names_a_cut_that_can_be_made_again() {
        let text = "history put flush\nstrength mixed\ncut 999999 none\n";
        assert!(replay::run(text).unwrap_err().contains("999999"));
        let space = test_space(None);
        let case = Case { ops: &[Op::Put, Op::Flush], strength: Strength::Mixed };
        let call = moments(&space, &case).unwrap()[3].call;
        let cuts = [(call, CrashPolicy::DropOne(0))];
        let text = replay::write(&case, &cuts);
        let report = crate::replay::run(&text).unwrap();
        assert!(report.findings.is_empty() && report.figure("replayed") == 1, "{report:?}");
        assert!(replay::run("history put jump\n").is_err());
        let whole = replay::run("history put\nstrength sync\n").unwrap();
        assert!(whole.findings.is_empty() && whole.figure(IMAGES) > 20, "{whole:?}");
    }
}
