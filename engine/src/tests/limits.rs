//! Keys and batches at their limits are stored; one byte past, the whole write is refused before anything happens.

use esker_vfs::World;
use esker_vfs::simulated::Simulation;

use super::support::small;
use crate::limits::{BATCH_LEN_MAX, KEY_LEN_MAX};
use crate::{Db, Durability, ErrorKind};

#[test]
fn a_key_of_64_kib_is_stored_and_one_byte_more_is_refused() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    let key = vec![0xff; KEY_LEN_MAX];
    ks.put(&key, "long").unwrap();
    ks.put(&key[1..], "shorter").unwrap();
    ks.put("", "empty").unwrap();
    let over = vec![0xff; KEY_LEN_MAX + 1];
    assert_eq!(ks.put(&over, "v").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(ks.delete(&over).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let mut tx = db.transaction().unwrap();
    assert_eq!(tx.put(&ks, &over, "v").unwrap_err().kind(), ErrorKind::InvalidArgument);
    drop(tx);
    // Looking for a key that cannot be there is no error.
    assert_eq!(ks.get(&over).unwrap(), None);
    for round in 0..3 {
        assert_eq!(ks.get(&key).unwrap().unwrap(), "long", "{round}");
        assert_eq!(ks.get("").unwrap().unwrap(), "empty");
        assert_eq!(ks.iter().count(), 3);
        assert_eq!(ks.iter().rev().count(), 3);
        assert_eq!(ks.prefix(&key).count(), 1);
        assert_eq!(ks.range(over.as_slice()..).count(), 0);
        assert_eq!(ks.range(..over.as_slice()).rev().count(), 3);
        if round == 0 { db.flush().unwrap() } else { db.compact().unwrap() }
    }
    db.verify().unwrap();
}

/// The longest value that fits a batch of one put, found by trying.
fn longest_value(db: &Db) -> usize {
    let ks = db.keyspace("k").unwrap();
    let fits = |len: usize| {
        let mut batch = db.batch();
        batch.put(&ks, "k", vec![1; len]);
        !batch.is_empty()
    };
    let (mut low, mut high) = (0, BATCH_LEN_MAX);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

#[test]
fn a_value_that_fills_a_batch_is_stored_and_one_byte_more_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Db::builder().memory_budget_bytes(8 << 20).open(dir.path()).unwrap();
    let db = open();
    let ks = db.keyspace("k").unwrap();
    let longest = longest_value(&db);
    assert!(longest > BATCH_LEN_MAX - 100);
    let value = vec![7; longest + 1];
    let error = ks.put("k", &value).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(ks.get("k").unwrap(), None);
    ks.put("before", "1").unwrap();
    ks.put("k", &value[1..]).unwrap();
    ks.put("after", "1").unwrap();
    // A transaction is bound by the same limit, and hears of it when it commits.
    let mut tx = db.transaction().unwrap();
    tx.put(&ks, "x", &value[..longest / 2 + 100]).unwrap();
    tx.put(&ks, "y", &value[..longest / 2 + 100]).unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::InvalidArgument);
    drop((ks, db));

    let db = open();
    let ks = db.keyspace("k").unwrap();
    assert_eq!(ks.get_and("k", <[u8]>::len).unwrap(), Some(longest));
    db.compact().unwrap();
    assert_eq!(ks.get_and("k", |bytes| bytes == &value[1..]).unwrap(), Some(true));
    assert_eq!(ks.iter().count(), 3);
}

#[test]
fn what_the_options_allow_works() {
    let check = |builder: crate::Builder| {
        let dir = tempfile::tempdir().unwrap();
        builder.world(World::real()).open(dir.path()).map(|db| {
            let ks = db.keyspace("k").unwrap();
            ks.put("k", "v").unwrap();
            db.compact().unwrap();
        })
    };
    for bytes in [0, 4095, (1 << 30) + 1, u64::MAX] {
        let error = check(Db::builder().wal_segment_bytes(bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bytes}");
    }
    for bytes in [0, 4095, u64::MAX] {
        let error = check(Db::builder().sstable_bytes(bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bytes}");
    }
    for bytes in [0, (1 << 20) - 1, usize::MAX] {
        let error = check(Db::builder().memory_budget_bytes(bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bytes}");
    }
    check(Db::builder().wal_segment_bytes(1 << 30).memory_budget_bytes(1 << 36)).unwrap();
    check(Db::builder().sstable_bytes(1 << 32)).unwrap();
}

#[test]
fn sequence_numbers_that_a_refused_write_took_are_not_missed() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open("/db").unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("a", "1").unwrap();
    // Commits of nothing take no number, and still sync what came before.
    ks.put_with("b", "1", Durability::Volatile).unwrap();
    db.sync().unwrap();
    let after = sim.crash(esker_vfs::simulated::CrashPolicy::DropAll, 1);
    let db = small(after.world()).open("/db").unwrap();
    assert_eq!(db.keyspace("k").unwrap().iter().count(), 2);
}
