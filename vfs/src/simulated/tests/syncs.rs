//! What syncs make durable, what they do not, and the three ways in which they fail.

use super::*;

fn after_drop(fs: &SimulatedFs) -> SimulatedFs {
    fs.image(CrashPolicy::DropAll, 0)
}

#[test]
fn unsynced_data_is_lost_and_synced_data_is_not() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"hello");
    file.write_all_at(b"HELLO world", 0).unwrap();
    assert_eq!(read(&fs, "a"), b"HELLO world");
    assert_eq!(read(&after_drop(&fs), "a"), b"hello");
    file.sync_data().unwrap();
    assert_eq!(read(&after_drop(&fs), "a"), b"HELLO world");
    file.truncate(2).unwrap();
    assert_eq!(read(&after_drop(&fs), "a"), b"HELLO world");
    file.sync_all().unwrap();
    file.allocate(5).unwrap();
    assert_eq!(read(&after_drop(&fs), "a"), b"HE");
}

#[test]
fn a_synced_file_whose_name_was_not_synced_is_gone() {
    let fs = SimulatedFs::new();
    let file = fs.create_new(path("a")).unwrap();
    file.write_all_at(b"hello", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(fs.pending(), [PendingKind::Name]);
    assert!(!after_drop(&fs).exists(path("a")).unwrap());
    assert_eq!(read(&fs.image(CrashPolicy::KeepAll, 0), "a"), b"hello");
    fs.sync_dir(path("/")).unwrap();
    assert_eq!(read(&after_drop(&fs), "a"), b"hello");
}

#[test]
fn a_name_synced_before_its_data_is_an_empty_file() {
    let fs = SimulatedFs::new();
    let file = fs.create_new(path("a")).unwrap();
    file.write_all_at(b"hello", 0).unwrap();
    fs.sync_dir(path("/")).unwrap();
    assert_eq!(read(&after_drop(&fs), "a"), b"");
}

#[test]
fn removals_and_links_need_their_directory_synced() {
    let fs = SimulatedFs::new();
    durable_file(&fs, "a", b"hello");
    fs.hard_link(path("a"), path("b")).unwrap();
    fs.remove_file(path("a")).unwrap();
    assert_eq!(after_drop(&fs).list(path("/")).unwrap(), ["a"]);
    fs.sync_dir(path("/")).unwrap();
    assert_eq!(after_drop(&fs).list(path("/")).unwrap(), ["b"]);
    assert_eq!(read(&after_drop(&fs), "b"), b"hello");
}

#[test]
fn a_directory_needs_its_parent_synced() {
    let fs = SimulatedFs::new();
    fs.create_dir_all(path("x/y")).unwrap();
    fs.create_new(path("x/y/a")).unwrap();
    fs.sync_dir(path("x/y")).unwrap();
    fs.sync_dir(path("x")).unwrap();
    assert!(after_drop(&fs).list(path("/")).unwrap().is_empty());
    fs.sync_dir(path("/")).unwrap();
    assert!(after_drop(&fs).exists(path("x/y/a")).unwrap());
    fs.remove_file(path("x/y/a")).unwrap();
    fs.remove_dir(path("x/y")).unwrap();
    assert!(after_drop(&fs).exists(path("x/y/a")).unwrap());
    fs.sync_dir(path("x")).unwrap();
    assert!(!after_drop(&fs).exists(path("x/y")).unwrap());
}

#[test]
fn a_rename_across_directories_is_made_durable_on_each_side() {
    let fs = SimulatedFs::new();
    fs.create_dir_all(path("x")).unwrap();
    durable_file(&fs, "a", b"hello");
    fs.rename(path("a"), path("x/a")).unwrap();
    fs.sync_dir(path("x")).unwrap();
    let both = after_drop(&fs);
    assert_eq!((read(&both, "a"), read(&both, "x/a")), (b"hello".to_vec(), b"hello".to_vec()));
    fs.sync_dir(path("/")).unwrap();
    assert!(!after_drop(&fs).exists(path("a")).unwrap());
    assert_eq!(read(&after_drop(&fs), "x/a"), b"hello");
}

#[test]
fn a_failed_sync_can_lose_what_reads_still_show() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a.wal", b"old");
    fs.fail_syncs(".wal", SyncFailure::LostStillCached, Some(1));
    file.write_all_at(b"newer", 0).unwrap();
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    assert_eq!(read(&fs, "a.wal"), b"newer");
    // The second sync succeeds and has nothing to write but the length and what came since.
    file.write_all_at(b"!", 5).unwrap();
    file.sync_data().unwrap();
    assert_eq!(read(&fs, "a.wal"), b"newer!");
    assert_eq!(read(&fs.image(CrashPolicy::KeepAll, 0), "a.wal"), b"old\0\0!");
}

#[test]
fn a_failed_sync_can_revert_what_reads_show() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"old");
    fs.set_capacity(100);
    fs.fail_syncs("", SyncFailure::LostReverted, Some(1));
    file.write_all_at(b"newer", 0).unwrap();
    file.sync_all().unwrap_err();
    assert_eq!(read(&fs, "a"), b"old");
    assert_eq!(fs.free_space(path("/")).unwrap(), 97);
    assert_eq!(fs.pending_ops(), 0);
    file.write_all_at(b"new", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(read(&after_drop(&fs), "a"), b"new");
}

#[test]
fn a_failed_sync_can_have_persisted_everything() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"old");
    fs.fail_syncs("", SyncFailure::PersistedAnyway, None);
    file.write_all_at(b"new", 0).unwrap();
    file.sync_data().unwrap_err();
    assert_eq!(read(&after_drop(&fs), "a"), b"new");
    file.sync_data().unwrap_err();
    fs.heal_syncs();
    file.sync_data().unwrap();
}

#[test]
fn a_failed_directory_sync_loses_reverts_or_persists_names() {
    for (failure, cached, durable) in [
        (SyncFailure::LostStillCached, "b", "a"),
        (SyncFailure::LostReverted, "a", "a"),
        (SyncFailure::PersistedAnyway, "b", "b"),
    ] {
        let fs = SimulatedFs::new();
        durable_file(&fs, "a", b"hello");
        fs.fail_syncs("/", failure, Some(1));
        fs.rename(path("a"), path("b")).unwrap();
        fs.sync_dir(path("/")).unwrap_err();
        fs.sync_dir(path("/")).unwrap();
        assert_eq!(fs.list(path("/")).unwrap(), [cached], "{failure:?}");
        let after = fs.image(CrashPolicy::KeepAll, 0);
        assert_eq!(after.list(path("/")).unwrap(), [durable], "{failure:?}");
        assert_eq!(read(&after, durable), b"hello");
    }
}

#[test]
fn a_sync_rule_concerns_matching_paths_only() {
    let fs = SimulatedFs::new();
    fs.fail_syncs(".wal", SyncFailure::LostStillCached, Some(0));
    let wal = durable_file(&fs, "a.wal", b"x");
    fs.fail_syncs(".wal", SyncFailure::LostStillCached, None);
    let sst = durable_file(&fs, "a.sst", b"x");
    sst.sync_data().unwrap();
    wal.sync_data().unwrap_err();
    wal.sync_all().unwrap_err();
}

/// Of each write, what lies beside the range stays pending, and what lies in it can no more be undone by an older one.
#[test]
fn a_durable_write_makes_its_range_durable_and_nothing_else() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"..........");
    let other = durable_file(&fs, "b", b".");
    file.write_all_at(b"1111", 0).unwrap();
    file.write_all_at(b"222222", 4).unwrap();
    other.write_all_at(b"x", 0).unwrap();
    file.write_durably_at(b"333", 3).unwrap();
    assert_eq!(read(&fs, "a"), b"1113332222");
    assert_eq!(fs.pending_ops(), 3);
    assert_eq!(read(&fs.image(CrashPolicy::DropAll, 0), "a"), b"...333....");
    assert_eq!(read(&fs.image(CrashPolicy::KeepAll, 0), "a"), b"1113332222");
    assert_eq!(read(&fs.image(CrashPolicy::Prefix(1), 0), "a"), b"111333....");
    assert_eq!(read(&fs.image(CrashPolicy::DropOne(0), 0), "a"), b"...3332222");
    // What it finds in its range goes along.
    file.write_all_at(b"44", 8).unwrap();
    file.write_durably_at(b"5", 9).unwrap();
    assert_eq!(read(&fs.image(CrashPolicy::DropAll, 0), "a"), b"...333...5");
    fs.fail_syncs("a", SyncFailure::LostReverted, Some(1));
    file.write_durably_at(b"6", 0).unwrap_err();
    assert_eq!(read(&fs, "a"), b"...333...5");
}

/// On the real machine the bytes are written back, and a power cut leaves a file that is too short for them.
#[test]
#[should_panic(expected = "is past its durable 10")]
fn a_durable_write_stays_inside_the_durable_length() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"..........");
    file.allocate(20).unwrap();
    let _ = file.write_durably_at(b"333", 8);
}
