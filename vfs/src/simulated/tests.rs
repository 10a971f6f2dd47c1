//! What a power cut leaves of a simulated disk, and what drives one.
#![allow(clippy::unwrap_used)]

mod images;
mod syncs;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::{Clock, File, Fs, LockMode, OpenMode, Random, World};

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn read(fs: &SimulatedFs, name: &str) -> Vec<u8> {
    let file = fs.open(path(name), OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A file whose name and bytes are durable.
fn durable_file(fs: &SimulatedFs, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = fs.create_new(path(name)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(path("/")).unwrap();
    file
}

#[test]
fn power_goes_off_at_the_given_call_and_stays_off() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"one");
    assert_eq!(fs.ops(), 4);
    fs.cut_power_at(5);
    file.write_all_at(b"two", 0).unwrap();
    assert!(!fs.power_is_off());
    file.sync_data().unwrap_err();
    assert!(fs.power_is_off());
    assert_eq!(fs.ops(), 5);
    file.len().unwrap_err();
    fs.exists(path("a")).unwrap_err();
    fs.lock(path("LOCK"), LockMode::Exclusive).unwrap_err();
    assert_eq!(read(&fs.crash(CrashPolicy::DropAll, 0), "a"), b"one");
    assert_eq!(read(&fs.crash(CrashPolicy::KeepAll, 0), "a"), b"two");
}

#[test]
fn handles_of_a_crashed_disk_stay_dead_and_its_locks_are_free() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"one");
    let _lock = fs.lock(path("a"), LockMode::Exclusive).unwrap();
    let after = fs.crash(CrashPolicy::KeepAll, 0);
    file.write_all_at(b"two", 0).unwrap_err();
    assert_eq!(read(&after, "a"), b"one");
    after.lock(path("a"), LockMode::Exclusive).unwrap();
}

#[test]
fn a_fork_goes_its_own_way_with_what_is_pending() {
    let fs = SimulatedFs::new();
    let file = durable_file(&fs, "a", b"one");
    file.write_all_at(b"two", 0).unwrap();
    let fork = fs.fork();
    assert_eq!(fork.pending_ops(), 1);
    file.write_all_at(b"three", 0).unwrap();
    assert_eq!(read(&fork, "a"), b"two");
    assert_eq!(read(&fork.image(CrashPolicy::DropAll, 0), "a"), b"one");
    assert_eq!(fs.image_hash(), fs.fork().image_hash());
    assert_ne!(fs.image_hash(), fork.image_hash());
}

#[test]
fn a_full_disk_takes_what_fits_and_recovers_when_space_appears() {
    let fs = SimulatedFs::new();
    fs.set_capacity(1000);
    let file = fs.create_new(path("a")).unwrap();
    file.allocate(600).unwrap();
    assert_eq!(fs.free_space(path("/")).unwrap(), 400);
    // Reserved space is there for those who reserved it.
    let other = fs.create_new(path("b")).unwrap();
    assert_eq!(other.write_all_at(&[1; 500], 0).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 400);
    file.write_all_at(&[2; 600], 0).unwrap();
    assert_eq!(file.write_all_at(&[2; 1], 600).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.allocate(601).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.truncate(601).unwrap_err().kind(), ErrorKind::StorageFull);
    fs.set_capacity(1100);
    other.write_all_at(&[1; 100], 400).unwrap();
    // Removing frees once the last handle is gone.
    fs.remove_file(path("b")).unwrap();
    assert_eq!(fs.free_space(path("/")).unwrap(), 0);
    drop(other);
    assert_eq!(fs.free_space(path("/")).unwrap(), 500);
    file.truncate(10).unwrap();
    assert_eq!(fs.free_space(path("/")).unwrap(), 1090);
    fs.create_new(path("c")).unwrap().write_all_at(&[1; 90], 0).unwrap();
    fs.rename(path("c"), path("a")).unwrap();
    drop(file);
    assert_eq!(fs.free_space(path("/")).unwrap(), 1010);
    assert_eq!(fs.fork().free_space(path("/")).unwrap(), 1010);
}

#[test]
fn a_wild_offset_is_an_error() {
    let fs = SimulatedFs::new();
    let file = fs.create_new(path("a")).unwrap();
    file.write_all_at(b"x", 1 << 50).unwrap_err();
    file.write_all_at(b"xy", u64::MAX - 1).unwrap_err();
    file.allocate(u64::MAX).unwrap_err();
    assert_eq!(file.len().unwrap(), 0);
}

/// A little history whose calls depend on nothing but `seed`.
fn history(fs: &SimulatedFs, seed: u64) {
    let mut random = hash::Chooser::new(seed);
    let names = ["a", "b", "c", "d"];
    for _ in 0..200 {
        let name = path(names[random.below(4) as usize]);
        let other = path(names[random.below(4) as usize]);
        match random.below(8) {
            0 => drop(fs.create_new(name)),
            1 => drop(fs.rename(name, other)),
            2 => drop(fs.hard_link(name, other)),
            3 if random.chance(30) => drop(fs.remove_file(name)),
            4 if random.chance(20) => fs.sync_dir(path("/")).unwrap(),
            _ => {
                let Ok(file) = fs.open(name, OpenMode::ReadWrite) else { continue };
                let mut bytes = vec![0; random.below(3000) as usize];
                random.fill(&mut bytes);
                match random.below(6) {
                    0 => file.truncate(random.below(4000)).unwrap(),
                    1 => file.allocate(random.below(4000)).unwrap(),
                    2 => file.sync_data().unwrap(),
                    _ => file.write_all_at(&bytes, random.below(2000)).unwrap(),
                }
            }
        }
    }
}

#[test]
fn the_same_calls_give_the_same_trace_and_the_same_images() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (one, two) = (SimulatedFs::new(), SimulatedFs::new());
        history(&one, seed);
        history(&two, seed);
        assert_eq!(one.trace_hash(), two.trace_hash(), "seed {seed}");
        assert_eq!(one.image_hash(), two.image_hash(), "seed {seed}");
        assert_eq!(one.pending(), two.pending(), "seed {seed}");
        for policy in [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::Hostile] {
            for image in 0..10 {
                let hash = one.image(policy, image).image_hash();
                assert_eq!(hash, two.image(policy, image).image_hash(), "{policy:?}, seed {seed}");
            }
        }
        traces.insert(one.trace_hash());
    }
    assert_eq!(traces.len(), 50);
}

#[test]
fn what_is_kept_is_what_was_cached_and_images_are_wholly_durable() {
    for seed in 0..200 {
        let fs = SimulatedFs::new();
        history(&fs, seed);
        let kept = fs.image(CrashPolicy::KeepAll, 0);
        assert_eq!(kept.image_hash(), fs.image_hash(), "seed {seed}");
        let all = fs.image(CrashPolicy::Prefix(fs.pending_ops()), 0);
        assert_eq!(all.image_hash(), fs.image_hash(), "seed {seed}");
        let none = fs.image(CrashPolicy::Prefix(0), 0);
        let dropped = fs.image(CrashPolicy::DropAll, 0);
        assert_eq!(none.image_hash(), dropped.image_hash(), "seed {seed}");
        for policy in [CrashPolicy::Ordered, CrashPolicy::Posix, CrashPolicy::Hostile] {
            let image = fs.image(policy, seed);
            assert_eq!(image.pending_ops(), 0);
            let again = image.image(CrashPolicy::DropAll, 0);
            assert_eq!(again.image_hash(), image.image_hash(), "{policy:?}, seed {seed}");
        }
    }
}

#[test]
fn recorded_states_are_those_of_a_power_cut_before_the_call() {
    let recorded = SimulatedFs::new();
    recorded.record_states();
    history(&recorded, 7);
    let states = recorded.take_states();
    assert!(states.len() > 50);
    for (op, state) in states.iter().step_by(7) {
        let cut = SimulatedFs::new();
        cut.record_states();
        cut.cut_power_at(*op);
        // Everything past the cut fails, which the history takes in its stride except where it
        // unwraps.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history(&cut, 7)));
        assert_eq!(cut.pending(), state.pending(), "op {op}");
        for policy in [CrashPolicy::KeepAll, CrashPolicy::DropAll, CrashPolicy::Posix] {
            let hash = cut.image(policy, 1).image_hash();
            assert_eq!(hash, state.image(policy, 1).image_hash(), "op {op}");
        }
    }
    assert!(recorded.take_states().is_empty());
}

#[test]
fn dead_files_do_not_pile_up() {
    let fs = SimulatedFs::new();
    for _ in 0..100 {
        let file = fs.create_new(path("a")).unwrap();
        file.write_all_at(&[1; 100], 0).unwrap();
        fs.remove_file(path("a")).unwrap();
        drop(file);
        fs.sync_dir(path("/")).unwrap();
    }
    let disk = fs.disk.lock();
    assert!(disk.nodes.len() <= 2, "{} nodes", disk.nodes.len());
    assert!(disk.pending.len() <= 1, "{} changes", disk.pending.len());
}

#[test]
fn simulated_time_moves_by_sleep_and_by_hand() {
    let clock = SimulatedClock::new();
    let start = clock.wall_ms();
    assert_eq!(clock.monotonic(), Duration::ZERO);
    clock.sleep(Duration::from_millis(1500));
    clock.advance(Duration::from_millis(500));
    assert_eq!(clock.monotonic(), Duration::from_secs(2));
    assert_eq!(clock.wall_ms(), start + 2000);
    clock.jump_wall_ms(-5000);
    assert_eq!(clock.wall_ms(), start - 3000);
    assert_eq!(clock.monotonic(), Duration::from_secs(2));
}

#[test]
fn simulated_randomness_follows_from_its_seed() {
    let bytes = |seed| {
        let mut bytes = [0; 21];
        SimulatedRandom::new(seed).fill(&mut bytes);
        bytes
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn a_simulated_world_shares_its_disk() {
    let (world, fs) = World::simulated(1);
    world.fs.create_new(path("a")).unwrap();
    assert!(fs.exists(path("a")).unwrap());
    let simulation = Simulation::new(1);
    simulation.clock.advance(Duration::from_secs(1));
    simulation.world().fs.create_dir_all(path("d")).unwrap();
    let after = simulation.crash(CrashPolicy::KeepAll, 0);
    assert!(after.world().fs.exists(path("d")).unwrap());
    assert_eq!(after.world().clock.monotonic(), Duration::from_secs(1));
    assert!(simulation.fs.power_is_off());
}
