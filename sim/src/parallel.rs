//! Running the units of a check on several threads, with an eye on the clock: of the check's budget, and of units that
//! do not end.
//!
//! Checks call [`run`] with a number of units; what a unit does must follow from its number alone, so that the threads
//! change nothing about the figures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::checks::panic_text;
use crate::report::{Budget, CheckReport};

/// How often the units are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A unit that takes longer than so many looks hangs: two minutes, where milliseconds are expected.
const LOOKS_MAX: u32 = 240;

/// Findings beyond this are only counted: one cause shows in many units.
const FINDINGS_MAX: usize = 40;

/// What one unit of a check does: its number, and where it counts.
pub type Unit = Arc<dyn Fn(u64, &mut CheckReport) + Send + Sync>;

struct Shared {
    work: Unit,
    count: u64,
    next: AtomicU64,
    stop: AtomicBool,
    /// What each thread is at, to be seen while it runs.
    at: Vec<AtomicU64>,
    /// The reports of the threads that have ended.
    ended: Mutex<Vec<CheckReport>>,
    changed: Condvar,
}

impl Shared {
    fn work(&self, thread: usize, budget: &Budget) {
        let mut report = CheckReport::default();
        while !self.stop.load(Ordering::Relaxed) && !budget.is_over() {
            let unit = self.next.fetch_add(1, Ordering::Relaxed);
            self.at[thread].store(unit, Ordering::Relaxed);
            if unit >= self.count {
                break;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(unit, &mut report)));
            if let Err(panic) = outcome {
                report.find(format!("unit {unit} panicked: {}", panic_text(&*panic)));
            }
            if budget.hunting && !report.findings.is_empty() {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        self.ended.lock().push(report);
        self.changed.notify_all();
    }
}

/// Runs `count` units, as many as the budget allows, on its threads. A unit that panics or does not end is a finding.
pub fn run(name: &str, budget: &Budget, count: u64, work: Unit) -> CheckReport {
    let shared = Arc::new(Shared {
        work,
        count,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        at: (0..budget.threads).map(|_| AtomicU64::new(u64::MAX)).collect(),
        ended: Mutex::default(),
        changed: Condvar::new(),
    });
    for thread in 0..budget.threads {
        let (shared, budget) = (Arc::clone(&shared), budget.clone());
        std::thread::spawn(move || shared.work(thread, &budget));
    }
    let mut report = CheckReport::new(name);
    for hung in wait(&shared) {
        report.find(format!("unit {hung} does not end"));
    }
    let mut parts = std::mem::take(&mut *shared.ended.lock());
    let units = shared.next.load(Ordering::Relaxed).min(count);
    if units < count {
        report.cut_short = Some(format!("{} of {count} units are left", count - units));
    }
    parts.drain(..).for_each(|part| report.merge(part));
    report.figures.sort();
    report.findings.sort_by(|a, b| a.message.cmp(&b.message));
    if report.findings.len() > FINDINGS_MAX {
        let more = report.findings.split_off(FINDINGS_MAX).len();
        report.find(format!("and {more} more"));
    }
    report
}

/// Waits for the threads; the units that hang, if any. Their threads are left behind.
fn wait(shared: &Shared) -> Vec<u64> {
    let mut seen = vec![(u64::MAX, 0); shared.at.len()];
    let mut ended = shared.ended.lock();
    while ended.len() < shared.at.len() {
        if !shared.changed.wait_for(&mut ended, LOOK_EVERY).timed_out() {
            continue;
        }
        for (known, at) in seen.iter_mut().zip(&shared.at) {
            let at = at.load(Ordering::Relaxed);
            *known = if known.0 == at { (at, known.1 + 1) } else { (at, 0) };
        }
        let hung = seen.iter().filter(|(at, looks)| *at < shared.count && *looks > LOOKS_MAX);
        let hung: Vec<u64> = hung.map(|(at, _)| *at).collect();
        if !hung.is_empty() {
            shared.stop.store(true, Ordering::Relaxed);
            return hung;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_runs_once_and_a_panic_is_a_finding() {
        let work = |unit: u64, report: &mut CheckReport| {
            report.add("sum", unit);
            assert_ne!(unit, 7, "planted");
        };
        let report = run("sample", &Budget::test(1), 100, Arc::new(work));
        assert_eq!(report.figure("sum"), 99 * 100 / 2);
        assert_eq!(report.findings.len(), 1);
        assert!(report.findings[0].message.contains("unit 7 panicked"), "{:?}", report.findings);
    }
}
