//! Indexes as they are stored: their keyspaces, and what verification and repair find and correct.

use super::indexes::{assert_sound, task, tasks};
use super::*;
use crate::operation::DeleteTableRequest;

#[test]
fn keyspaces_of_indexes_go_with_their_table() {
    let fixture = tasks();
    let keyspaces = fixture.tables.db().keyspaces().unwrap();
    assert_eq!(keyspaces.len(), 7, "{keyspaces:?}");
    let request = DeleteTableRequest { table_name: TABLE.to_owned() };
    let deleted = fixture.tables.delete_table(request).unwrap().table_description;
    assert_eq!(deleted.global_secondary_indexes.len(), 3);
    assert_eq!(fixture.tables.db().keyspaces().unwrap().len(), 1);
}

#[test]
fn every_way_in_which_an_index_can_differ_is_reported_and_corrected() {
    let fixture = tasks();
    let tables = &fixture.tables;
    for n in 0..4i64 {
        let worker = format!("worker{n}");
        put(tables, task("p", n, &[("worker", worker.as_str().into()), ("due", n.into())]));
    }
    let db = tables.db().clone();
    assert_sound(tables);
    // Local indexes have ids 1 and 2, global ones 3 to 5.
    let by_due = db.existing_keyspace("esker.t.1.1").unwrap().unwrap();
    let by_worker = db.existing_keyspace("esker.t.1.4").unwrap().unwrap();
    let entries: Vec<_> = by_worker.iter().map(|entry| entry.unwrap()).collect();
    assert_eq!(entries.len(), 4);
    by_worker.delete(&entries[0].0).unwrap();
    by_worker.put(&entries[1].0, &entries[2].1).unwrap();
    by_worker.put([&entries[3].0[..], b"0"].concat(), &entries[3].1).unwrap();
    by_worker.put(b"no key", b"no item").unwrap();
    let due = by_due.iter().next().unwrap().unwrap();
    by_due.delete(&due.0).unwrap();
    let found = crate::verify(&db).unwrap();
    for what in [
        "it is not there",
        "it is not what the table has",
        "the table has no such item",
        "counted 5 items",
        "index by_due: ",
    ] {
        assert!(found.problems.iter().any(|p| p.contains(what)), "{what}: {:?}", found.problems);
    }
    assert_eq!(found.problem_count, 7, "{:?}", found.problems);
    let stale = |index: &str, entries| crate::StaleIndex {
        table: TABLE.to_owned(),
        index: index.to_owned(),
        entries,
        is_missing: false,
    };
    let expected = [stale("by_due", 1), stale("by_worker", 4)];
    assert_eq!(crate::stale_indexes(&db).unwrap(), expected);
    let miscount = crate::miscounts(&db).unwrap();
    assert_eq!(miscount[0].index.as_deref(), Some("by_due"));
    assert_eq!((miscount[0].stored.0, miscount[0].counted.0), (4, 3));
    // What is deleted or overwritten, not what is missing.
    let mut replaced = Vec::new();
    crate::replaced_entries(&db, |entry| {
        assert_eq!((entry.table, entry.keyspace), (TABLE, "esker.t.1.4"));
        replaced.push((
            entry.index.to_owned(),
            entry.item.is_some(),
            entry.has_item,
            entry.value.to_vec(),
        ));
    })
    .unwrap();
    let by_worker_had =
        |is_item, value: &[u8]| ("by_worker".to_owned(), is_item, is_item, value.to_vec());
    replaced.sort();
    let mut had = [
        by_worker_had(true, &entries[2].1),
        by_worker_had(true, &entries[3].1),
        by_worker_had(false, b"no item"),
    ];
    had.sort();
    assert_eq!(replaced, had);
    assert_eq!(crate::correct_indexes(&db).unwrap(), expected);
    assert_sound(tables);
    assert_eq!(crate::correct_indexes(&db).unwrap(), []);
    // Of an item that is damaged in one attribute the entry may be the only copy.
    let items = db.existing_keyspace("esker.t.1").unwrap().unwrap();
    let (key, stored) = items.iter().next().unwrap().unwrap();
    for (name, indexes) in [("worker", &["by_worker"][..]), ("due", &["by_due", "by_worker"])] {
        let name_at = stored.windows(name.len()).position(|bytes| bytes == name.as_bytes());
        let mut damaged = stored.to_vec();
        // No such type.
        damaged[name_at.unwrap() + name.len()] = 99;
        items.put(&key, &damaged).unwrap();
        let mut replaced = Vec::new();
        crate::replaced_entries(&db, |entry| {
            replaced.push(entry.index.to_owned());
            assert!(entry.item.is_some() && !entry.has_item, "{name}: {}", entry.index);
        })
        .unwrap();
        assert_eq!(replaced, indexes, "{name}");
    }
    items.put(&key, &stored).unwrap();
    // An index that is lost altogether is made again.
    db.drop_keyspace("esker.t.1.4").unwrap();
    assert!(crate::verify(&db).unwrap().problems[0].ends_with("its keyspace is missing"));
    let missing = crate::StaleIndex { is_missing: true, ..stale("by_worker", 4) };
    assert_eq!(crate::stale_indexes(&db).unwrap(), std::slice::from_ref(&missing));
    assert_eq!(crate::correct_indexes(&db).unwrap(), [missing]);
    assert_sound(tables);
}
