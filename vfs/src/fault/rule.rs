//! Which calls fail, when and how: the rules, and their counting.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::{Call, Clock};

/// The error a failing call reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `EIO`: the device failed.
    Io,
    /// `ENOSPC`: the disk is full.
    NoSpace,
    /// `EMFILE`: the process has too many open files.
    TooManyFiles,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        match self {
            Failure::Io => Errno::IO,
            Failure::NoSpace => Errno::NOSPC,
            Failure::TooManyFiles => Errno::MFILE,
        }
        .into()
    }
}

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It does nothing and fails.
    Fail(Failure),
    /// A read or write transfers the first half, then fails; other calls do nothing and fail.
    FailHalfway(Failure),
    /// It succeeds, but reports a failure.
    FailAfter(Failure),
    /// The system interrupts it (`EINTR`) once. The retry inside hides that: the call succeeds.
    Interrupt,
    /// A read or write is done in two parts, as after a short transfer; other calls are unaffected.
    Short,
    /// It takes longer.
    Delay {
        /// On which clock.
        clock: Arc<dyn Clock>,
        /// By how much.
        duration: Duration,
    },
}

/// One scripted failure. By default it strikes the first call of any kind, on any path, once.
#[derive(Clone, Debug)]
pub struct Rule {
    calls: Option<Vec<Call>>,
    suffix: String,
    nth: u64,
    sticky: bool,
    fault: Fault,
}

impl Rule {
    /// A rule for the next call of any kind.
    pub fn new(fault: Fault) -> Rule {
        Rule { calls: None, suffix: String::new(), nth: 0, sticky: false, fault }
    }

    /// Only calls of these kinds count.
    pub fn on(self, calls: &[Call]) -> Rule {
        Rule { calls: Some(calls.to_vec()), ..self }
    }

    /// Only calls count whose path ends with this; of two paths, either. An open file's path is the
    /// one it was opened by.
    pub fn suffix(self, suffix: &str) -> Rule {
        Rule { suffix: suffix.to_owned(), ..self }
    }

    /// Lets so many matching calls pass first.
    pub fn after(self, calls: u64) -> Rule {
        Rule { nth: calls, ..self }
    }

    /// Strikes every matching call from then on, instead of one.
    pub fn sticky(self) -> Rule {
        Rule { sticky: true, ..self }
    }

    fn matches(&self, call: Call, paths: &[&Path]) -> bool {
        let suffix = &self.suffix;
        self.calls.as_ref().is_none_or(|calls| calls.contains(&call))
            && (suffix.is_empty()
                || paths.iter().any(|path| path.to_string_lossy().ends_with(suffix)))
    }
}

/// What a call has to do.
#[derive(Debug)]
pub(super) enum Verdict {
    Pass,
    Strike(Fault),
}

/// The rules of one [`super::FaultFs`] and of all files opened through it.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Held while a verdict is found, never during a call.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    disarmed: bool,
    /// Each with how many matching calls it has seen.
    rules: Vec<(Rule, u64)>,
    calls: BTreeMap<Call, u64>,
    strikes: u64,
}

impl Rules {
    pub(super) fn add(&self, rule: Rule) {
        self.state.lock().rules.push((rule, 0));
    }

    pub(super) fn clear(&self) {
        self.state.lock().rules.clear();
    }

    pub(super) fn arm(&self, armed: bool) {
        self.state.lock().disarmed = !armed;
    }

    pub(super) fn calls_of(&self, call: Call) -> u64 {
        self.state.lock().calls.get(&call).copied().unwrap_or(0)
    }

    pub(super) fn strikes(&self) -> u64 {
        self.state.lock().strikes
    }

    /// Counts a call and decides about it. Every matching rule counts it; the first one that
    /// strikes decides.
    pub(super) fn judge(&self, call: Call, paths: &[&Path]) -> Verdict {
        let mut state = self.state.lock();
        let state = &mut *state;
        *state.calls.entry(call).or_default() += 1;
        if state.disarmed {
            return Verdict::Pass;
        }
        let mut verdict = Verdict::Pass;
        for (rule, seen) in &mut state.rules {
            if !rule.matches(call, paths) {
                continue;
            }
            let strikes = if rule.sticky { *seen >= rule.nth } else { *seen == rule.nth };
            *seen += 1;
            if strikes && matches!(verdict, Verdict::Pass) {
                verdict = Verdict::Strike(rule.fault.clone());
            }
        }
        state.strikes += u64::from(matches!(verdict, Verdict::Strike(_)));
        verdict
    }
}
