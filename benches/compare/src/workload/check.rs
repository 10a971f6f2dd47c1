//! Checks behind the measured time: what a workload wrote is there, and nothing else. Called by `child.rs` for the
//! workloads that only write; the others check every value as they read it.

use super::drive::Driven;
use super::{Kind, Workload};
use crate::engine::{Failure, Key, Result, Store};
use crate::generator::{Entries, Numbers};

/// Scans the whole database. Fails if an entry is wrong, in the wrong place, missing or too many.
pub fn written(
    store: &dyn Store,
    workload: &Workload,
    entries: &Entries,
    driven: &Driven,
    seed: u64,
) -> Result<()> {
    let (done, keys) = (driven.operations, entries.keys());
    let expected = match workload.kind {
        Kind::Fill { .. } | Kind::Batches(_) | Kind::Bulk => done..=done,
        Kind::Overwrite => keys..=keys,
        Kind::Delete => keys - done..=keys - done,
        // Each thread goes round on its own when it has had every key.
        Kind::Puts if driven.steps_max * workload.threads as u64 <= keys => done..=done,
        Kind::Puts => 1..=keys.min(done),
        _ => return Ok(()),
    };
    let versions = (workload.kind == Kind::Overwrite).then(|| versions(entries, done, seed));
    let count = scan_all(store, entries, versions.as_deref())?;
    if expected.contains(&count) {
        return Ok(());
    }
    let (least, most) = expected.into_inner();
    Err(Failure::from(format!("{count} entries behind the writes, not {least} to {most}")))
}

/// The version of every entry after `done` overwrites: as `write::overwrite` chooses them.
fn versions(entries: &Entries, done: u64, seed: u64) -> Vec<u64> {
    let mut versions = vec![0; entries.keys() as usize];
    let mut numbers = Numbers::new(seed);
    for number in 0..done {
        versions[numbers.below(entries.keys()) as usize] = number + 1;
    }
    versions
}

fn scan_all(store: &dyn Store, entries: &Entries, versions: Option<&[u64]>) -> Result<u64> {
    let mut before = None::<Key>;
    let mut bad = None;
    let mut session = store.session()?;
    let count = session.scan(&[0; size_of::<Key>()], usize::MAX, &mut |key, value| {
        let Ok(key) = <Key>::try_from(key) else {
            bad = Some(key.to_vec());
            return;
        };
        let in_order = before.is_none_or(|before| before < key);
        let newest = versions.is_none_or(|versions| {
            let (index, version) = Entries::said(value);
            versions.get(index as usize) == Some(&version)
        });
        if !(in_order && entries.is_valid(&key, value) && newest) {
            bad = Some(key.to_vec());
        }
        before = Some(key);
    })?;
    match bad {
        Some(key) => {
            let key = String::from_utf8_lossy(&key).into_owned();
            Err(Failure::from(format!("a wrong entry behind the writes: {key}")))
        }
        None => Ok(count as u64),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::workload::{named, write};
    use crate::{engine::Config, engines};

    #[test]
    fn a_lost_entry_and_an_old_version_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            dir: dir.path().to_path_buf(),
            memory_bytes: 8 << 20,
            compress: true,
            sync: false,
        };
        let store = engines::named("esker").unwrap().open(&config).unwrap();
        let entries = Entries::new(1000, 100, 1);
        let filled = write::fill(&*store, &entries, true, 60.0).unwrap();
        let check =
            |workload, driven| written(&*store, named(workload).unwrap(), &entries, driven, 9);
        check("fill_random", &filled).unwrap();
        let overwritten = write::overwrite(&*store, &entries, 9, 60.0).unwrap();
        check("overwrite", &overwritten).unwrap();

        // The first version comes back.
        let (mut session, mut value) = (store.session().unwrap(), Vec::new());
        let index = Numbers::new(9).below(1000);
        entries.value(index, 0, &mut value);
        session.put(&entries.key(index), &value).unwrap();
        assert!(check("overwrite", &overwritten).is_err());
        session.delete(&entries.key(index)).unwrap();
        assert!(check("fill_random", &filled).is_err());
        drop(session);
        store.close().unwrap();
    }
}
