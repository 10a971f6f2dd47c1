//! Planted races: each of `esker_base::mutants::RACES` is switched on in a process of its own, and the test that is named
//! here must fail there. Built only with the feature `mutants` beside `shuttle`.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use esker_base::mutants::RACES;

/// Which test finds which.
const HUNTERS: &[(&str, &str)] = &[
    ("race_handover_not_notified", "commits::shuttle_every_commit_returns_in_order_and_whole"),
    (
        "race_turn_not_notified",
        "commits::shuttle_submitted_commits_are_done_without_anybody_waiting",
    ),
    ("race_room_not_notified", "commits::shuttle_every_commit_returns_in_order_and_whole"),
    ("race_acknowledged_early", "commits::shuttle_every_commit_returns_in_order_and_whole"),
    (
        "race_view_in_two_steps",
        "views::shuttle_readers_see_every_acknowledged_write_whatever_is_swapped",
    ),
    (
        "race_sequence_before_view",
        "views::shuttle_a_read_finds_the_newest_version_while_older_ones_go",
    ),
    (
        "race_snapshot_unlocked",
        "views::shuttle_readers_see_every_acknowledged_write_whatever_is_swapped",
    ),
    ("race_pins_ignored", "files::shuttle_no_file_goes_while_it_is_used_and_none_stays_behind"),
    (
        "race_history_unlocked",
        "transactions::shuttle_no_addition_is_lost_while_the_history_comes_and_goes",
    ),
    ("race_wake_missed", "works::shuttle_the_threads_flush_what_is_frozen"),
    (
        "race_close_does_not_wait",
        "closing::shuttle_nothing_is_touched_after_a_close_and_everybody_is_answered",
    ),
    ("race_closed_unchecked", "closing::shuttle_who_waited_while_it_was_closed_does_nothing"),
    ("race_owner_closes_unheard", "closing::shuttle_a_waker_may_drop_the_last_handle"),
    ("race_panic_untold", "panics::shuttle_a_panic_leaves_nobody_waiting"),
    (
        "race_ingest_memtable_kept",
        "ingests::shuttle_a_reader_sees_an_ingest_whole_and_before_what_came_after",
    ),
    (
        "race_ingest_published_early",
        "ingests::shuttle_a_reader_sees_an_ingest_whole_and_before_what_came_after",
    ),
    ("race_ingest_beside_merge", "ingests::shuttle_an_ingest_and_a_compaction_do_not_meet"),
];

/// Schedules that each hunt may take under each scheduler; most end within the first hundred.
const ITERATIONS: &str = "30000";

/// Schedules of a hunt for nothing, which takes all of them.
const INNOCENT_ITERATIONS: &str = "3000";

/// A process that takes longer hangs.
const HANG: Duration = Duration::from_secs(300);

/// Whether the test fails while the mutant is active.
fn finds(test: &str, mutant: &str, iterations: &str) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("tests::shuttle::{test}")])
        .env("ESKER_MUTANT", mutant)
        .env("ESKER_SHUTTLE_ITERATIONS", iterations)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Nobody sends: it only measures the time.
    let (_sender, timer) = mpsc::channel::<()>();
    let mut waited = Duration::ZERO;
    let poll = Duration::from_millis(20);
    while waited < HANG {
        if let Some(status) = child.try_wait().unwrap() {
            return !status.success();
        }
        let _ = timer.recv_timeout(poll);
        waited += poll;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("{test} hangs with {mutant}");
}

#[test]
fn shuttle_every_planted_race_is_found() {
    let hunted: Vec<_> = HUNTERS.iter().map(|(name, _)| name).collect();
    let known: Vec<_> = RACES.iter().map(|(name, _)| name).collect();
    assert_eq!(hunted, known);
    let survivors: Vec<_> =
        HUNTERS.iter().filter(|(name, test)| !finds(test, name, ITERATIONS)).collect();
    assert!(survivors.is_empty(), "{survivors:#?}");
}

/// A hunter that failed without a mutant would prove nothing; the other tests are run by themselves as well, these here
/// in the way that the mutants are.
#[test]
fn shuttle_a_hunter_finds_nothing_where_nothing_is_planted() {
    assert!(!finds(HUNTERS[0].1, "", INNOCENT_ITERATIONS));
}
