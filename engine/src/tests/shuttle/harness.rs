//! What the tests of schedules share: how a scenario is run, and the small machine that it runs on.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use esker_base::names::{self, FileKind, TEMPORARY_SUFFIX};
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, SimulatedFs, Simulation};
use esker_vfs::{Call, Clock, World};
use shuttle::rand::Rng;
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner, thread};

use crate::{Background, Db, Durability, Keyspace, Options, ReadMode};

/// Schedules of each scenario under each scheduler, unless `ESKER_SHUTTLE_ITERATIONS` says otherwise.
const ITERATIONS: usize = 3000;

/// Schedules that share a seed.
const CHUNK: usize = 50;

/// More steps than any run takes by far: a run that reaches them makes no progress.
const STEPS_MAX: usize = 200_000;

/// Preemptions that the priority-based scheduler plans for.
const DEPTHS: [usize; 2] = [3, 6];

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    variable(name).map(|value| value.parse().unwrap())
}

/// Runs `scenario` under many schedules.
pub(super) fn check(name: &'static str, scenario: fn()) {
    check_with(name, FailurePersistence::Print, scenario);
}

/// As [`check`], for a scenario with panics that are meant: its failures print no schedule, only the seed.
pub(super) fn check_panics(name: &'static str, scenario: fn()) {
    check_with(name, FailurePersistence::None, scenario);
}

fn check_with(name: &'static str, persistence: FailurePersistence, scenario: fn()) {
    let config = || {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
        config.failure_persistence = persistence.clone();
        config.silence_warnings = true;
        config
    };
    if let Some(path) = variable("ESKER_SHUTTLE_REPLAY") {
        let scheduler = ReplayScheduler::new_from_file(path).unwrap();
        Runner::new(scheduler, config()).run(scenario);
        return;
    }
    let iterations = number("ESKER_SHUTTLE_ITERATIONS").map_or(ITERATIONS, |n| n as usize);
    let chunks = iterations.div_ceil(CHUNK) as u64;
    let seeds = match number("ESKER_SHUTTLE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..chunks,
    };
    let count = CHUNK.min(iterations);
    for seed in seeds {
        let depth = DEPTHS[seed as usize % DEPTHS.len()];
        let random = RandomScheduler::new_from_seed(seed, count);
        run(name, seed, "random", Runner::new(random, config()), scenario);
        let priorities = PctScheduler::new_from_seed(seed, depth, count);
        run(name, seed, "priority", Runner::new(priorities, config()), scenario);
    }
}

fn run<S: Scheduler + 'static>(
    name: &'static str,
    seed: u64,
    kind: &'static str,
    runner: Runner<S>,
    scenario: fn(),
) {
    /// Says how to run the failing schedules again.
    struct Report(&'static str, u64, &'static str);
    impl Drop for Report {
        fn drop(&mut self) {
            let Report(name, seed, kind) = self;
            if std::thread::panicking() {
                eprintln!("{name} failed ({kind} scheduler): again with ESKER_SHUTTLE_SEED={seed}");
            }
        }
    }
    let _report = Report(name, seed, kind);
    runner.run(scenario);
}

/// A number below `n` that belongs to the schedule.
pub(super) fn below(n: u64) -> u64 {
    shuttle::rand::thread_rng().gen_range(0..n)
}

/// Time that passes only when somebody sleeps; a sleeper lets the others run.
#[derive(Debug, Default)]
struct YieldingClock(AtomicU64);

impl Clock for YieldingClock {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        1_577_836_800_000 + self.monotonic().as_millis() as u64
    }

    fn sleep(&self, duration: Duration) {
        self.0.fetch_add(duration.as_nanos() as u64, Ordering::Relaxed);
        thread::yield_now();
    }
}

/// Makes a delayed call a place where another thread may go on.
#[derive(Debug)]
struct PointClock;

impl Clock for PointClock {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn sleep(&self, _: Duration) {
        thread::sleep(Duration::ZERO);
    }
}

/// Makes a delayed call panic.
#[derive(Debug)]
struct PanicClock;

impl Clock for PanicClock {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn sleep(&self, _: Duration) {
        panic!("a planted panic");
    }
}

/// The calls at which another thread may go on.
const POINTS: [Call; 13] = [
    Call::Open,
    Call::CreateNew,
    Call::Rename,
    Call::RemoveFile,
    Call::HardLink,
    Call::List,
    Call::SyncDir,
    Call::ReadAt,
    Call::WriteAllAt,
    Call::Store,
    Call::Allocate,
    Call::SyncData,
    Call::SyncAll,
];

/// The disk, its faults, and the points at its calls.
#[derive(Clone)]
pub(super) struct Machine {
    pub(super) disk: SimulatedFs,
    faults: Arc<FaultFs>,
    points: Arc<FaultFs>,
    simulation: Simulation,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

pub(super) fn dir() -> PathBuf {
    PathBuf::from("/db")
}

impl Machine {
    pub(super) fn new() -> Machine {
        Machine::with(Simulation::new(1))
    }

    fn with(simulation: Simulation) -> Machine {
        let faults = Arc::new(FaultFs::new(Arc::new(simulation.fs.clone())));
        let points = Arc::new(FaultFs::new(Arc::clone(&faults) as _));
        let point = Fault::Delay { clock: Arc::new(PointClock), duration: Duration::ZERO };
        points.inject(Rule::new(point).on(&POINTS).sticky());
        Machine { disk: simulation.fs.clone(), faults, points, simulation }
    }

    /// The machine after a power cut.
    pub(super) fn crash(&self, policy: CrashPolicy) -> Machine {
        Machine::with(self.simulation.crash(policy, 7))
    }

    fn world(&self) -> World {
        World {
            fs: Arc::clone(&self.points) as _,
            clock: Arc::new(YieldingClock::default()),
            ..self.simulation.world()
        }
    }

    /// Makes the `after`th of such calls on files of this kind from now on fail, and all later ones.
    pub(super) fn fail(&self, calls: &[Call], suffix: &str, after: u64) {
        self.inject(Rule::new(Fault::Fail(Failure::Io)).sticky(), calls, suffix, after);
    }

    /// Makes the `after`th of such calls on files of this kind from now on panic.
    pub(super) fn panic(&self, calls: &[Call], suffix: &str, after: u64) {
        let panic = Fault::Delay { clock: Arc::new(PanicClock), duration: Duration::ZERO };
        self.inject(Rule::new(panic), calls, suffix, after);
    }

    /// A file that was made under a temporary name is still known by that.
    fn inject(&self, rule: Rule, calls: &[Call], suffix: &str, after: u64) {
        for ending in ["", TEMPORARY_SUFFIX] {
            let suffix = format!("{suffix}{ending}");
            self.faults.inject(rule.clone().on(calls).suffix(&suffix).after(after));
        }
    }

    /// A database with threads of its own, so small that two or three writes of [`value`] fill a memtable. The budget
    /// is far below what users may choose.
    pub(super) fn open(&self) -> Db {
        self.open_with(Background::Threads)
    }

    /// As [`Machine::open`], without threads.
    pub(super) fn reopen(&self) -> Db {
        self.open_with(Background::Manual)
    }

    fn open_with(&self, background: Background) -> Db {
        self.try_open(&dir(), background).unwrap()
    }

    pub(super) fn try_open(
        &self,
        dir: &std::path::Path,
        background: Background,
    ) -> crate::Result<Db> {
        let options = Options {
            memory_budget_bytes: 48 << 10,
            wal_segment_bytes: 4096,
            sstable_bytes: 4096,
            read_mode: ReadMode::Positioned,
            scrub_bytes_per_second: 0,
            background,
            ..Options::default()
        };
        // Points while nothing else runs would only cost time.
        self.points.arm(false);
        let db = crate::open::open(self.world(), dir.to_path_buf(), options);
        self.points.arm(true);
        db
    }
}

/// A value that says `number`, of `len` bytes at least.
pub(super) fn value(number: u64, len: usize) -> Vec<u8> {
    let mut value = number.to_le_bytes().to_vec();
    value.resize(len.max(8), number as u8);
    value
}

/// What [`value`] was made of.
pub(super) fn number_of(value: &[u8]) -> u64 {
    assert!(value[8..].iter().all(|&byte| byte == value[0]), "a mixed value");
    u64::from_le_bytes(value[..8].try_into().unwrap())
}

/// The number under `key`; 0 for none.
pub(super) fn read(keyspace: &Keyspace, key: &str) -> u64 {
    keyspace.get(key).unwrap().map_or(0, |value| number_of(&value))
}

/// The durability of the `n`th write.
pub(super) fn durability(n: u64) -> Durability {
    [Durability::Sync, Durability::Volatile, Durability::Buffered][n as usize % 3]
}

/// Every file of the closed database belongs to it, and every file that belongs to it is there.
pub(super) fn assert_no_stray_files(machine: &Machine, db: &Db) {
    let core = db.core();
    let manifest = core.manifest.lock();
    let version = &manifest.version;
    let mut live: BTreeSet<_> =
        version.live_sstables().into_iter().map(|number| (FileKind::Sstable, number)).collect();
    live.extend(version.live_value_files().into_iter().map(|n| (FileKind::Values, n)));
    live.extend(version.wal.iter().map(|segment| (FileKind::Wal, segment.number)));
    live.extend(manifest.log.as_ref().map(|log| (FileKind::Manifest, log.number())));
    drop(manifest);
    let names = esker_vfs::Fs::list(&machine.disk, &dir()).unwrap();
    let found: BTreeSet<_> = names.iter().filter_map(|name| names::parse(name)).collect();
    assert_eq!(found, live, "files on disk and files of the database");
}
