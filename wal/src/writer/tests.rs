//! The writer against failing, full and crashing disks.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::segment::segment_size_for;
use crate::testing::*;
use crate::{SegmentExpectation, SegmentSpec, create_segment};
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::{CrashPolicy, SyncFailure};
use esker_vfs::{Call, Fs};

#[test]
fn positions_and_what_is_known_to_be_synced_move_forward() {
    let (fs, dir) = world();
    let mut writer = writer(&*fs, &dir, 1);
    assert_eq!(writer.position(), position(1, 64));
    assert_eq!(writer.known_synced(), position(1, 64));
    let one = append(&mut writer, 1..=1, 20);
    assert_eq!(one, position(1, 64 + frame::encoded_len(2 + 1 + 2 + 20) as u64));
    assert_eq!(writer.known_synced(), position(1, 64));
    let early = writer.sync_handle().unwrap();
    let two = append(&mut writer, 2..=2, 20);
    writer.rotate(segment(&*fs, &dir, 2)).unwrap();
    let late = writer.sync_handle().unwrap();
    assert_eq!((early.through(), late.through()), (one, position(2, 64)));
    // A sync that began before the rotation leaves the first segment's end open.
    writer.synced_through(early.run().unwrap());
    assert_eq!((writer.known_synced(), writer.unsynced.len()), (one, 1));
    writer.synced_through(late.run().unwrap());
    assert_eq!((writer.known_synced(), writer.unsynced.len()), (position(2, 64), 0));
    writer.synced_through(two);
    assert_eq!(writer.known_synced(), position(2, 64));
    assert_eq!((writer.last_seq(), writer.segment().number()), (SeqNo(2), FileNumber(2)));
}

#[test]
fn what_is_refused_changes_nothing() {
    let (fs, dir) = world();
    let mut writer = writer(&*fs, &dir, 5);
    append(&mut writer, 7..=7, 20);
    let before = (writer.position(), bytes(&*fs, &dir, 5));
    assert!(writer.append(&mut GroupBuilder::new()).is_err());
    assert!(writer.append(&mut group(7, 20)).is_err());
    assert!(writer.append(&mut group(8, 4096)).is_err());
    assert!(!writer.fits(usize::MAX) && !writer.fits(usize::MAX - 64));
    let error = writer.sync_before_failure().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for number in [4, 5] {
        let mut next = create_segment(&*fs, &dir, &spec(number + 10)).unwrap();
        next.header.number = FileNumber(number);
        assert!(writer.rotate(next).is_err());
    }
    assert_eq!((writer.position(), bytes(&*fs, &dir, 5)), before);
    assert!(writer.failure().is_none());
    append(&mut writer, 8..=8, 20);
}

#[test]
fn a_full_segment_still_has_room_for_a_continue_or_a_seal() {
    for size in [4096, 4097, 4100, 8192] {
        for step in [1, 9, 16, 23] {
            let (fs, dir) = simulated();
            let spec = crate::SegmentSpec { size_bytes: size, ..spec(1) };
            let made = create_segment(&fs, &dir, &spec).unwrap();
            let start = made.start();
            let mut writer = Writer::new(made, SeqNo(0), start);
            let mut seq = 0;
            let len_of = |seq: u64| 1 + seq as usize % step * 3;
            while writer.fits(group(seq + 1, len_of(seq + 1)).payload().len()) {
                seq += 1;
                writer.append(&mut group(seq, len_of(seq))).unwrap();
            }
            let mut next = group(seq + 1, len_of(seq + 1));
            assert!(writer.append(&mut next).is_err());
            let finished = writer.rotate(segment(&fs, &dir, 2)).unwrap();
            assert!(finished.end <= size && finished.end + 128 > size, "{finished:?}");
        }
    }
    // The size asked for one group takes just that.
    for len in [1, 100, 3900, 4000, 100_000] {
        let (fs, dir) = simulated();
        let mut group = group(1, len);
        let size_bytes = segment_size_for(group.payload().len());
        let made =
            create_segment(&fs, &dir, &crate::SegmentSpec { size_bytes, ..spec(1) }).unwrap();
        let start = made.start();
        let mut writer = Writer::new(made, SeqNo(0), start);
        writer.append(&mut group).unwrap();
        writer.seal().unwrap();
    }
}

#[test]
fn each_append_is_one_write() {
    let (disk, dir) = simulated();
    let fs = FaultFs::new(Arc::new(disk));
    let mut writer = writer(&fs, &dir, 1);
    let before = fs.calls();
    append(&mut writer, 1..=9, 20);
    assert_eq!(fs.calls() - before, 9);
    writer.sync().unwrap();
    writer.sync().unwrap();
    assert_eq!(fs.calls_of(Call::SyncData), 1);
}

/// Runs `act` on a writer whose disk fails `call`, and checks that nothing reaches the disk any
/// more.
fn poisons(call: Call, fault: Fault, act: impl Fn(&mut Writer, Segment) -> Result<()>) {
    let (disk, dir) = simulated();
    let fs = FaultFs::new(Arc::new(disk));
    let mut writer = writer(&fs, &dir, 1);
    append(&mut writer, 1..=1, 20);
    writer.sync().unwrap();
    let synced = append(&mut writer, 2..=2, 20);
    let known = writer.known_synced();
    let (next, other) = (segment(&fs, &dir, 2), segment(&fs, &dir, 3));
    let handle = writer.sync_handle().unwrap();
    fs.inject(Rule::new(fault).on(&[call]));
    let error = act(&mut writer, next).unwrap_err();
    assert_eq!(fs.strikes(), 1);
    let before = fs.calls();
    let same = |again: Error| assert_eq!(again.to_string(), error.to_string());
    same(writer.append(&mut group(3, 20)).unwrap_err());
    same(writer.rotate(other).unwrap_err());
    same(writer.sync().unwrap_err());
    same(writer.sync_handle().unwrap_err());
    same(writer.seal().unwrap_err());
    same(writer.failure().unwrap().clone());
    assert_eq!(fs.calls(), before);
    // A sync that was under way and succeeds does not count any more.
    handle.run().unwrap();
    writer.synced_through(synced);
    assert_eq!(writer.known_synced(), known);
    let listed = [expect(1), SegmentExpectation { optional: true, ..expect(2) }];
    let (found, _) = read(&fs, &dir, &listed).unwrap();
    assert!(found.starts_with(&[1, 2]) && found.len() <= 3);
}

#[test]
fn a_failed_write_or_sync_ends_the_writer() {
    for failure in [Failure::Io, Failure::NoSpace] {
        for fault in [Fault::Fail(failure), Fault::FailHalfway(failure), Fault::FailAfter(failure)]
        {
            let append = |writer: &mut Writer, _| writer.append(&mut group(3, 20)).map(drop);
            poisons(Call::WriteAllAt, fault.clone(), append);
            let rotate = |writer: &mut Writer, next| writer.rotate(next).map(drop);
            // Half a Continue, or one that is complete after all, leads into a segment that exists.
            poisons(Call::WriteAllAt, fault.clone(), rotate);
            poisons(Call::SyncData, fault.clone(), |writer, _| writer.sync());
            for call in [Call::WriteAllAt, Call::Truncate, Call::SyncAll] {
                poisons(call, fault.clone(), |writer, _| writer.seal().map(drop));
            }
        }
    }
}

/// The disk is full in the middle of a frame: what stands before it is made durable, and the log goes on in the next
/// segment behind the end that the manifest records.
#[test]
fn the_log_goes_on_behind_a_failed_write() {
    let (disk, dir) = simulated();
    let fs = FaultFs::new(Arc::new(disk.clone()));
    let mut writer = writer(&fs, &dir, 1);
    append(&mut writer, 1..=2, 20);
    writer.rotate(segment(&fs, &dir, 2)).unwrap();
    let end = append(&mut writer, 3..=3, 20);
    fs.inject(Rule::new(Fault::FailHalfway(Failure::NoSpace)).on(&[Call::WriteAllAt]));
    assert_eq!(writer.append(&mut group(4, 20)).unwrap_err().kind(), ErrorKind::NoSpace);
    let finished = writer.sync_before_failure().unwrap();
    assert_eq!((finished.number, finished.end), (FileNumber(2), end.offset));
    assert_eq!(finished.last_seq, SeqNo(3));
    writer.continue_in(segment(&fs, &dir, 3));
    append(&mut writer, 4..=4, 20);
    writer.sync().unwrap();
    let cut = SegmentExpectation { ends_at: Some(end.offset), ..expect(2) };
    let image = disk.crash(CrashPolicy::DropAll, 0);
    let (found, outcome) = read(&image, &dir, &[expect(1), cut, expect(3)]).unwrap();
    assert_eq!((found, outcome.torn_bytes), (vec![1, 2, 3, 4], 0));
}

#[test]
fn a_sync_that_fails_after_a_failed_write_ends_the_writer() {
    // The finished segment's, or the current one's.
    for skipped in 0..2 {
        let (disk, dir) = simulated();
        let fs = FaultFs::new(Arc::new(disk));
        let mut writer = writer(&fs, &dir, 1);
        append(&mut writer, 1..=2, 20);
        writer.rotate(segment(&fs, &dir, 2)).unwrap();
        append(&mut writer, 3..=3, 20);
        let known = writer.known_synced();
        fs.inject(Rule::new(Fault::Fail(Failure::NoSpace)).on(&[Call::WriteAllAt]));
        fs.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::SyncData]).after(skipped));
        writer.append(&mut group(4, 20)).unwrap_err();
        let error = writer.sync_before_failure().unwrap_err();
        assert_eq!((error.kind(), writer.known_synced()), (ErrorKind::Io, known));
        // The failed sync is what counts from now on: it is not run again.
        let syncs = fs.calls_of(Call::SyncData);
        let again = writer.sync_before_failure().unwrap_err();
        assert_eq!((again.to_string(), fs.calls_of(Call::SyncData)), (error.to_string(), syncs));
    }
}

#[test]
fn a_previous_segment_is_synced_before_the_current_one_counts() {
    let (fs, dir) = simulated();
    let mut writer = writer(&fs, &dir, 1);
    append(&mut writer, 1..=3, 20);
    writer.rotate(segment(&fs, &dir, 2)).unwrap();
    append(&mut writer, 4..=5, 20);
    let listed = [expect(1), expect(2)];
    // Nothing was synced: everything goes.
    let (found, _) = read(&fs.image(CrashPolicy::DropAll, 0), &dir, &listed).unwrap();
    assert!(found.is_empty());
    // If the first segment cannot be synced, nothing of the second is. Its file was opened by its
    // temporary name.
    fs.fail_syncs("0000000001.wal.tmp", SyncFailure::LostStillCached, Some(1));
    assert!(writer.sync().is_err());
    let (found, outcome) = read(&fs.image(CrashPolicy::DropAll, 0), &dir, &listed).unwrap();
    assert!(found.is_empty() && outcome.known_synced <= position(1, 64));
}

#[test]
fn after_a_sync_both_segments_survive_the_loss_of_everything_else() {
    let (fs, dir) = simulated();
    let mut writer = writer(&fs, &dir, 1);
    append(&mut writer, 1..=3, 20);
    writer.rotate(segment(&fs, &dir, 2)).unwrap();
    append(&mut writer, 4..=5, 20);
    writer.sync().unwrap();
    append(&mut writer, 6..=7, 20);
    let listed = [expect(1), expect(2)];
    let (found, _) = read(&fs.crash(CrashPolicy::DropAll, 0), &dir, &listed).unwrap();
    assert_eq!(found, [1, 2, 3, 4, 5]);
}

/// Two syncs, two rotations and un-synced groups in between; the power may fail before any call, in
/// any way.
#[test]
fn no_power_cut_loses_a_synced_group_or_refuses_the_log() {
    let (fs, dir) = simulated();
    let mut writer = writer(&fs, &dir, 1);
    fs.record_states();
    let mut acknowledged = vec![(fs.ops(), 0)];
    let mut steps = |writer: &mut Writer, seqs: std::ops::RangeInclusive<u64>, sync: bool| {
        let last = *seqs.end();
        append(writer, seqs, 60);
        if sync {
            writer.sync().unwrap();
            acknowledged.push((fs.ops(), last));
        }
    };
    steps(&mut writer, 1..=2, true);
    steps(&mut writer, 3..=4, false);
    writer.rotate(segment(&fs, &dir, 2)).unwrap();
    steps(&mut writer, 5..=6, false);
    writer.rotate(segment(&fs, &dir, 3)).unwrap();
    steps(&mut writer, 7..=7, true);
    steps(&mut writer, 8..=8, false);
    writer.seal().unwrap();
    acknowledged.push((fs.ops(), 8));

    let optional = |number| SegmentExpectation { optional: true, ..expect(number) };
    let listed = [expect(1), optional(2), optional(3)];
    let mut images = 0;
    for (op, state) in fs.take_states() {
        let last = acknowledged.iter().rev().find(|(at, _)| *at <= op).unwrap().1;
        let seeded = [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::Hostile];
        let seeded = (0..20).flat_map(|seed| seeded.map(|policy| (policy, seed)));
        let exhaustive = state.exhaustive_policies(8).into_iter().map(|policy| (policy, 0));
        for (policy, seed) in exhaustive.chain(seeded) {
            let image = state.image(policy, seed);
            let (found, _) = read(&image, &dir, &listed)
                .unwrap_or_else(|error| panic!("{op} {policy:?} {seed}: {error}"));
            assert!(found.len() as u64 >= last, "{op} {policy:?} {seed}: {found:?} of {last}");
            assert!(found.iter().copied().eq(1..=found.len() as u64));
            images += 1;
        }
    }
    assert!(images > 1000, "{images}");
}

/// A segment that grows while it is written, made afresh or of a retired one: the power may fail before any call, and
/// the new length may be lost with what stands there.
#[test]
fn a_segment_may_grow_and_no_power_cut_minds() {
    for recycles in [false, true] {
        let (fs, dir) = simulated();
        let mut used = spec(2);
        if recycles {
            let old = segment(&fs, &dir, 1);
            old.file.write_all_at(&[9; 4000], 90).unwrap();
            old.file.sync_all().unwrap();
            fs.rename(&old.path, &dir.join(crate::retired_name(old.number()))).unwrap();
            used = SegmentSpec { recycle: Some(FileNumber(1)), map: true, ..used };
        }
        let used = create_segment(&fs, &dir, &used).unwrap();
        let listed_used = SegmentExpectation { file_id: used.file_id(), ..expect(2) };
        let start = used.start();
        let mut writer = Writer::new(used, SeqNo(0), start);
        fs.record_states();
        let mut acknowledged = vec![(fs.ops(), 0)];
        for seq in 1..=24 {
            while !writer.fits(group(seq, 500).payload().len()) {
                assert!(writer.grow());
            }
            let mut group = group(seq, 500);
            if seq % 3 == 0 {
                writer.append(&mut group)
            } else {
                writer.append_buffered(&mut group)
            }
            .unwrap();
            if seq % 5 == 0 {
                writer.sync().unwrap();
                acknowledged.push((fs.ops(), seq));
            }
        }
        assert_eq!(writer.segment().size_bytes(), 4 * writer.segment().made_bytes());
        assert!(!writer.grow(), "only so far");
        writer.rotate(segment(&fs, &dir, 3)).unwrap();
        append(&mut writer, 25..=25, 20);
        writer.sync().unwrap();
        acknowledged.push((fs.ops(), 25));
        let optional = SegmentExpectation { optional: true, ..expect(3) };
        let listed = [listed_used, optional];
        for (op, state) in fs.take_states() {
            let last = acknowledged.iter().rev().find(|(at, _)| *at <= op).unwrap().1;
            let policies = [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::Hostile];
            let policies = [CrashPolicy::KeepAll, CrashPolicy::DropAll].into_iter().chain(policies);
            for (policy, seed) in policies.flat_map(|policy| (0..6).map(move |seed| (policy, seed)))
            {
                let (found, _) = read(&state.image(policy, seed), &dir, &listed)
                    .unwrap_or_else(|error| panic!("{op} {policy:?} {seed}: {error}"));
                assert!(found.len() as u64 >= last, "{op} {policy:?} {seed}: {found:?} of {last}");
                assert!(found.iter().copied().eq(1..=found.len() as u64));
            }
        }
    }
}

/// What others sync meanwhile does not count for the segment in use.
#[test]
fn finished_segments_can_be_synced_alone() {
    let (fs, dir) = simulated();
    let mut writer = writer(&fs, &dir, 1);
    append(&mut writer, 1..=3, 20);
    writer.rotate(segment(&fs, &dir, 2)).unwrap();
    let handle = writer.sync_handle_of_finished().unwrap();
    append(&mut writer, 4..=5, 20);
    let through = handle.run().unwrap();
    writer.synced_through(through);
    assert_eq!((writer.known_synced(), writer.unsynced_segments()), (position(2, 64), 0));
    let listed = [expect(1), expect(2)];
    let (found, _) = read(&fs.image(CrashPolicy::DropAll, 0), &dir, &listed).unwrap();
    assert_eq!(found, [1, 2, 3]);
    writer.sync().unwrap();
    let (found, _) = read(&fs.image(CrashPolicy::DropAll, 0), &dir, &listed).unwrap();
    assert_eq!(found, [1, 2, 3, 4, 5]);
}
