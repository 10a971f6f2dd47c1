//! What was acknowledged, kept outside the database, and the comparison of a recovered database with it.
//!
//! The drivers of the checks own one ledger per database directory. It takes the writers' reports; after a crash it looks
//! for the prefix of every thread's script that the database holds. There must be exactly one, not shorter than what was
//! promised, and the threads' prefixes must fit one sequence.

use std::collections::{BTreeMap, BTreeSet};

use esker::{Db, Durability, Keyspace};

use super::script::{KEYS, KEYSPACES, SHARED, Script, choices, index_of, parse_key};
use super::writers::{Ack, COUNT, PENDING_MAX, Report, entry_key};

/// What kind of crash came before, and so what must have survived it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ended: what the operating system had is there.
    Process,
    /// The power went: what was synced is there.
    Power,
}

impl Crash {
    /// The weakest durability that survives it.
    fn survivor(self) -> Durability {
        match self {
            Crash::Process => Durability::Buffered,
            Crash::Power => Durability::Sync,
        }
    }
}

/// The acknowledged and the recovered state of one database.
#[derive(Debug)]
pub struct Ledger {
    seed: u64,
    /// What the last look at the database showed: it must never show less.
    shown: Vec<Script>,
    /// Since then.
    acks: Vec<Ack>,
    /// The highest sequence number through which everything was made durable.
    synced: u64,
}

/// What a look at a recovered database counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Acknowledged writes that had to be there, and were.
    pub promised: u64,
    /// Acknowledged writes that a crash may take, and took.
    pub forgone: u64,
    /// Keys and values compared.
    pub entries: u64,
}

type State = BTreeMap<(usize, u64), u64>;

impl Ledger {
    /// The ledger of a database that is not made yet, for `threads` writers.
    pub fn new(seed: u64, threads: u64) -> Ledger {
        let shown = (0..threads).map(|thread| Script::new(seed, thread)).collect();
        Ledger { seed, shown, acks: Vec::new(), synced: 0 }
    }

    /// The scripts at the places where writers go on.
    pub fn scripts(&self) -> Vec<Script> {
        self.shown.clone()
    }

    /// Takes a report; a message if it is a finding by itself.
    pub fn hear(&mut self, report: &Report) -> Result<(), String> {
        match report {
            Report::Ack(ack) => self.acks.push(*ack),
            Report::Synced(seq) => self.synced = self.synced.max(*seq),
            Report::Refused { .. } => {}
            Report::Wrong(message) => return Err(message.clone()),
        }
        Ok(())
    }

    /// Compares `db`, just recovered from `crash`, with the scripts and the acknowledgements, and remembers what it
    /// showed. `None` stands for a directory without a database.
    pub fn look(&mut self, db: Option<&Db>, crash: Crash) -> Result<Looked, String> {
        let mut looked = Looked::default();
        let last = db.map_or(0, |db| db.inspect().last_seq.0);
        let states = self.read(db, &mut looked)?;
        let mut found = Vec::new();
        for (script, state) in self.shown.iter().zip(&states) {
            found.push(self.prefix(found.len() as u64, script, state, crash)?);
        }
        if self.synced > last {
            return Err(format!("synced through {}, but the last is {last}", self.synced));
        }
        for ack in &self.acks {
            let is_there = ack.index < found[ack.thread as usize].index();
            let is_promised = ack.durability >= crash.survivor();
            looked.promised += u64::from(is_promised);
            looked.forgone += u64::from(!is_there);
            // A weaker write may go, but never before a stronger one that came after it in the one sequence.
            let fits = match is_there {
                true => ack.seqs.0 <= last,
                false => !is_promised && last < ack.seqs.1,
            };
            if !fits {
                let held = found[ack.thread as usize].index();
                return Err(format!(
                    "{ack:?} does not fit: the database holds {held} steps of its thread and ends at {last}"
                ));
            }
        }
        if let Some(db) = db {
            self.check_values(db, &found, &mut looked)?;
            check_shared(db, &found, &mut looked)?;
        }
        self.shown = found;
        self.acks.clear();
        self.synced = 0;
        Ok(looked)
    }

    /// Every thread's keys, with the steps that their values are from.
    fn read(&self, db: Option<&Db>, looked: &mut Looked) -> Result<Vec<State>, String> {
        let mut states = vec![State::new(); self.shown.len()];
        for (at, name) in KEYSPACES.iter().enumerate() {
            let Some(keyspace) = existing(db, name)? else { continue };
            let mut before: Option<Vec<u8>> = None;
            for entry in keyspace.iter() {
                let (key, value) = entry.map_err(|error| format!("walking {name}: {error}"))?;
                let parsed = parse_key(&key).zip(index_of(&value));
                let Some(((thread, number), index)) = parsed else {
                    return Err(format!("{name} holds a key that nobody wrote: {key:?}"));
                };
                let state = states.get_mut(thread as usize);
                let state =
                    state.ok_or_else(|| format!("{name} holds a key of thread {thread}"))?;
                state.insert((at, number), index);
                let script = &self.shown[thread as usize];
                if value[..] != script.value(index, number)[..] {
                    return Err(format!(
                        "{name}: the value of {key:?} is not what step {index} set"
                    ));
                }
                if before.as_deref() >= Some(&key[..]) {
                    return Err(format!("{name}: {key:?} comes after {before:?}"));
                }
                before = Some(key.to_vec());
                looked.entries += 1;
            }
        }
        Ok(states)
    }

    /// The prefix of the thread's script that leaves `state`.
    fn prefix(
        &self,
        thread: u64,
        shown: &Script,
        state: &State,
        crash: Crash,
    ) -> Result<Script, String> {
        let mine = || self.acks.iter().filter(|ack| ack.thread == thread);
        let acked = mine().map(|ack| ack.index + 1).max().unwrap_or(shown.index());
        let promised = mine().filter(|ack| ack.durability >= crash.survivor());
        let promised = promised.map(|ack| ack.index + 1).max().unwrap_or(shown.index());
        // What was under way when the crash came may be there or not.
        let most = acked + PENDING_MAX as u64 + 1;
        let mut script = shown.clone();
        loop {
            if script.state() == state {
                if script.index() < promised {
                    let held = script.index();
                    return Err(format!(
                        "thread {thread} was promised {promised} steps, {held} are there"
                    ));
                }
                return Ok(script);
            }
            if script.index() >= most {
                break;
            }
            script.advance_to(script.index() + 1);
        }
        let mut nearest = shown.clone();
        nearest.advance_to(acked);
        let differing: Vec<_> = (0..KEYSPACES.len())
            .flat_map(|at| (0..KEYS).map(move |key| (at, key)))
            .map(|place| (place, state.get(&place), nearest.state().get(&place)))
            .filter(|(_, is, should)| is != should)
            .take(6)
            .collect();
        Err(format!(
            "the keys of thread {thread} are no prefix from {} to {most} steps; against the {acked} acknowledged ones \
             (keyspace and key, from step, acknowledged step): {differing:?}",
            shown.index()
        ))
    }

    /// Point reads, of keys that are there and of keys that are not, agree with the walk.
    fn check_values(&self, db: &Db, found: &[Script], looked: &mut Looked) -> Result<(), String> {
        let mut rng = choices(self.seed, &[5, found.iter().map(Script::index).sum()]);
        for (at, name) in KEYSPACES.iter().enumerate() {
            let Some(keyspace) = existing(Some(db), name)? else { continue };
            for script in found {
                for _ in 0..8 {
                    let key = rng.below(KEYS);
                    let value = keyspace.get(script.key(key)).map_err(|error| error.to_string())?;
                    let expected = script.state().get(&(at, key));
                    let expected = expected.map(|index| script.value(*index, key));
                    if value.as_deref() != expected.as_deref() {
                        return Err(format!("{name}: a get of key {key} disagrees with the walk"));
                    }
                    looked.entries += 1;
                }
            }
        }
        Ok(())
    }
}

fn existing(db: Option<&Db>, name: &str) -> Result<Option<Keyspace>, String> {
    let Some(db) = db else { return Ok(None) };
    db.existing_keyspace(name).map_err(|error| format!("keyspace {name}: {error}"))
}

/// The transactions in the shared keyspace are exactly those that the threads' prefixes hold, each once, counted without
/// a gap, and in the order of each thread.
fn check_shared(db: &Db, found: &[Script], looked: &mut Looked) -> Result<(), String> {
    let mut expected: BTreeSet<(u64, u64)> = BTreeSet::new();
    for (thread, script) in found.iter().enumerate() {
        expected.extend(script.transactions().iter().map(|index| (thread as u64, *index)));
    }
    let total = expected.len() as u64;
    let Some(shared) = existing(Some(db), SHARED)? else {
        return if total == 0 { Ok(()) } else { Err(format!("{total} transactions are gone")) };
    };
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    let mut count = 0;
    for entry in shared.prefix("entry/") {
        let (key, value) = entry.map_err(|error| format!("walking {SHARED}: {error}"))?;
        let number = |at: usize| Some(u64::from_le_bytes(value.get(at..at + 8)?.try_into().ok()?));
        let who = number(0).zip(number(8)).ok_or_else(|| format!("entry {count} is {value:?}"))?;
        if key[..] != entry_key(count)[..] || !expected.remove(&who) {
            return Err(format!("{SHARED}: {key:?} holds transaction {who:?} at place {count}"));
        }
        if last.insert(who.0, who.1).is_some_and(|before| before > who.1) {
            return Err(format!("{SHARED}: transaction {who:?} comes too late"));
        }
        count += 1;
        looked.entries += 1;
    }
    let counted = shared.get(COUNT).map_err(|error| error.to_string())?;
    let counted =
        counted.map_or(Some(0), |value| Some(u64::from_le_bytes(value[..].try_into().ok()?)));
    if count != total || counted != Some(total) {
        return Err(format!("{total} transactions, {count} entries, and a count of {counted:?}"));
    }
    Ok(())
}
