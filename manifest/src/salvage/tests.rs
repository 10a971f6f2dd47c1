//! Salvage of manifests that are damaged, forged, cut off, misplaced or cannot be read.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::ManifestLog;
use esker_base::FileId;
use esker_vfs::simulated::Simulation;

const DIR: &str = "/";

/// A manifest with three keyspaces, the second one dropped.
fn sample() -> (Simulation, Version) {
    let sim = Simulation::new(1);
    let mut version = Version::new([9; 16]);
    version.next_file = FileNumber(2);
    let id = FileId([1; 16]);
    let dir = Path::new(DIR);
    let mut log = ManifestLog::create(&sim.world(), dir, FileNumber(1), id, &version).unwrap();
    let created = |id, name: &str| Edit {
        created_keyspaces: vec![KeyspaceMeta::new(KeyspaceId(id), name)],
        ..Edit::default()
    };
    let dropped = Edit { dropped_keyspaces: vec![KeyspaceId(2)], ..Edit::default() };
    for edit in [created(1, "a"), created(2, "b"), dropped, created(3, "c")] {
        log.append(&edit).unwrap();
        version = version.apply(&edit).unwrap();
    }
    (sim, version)
}

#[test]
fn a_sound_manifest_is_whole_without_current() {
    let (sim, version) = sample();
    let fs = sim.world().fs;
    for damage in [true, false] {
        if damage {
            let path = Path::new("/CURRENT");
            fs.open(path, OpenMode::ReadWrite).unwrap().write_all_at(&[0; 9], 3).unwrap();
        } else {
            fs.remove_file(Path::new("/CURRENT")).unwrap();
        }
        let remains = salvage(&*fs, Path::new(DIR)).unwrap();
        assert_eq!(remains.version, Some(version.clone()));
    }
}

#[test]
fn names_are_found_around_damage() {
    let (sim, version) = sample();
    let fs = sim.world().fs;
    let path = Path::new("/0000000001.manifest");
    let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    for at in 0..used {
        file.write_all_at(&[!bytes[at]], at as u64).unwrap();
        let remains = salvage(&*fs, Path::new(DIR)).unwrap();
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
        assert_eq!(remains.database_id, Some([9; 16]), "{at}");
        let wrong = remains.keyspaces.iter().find(|(id, meta)| {
            version.keyspaces.get(id).is_some_and(|state| *state.meta != **meta)
        });
        assert_eq!(wrong, None, "{at}");
        assert!(!remains.keyspaces.is_empty(), "{at}");
    }
}

/// Writes an edit's frame into manifest 1 at `at`; where the next one goes.
fn forge(fs: &dyn Fs, at: u64, kind: u8, version: u8, payload: &[u8]) -> u64 {
    let mut bytes = Vec::new();
    let synced = esker_base::LogPosition { file: FileNumber(1), offset: at };
    frame::encode(FileId([1; 16]), at, kind, version, synced, payload, &mut bytes);
    let file = fs.open(Path::new("/0000000001.manifest"), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&bytes, at).unwrap();
    at + bytes.len() as u64
}

fn content(fs: &dyn Fs, path: &str) -> Vec<u8> {
    let file = fs.open(Path::new(path), OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Where the frames of manifest 1 start, and where the last one ends.
fn frames(fs: &dyn Fs) -> Vec<u64> {
    let bytes = content(fs, "/0000000001.manifest");
    let ends = frame::scan(FileId([1; 16]), 64, &bytes).map(|frame| frame.end());
    std::iter::once(64).chain(ends).collect()
}

fn created(id: u64, name: &str) -> Vec<u8> {
    let meta = KeyspaceMeta::new(KeyspaceId(id), name);
    let edit = Edit { created_keyspaces: vec![meta], ..Edit::default() };
    v2::encode_edit(&edit).unwrap()
}

#[test]
fn formats_of_a_later_version_are_not_guessed_at() {
    // CURRENT, the manifest's header, an edit behind sound ones.
    let (sim, _) = sample();
    let fs = sim.world().fs;
    let mut bytes = content(&*fs, "/CURRENT");
    bytes[8] = 2;
    let crc = esker_base::checksum::plain(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    let current = fs.open(Path::new("/CURRENT"), OpenMode::ReadWrite).unwrap();
    current.write_all_at(&bytes, 0).unwrap();
    assert_eq!(salvage(&*fs, Path::new(DIR)).unwrap_err().kind(), ErrorKind::Unsupported);
    let (sim, _) = sample();
    let fs = sim.world().fs;
    let end = *frames(&*fs).last().unwrap();
    forge(&*fs, end, 2, 3, b"?");
    assert_eq!(salvage(&*fs, Path::new(DIR)).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn behind_a_hole_what_decodes_is_followed_and_the_rest_is_left_out() {
    let (sim, version) = sample();
    let fs = sim.world().fs;
    let frames = frames(&*fs);
    let file = fs.open(Path::new("/0000000001.manifest"), OpenMode::ReadWrite).unwrap();
    // The creation of `a` is lost. Behind the others: a frame of a later version, one that does not decode, a snapshot
    // part, a keyspace, one without a name, one of an impossible id, and counters that leave no room.
    file.write_all_at(&[0xff; 8], frames[1]).unwrap();
    let mut at = *frames.last().unwrap();
    for (kind, version, payload) in [
        (2, 3, created(20, "newer")),
        (2, 2, b"no edit".to_vec()),
        (1, 2, created(21, "a part")),
        (2, 2, created(22, "d")),
        (2, 2, created(23, "")),
        (2, 2, created(u64::MAX, "far")),
        (
            2,
            2,
            v2::encode_edit(&Edit {
                opened: Some(Epoch(u64::MAX)),
                next_keyspace: Some(KeyspaceId(u64::MAX)),
                ..Edit::default()
            })
            .unwrap(),
        ),
        (
            2,
            2,
            v2::encode_edit(&Edit {
                opened: Some(Epoch(5)),
                next_keyspace: Some(KeyspaceId(30)),
                ..Edit::default()
            })
            .unwrap(),
        ),
    ] {
        at = forge(&*fs, at, kind, version, &payload);
    }
    let remains = salvage(&*fs, Path::new(DIR)).unwrap();
    assert_eq!(remains.version, None);
    let names: Vec<_> = remains.keyspaces.values().map(|meta| meta.name.as_str()).collect();
    assert_eq!(names, ["c", "d"]);
    assert_eq!(remains.dropped, BTreeSet::from([KeyspaceId(2)]));
    assert_eq!((remains.next_keyspace, remains.epoch), (KeyspaceId(30), Epoch(5)));
    // The picture before the hole is the empty one.
    let before = remains.before_damage.unwrap();
    assert!(before.keyspaces.is_empty() && before.database_id == version.database_id);
}

#[test]
fn the_picture_before_an_edit_that_does_not_fit_is_kept() {
    let (sim, version) = sample();
    let fs = sim.world().fs;
    let end = *frames(&*fs).last().unwrap();
    forge(&*fs, end, 2, 2, &created(1, "a"));
    let remains = salvage(&*fs, Path::new(DIR)).unwrap();
    assert_eq!((remains.version, remains.before_damage), (None, Some(version)));
}

/// A manifest that an interrupted open left, beside the live one.
#[test]
fn only_the_manifest_that_current_names_is_taken_for_the_picture() {
    let (sim, version) = sample();
    let world = sim.world();
    let current = content(&*world.fs, "/CURRENT");
    let mut next = Version::new([9; 16]);
    (next.next_keyspace, next.epoch) = (KeyspaceId(2), Epoch(3));
    let id = FileId([2; 16]);
    ManifestLog::create(&world, Path::new(DIR), FileNumber(2), id, &next).unwrap();
    let remains = salvage(&*world.fs, Path::new(DIR)).unwrap();
    assert_eq!((remains.version, remains.before_damage), (Some(next.clone()), Some(next)));
    let file = world.fs.open(Path::new("/CURRENT"), OpenMode::ReadWrite).unwrap();
    file.write_all_at(&current, 0).unwrap();
    let remains = salvage(&*world.fs, Path::new(DIR)).unwrap();
    assert_eq!(remains.version, Some(version.clone()));
    assert_eq!(remains.before_damage, Some(version));
    assert_eq!(remains.epoch, Epoch(3));
    // Keyspaces that a later picture cannot know are kept; those below its counter were dropped.
    assert_eq!(remains.keyspaces.keys().copied().collect::<Vec<_>>(), [KeyspaceId(3)]);
}

#[test]
fn a_manifest_under_another_name_and_one_that_cannot_be_read_are_left_out() {
    use esker_vfs::Call;
    use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
    let (sim, version) = sample();
    let fs = sim.world().fs;
    fs.remove_file(Path::new("/CURRENT")).unwrap();
    fs.rename(Path::new("/0000000001.manifest"), Path::new("/0000000005.manifest")).unwrap();
    let remains = salvage(&*fs, Path::new(DIR)).unwrap();
    assert!(remains.keyspaces.is_empty() && remains.database_id.is_none());
    fs.rename(Path::new("/0000000005.manifest"), Path::new("/0000000001.manifest")).unwrap();
    let faulty = FaultFs::new(fs.clone());
    let fail = |calls: &[Call]| Rule::new(Fault::Fail(Failure::Io)).on(calls);
    for call in [Call::Open, Call::Len, Call::ReadAt] {
        faulty.clear();
        faulty.inject(fail(&[call]).suffix(".manifest"));
        assert!(salvage(&faulty, Path::new(DIR)).unwrap().version.is_none(), "{call:?}");
    }
    faulty.clear();
    faulty.inject(fail(&[Call::List]));
    assert_eq!(salvage(&faulty, Path::new(DIR)).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(salvage(&faulty, Path::new(DIR)).unwrap().version, Some(version));
}

/// A manifest shorter than `CURRENT` says has lost edits, however sound the rest is.
#[test]
fn a_manifest_that_was_cut_off_is_not_whole() {
    let (sim, version) = sample();
    let fs = sim.world().fs;
    let end = *frames(&*fs).last().unwrap();
    let file = fs.open(Path::new("/0000000001.manifest"), OpenMode::ReadWrite).unwrap();
    file.truncate(end).unwrap();
    let remains = salvage(&*fs, Path::new(DIR)).unwrap();
    assert_eq!((remains.version, remains.before_damage), (None, Some(version)));
}
