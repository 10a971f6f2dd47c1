//! A panic in any thread of the database, or in the writer that commits for others: everybody who waits is told, the
//! database turns read-only, reads go on, and closing returns.

use std::panic::{AssertUnwindSafe, catch_unwind};

use esker_vfs::Call;
use shuttle::thread;

use super::harness::{Machine, below, check_panics, durability, read, value};
use crate::ErrorKind;

fn panics() {
    let machine = Machine::new();
    let db = machine.open();
    let keyspace = db.keyspace("k").unwrap();
    let (calls, suffix) = [
        (&[Call::WriteAllAt, Call::Store][..], ".wal"),
        (&[Call::SyncData, Call::SyncAll], ".wal"),
        (&[Call::WriteAllAt, Call::SyncAll], ".sst"),
        (&[Call::WriteAllAt], ".manifest"),
    ][below(4) as usize];
    machine.panic(calls, suffix, below(4));
    let writer = |me: u64| {
        let (db, keyspace) = (db.clone(), keyspace.clone());
        move || {
            let key = format!("key{me}");
            let mut last = 0;
            for round in 1..=4 {
                let durability = durability(me + round);
                let put = catch_unwind(AssertUnwindSafe(|| match me {
                    0 => {
                        let mut batch = db.batch();
                        batch.put(&keyspace, &key, value(round, 1500));
                        db.submit_with(batch, durability)?.wait().map(|_| ())
                    }
                    _ => keyspace.put_with(&key, value(round, 1500), durability),
                }));
                match put {
                    Ok(Ok(())) => last = round,
                    Ok(Err(error)) => {
                        let told = [ErrorKind::Indeterminate, ErrorKind::ReadOnly, ErrorKind::Io];
                        assert!(told.contains(&error.kind()), "{error}");
                        break;
                    }
                    // It committed for everybody, and its own commit is in doubt.
                    Err(_) => break,
                }
            }
            let found = read(&keyspace, &key);
            assert!(found == last || found == last + 1, "{found} after {last}");
        }
    };
    let threads: Vec<_> = (0..3).map(|me| thread::spawn(writer(me))).collect();
    let flushed = catch_unwind(AssertUnwindSafe(|| db.flush()));
    let compacted = catch_unwind(AssertUnwindSafe(|| db.compact()));
    for thread in threads {
        thread.join().unwrap();
    }
    if !matches!((flushed, compacted), (Ok(Ok(())), Ok(Ok(())))) {
        let _ = keyspace.iter().map(Result::unwrap).count();
    }
    let _ = catch_unwind(AssertUnwindSafe(|| db.close()));
}

#[test]
fn shuttle_a_panic_leaves_nobody_waiting() {
    check_panics("panics", panics);
}
