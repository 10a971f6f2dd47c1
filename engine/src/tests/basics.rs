//! What a user of the engine does on a good day: write, read, walk, reopen.

use crate::{Background, Db, Durability, ErrorKind};

fn open(dir: &tempfile::TempDir) -> Db {
    Db::builder().memory_budget_bytes(2 << 20).open(dir.path()).unwrap()
}

fn text(entries: impl Iterator<Item = crate::Result<(crate::Value, crate::Value)>>) -> String {
    let show = |entry: crate::Result<(crate::Value, crate::Value)>| {
        let (key, value) = entry.unwrap();
        format!("{}={}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value))
    };
    entries.map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_was_written_is_read_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let db = open(&dir);
        let users = db.keyspace("users").unwrap();
        if round > 0 {
            assert_eq!(users.get(b"alice").unwrap().unwrap(), format!("v{}", round - 1));
            assert_eq!(users.get(b"gone").unwrap(), None);
        }
        users.put(b"gone", b"x").unwrap();
        users.put(b"empty", b"").unwrap();
        users.put(b"alice", format!("v{round}")).unwrap();
        users.delete(b"gone").unwrap();
        if round == 1 {
            db.flush().unwrap();
        }
        if round == 2 {
            db.compact().unwrap();
        }
        assert_eq!(users.get(b"empty").unwrap().unwrap(), "");
        db.verify().unwrap();
        if round % 2 == 0 {
            db.close().unwrap();
        }
    }
}

#[test]
fn many_writes_survive_flushes_and_compactions() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let ks = db.keyspace("k").unwrap();
    let value = |i: u32, round: u32| format!("{i}-{round}-{}", "x".repeat(100));
    for round in 0..3 {
        for i in 0..10_000u32 {
            let key = i.wrapping_mul(2_654_435_761).to_be_bytes();
            ks.put_with(key, value(i, round), Durability::Buffered).unwrap();
        }
    }
    for i in (0..10_000u32).step_by(3) {
        ks.delete(i.wrapping_mul(2_654_435_761).to_be_bytes()).unwrap_or_else(|e| panic!("{e}"));
    }
    db.compact().unwrap();
    let check = |ks: &crate::Keyspace| {
        for i in 0..10_000u32 {
            let got = ks.get(i.wrapping_mul(2_654_435_761).to_be_bytes()).unwrap();
            let want = (i % 3 != 0).then(|| value(i, 2));
            assert_eq!(got.as_deref(), want.as_deref().map(str::as_bytes), "{i}");
        }
        assert_eq!(ks.iter().count(), 6_666);
        assert_eq!(ks.iter().rev().count(), 6_666);
    };
    check(&ks);
    db.verify().unwrap();
    db.close().unwrap();
    drop((ks, db));
    let db = open(&dir);
    check(&db.keyspace("k").unwrap());
    assert!(db.metrics().sstables > 0);
}

#[test]
fn ranges_walk_from_both_ends_and_jump() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let ks = db.keyspace("k").unwrap();
    for (at, key) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        ks.put(key, at.to_string()).unwrap();
        if at == 2 {
            db.flush().unwrap();
        }
    }
    ks.delete("c").unwrap();
    assert_eq!(text(ks.iter()), "a=0 b=1 d=3 e=4");
    assert_eq!(text(ks.iter().rev()), "e=4 d=3 b=1 a=0");
    assert_eq!(text(ks.range("b"..="d")), "b=1 d=3");
    assert_eq!(text(ks.range("b".to_string().."d".to_string()).rev()), "b=1");
    assert_eq!(text(ks.prefix("d")), "d=3");
    let mut both = ks.iter();
    assert_eq!(text(both.by_ref().take(1)), "a=0");
    assert_eq!(text(both.by_ref().rev().take(2)), "e=4 d=3");
    assert_eq!(text(both), "b=1");
    let mut jump = ks.range("b"..);
    jump.seek("c");
    assert_eq!(text(jump.by_ref().take(1)), "d=3");
    jump.seek("a");
    assert_eq!(text(jump.by_ref().take(1)), "b=1");
    jump.seek_back("d");
    assert_eq!(text(jump.by_ref().rev()), "d=3");
}

#[test]
fn snapshots_do_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let ks = db.keyspace("k").unwrap();
    ks.put("a", "1").unwrap();
    let before = db.snapshot();
    ks.put("a", "2").unwrap();
    ks.put("b", "2").unwrap();
    db.compact().unwrap();
    assert_eq!(ks.get_at(&before, "a").unwrap().unwrap(), "1");
    assert_eq!(text(ks.range_at::<&str>(&before, ..)), "a=1");
    assert_eq!(text(ks.iter()), "a=2 b=2");
    drop(before);
    db.compact().unwrap();
    assert_eq!(text(ks.iter().rev()), "b=2 a=2");
}

#[test]
fn batches_are_atomic_across_keyspaces_and_the_last_operation_wins() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
    let mut batch = db.batch();
    batch.put(&a, "k", "1");
    batch.put(&b, "k", "2");
    batch.put(&a, "k", "3");
    batch.delete(&b, "other");
    db.write(batch).unwrap();
    assert_eq!(a.get("k").unwrap().unwrap(), "3");
    assert_eq!(b.get("k").unwrap().unwrap(), "2");
}

#[test]
fn a_transaction_conflicts_with_a_change_of_what_it_read() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let ks = db.keyspace("k").unwrap();
    ks.put("a", "1").unwrap();

    let mut tx = db.transaction().unwrap();
    assert_eq!(tx.get(&ks, "a").unwrap().unwrap(), "1");
    tx.put(&ks, "b", "from tx").unwrap();
    assert_eq!(text(tx.range::<&str>(&ks, ..)), "a=1 b=from tx");
    ks.put("a", "2").unwrap();
    let error = tx.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.is_retryable());
    assert_eq!(ks.get("b").unwrap(), None);

    // A phantom: a key that comes into a range that was scanned.
    let mut tx = db.transaction().unwrap();
    assert_eq!(tx.prefix(&ks, "p").count(), 0);
    tx.put(&ks, "x", "1").unwrap();
    ks.put("p1", "new").unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);

    // What was not walked over does not count.
    let mut tx = db.transaction().unwrap();
    assert!(tx.range::<&str>(&ks, ..).next().is_some());
    tx.put(&ks, "x", "2").unwrap();
    ks.put("z", "beyond").unwrap();
    tx.commit().unwrap();
    assert_eq!(ks.get("x").unwrap().unwrap(), "2");
}

#[test]
fn keyspaces_are_created_listed_and_dropped_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let old = db.keyspace("k").unwrap();
    old.put("a", "1").unwrap();
    assert_eq!(db.keyspaces().unwrap(), ["k"]);
    db.drop_keyspace("k").unwrap();
    assert_eq!(old.get("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(old.put("a", "1").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(db.drop_keyspace("k").unwrap_err().kind(), ErrorKind::NotFound);
    let new = db.keyspace("k").unwrap();
    assert_ne!(new.id(), old.id());
    drop((old, new, db));
    let db = open(&dir);
    assert_eq!(db.keyspace("k").unwrap().iter().count(), 0);
}

#[test]
fn a_second_opener_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    db.keyspace("k").unwrap().put("a", "1").unwrap();
    let second = |read_only| Db::builder().read_only(read_only).open(dir.path());
    assert_eq!(second(false).unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(second(true).unwrap_err().kind(), ErrorKind::Locked);
    drop(db);
    let (one, two) = (second(true).unwrap(), second(true).unwrap());
    assert_eq!(one.keyspace("k").unwrap().get("a").unwrap().unwrap(), "1");
    let error = two.keyspace("k").unwrap().put("a", "2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert_eq!(second(false).unwrap_err().kind(), ErrorKind::Locked);
}

#[test]
fn a_checkpoint_is_an_independent_database() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("copy");
    let db = Db::open(dir.path().join("db")).unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("flushed", "1").unwrap();
    db.flush().unwrap();
    ks.put("logged", "2").unwrap();
    db.checkpoint(&target).unwrap();
    ks.put("later", "3").unwrap();
    db.compact().unwrap();

    let copy = Db::open(&target).unwrap();
    let copied = copy.keyspace("k").unwrap();
    assert_eq!(text(copied.iter()), "flushed=1 logged=2");
    copied.put("own", "4").unwrap();
    copy.verify().unwrap();
    assert_ne!(copy.inspect().database_id, db.inspect().database_id);
    assert_eq!(text(ks.iter()), "flushed=1 later=3 logged=2");
    assert_eq!(db.checkpoint(&target).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn submitted_commits_finish_without_being_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let ks = db.keyspace("k").unwrap();
    let mut pending = Vec::new();
    for i in 0..100u32 {
        let mut batch = db.batch();
        batch.put(&ks, i.to_be_bytes(), "v");
        pending.push(db.submit(batch).unwrap());
    }
    let mut seqs = Vec::new();
    for (i, commit) in pending.into_iter().enumerate() {
        if i % 2 == 0 {
            seqs.push(commit.wait().unwrap());
        }
    }
    assert!(seqs.is_sorted());
    db.close().unwrap();
    assert_eq!(ks.get(b"x").unwrap_err().kind(), ErrorKind::Closed);
    drop((ks, db));
    assert_eq!(open(&dir).keyspace("k").unwrap().iter().count(), 100);
}

/// Ids count per database, so the write used to go to whatever keyspace had the same id.
#[test]
fn a_transaction_refuses_a_keyspace_of_another_database() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let dbs = dirs.each_ref().map(open);
    let [own, foreign] = dbs.each_ref().map(|db| db.keyspace("k").unwrap());
    assert_eq!(own.id(), foreign.id());
    let mut tx = dbs[0].transaction().unwrap();
    tx.put(&own, "a", "1").unwrap();
    assert_eq!(tx.put(&foreign, "b", "1").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(tx.get(&foreign, "a").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(tx.range::<&str>(&foreign, ..).next().unwrap().is_err());
    tx.commit().unwrap();
    let mut batch = dbs[0].batch();
    batch.put(&foreign, "b", "1");
    assert_eq!(dbs[0].write(batch).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let snapshot = dbs[1].snapshot();
    assert_eq!(own.get_at(&snapshot, "a").unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(text(own.iter()), "a=1");
}

#[test]
fn indexes_and_filters_count_against_the_budget_of_the_block_cache() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(&dir);
    let ks = db.keyspace("k").unwrap();
    for i in 0..20_000u32 {
        ks.put_with(i.to_be_bytes(), [7; 20], Durability::Volatile).unwrap();
    }
    db.compact().unwrap();
    let budget = db.core().options.cache_bytes(0) as u64;
    let capacity = || db.core().files.cache.capacity_bytes();
    assert_eq!(capacity(), budget);
    assert_eq!(ks.iter().count(), 20_000);
    let open = db.metrics().index_and_filter_bytes;
    assert!(open > budget / 64, "{open}");
    assert!(capacity().abs_diff(budget - open) < budget / 64);
    db.drop_keyspace("k").unwrap();
    assert_eq!(db.metrics().index_and_filter_bytes, 0);
    assert!(capacity().abs_diff(budget) < budget / 64);
}

#[test]
fn every_handle_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<Db>();
    check::<crate::Keyspace>();
    check::<crate::Batch>();
    check::<crate::Snapshot>();
    check::<crate::Range>();
    check::<crate::Transaction>();
    check::<crate::TransactionRange>();
    check::<crate::PendingCommit>();
    check::<crate::Error>();
}

#[test]
fn filters_above_the_last_level_have_more_bits_and_the_metrics_tell_of_each_level() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing is merged but what is asked for.
    let db = Db::builder().memory_budget_bytes(64 << 20).background(Background::Manual);
    let db = db.open(dir.path()).unwrap();
    let ks = db.keyspace("k").unwrap();
    let fill = |from: u32| {
        for i in from..from + 20_000 {
            ks.put_with(i.to_be_bytes(), [7; 20], Durability::Volatile).unwrap();
        }
    };
    fill(0);
    db.compact().unwrap();
    fill(20_000);
    db.flush().unwrap();
    // What a filter answers needs it to be open.
    assert_eq!(ks.iter().count(), 40_000);
    let metrics = db.metrics();
    let filled: Vec<_> = metrics.levels.iter().filter(|level| level.files > 0).collect();
    let [level0, last] = filled[..] else { panic!("{:?}", metrics.levels) };
    assert_eq!((level0.entries, last.entries), (20_000, 20_000));
    assert!(level0.index_and_filter_bytes > last.index_and_filter_bytes * 5 / 4, "{metrics:?}");
    assert_eq!(metrics.sstables, level0.files + last.files);
    assert_eq!(metrics.sstable_bytes, level0.bytes + last.bytes);
}
