//! Kill -9: victims that write are killed at random moments, and so are victims that recover; what was acknowledged to
//! this process must be there afterwards.
//!
//! Two lanes run at once, each with a directory and a ledger of its own: one in memory, where hardly anything but the
//! engine takes time, and one on the disk for temporary files, where the kills land in slow syncs.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use esker::vfs::World;
use esker::{Db, ErrorKind};

use super::ledger::{Crash, Ledger};
use super::script::choices;
use super::victim::{Line, Orders, Task};
use super::writers::{self, Report};
use crate::Rng;
use crate::report::{Budget, CheckReport};

/// Writer threads of a victim.
const THREADS: u64 = 3;

/// A database is given up for a new one after this many cycles.
const CYCLES_PER_DATABASE: u64 = 20;

/// The figure that ends the check.
pub(super) const KILLS: &str = "kills while writing";

/// A victim that has said nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Runs the check with `program` as the victim.
pub fn check(budget: &Budget, program: &Path) -> CheckReport {
    let report = Mutex::new(CheckReport::default());
    let cycles = budget.count(10, 1000, 22_000);
    let next = AtomicU64::new(0);
    let places = [super::memory_directory(), std::env::temp_dir()];
    std::thread::scope(|scope| {
        for (lane, place) in places.iter().enumerate() {
            let (report, next) = (&report, &next);
            scope.spawn(move || {
                let lane = Lane { budget, program, place, lane: lane as u64, next, cycles };
                let done = lane.run();
                if let Ok(mut report) = report.lock() {
                    report.merge(done);
                }
            });
        }
    });
    report.into_inner().unwrap_or_default()
}

struct Lane<'a> {
    budget: &'a Budget,
    program: &'a Path,
    place: &'a Path,
    lane: u64,
    /// The next cycle of either lane.
    next: &'a AtomicU64,
    cycles: u64,
}

impl Lane<'_> {
    fn run(&self) -> CheckReport {
        let mut report = CheckReport::default();
        while !self.is_done() {
            let database = self.next.load(Ordering::Relaxed);
            let seed = choices(self.budget.seed, &[10, self.lane, database]).number();
            if let Err(message) = self.one_database(seed, &mut report) {
                report.find(format!(
                    "kill -9, seed {}, lane {}, database {database}: {message}",
                    self.budget.seed, self.lane
                ));
                // One finding is enough of a lane: the cause is likely to show again and again.
                break;
            }
        }
        report
    }

    fn is_done(&self) -> bool {
        self.budget.is_over() || self.next.load(Ordering::Relaxed) >= self.cycles
    }

    fn one_database(&self, seed: u64, report: &mut CheckReport) -> Result<(), String> {
        let mut rng = choices(seed, &[11]);
        let directory = super::directory_in(self.place)?;
        let path = directory.path().join("db");
        let mut ledger = Ledger::new(seed, THREADS);
        for _ in 0..CYCLES_PER_DATABASE {
            if self.is_done() {
                break;
            }
            self.next.fetch_add(1, Ordering::Relaxed);
            let kept = |message: String, directory: tempfile::TempDir| {
                format!("{message}; the database is kept in {}", directory.keep().display())
            };
            if let Err(message) = self.cycle(seed, &path, &mut ledger, &mut rng, report) {
                return Err(kept(message, directory));
            }
        }
        Ok(())
    }

    fn cycle(
        &self,
        seed: u64,
        path: &Path,
        ledger: &mut Ledger,
        rng: &mut Rng,
        report: &mut CheckReport,
    ) -> Result<(), String> {
        let starts = ledger.scripts().iter().map(|script| script.index()).collect();
        let orders = |task, options| Orders {
            task,
            directory: path.to_path_buf(),
            seed,
            options,
            starts: Vec::clone(&starts),
        };
        let moment = match rng.below(10) {
            0..4 => Moment::Reports(1 + rng.below(300)),
            4..8 => Moment::AfterOpen(Duration::from_micros(rng.below(30_000))),
            _ => Moment::AfterStart(Duration::from_micros(rng.below(15_000))),
        };
        let ended =
            kill_at(self.program, &orders(Task::Write, rng.number() >> 1), moment, &mut |line| {
                match line {
                    Line::Report(Report::Refused { kind, message, .. }) => {
                        Err(format!("a victim was refused: {kind}: {message}"))
                    }
                    Line::Report(said) => {
                        report
                            .add("writes acknowledged", u64::from(matches!(said, Report::Ack(_))));
                        ledger.hear(said)
                    }
                    _ => Ok(()),
                }
            })?;
        report.add(KILLS, 1);
        report.add("of these before the database was open", u64::from(!ended.opened));
        // Kills in recovery, several in a row.
        for _ in 0..rng.below(4) {
            let moment = Moment::AfterStart(Duration::from_micros(rng.below(12_000)));
            let orders = orders(Task::Reopen, rng.number() >> 1);
            kill_at(self.program, &orders, moment, &mut |line| match line {
                Line::Report(said) => Err(format!("a recovering victim reported {said:?}")),
                _ => Ok(()),
            })?;
            report.add("kills while recovering", 1);
        }
        // Mostly without writing, so that the next victim finds what the killed one left.
        let read_only = rng.below(4) > 0;
        let looked = look(path, rng.number() >> 1, read_only, ledger, Crash::Process)?;
        report.add("writes that had to survive, and did", looked.promised);
        report.add("volatile writes that went with the process", looked.forgone);
        report.add("entries compared", looked.entries);
        Ok(())
    }
}

/// Opens the database in `path` in this process and compares it with `ledger`.
pub(super) fn look(
    path: &Path,
    options: u64,
    read_only: bool,
    ledger: &mut Ledger,
    crash: Crash,
) -> Result<super::ledger::Looked, String> {
    let db = match writers::options(options).read_only(read_only).open(path) {
        Ok(db) => Some(db),
        Err(error) if read_only && error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot open again: {error:?}")),
    };
    let looked = ledger.look(db.as_ref(), crash)?;
    if let Some(db) = db {
        if !read_only {
            db.verify().map_err(|error| format!("verify: {error:?}"))?;
        }
        db.close().map_err(|error| format!("cannot close: {error:?}"))?;
    }
    Ok(looked)
}

/// When to kill.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// After so many reports.
    Reports(u64),
    /// So long after the database was open.
    AfterOpen(Duration),
    /// So long after the process was started.
    AfterStart(Duration),
    /// When the task is done.
    Done,
    /// Not at all: it ends by itself.
    Never,
}

/// How a victim went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ended {
    /// Whether it had opened the database.
    pub(super) opened: bool,
}

/// Starts a victim, kills it at `moment`, and gives every line it has said to `hear`, whose errors are findings.
pub(super) fn kill_at(
    program: &Path,
    orders: &Orders,
    moment: Moment,
    hear: &mut dyn FnMut(&Line) -> Result<(), String>,
) -> Result<Ended, String> {
    run_victim(orders.command(program), moment, hear)
}

/// As [`kill_at`], with a command of its own.
pub(super) fn run_victim(
    mut command: std::process::Command,
    moment: Moment,
    hear: &mut dyn FnMut(&Line) -> Result<(), String>,
) -> Result<Ended, String> {
    let clock = World::real().clock;
    let child = command.spawn().map_err(|error| format!("cannot start a victim: {error}"))?;
    let mut victim = Victim { child };
    let started = clock.monotonic();
    let lines = victim.lines();
    let errors = victim.errors();
    let mut ended = Ended::default();
    let mut reports = 0;
    let mut kill_at = match moment {
        Moment::AfterStart(after) => Some(started + after),
        _ => None,
    };
    let mut killed = false;
    let result = loop {
        let wait = match kill_at {
            Some(at) if !killed => at.saturating_sub(clock.monotonic()),
            _ => SILENCE_MAX,
        };
        match lines.recv_timeout(wait) {
            Ok(line) => {
                if line == Line::Opened && !ended.opened {
                    ended.opened = true;
                    if let Moment::AfterOpen(after) = moment {
                        kill_at = Some(clock.monotonic() + after);
                    }
                }
                reports += u64::from(matches!(line, Line::Report(_)));
                if let Err(message) = hear(&line) {
                    break Err(message);
                }
                let is_now = match moment {
                    Moment::Reports(count) => reports >= count,
                    Moment::Done => line == Line::Done,
                    _ => false,
                };
                if is_now && !killed {
                    killed = true;
                    victim.kill();
                }
            }
            Err(RecvTimeoutError::Timeout) if kill_at.is_some() && !killed => {
                killed = true;
                victim.kill();
            }
            Err(RecvTimeoutError::Timeout) => {
                break Err(format!("a victim hangs: silent for {SILENCE_MAX:?}"));
            }
            // It is dead, and everything it said was heard.
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
        }
    };
    victim.kill();
    let status = victim.child.wait().map_err(|error| format!("cannot wait: {error}"))?;
    let said = errors.join().unwrap_or_default();
    result?;
    if said.contains("panicked") {
        return Err(format!("a victim panicked: {said}"));
    }
    let went_wrong = match moment {
        Moment::Never => !status.success(),
        // A victim that ends by itself has something to say, and `hear` was told.
        _ => status.code().is_some(),
    };
    if went_wrong {
        return Err(format!("a victim ended by itself ({status}): {said}"));
    }
    Ok(ended)
}

/// A process that is killed and waited for when it goes out of scope.
struct Victim {
    child: Child,
}

impl Victim {
    /// Its lines, read by a thread that ends with it.
    fn lines(&mut self) -> Receiver<Line> {
        let (sender, receiver) = channel();
        if let Some(output) = self.child.stdout.take() {
            std::thread::spawn(move || {
                // A last line without its end was never written as a whole, so it does not count.
                let mut reader = BufReader::new(output);
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|len| len > 0) && line.ends_with('\n') {
                    let parsed = Line::parse(line.trim_end());
                    if parsed.is_some_and(|line| sender.send(line).is_err()) {
                        return;
                    }
                    line.clear();
                }
            });
        }
        receiver
    }

    fn errors(&mut self) -> std::thread::JoinHandle<String> {
        let output = self.child.stderr.take();
        std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(output) = output {
                // What it said until it was killed; a message for people, not to be parsed.
                let _ = output.take(1 << 16).read_to_string(&mut text);
            }
            text
        })
    }

    fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Measures how long opening takes after a kill with a long log; times are figures and never findings.
pub fn open_time(budget: &Budget, program: &Path) -> CheckReport {
    let mut report = CheckReport::default();
    if let Err(message) = measure_open(budget, program, &mut report) {
        report.find(format!("opening a long log, seed {}: {message}", budget.seed));
    }
    report
}

fn measure_open(budget: &Budget, program: &Path, report: &mut CheckReport) -> Result<(), String> {
    let directory = super::directory_in(&std::env::temp_dir())?;
    let path: PathBuf = directory.path().join("db");
    let task = Task::FillLog(budget.count(2, 48, 48));
    let starts = Vec::new();
    let orders = Orders { task, directory: path.clone(), seed: budget.seed, options: 0, starts };
    let mut entries = 0;
    kill_at(program, &orders, Moment::Done, &mut |line| {
        match line {
            Line::Figure(label, count) => {
                entries = if label == "entries" { *count } else { entries };
                report.add(label, *count);
            }
            Line::Report(said) => return Err(format!("{said:?}")),
            _ => {}
        }
        Ok(())
    })?;
    let clock = World::real().clock;
    let builder = || Db::builder().memory_budget_bytes(1 << 30);
    for (label, read_only) in [("ms to open it read-only", true), ("ms to open it", false)] {
        let began = clock.monotonic();
        let db = builder().read_only(read_only).open(&path).map_err(|error| error.to_string())?;
        report.add(label, clock.monotonic().saturating_sub(began).as_millis() as u64);
        let keyspace = db.keyspace("log").map_err(|error| error.to_string())?;
        let count = keyspace.iter().filter(Result::is_ok).count() as u64;
        if count != entries {
            return Err(format!("{entries} entries were acknowledged, {count} are there"));
        }
    }
    Ok(())
}
