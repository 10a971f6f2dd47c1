//! Opening with much in the log: segments are sorted and inserted on a thread beside the reading.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use super::support::Rng;
use crate::{Background, Db, Durability, Keyspace};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys that share nothing, much or all but their end, overwritten and deleted, in puts and batches, over several
/// segments; some of them flushed. The copy of the directory is what a killed process leaves; nothing changes it meanwhile,
/// because a database that is copied has no threads.
#[test]
fn a_long_log_is_replayed_whole_and_in_order() {
    let home = tempfile::tempdir().unwrap();
    let live = home.path().join("live");
    let builder = || Db::builder().wal_segment_bytes(1 << 20).durability(Durability::Buffered);
    let still = || builder().background(Background::Manual);
    let db = still().open(&live).unwrap();
    let names = ["plain", "shared", "few"];
    let keyspaces: Vec<Keyspace> = names.iter().map(|name| db.keyspace(name).unwrap()).collect();
    let mut models = vec![Model::new(); names.len()];
    let mut rng = Rng(7);
    let write = |count: u64, rng: &mut Rng, models: &mut Vec<Model>| {
        for _ in 0..count {
            let mut batch = db.batch();
            for _ in 0..=rng.below(3) {
                let at = rng.below(3) as usize;
                let number = rng.below(20_000);
                let key = match at {
                    0 => number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().to_vec(),
                    1 => format!("a prefix longer than a tag {number}").into_bytes(),
                    _ => vec![b'k'; number as usize % 40],
                };
                if rng.below(5) == 0 {
                    batch.delete(&keyspaces[at], &key);
                    models[at].remove(&key);
                } else {
                    let value = vec![rng.below(256) as u8; rng.below(120) as usize];
                    batch.put(&keyspaces[at], &key, &value);
                    models[at].insert(key, value);
                }
            }
            db.write(batch).unwrap();
        }
    };
    write(3_000, &mut rng, &mut models);
    db.flush().unwrap();
    write(30_000, &mut rng, &mut models);
    let copied = |from: &Path, name: &str| {
        let to = home.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        to
    };
    let first = builder().open(copied(&live, "first")).unwrap();
    // What an open has copied of the log is replayed in its turn.
    let between = copied(&live, "between");
    let _between = still().open(&between).unwrap();
    let second = builder().open(copied(&between, "second")).unwrap();
    for (name, model) in names.iter().zip(&models) {
        for reopened in [&first, &second] {
            let keyspace = reopened.keyspace(name).unwrap();
            let entries = keyspace.iter().map(|entry| {
                let (key, value) = entry.unwrap();
                (key.to_vec(), value.to_vec())
            });
            assert!(entries.collect::<Model>() == *model, "{name}");
            for (key, value) in model.iter().take(100) {
                assert_eq!(keyspace.get(key).unwrap().as_deref(), Some(&value[..]));
            }
        }
    }
}
