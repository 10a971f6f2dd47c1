//! What a database may hold after a life in which calls failed.
//!
//! The life notes every attempt and how it ended; afterwards a state is allowed or not. The promises behind it: what
//! was acknowledged is visible; what was acknowledged durably survives; what survives is a prefix of the acknowledged
//! commits; a commit that failed has no effect, except that after a power cut it may turn out to be the last one that
//! happened, as long as nothing durable was acknowledged behind it.

use std::collections::BTreeMap;

/// Keyspace, then key.
pub(super) type Key = (usize, Vec<u8>);

/// What is there.
pub(super) type State = BTreeMap<Key, Vec<u8>>;

/// One batch: each key with its new value, or `None` for a delete.
pub(super) type Batch = Vec<(Key, Option<Vec<u8>>)>;

/// The acknowledged history, and what is in doubt behind it.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// The state after each acknowledged commit, oldest first; never empty.
    states: Vec<State>,
    /// The index of the oldest state that a power cut may leave.
    durable: usize,
    /// The commits that failed, each with the index of the state that it was tried upon.
    failed: Vec<(usize, Batch)>,
}

impl Model {
    pub(super) fn new() -> Model {
        Model { states: vec![State::new()], durable: 0, failed: Vec::new() }
    }

    /// What a reader must see while the database is open.
    pub(super) fn now(&self) -> &State {
        self.states.last().expect("invariant: there is always a state")
    }

    pub(super) fn acknowledged(&mut self, batch: &Batch, is_durable: bool) {
        self.states.push(after(self.now(), batch));
        if is_durable {
            self.all_durable();
        }
    }

    pub(super) fn failed(&mut self, batch: Batch) {
        self.failed.push((self.last(), batch));
    }

    /// Everything acknowledged so far is durable.
    pub(super) fn all_durable(&mut self) {
        self.durable = self.last();
    }

    /// A recovery has shown `state`, which must stay.
    pub(super) fn shown(&mut self, state: State) {
        *self = Model { states: vec![state], durable: 0, failed: Vec::new() };
    }

    /// Whether a power cut may leave `state`.
    pub(super) fn allows(&self, state: &State) -> bool {
        self.states[self.durable..].contains(state) || self.has_failed_into(state, self.durable)
    }

    /// Whether a reopen without a power cut may show `state`: nothing that was acknowledged is missing.
    pub(super) fn allows_reopened(&self, state: &State) -> bool {
        self.now() == state || self.has_failed_into(state, self.last())
    }

    fn last(&self) -> usize {
        self.states.len() - 1
    }

    /// Whether a commit that failed, tried upon the state `oldest` or a later one, would have made `state`.
    fn has_failed_into(&self, state: &State, oldest: usize) -> bool {
        let mut tried = self.failed.iter().filter(|(upon, _)| *upon >= oldest);
        tried.any(|(upon, batch)| after(&self.states[*upon], batch) == *state)
    }

    /// How `state` differs from what is expected, for a message.
    pub(super) fn explain(&self, state: &State) -> String {
        let known = self.states.iter().rposition(|known| known == state);
        let (last, durable, failed) = (self.last(), self.durable, self.failed.len());
        match known {
            Some(at) => format!("state {at} of {last}, where {durable} is durable"),
            None => format!(
                "{} entries, no state of {last} ({durable} is durable, {failed} failed)",
                state.len()
            ),
        }
    }
}

fn after(state: &State, batch: &Batch) -> State {
    let mut state = state.clone();
    for (key, value) in batch {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u8) -> Batch {
        vec![((0, vec![key]), Some(vec![key]))]
    }

    fn state(keys: &[u8]) -> State {
        keys.iter().map(|key| ((0, vec![*key]), vec![*key])).collect()
    }

    #[test]
    fn a_prefix_not_older_than_what_is_durable_is_allowed() {
        let mut model = Model::new();
        model.acknowledged(&put(1), true);
        model.acknowledged(&put(2), false);
        model.acknowledged(&put(3), false);
        assert!(model.allows(&state(&[1])) && model.allows(&state(&[1, 2])));
        assert!(!model.allows(&state(&[])), "a durable commit is lost");
        assert!(!model.allows(&state(&[1, 3])), "a commit is missing in the middle");
        assert!(!model.allows_reopened(&state(&[1, 2])), "no power cut, no loss");
    }

    #[test]
    fn a_failed_commit_may_show_at_the_end_only() {
        let mut model = Model::new();
        model.acknowledged(&put(1), false);
        model.failed(put(2));
        assert!(model.allows(&state(&[1, 2])) && model.allows(&state(&[])));
        assert!(!model.allows(&state(&[2])), "without what stands before it");
        model.acknowledged(&put(3), false);
        assert!(model.allows(&state(&[1, 2])), "what came behind it may be lost");
        assert!(!model.allows(&state(&[1, 2, 3])) && !model.allows_reopened(&state(&[1, 2])));
        model.acknowledged(&put(4), true);
        assert!(!model.allows(&state(&[1, 2])) && model.allows(&state(&[1, 3, 4])));
    }
}
