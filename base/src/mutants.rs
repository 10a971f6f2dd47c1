//! Planted bugs, to prove that the checks can fail: a check that finds none of them is a defect.
//!
//! A call site says `mutant!("name")`, which is `false` in every build without the feature
//! `mutants`, and costs nothing there. With it, at most one mutant is active in a process: the one
//! that the environment variable `ESKER_MUTANT` names when the first call site is reached. Every
//! mutant stands in [`ALL`] or in [`RACES`]; a call site with another name does not compile. Only
//! `esker-sim`, which hunts the first, and the engine's tests of schedules, which hunt the second,
//! turn the feature on, and nothing here must ever change what a build without it does.

/// Every mutant that one thread can show: its name, and what is wrong while it is active.
pub const ALL: &[(&str, &str)] = &[
    // The log.
    ("wal_sync_skipped", "a sync of the log does nothing"),
    ("wal_claims_too_much", "a frame claims that everything before it is synced"),
    ("wal_replays_past_damage", "replay goes on behind a damaged record"),
    ("wal_later_frames_ignored", "replay does not look for frames behind the log's end"),
    ("wal_torn_payload_taken", "the payload checksum of a frame is not looked at"),
    ("wal_sync_retried", "a failed sync of the log is tried again and believed"),
    ("wal_segment_dir_not_synced", "the name of a new segment is not made durable"),
    ("wal_segment_not_synced", "a new segment's header is not made durable"),
    ("wal_finished_segment_not_synced", "a segment that the log has left is not synced"),
    ("wal_goes_on_behind_partial", "the log goes on behind a partial record"),
    ("wal_tail_not_synced", "the rewritten tail is not synced"),
    ("wal_tail_dropped", "an open leaves the unproven tail of the log behind"),
    ("wal_old_end_kept", "an open records the old end of a segment whose tail was copied"),
    ("wal_read_error_is_end", "a failed read during replay is taken for the log's end"),
    ("wal_recycled_keeps_id", "a segment made of a retired one keeps that one's identity"),
    ("wal_recycled_still_listed", "a segment's file is used again although the manifest lists it"),
    ("wal_store_not_synced", "a sync leaves out what was stored through a map"),
    // The commit path.
    ("commit_store_put_off", "a Buffered commit is acknowledged before it is stored"),
    ("commit_sync_weakened", "a Sync commit is acknowledged before its sync"),
    ("commit_last_durability_wins", "a group is as durable as its last commit asks"),
    ("commit_group_conflict_missed", "a transaction is not judged against its own group"),
    ("commit_phantom_missed", "the ranges that a transaction read are not judged"),
    ("commit_absent_key_forgotten", "a key that was looked up and absent does not count as read"),
    ("commit_plain_writes_forgotten", "writes outside of transactions are not recorded"),
    ("commit_published_early", "a group can be seen before it is applied"),
    ("commit_applied_before_sync", "a group can be seen although its sync fails"),
    ("commit_half_applied", "the last operation of a larger batch is not applied"),
    ("commit_refused_write_kept", "a refused commit stays in line and is written later"),
    ("commit_failure_forgotten", "a failed sync leaves the database writable"),
    // Flush.
    ("flush_log_not_synced", "a flush does not sync the log first"),
    ("flush_deferred_not_written", "a flush leaves acknowledged commits unwritten"),
    ("flush_through_too_high", "a flush claims everything that was committed meanwhile"),
    ("flush_segment_retired_early", "a flush lets go of segments that others still need"),
    ("flush_segment_removed_early", "a segment is removed before the edit is durable"),
    ("flush_drops_tombstones", "a flush drops deletes"),
    // Ingest.
    ("ingest_memtables_ignored", "an ingest does not flush the memtables first"),
    ("ingest_overlap_above_ignored", "an ingest goes below files that hold the same keys"),
    ("ingest_history_forgotten", "transactions are not judged against what an ingest brought"),
    ("ingest_log_not_synced", "an ingest outlives commits that came before it"),
    // The manifest.
    ("manifest_edit_not_synced", "an edit is not synced"),
    ("manifest_dir_not_synced", "the name of a new manifest is not made durable"),
    ("manifest_current_dir_not_synced", "the swap of CURRENT is not made durable"),
    ("manifest_file_not_synced", "a new manifest's content is not synced"),
    ("manifest_edit_applied_early", "an edit takes effect although it is refused"),
    ("manifest_doubt_deletes", "files are deleted although the manifest is in doubt"),
    ("manifest_last_edit_lost", "recovery drops the last edit"),
    // Compaction and sstables.
    ("compact_tombstone_early", "a delete goes although something older lies below"),
    ("compact_snapshots_ignored", "versions that only a snapshot sees are dropped"),
    ("compact_snapshot_off_by_one", "a snapshot does not see what was written right before it"),
    ("compact_entry_lost_at_cut", "the entry at which an output is cut is lost"),
    ("compact_versions_split", "the versions of a key are split over two files"),
    ("compact_overlap_missed", "a merge leaves out the last file that it overlaps"),
    ("compact_inputs_removed_early", "the inputs of a merge are removed before its edit"),
    ("compact_inputs_removed_under_readers", "files are removed while a reader needs them"),
    ("sstable_not_synced", "an sstable is not synced"),
    ("sstable_dir_not_synced", "the name of an sstable is not made durable"),
    ("sstable_checksum_skipped", "a block's checksum is not looked at"),
    ("sstable_filter_false_negative", "the filter denies some keys that are there"),
    ("sstable_index_off_by_one", "the index names the block behind the right one"),
    ("sstable_cache_key_without_file", "the cache confuses blocks of different files"),
    // Value files.
    ("value_checksum_skipped", "a record's checksum is not looked at"),
    ("values_dropped_while_referenced", "a value file goes although an sstable points into it"),
    ("values_last_reference_forgotten", "a value file stays that nothing points into"),
    ("values_relocated_as_new", "a value that is copied out of a value file becomes a newer one"),
    ("values_pointer_misled", "an entry points to the value before its own"),
    ("values_snapshots_ignored", "what is copied out of a value file is only the newest version"),
    ("values_removed_under_readers", "a value file is removed while a reader needs it"),
    ("values_not_in_checkpoint", "a checkpoint does without the value files"),
    ("value_file_not_synced", "a value file is not synced before the edit that names it"),
    // Recovery.
    ("recovery_segment_skipped", "replay ends with the first segment"),
    ("recovery_sequence_restarts", "an open forgets the sequences of what is flushed"),
    ("recovery_batch_halved", "replay takes only the first operation of a batch"),
    ("recovery_log_removed_early", "an open removes segments before its manifest is durable"),
    ("recovery_keyspace_id_reused", "an open forgets the ids of dropped keyspaces"),
    // Reading.
    ("read_level0_oldest_first", "a point read takes the oldest version in level 0"),
    ("read_frozen_oldest_first", "a point read takes the oldest frozen memtable first"),
    ("cursor_delete_shows_older", "forward, a delete does not hide older versions"),
    ("cursor_reverse_shows_deleted", "backward, deleted keys are shown"),
    ("cursor_ends_cross", "the two ends of a range pass each other"),
    ("cursor_level_ends_early", "a cursor over a level ends with its first file"),
    ("cursor_runner_up_kept", "a merge does not look for the new runner-up"),
    ("snapshot_not_registered", "a snapshot does not keep its versions"),
    ("snapshot_released_early", "the first of two equal snapshots releases both"),
    // Tables and items.
    ("items_counts_not_stored", "the counts of a table change only in memory"),
    ("items_replaced_counted_twice", "replacing an item counts as adding one"),
    ("items_failed_write_counted", "a write that failed still counts"),
    ("items_not_locked", "two writes of one item do not wait for each other"),
    ("items_catalog_first", "the catalog names a table before its keyspace is there"),
    ("items_keyspace_dropped_first", "a table's keyspace is dropped before the catalog says so"),
    ("items_negative_order", "negative numbers sort as if they were positive"),
    ("items_transaction_not_locked", "a transaction does not wait for writes of its items"),
    ("items_transaction_reads_latest", "a read transaction reads each item as of another moment"),
    ("items_token_apart", "the token of a transaction is written after its items"),
    ("items_page_repeats", "a page starts with the last item of the one before"),
    // Secondary indexes.
    ("index_old_entry_kept", "an item that gets another index key keeps its old entry"),
    ("index_written_apart", "an index changes in another batch than its table"),
    (
        "index_filled_taken_for_full",
        "writes take an index that is being filled for one that has every item",
    ),
    ("index_filling_forgotten", "an index that was being filled at a crash is not filled any more"),
    ("index_filled_without_locks", "items are put into a new index without being locked"),
];

/// Every mutant that takes several threads in an unlucky order.
pub const RACES: &[(&str, &str)] = &[
    ("race_handover_not_notified", "a writer that is given the log is not woken"),
    ("race_turn_not_notified", "the commit thread is given the log and not woken"),
    ("race_room_not_notified", "writers are not told that there is room in the line"),
    ("race_acknowledged_early", "commits are acknowledged before they can be seen"),
    ("race_view_in_two_steps", "a memtable leaves the view before its file is in it"),
    ("race_sequence_before_view", "a read takes the visible sequence first and the view second"),
    ("race_snapshot_unlocked", "a snapshot reads its sequence before it takes the lock"),
    ("race_pins_ignored", "files are removed while a checkpoint links them"),
    ("race_history_unlocked", "the first transaction begins while a commit is under way"),
    ("race_wake_missed", "a thread looks how often it was woken after it looked for work"),
    ("race_close_does_not_wait", "a close gives up the directory while others work on it"),
    ("race_closed_unchecked", "who waited for a lock does not look whether the database closed"),
    ("race_owner_closes_unheard", "an owner that closes the database waits for itself"),
    ("race_panic_untold", "after a panic of the owner those in line are not told"),
    ("race_ingest_memtable_kept", "a view of before an ingest shows what was committed after it"),
    ("race_ingest_published_early", "an ingest's sequence is visible before its files"),
    ("race_ingest_beside_merge", "an ingest does not look where a compaction writes"),
];

/// Whether the named mutant is active: a constant `false` without the feature `mutants`. A name
/// that is in neither list does not compile.
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {{
        const INDEX: usize = $crate::mutants::index_of($name);
        $crate::mutants::is_active(INDEX)
    }};
}

/// The place of `name` in [`ALL`], or behind that in [`RACES`].
///
/// # Panics
/// If it is not there; at compile time, where [`mutant!`] calls it.
pub const fn index_of(name: &str) -> usize {
    let mut at = 0;
    while at < ALL.len() + RACES.len() {
        let known = if at < ALL.len() { ALL[at].0 } else { RACES[at - ALL.len()].0 };
        if same(known.as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("this mutant is in neither list")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    a.len() == b.len()
}

/// Whether this build can have active mutants at all.
pub const ENABLED: bool = cfg!(feature = "mutants");

/// Whether the mutant at `index` is active. Use [`mutant!`].
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is_active(_index: usize) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use planted::{is_active, was_reached};

#[cfg(feature = "mutants")]
mod planted {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{ALL, RACES};

    /// The variable that names the active mutant.
    const VARIABLE: &str = "ESKER_MUTANT";

    static ACTIVE: LazyLock<Option<usize>> = LazyLock::new(|| {
        let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
        let at = ALL.iter().chain(RACES).position(|(known, _)| *known == name);
        // A mistyped name must not look like a mutant that no check finds.
        Some(at.unwrap_or_else(|| panic!("{VARIABLE}: there is no mutant {name}")))
    });

    static REACHED: AtomicBool = AtomicBool::new(false);

    /// Whether the mutant at `index` is active. Use [`crate::mutant!`].
    #[inline]
    pub fn is_active(index: usize) -> bool {
        let active = *ACTIVE == Some(index);
        if active {
            REACHED.store(true, Ordering::Relaxed);
        }
        active
    }

    /// Whether the active mutant's call site was ever reached.
    pub fn was_reached() -> bool {
        REACHED.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (at, (name, what)) in ALL.iter().chain(RACES).enumerate() {
            assert_eq!(index_of(name), at, "{name} stands twice");
            assert!(!what.is_empty());
        }
    }

    #[test]
    fn without_the_feature_none_is_active() {
        assert!(ENABLED || (0..ALL.len() + RACES.len()).all(|at| !is_active(at)));
    }
}
