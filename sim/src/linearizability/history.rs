//! Operations on two keys, what they answered and when; and the search for an order that explains the answers.
//!
//! The check records histories with [`Recorder`] and hands them to [`is_linearizable`]. The two keys hold numbers or
//! nothing; operations on both are transactions and snapshots, so an order that explains them all shows strict
//! serialisability too.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the two keys hold.
pub(super) type State = [Option<u64>; 2];

/// One operation. Keys are 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Get(usize),
    Put(usize, u64),
    Delete(usize),
    /// Sets the key to the second value if it holds the first.
    CompareAndSet(usize, Option<u64>, u64),
    /// Adds to the key and answers what was there; nothing counts as 0.
    Add(usize, u64),
    /// Moves up to so much from this key to the other and answers what both held.
    Move(usize, u64),
    /// Reads both keys at one moment.
    GetBoth,
}

/// What an operation answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Value(Option<u64>),
    Swapped(bool),
    Both(State),
}

/// One completed operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) op: Op,
    pub(super) answer: Answer,
    /// Ticks of one clock for all threads: called at, answered at.
    pub(super) called: u64,
    pub(super) answered: u64,
}

/// Gives ticks, each once.
#[derive(Debug, Default)]
pub(super) struct Recorder(AtomicU64);

impl Recorder {
    pub(super) fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// Runs an operation between two ticks.
    pub(super) fn record<E>(
        &self,
        op: Op,
        run: impl FnOnce() -> Result<Answer, E>,
    ) -> Result<Event, E> {
        let called = self.tick();
        let answer = run()?;
        Ok(Event { op, answer, called, answered: self.tick() })
    }
}

/// The rule that the engine must seem to follow, one operation at a time.
pub(super) fn apply(mut state: State, op: Op) -> (State, Answer) {
    let answer = match op {
        Op::Get(key) => Answer::Value(state[key]),
        Op::Put(key, value) => {
            state[key] = Some(value);
            Answer::Done
        }
        Op::Delete(key) => {
            state[key] = None;
            Answer::Done
        }
        Op::CompareAndSet(key, expected, value) => {
            let swapped = state[key] == expected;
            if swapped {
                state[key] = Some(value);
            }
            Answer::Swapped(swapped)
        }
        Op::Add(key, more) => {
            let before = state[key];
            state[key] = Some(before.unwrap_or(0).wrapping_add(more));
            Answer::Value(before)
        }
        Op::Move(from, most) => {
            let before = state;
            let amount = before[from].unwrap_or(0).min(most);
            state[from] = Some(before[from].unwrap_or(0) - amount);
            state[1 - from] = Some(before[1 - from].unwrap_or(0).wrapping_add(amount));
            Answer::Both(before)
        }
        Op::GetBoth => Answer::Both(state),
    };
    (state, answer)
}

/// Whether some order of the events explains every answer, where whatever was answered before another was called comes
/// before it. At most 64 events. Searches depth first and never looks at the same rest from the same state twice.
pub(super) fn is_linearizable(events: &[Event]) -> bool {
    assert!(events.len() <= 64, "invariant: a set of events is one word");
    let all = if events.len() == 64 { u64::MAX } else { (1 << events.len()) - 1 };
    let mut seen: BTreeSet<(u64, State)> = BTreeSet::new();
    let mut open = vec![(0u64, [None, None])];
    while let Some((done, state)) = open.pop() {
        if done == all {
            return true;
        }
        let left = |at: &usize| done & (1 << at) == 0;
        let first_answer = (0..events.len()).filter(left).map(|at| events[at].answered).min();
        for at in (0..events.len()).filter(left) {
            let event = &events[at];
            // Something else was answered before this was called, and is not in the order yet.
            if first_answer.is_some_and(|first| first < event.called) {
                continue;
            }
            let (next, answer) = apply(state, event.op);
            let done = done | 1 << at;
            if answer == event.answer && seen.insert((done, next)) {
                open.push((done, next));
            }
        }
    }
    false
}

/// How many of the events overlap another.
pub(super) fn overlapping(events: &[Event]) -> u64 {
    let overlaps = |one: &&Event| {
        let meets = |other: &Event| {
            other.called != one.called && other.called < one.answered && one.called < other.answered
        };
        events.iter().any(meets)
    };
    events.iter().filter(overlaps).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(op: Op, answer: Answer, called: u64, answered: u64) -> Event {
        Event { op, answer, called, answered }
    }

    #[test]
    fn overlapping_operations_may_take_effect_in_any_order() {
        let put = event(Op::Put(0, 1), Answer::Done, 0, 5);
        let new = event(Op::Get(0), Answer::Value(Some(1)), 1, 2);
        let old = event(Op::Get(0), Answer::Value(None), 3, 4);
        assert!(is_linearizable(&[put, event(Op::Get(0), Answer::Value(None), 1, 2)]));
        assert!(is_linearizable(&[put, new]));
        assert!(!is_linearizable(&[put, new, old]), "a value that was seen and then not");
        assert_eq!(overlapping(&[put, new, old]), 3);
    }

    #[test]
    fn a_stale_read_is_found() {
        let put = event(Op::Put(0, 1), Answer::Done, 0, 1);
        assert!(!is_linearizable(&[put, event(Op::Get(0), Answer::Value(None), 2, 3)]));
        assert!(is_linearizable(&[put, event(Op::Get(0), Answer::Value(Some(1)), 2, 3)]));
    }

    #[test]
    fn a_lost_update_is_found() {
        let one = event(Op::Add(0, 1), Answer::Value(None), 0, 3);
        let two = event(Op::Add(0, 1), Answer::Value(None), 1, 2);
        assert!(!is_linearizable(&[one, two]));
        let two = event(Op::Add(0, 1), Answer::Value(Some(1)), 1, 2);
        assert!(is_linearizable(&[one, two]));
    }

    #[test]
    fn two_winners_of_one_compare_and_set_are_found() {
        let one = event(Op::CompareAndSet(0, None, 1), Answer::Swapped(true), 0, 3);
        let two = event(Op::CompareAndSet(0, None, 2), Answer::Swapped(true), 1, 2);
        assert!(!is_linearizable(&[one, two]));
    }

    #[test]
    fn half_a_transfer_is_found() {
        let fill = event(Op::Put(0, 10), Answer::Done, 0, 1);
        let transfer = event(Op::Move(0, 4), Answer::Both([Some(10), None]), 2, 5);
        let half = event(Op::GetBoth, Answer::Both([Some(6), None]), 3, 4);
        let whole = event(Op::GetBoth, Answer::Both([Some(6), Some(4)]), 3, 4);
        assert!(!is_linearizable(&[fill, transfer, half]));
        assert!(is_linearizable(&[fill, transfer, whole]));
    }
}
