//! Rewriting the tail, interrupted, on a full disk, after a sync that failed; and whole lives of a
//! log.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::testing::*;
use crate::{SegmentExpectation, create_segment, retired_name};
use esker_base::names::FileKind;
use esker_base::{ErrorKind, FileId, FileNumber};
use esker_vfs::Call;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, SimulatedFs, SyncFailure};
use proptest::prelude::*;

/// Hands out small segments from `next` on.
fn specs(mut next: u64) -> impl FnMut(u64) -> Result<SegmentSpec> {
    move |size_min| {
        let spec = SegmentSpec { size_bytes: size_min.max(4096), ..spec(next) };
        next += 1;
        Ok(spec)
    }
}

fn rewrite(fs: &dyn Fs, dir: &Path, outcome: &Outcome, next: u64) -> Result<RewrittenTail> {
    rewrite_tail(fs, dir, outcome, SeqNo(0), &mut specs(next))
}

/// What the manifest lists after the edit that records `tail`.
fn relisted(listed: &[SegmentExpectation], tail: &RewrittenTail) -> Vec<SegmentExpectation> {
    let kept = listed.iter().filter(|segment| segment.number <= tail.cut.file).map(|segment| {
        let ends_at = (segment.number == tail.cut.file).then_some(tail.cut.offset);
        SegmentExpectation { ends_at: ends_at.or(segment.ends_at), ..*segment }
    });
    let finished = tail.finished.iter().map(|(finished, spec)| (finished.number, spec.file_id));
    let current = tail.writer.segment();
    let new = finished
        .chain([(current.number(), current.file_id())])
        .map(|(number, file_id)| SegmentExpectation { file_id, ..expect(number.0) });
    kept.chain(new).collect()
}

/// Groups 1 to 3 synced, 4 to 6 not, in one or two segments.
fn with_tail(fs: &dyn Fs, dir: &Path) -> [SegmentExpectation; 2] {
    let mut writer = writer(fs, dir, 1);
    append(&mut writer, 1..=3, 20);
    writer.sync().unwrap();
    append(&mut writer, 4..=5, 20);
    writer.rotate(segment(fs, dir, 2)).unwrap();
    append(&mut writer, 6..=6, 20);
    [expect(1), expect(2)]
}

#[test]
fn the_tail_moves_and_the_log_goes_on_behind_it() {
    let (fs, dir) = world();
    let listed = with_tail(&*fs, &dir);
    let old = [bytes(&*fs, &dir, 1), bytes(&*fs, &dir, 2)];
    let (shown, outcome) = read(&*fs, &dir, &listed).unwrap();
    assert_eq!(shown, [1, 2, 3, 4, 5, 6]);
    let mut tail = rewrite(&*fs, &dir, &outcome, 3).unwrap();
    assert_eq!(tail.cut, outcome.known_synced);
    assert_eq!(tail.writer.known_synced(), tail.writer.position());
    assert_eq!(tail.writer.last_seq(), SeqNo(6));
    assert!(tail.finished.is_empty());
    assert_eq!([bytes(&*fs, &dir, 1), bytes(&*fs, &dir, 2)], old);
    append(&mut tail.writer, 7..=8, 20);
    let listed = relisted(&listed, &tail);
    assert_eq!(listed.len(), 2);
    let (found, outcome) = read(&*fs, &dir, &listed).unwrap();
    assert_eq!(found, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(outcome.torn_bytes, 0);
    // Once more, with a tail in the new segment; then a clean close.
    let mut tail = rewrite(&*fs, &dir, &outcome, 4).unwrap();
    let seal = tail.writer.seal().unwrap();
    let mut listed = relisted(&listed, &tail);
    listed.last_mut().unwrap().sealed = Some(seal);
    let (found, outcome) = read(&*fs, &dir, &listed).unwrap();
    assert_eq!((found, outcome.clean), ((1..=8).collect(), true));
}

#[test]
fn a_tail_of_many_segments_fills_many() {
    let (fs, dir) = simulated();
    let mut writer = writer(&fs, &dir, 1);
    for seq in 1..=60 {
        if !writer.fits(600) {
            let next = writer.segment().number().0 + 1;
            writer.rotate(segment(&fs, &dir, next)).unwrap();
        }
        append(&mut writer, seq..=seq, 500);
    }
    let last = writer.segment().number().0;
    let listed: Vec<_> = (1..=last).map(expect).collect();
    let (_, outcome) = read(&fs, &dir, &listed).unwrap();
    let tail = rewrite(&fs, &dir, &outcome, last + 1).unwrap();
    assert!(tail.finished.len() > 5);
    assert!(tail.finished.iter().all(|(finished, spec)| finished.number == spec.number));
    assert!(tail.finished.is_sorted_by_key(|(finished, _)| finished.last_seq));
    let listed = relisted(&listed, &tail);
    let image = fs.crash(CrashPolicy::DropAll, 0);
    assert_eq!(read(&image, &dir, &listed).unwrap().0, (1..=60).collect::<Vec<_>>());
}

/// A sync failed, the process was restarted: the page cache still shows a group that the disk never
/// got.
#[test]
fn what_was_shown_once_after_a_failed_sync_stays() {
    let (fs, dir) = simulated();
    let mut writer = writer(&fs, &dir, 1);
    append(&mut writer, 1..=1, 20);
    writer.sync().unwrap();
    append(&mut writer, 2..=2, 20);
    fs.fail_syncs(".wal.tmp", SyncFailure::LostStillCached, Some(1));
    assert!(writer.sync().is_err());
    let listed = [expect(1)];
    let (shown, outcome) = read(&fs, &dir, &listed).unwrap();
    assert_eq!(shown, [1, 2]);
    // Syncing the old file again would say yes and do nothing.
    let tail = rewrite(&fs, &dir, &outcome, 2).unwrap();
    let image = fs.crash(CrashPolicy::DropAll, 0);
    assert_eq!(read(&image, &dir, &relisted(&listed, &tail)).unwrap().0, [1, 2]);
}

#[test]
fn a_power_cut_anywhere_in_a_rewrite_leaves_it_to_be_done_again() {
    let (fs, dir) = simulated();
    let listed = with_tail(&fs, &dir);
    let (shown, outcome) = read(&fs, &dir, &listed).unwrap();
    fs.record_states();
    rewrite(&fs, &dir, &outcome, 3).unwrap();
    let mut images = 0;
    for (op, state) in fs.take_states() {
        for policy in state.exhaustive_policies(64) {
            let image = state.image(policy, 0);
            let (found, again) = read(&image, &dir, &listed).unwrap();
            assert!(found.len() >= 3 && shown.starts_with(&found), "{op} {policy:?}: {found:?}");
            let tail = rewrite(&image, &dir, &again, 3).unwrap();
            let after = image.crash(CrashPolicy::DropAll, 0);
            let (kept, _) = read(&after, &dir, &relisted(&listed, &tail)).unwrap();
            assert_eq!(kept, found, "{op} {policy:?}");
            images += 1;
        }
    }
    assert!(images > 100, "{images}");
}

#[test]
fn an_error_at_any_call_leaves_the_old_log_and_no_unfinished_file() {
    for failure in [Failure::Io, Failure::NoSpace, Failure::TooManyFiles] {
        for call in 0.. {
            let (disk, dir) = simulated();
            let fs = FaultFs::new(Arc::new(disk.clone()));
            let listed = with_tail(&fs, &dir);
            let (shown, outcome) = read(&fs, &dir, &listed).unwrap();
            // The clean-up has to work; only the rewrite itself is made to fail.
            let calls: Vec<_> =
                Call::ALL.into_iter().filter(|call| *call != Call::RemoveFile).collect();
            fs.inject(Rule::new(Fault::FailHalfway(failure)).on(&calls).after(call));
            let result = rewrite(&fs, &dir, &outcome, 3);
            if fs.strikes() == 0 {
                assert!(result.is_ok() && call > 10);
                break;
            }
            let kind = result.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::Io | ErrorKind::NoSpace), "{kind:?}");
            fs.clear();
            assert!(fs.list(&dir).unwrap().iter().all(|name| !name.ends_with(".tmp")), "{call}");
            assert_eq!(read(&fs, &dir, &listed).unwrap().0, shown);
            let tail = rewrite(&fs, &dir, &outcome, 3).unwrap();
            assert_eq!(read(&fs, &dir, &relisted(&listed, &tail)).unwrap().0, shown);
        }
    }
}

#[test]
fn a_full_disk_takes_the_tail_in_a_recycled_spare() {
    let (fs, dir) = simulated();
    let listed = with_tail(&fs, &dir);
    segment(&fs, &dir, 3);
    fs.set_capacity(3 * 4096);
    let spare = SegmentExpectation { optional: true, ..expect(3) };
    let listed = [listed[0], listed[1], spare];
    let (shown, outcome) = read(&fs, &dir, &listed).unwrap();
    assert_eq!(outcome.beyond, [FileNumber(3)]);
    let full = rewrite(&fs, &dir, &outcome, 4).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::NoSpace);
    let spare = FileNumber(3);
    fs.rename(&dir.join(FileKind::Wal.name(spare)), &dir.join(retired_name(spare))).unwrap();
    let recycled = SegmentSpec { recycle: Some(spare), ..spec(4) };
    let tail = rewrite_tail(&fs, &dir, &outcome, SeqNo(9), &mut |_| Ok(recycled)).unwrap();
    assert_eq!(tail.writer.last_seq(), SeqNo(9));
    // Before the manifest says so, the spare is gone and not missed.
    let image = fs.image(CrashPolicy::KeepAll, 0);
    assert_eq!(read(&image, &dir, &listed).unwrap().0, shown);
    let after = fs.crash(CrashPolicy::DropAll, 0);
    assert_eq!(read(&after, &dir, &relisted(&listed, &tail)).unwrap().0, shown);
}

#[test]
fn a_spec_that_cannot_do_is_refused() {
    let (fs, dir) = simulated();
    let listed = with_tail(&fs, &dir);
    let (_, outcome) = read(&fs, &dir, &listed).unwrap();
    for bad in [
        spec(2),
        SegmentSpec { size_bytes: 100, ..spec(3) },
        SegmentSpec { recycle: Some(FileNumber(2)), ..spec(3) },
    ] {
        let error = rewrite_tail(&fs, &dir, &outcome, SeqNo(0), &mut |_| Ok(bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(fs.list(&dir).unwrap().len(), 2);
}

#[test]
fn a_log_that_changed_since_it_was_read_is_refused() {
    let (fs, dir) = simulated();
    let listed = with_tail(&fs, &dir);
    let (_, outcome) = read(&fs, &dir, &listed).unwrap();
    let refused = |outcome: &Outcome| {
        let error = rewrite(&fs, &dir, outcome, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    };
    let mut elsewhere = outcome.clone();
    elsewhere.known_synced.offset += 8;
    refused(&elsewhere);
    elsewhere.known_synced = position(1, 4000);
    refused(&elsewhere);
    let mut unlisted = outcome.clone();
    unlisted.segments.remove(0);
    unlisted.segments[0].number = FileNumber(1);
    unlisted.known_synced.file = FileNumber(2);
    refused(&unlisted);
    let mut foreign = outcome.clone();
    foreign.segments[1].file_id = FileId([9; 16]);
    refused(&foreign);
    overwrite(&fs, &dir, 2, 64, &[0; 200]);
    refused(&outcome);
}

#[test]
fn nothing_is_copied_of_a_log_that_is_durable_or_empty() {
    let (fs, dir) = simulated();
    let mut first = writer(&fs, &dir, 5);
    append(&mut first, 1..=2, 20);
    first.sync().unwrap();
    // The manifest knows more than the frames: nothing lies behind it.
    let (_, outcome) = read_from(&fs, &dir, &[expect(5)], first.position()).unwrap();
    let tail = rewrite(&fs, &dir, &outcome, 6).unwrap();
    assert_eq!((tail.cut, tail.writer.position()), (first.position(), position(6, 64)));
    assert_eq!(tail.writer.last_seq(), SeqNo(2));
    // What was durable last is in a retired segment: everything that is left is copied.
    let mut outcome = outcome;
    outcome.known_synced = position(4, 900);
    let tail = rewrite(&fs, &dir, &outcome, 6).unwrap();
    assert_eq!(
        (tail.cut, tail.writer.position().offset),
        (position(5, 64), first.position().offset)
    );
    // A database that has no segment yet.
    let (_, outcome) = read(&fs, &dir, &[]).unwrap();
    let tail = rewrite(&fs, &dir, &outcome, 1).unwrap();
    assert_eq!((tail.cut, tail.writer.position()), (LogPosition::default(), position(1, 64)));
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Sync,
    Rotate,
    Crash(CrashPolicy, u64),
    CloseAndOpen,
}

fn step() -> impl Strategy<Value = Step> {
    let policy = prop_oneof![
        Just(CrashPolicy::Ordered),
        Just(CrashPolicy::Posix),
        Just(CrashPolicy::Hostile),
        Just(CrashPolicy::KeepAll),
        Just(CrashPolicy::DropAll),
    ];
    prop_oneof![
        6 => (1usize..900).prop_map(Step::Append),
        2 => Just(Step::Sync),
        1 => Just(Step::Rotate),
        2 => (policy, any::<u64>()).prop_map(|(policy, seed)| Step::Crash(policy, seed)),
        1 => Just(Step::CloseAndOpen),
    ]
}

/// A log and what its manifest lists; the manifest itself is always durable at once.
struct Life {
    fs: SimulatedFs,
    dir: PathBuf,
    listed: Vec<SegmentExpectation>,
    writer: Writer,
    next_number: u64,
    synced: u64,
}

impl Life {
    fn rotate(&mut self) {
        let number = self.next_number;
        self.next_number += 1;
        let next = create_segment(&self.fs, &self.dir, &spec(number)).unwrap();
        self.listed.push(expect(number));
        self.writer.rotate(next).unwrap();
    }

    /// What recovery does; returns how many groups are left.
    fn open(&mut self) -> u64 {
        let (found, outcome) = read(&self.fs, &self.dir, &self.listed).unwrap();
        let last = found.len() as u64;
        assert!(found.iter().copied().eq(1..=last), "{found:?}");
        let tail = rewrite(&self.fs, &self.dir, &outcome, self.next_number).unwrap();
        self.next_number = tail.writer.segment().number().0 + 1;
        self.listed = relisted(&self.listed, &tail);
        self.writer = tail.writer;
        last
    }
}

proptest! {
    #[test]
    fn a_log_keeps_its_promises_through_any_life(steps in prop::collection::vec(step(), 1..60)) {
        let (fs, dir) = simulated();
        let writer = writer(&fs, &dir, 1);
        let mut life =
            Life { fs, dir, listed: vec![expect(1)], writer, next_number: 2, synced: 0 };
        let mut last = 0;
        for step in steps {
            match step {
                Step::Append(len) => {
                    let mut group = group(last + 1, len);
                    if !life.writer.fits(group.payload().len()) {
                        life.rotate();
                    }
                    life.writer.append(&mut group).unwrap();
                    last += 1;
                }
                Step::Sync => {
                    life.writer.sync().unwrap();
                    life.synced = last;
                }
                Step::Rotate => life.rotate(),
                Step::Crash(policy, seed) => {
                    life.fs = life.fs.crash(policy, seed);
                    let left = life.open();
                    prop_assert!(left >= life.synced && left <= last);
                    if policy == CrashPolicy::KeepAll {
                        prop_assert_eq!(left, last);
                    }
                    (life.synced, last) = (left, left);
                }
                Step::CloseAndOpen => {
                    let seal = life.writer.seal().unwrap();
                    life.listed.last_mut().unwrap().sealed = Some(seal);
                    life.fs = life.fs.crash(CrashPolicy::DropAll, 0);
                    let (found, outcome) = read(&life.fs, &life.dir, &life.listed).unwrap();
                    prop_assert!(outcome.clean && found.len() as u64 == last);
                    prop_assert_eq!(life.open(), last);
                    life.synced = last;
                }
            }
        }
    }
}
