//! Small histories: a few operations on two keyspaces, with the states that a recovery may show.
//!
//! Used by the exhaustive check. What an operation writes follows from its place in the history alone.

use std::collections::BTreeMap;

use esker::{BackgroundStep, Builder, Db, Durability, Result};

/// The entries of all keyspaces.
pub(crate) type State = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

const KEYSPACES: [&str; 2] = ["a", "b"];

/// One operation of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    Delete,
    Batch,
    Flush,
    Compact,
    Reopen,
}

impl Op {
    pub(crate) const ALL: [Op; 6] =
        [Op::Put, Op::Delete, Op::Batch, Op::Flush, Op::Compact, Op::Reopen];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Op::Put => "put",
            Op::Delete => "delete",
            Op::Batch => "batch",
            Op::Flush => "flush",
            Op::Compact => "compact",
            Op::Reopen => "reopen",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Op> {
        Op::ALL.into_iter().find(|op| op.name() == name)
    }
}

/// How strong the writes of a history are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    /// All are synced.
    Sync,
    /// None but every third one is.
    Mixed,
    /// None is.
    Weak,
}

impl Strength {
    pub(crate) const ALL: [Strength; 3] = [Strength::Sync, Strength::Mixed, Strength::Weak];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Strength::Sync => "sync",
            Strength::Mixed => "mixed",
            Strength::Weak => "weak",
        }
    }

    fn of(self, place: usize) -> Durability {
        match (self, place % 3) {
            (Strength::Sync, _) | (Strength::Mixed, 2) => Durability::Sync,
            (_, 0) => Durability::Buffered,
            _ => Durability::Volatile,
        }
    }
}

/// The model of a database: all its states so far, and the oldest that a recovery may show.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) states: Vec<State>,
    pub(crate) durable: usize,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model { states: vec![State::new()], durable: 0 }
    }

    pub(crate) fn latest(&self) -> &State {
        self.states.last().expect("invariant: there is the empty state")
    }

    pub(crate) fn all_durable(&mut self) {
        self.durable = self.states.len() - 1;
    }

    /// The states a recovery may show.
    pub(crate) fn allowed(&self) -> &[State] {
        &self.states[self.durable..]
    }
}

/// Every entry of a database. A keyspace that is not there is empty.
pub(crate) fn read_all(db: &Db) -> Result<State> {
    let mut state = State::new();
    for (at, name) in KEYSPACES.iter().enumerate() {
        let Some(keyspace) = db.existing_keyspace(name)? else { continue };
        for entry in keyspace.iter() {
            let (key, value) = entry?;
            state.insert((at, key.to_vec()), value.to_vec());
        }
    }
    Ok(state)
}

/// Opens the database and makes the keyspaces.
pub(crate) fn begin(builder: Builder) -> Result<Db> {
    let db = builder.open("/db")?;
    KEYSPACES.iter().try_for_each(|name| db.keyspace(name).map(drop))?;
    Ok(db)
}

/// Runs the operation at `place`. On success the model knows what is durable; before, it knows what may be.
pub(crate) fn run(
    db: &mut Db,
    builder: impl Fn() -> Builder,
    op: Op,
    place: usize,
    strength: Strength,
    model: &mut Model,
) -> Result<()> {
    match op {
        Op::Put | Op::Delete | Op::Batch => {
            let small = vec![b'0' + place as u8; 3];
            let large = vec![b'0' + place as u8; 700];
            let (a, b) = (b"a".to_vec(), b"b".to_vec());
            let writes = match op {
                Op::Put => {
                    vec![(place % 2, a, Some(if place == 1 { large } else { small }))]
                }
                Op::Delete => vec![(0, a, None)],
                _ => vec![(0, a.clone(), Some(small)), (1, b, Some(large)), (1, a, None)],
            };
            write(db, writes, strength.of(place), model)?;
        }
        Op::Flush => {
            db.flush()?;
            model.all_durable();
            db.run_background_step(BackgroundStep::SpareSegment)?;
        }
        Op::Compact => {
            db.compact()?;
            db.run_background_step(BackgroundStep::CleanUp)?;
        }
        Op::Reopen => {
            db.close()?;
            model.all_durable();
            *db = begin(builder())?;
        }
    }
    Ok(())
}

fn write(
    db: &Db,
    writes: Vec<(usize, Vec<u8>, Option<Vec<u8>>)>,
    durability: Durability,
    model: &mut Model,
) -> Result<()> {
    let keyspaces = [db.keyspace(KEYSPACES[0])?, db.keyspace(KEYSPACES[1])?];
    let mut next = model.latest().clone();
    let mut batch = db.batch();
    for (at, key, value) in writes {
        match value {
            Some(value) => {
                batch.put(&keyspaces[at], &key, &value);
                next.insert((at, key), value);
            }
            None => {
                batch.delete(&keyspaces[at], &key);
                next.remove(&(at, key));
            }
        }
    }
    // Acknowledged or not, it may be there afterwards.
    model.states.push(next);
    db.write_with(batch, durability)?;
    if durability == Durability::Sync {
        model.all_durable();
    }
    Ok(())
}
