//! Planted bugs: every mutant of `esker::mutants::ALL` is switched on in a process of its own, and some check must find
//! it there. A mutant that none finds is a hole in the checks.
//!
//! The command `mutants` of `esker-sim` calls [`run`]; it starts itself again for each mutant, with `ESKER_MUTANT` set,
//! and [`child`] runs the checks there, the cheapest first, until one finds something. A process that does not end, or
//! that dies, was found out too: by the watchdog. Without a mutant the same checks must find nothing.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use esker::mutants::{ALL, ENABLED};
use esker::vfs::{Clock, World};
use parking_lot::Mutex;

use crate::checks::{self, CHECKS, Entry};
use crate::report::{Budget, Scale};

mod killers;

/// The checks that look for mutants, cheapest first. Those of the real kernel are not among them: they need root, and
/// would find what the simulated disk shows faster.
const HUNTERS: [&str; 8] = [
    "items",
    "groups",
    "lives",
    "exhaustive",
    "metamorphic",
    "errors",
    "linearizability",
    "corruption",
];

/// How long each check may look, in rounds: what is found quickly is found in the first.
const ROUNDS: [(Scale, Duration); 3] = [
    (Scale::Test, Duration::from_secs(4)),
    (Scale::Ci, Duration::from_secs(4)),
    (Scale::Ci, Duration::from_secs(15)),
];

/// The first look of the check that usually finds a mutant, before all others.
const FIRST: [(Scale, Duration); 2] =
    [(Scale::Test, Duration::from_secs(4)), (Scale::Ci, Duration::from_secs(20))];

/// How many of [`ROUNDS`] a quick hunt looks through.
const QUICK_ROUNDS: usize = 2;

/// A process that takes longer hangs: all rounds of all checks take about three and a half minutes.
const HANG: Duration = Duration::from_secs(300);

/// How often the watchdog looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Processes at a time.
const PROCESSES: usize = 2;

/// Where the active mutant's name stands; see `esker::mutants`.
const VARIABLE: &str = "ESKER_MUTANT";

/// What became of one mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Found by this check; what it said.
    Killed(String, String),
    /// No check found anything, although the call site was reached.
    Survived,
    /// No check even reached the call site.
    Unreached,
}

/// Runs every mutant, or those named in `only`, and the checks without a mutant before them; prints the table. A failure
/// if a mutant survived or the checks find something without one. A quick hunt gives up on a mutant sooner.
pub fn run(seed: u64, only: &[String], quick: bool) -> ExitCode {
    if !ENABLED {
        eprintln!("this build has no mutants: add `--features mutants` to cargo's arguments");
        return ExitCode::from(2);
    }
    let names: VecDeque<&str> = ALL.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        eprintln!("there is no mutant {unknown}");
        return ExitCode::from(2);
    }
    // The empty name is the run without a mutant.
    let chosen = names.into_iter().filter(|name| only.is_empty() || only.iter().any(|o| o == name));
    let queue = Arc::new(Mutex::new(std::iter::once("").chain(chosen).collect::<VecDeque<_>>()));
    println!("{:<38} {:>8}  {:<16} finding", "mutant", "seconds", "killed by");
    let workers: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || work(seed, quick, &queue))
        })
        .collect();
    let mut counts = [0; 2];
    let mut failed = false;
    for worker in workers {
        match worker.join() {
            Ok([killed, left]) => counts = [counts[0] + killed, counts[1] + left],
            Err(_) => failed = true,
        }
    }
    println!("seed {seed}: {} killed, {} not", counts[0], counts[1]);
    if failed || counts[1] > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Takes mutants off the queue; how many were as they should be, and how many were not.
fn work(seed: u64, quick: bool, queue: &Mutex<VecDeque<&'static str>>) -> [u32; 2] {
    let clock = World::real().clock;
    let mut counts = [0; 2];
    loop {
        let Some(name) = queue.lock().pop_front() else { return counts };
        let began = clock.monotonic();
        let fate = try_one(seed, quick, name, &*clock);
        let seconds = clock.monotonic().saturating_sub(began).as_secs_f64();
        let mut line = String::new();
        let shown = if name.is_empty() { "(none)" } else { name };
        let _ = write!(line, "{shown:<38} {seconds:>8.1}  ");
        let is_fine = match &fate {
            Fate::Killed(check, finding) => {
                let _ = write!(line, "{check:<16} {finding}");
                !name.is_empty()
            }
            Fate::Survived if name.is_empty() => {
                line.push_str("-                nothing, as it should");
                true
            }
            Fate::Survived => {
                line.push_str("SURVIVED");
                false
            }
            Fate::Unreached => {
                line.push_str("SURVIVED         no check reached its call site");
                false
            }
        };
        println!("{line}");
        counts[usize::from(!is_fine)] += 1;
    }
}

/// Runs one process and waits for its verdict.
fn try_one(seed: u64, quick: bool, name: &str, clock: &dyn Clock) -> Fate {
    let watchdog = |what: String| Fate::Killed("the watchdog".to_string(), what);
    let Ok(program) = std::env::current_exe() else { return Fate::Unreached };
    let mut command = Command::new(program);
    command.args(["mutants", "--child", "--seed", &seed.to_string()]);
    if let Some(check) = killers::usual(name) {
        command.args(["--first", check]);
    }
    if quick {
        command.arg("--quick");
    }
    let started = command.env(VARIABLE, name).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut process) = started else { return Fate::Unreached };
    let mut output = process.stdout.take();
    // Read beside the wait, so that a process with much to say does not wait for us.
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let _ = output.as_mut().map(|output| output.read_to_string(&mut text));
        text
    });
    let deadline = clock.monotonic() + HANG;
    let status = loop {
        match process.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if clock.monotonic() < deadline => clock.sleep(LOOK_EVERY),
            _ => {
                let _ = process.kill();
                let _ = process.wait();
                return watchdog(format!("no end after {} s", HANG.as_secs()));
            }
        }
    };
    let text = reader.join().unwrap_or_default();
    // Whatever else is printed, the verdict is the last line.
    let verdict = text.lines().last().unwrap_or_default();
    match verdict.split_once(' ').unwrap_or((verdict, "")) {
        ("killed", rest) => {
            let (check, finding) = rest.split_once(' ').unwrap_or((rest, ""));
            Fate::Killed(check.to_string(), finding.to_string())
        }
        ("survived", _) => Fate::Survived,
        ("unreached", _) => Fate::Unreached,
        _ => watchdog(format!("the process died: {status}")),
    }
}

/// Runs the checks in this process until one finds something, and prints the verdict. The check `first` looks before the
/// others; that is only a matter of time.
pub fn child(seed: u64, first: Option<&str>, quick: bool) -> ExitCode {
    let named = |name: &str| CHECKS.iter().find(|entry| entry.name == name);
    let first = first.and_then(named);
    let mut looks: Vec<(&Entry, u64, Scale, Duration)> = Vec::new();
    for (round, (scale, limit)) in FIRST.iter().enumerate() {
        looks.extend(first.map(|entry| (entry, round as u64, *scale, *limit)));
    }
    let rounds = if quick { &ROUNDS[..QUICK_ROUNDS] } else { &ROUNDS };
    for (round, (scale, limit)) in rounds.iter().enumerate() {
        let entries = HUNTERS.iter().filter_map(|hunter| named(hunter));
        looks.extend(entries.map(|entry| (entry, round as u64, *scale, *limit)));
    }
    for (entry, round, scale, limit) in looks {
        // Each round looks elsewhere.
        let mut budget = Budget::new(seed + round, scale, limit);
        (budget.threads, budget.hunting) = (1, true);
        let report = checks::guarded(entry.name, entry.check, &budget);
        if let Some(finding) = report.findings.first() {
            println!("killed {} {}", entry.name, one_line(&finding.message));
            return ExitCode::SUCCESS;
        }
    }
    println!("{}", if reached() { "survived" } else { "unreached" });
    ExitCode::SUCCESS
}

/// Without a mutant nothing can be reached, and that is as it should be.
fn reached() -> bool {
    let is_set = std::env::var(VARIABLE).is_ok_and(|name| !name.is_empty());
    #[cfg(feature = "mutants")]
    let was_reached = esker::mutants::was_reached();
    #[cfg(not(feature = "mutants"))]
    let was_reached = false;
    was_reached || !is_set
}

/// The beginning of a message, on one line.
fn one_line(message: &str) -> String {
    let text: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hunter_is_a_check() {
        for hunter in HUNTERS {
            assert!(CHECKS.iter().any(|entry| entry.name == hunter), "{hunter}");
        }
    }

    #[test]
    fn a_usual_killer_is_a_check_and_its_mutant_exists() {
        for (check, mutants) in killers::ALL {
            assert!(HUNTERS.contains(check), "{check}");
            for mutant in *mutants {
                assert!(ALL.iter().any(|(name, _)| name == mutant), "{mutant}");
                assert_eq!(killers::usual(mutant), Some(*check));
            }
        }
        assert_eq!(killers::usual(""), None);
    }

    #[test]
    fn a_message_fits_one_line() {
        assert_eq!(one_line("a\nb\tc"), "a b c");
        assert_eq!(one_line(&"x".repeat(1000)).len(), 120);
    }
}
