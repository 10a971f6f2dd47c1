//! Files that nobody wrote but whose checksums are right: opening refuses them with a typed error, changes nothing and
//! allocates nothing by what they claim. Also files that were cut off, and files of a newer version.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use esker_base::checksum;
use esker_base::limits::SEQNO_MAX;
use esker_base::{FileNumber, KeyspaceId, LogPosition, varint};
use esker_vfs::simulated::{CrashPolicy, Simulation};
use esker_vfs::{Fs, OpenMode};

use super::support::small;
use crate::{ErrorKind, RepairOptions, repair};

const DIR: &str = "/db";

/// A killed database of one keyspace (number 1) whose log holds the sequence numbers 1 and 2; where its log ends.
fn killed() -> (Simulation, LogPosition) {
    let sim = Simulation::new(1);
    let db = small(sim.world()).wal_segment_bytes(64 << 10).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    assert_eq!(ks.id(), KeyspaceId(1));
    ks.put("a", "1").unwrap();
    ks.put("b", "2").unwrap();
    let end = db.core().log.lock().writer().unwrap().position();
    let left = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 2), 2);
    (left, end)
}

fn path(number: FileNumber) -> PathBuf {
    Path::new(DIR).join(esker_base::names::FileKind::Wal.name(number))
}

fn read(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn write(fs: &dyn Fs, path: &Path, at: u64, bytes: &[u8]) {
    let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

fn group(first: u64, batches: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut payload = vec![0];
    varint::encode(first, &mut payload);
    for (count, bytes) in batches {
        varint::encode((*count).into(), &mut payload);
        varint::encode_slice(bytes, &mut payload);
    }
    payload
}

/// Puts a frame with `payload` behind the log of a killed database.
fn with_frame(payload: &[u8]) -> Simulation {
    let (sim, end) = killed();
    let fs = sim.world().fs;
    let (header, _) = esker_wal::look_at(&*fs, Path::new(DIR), end.file).unwrap().unwrap();
    let mut frame = Vec::new();
    esker_wal::frame::encode(header.place(), end.offset, 1, end, payload, &mut frame);
    write(&*fs, &path(end.file), end.offset, &frame);
    sim
}

fn assert_refused(sim: &Simulation, kind: ErrorKind, what: &str) {
    let before = sim.fs.image_hash();
    for read_only in [true, false] {
        let refused = small(sim.world()).read_only(read_only).open(DIR).unwrap_err();
        assert_eq!(refused.kind(), kind, "{what}: {refused}");
        assert!(refused.path().is_some(), "{what}: {refused}");
    }
    // A repair looks at the same bytes.
    let options = RepairOptions { world: Some(sim.world()), ..RepairOptions::default() };
    match (repair(DIR, &options), kind) {
        (Ok(report), ErrorKind::Corruption) => assert!(!report.is_sound(), "{what}"),
        (Err(error), ErrorKind::Unsupported) => assert_eq!(error.kind(), kind, "{what}"),
        (other, _) => panic!("{what}: {other:?}"),
    }
    assert_eq!(sim.fs.image_hash(), before, "{what}: something was written");
}

/// Batches like these used to make the replay panic, or fill a keyspace that did not exist.
#[test]
fn nonsense_in_frames_whose_checksums_are_right_is_refused() {
    let put = |keyspace: u64, key: &[u8], value: &[u8]| {
        let mut batch = esker_base::Batch::new();
        batch.put(KeyspaceId(keyspace), key, value).unwrap();
        batch.as_bytes().to_vec()
    };
    // The template itself is taken.
    let sim = with_frame(&group(3, &[(1, put(1, b"c", b"3"))]));
    let db = small(sim.world()).open(DIR).unwrap();
    assert_eq!(db.keyspace("k").unwrap().iter().count(), 3);
    // The file stays as it is under the second name.
    drop(db);

    let one = put(1, b"c", b"3");
    let huge = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let with_lengths = |key: &[u8], rest: &[u8]| [&[2, 1][..], key, rest].concat();
    let batches: &[(&str, u32, Vec<u8>)] = &[
        ("a keyspace that never was", 1, put(2, b"c", b"3")),
        ("the highest keyspace id", 1, put(u64::MAX, b"c", b"3")),
        ("more operations than said", 1, [one.clone(), one.clone()].concat()),
        ("fewer operations than said", 2, one.clone()),
        ("far fewer operations than said", u32::MAX, one.clone()),
        ("an unknown kind", 1, [&[9], &one[1..]].concat()),
        ("cut short", 1, one[..one.len() - 1].to_vec()),
        ("half an operation behind", 2, [&one[..], &one[..2]].concat()),
        ("only a kind", 1, vec![2]),
        ("a key of 2^63 bytes and more", 1, with_lengths(&huge, b"c")),
        ("a value of 2^63 bytes and more", 1, with_lengths(&[1, b'c'], &huge)),
        ("a key of 4 GiB", 1, with_lengths(&[0xff, 0xff, 0xff, 0xff, 0x0f], b"c")),
        (
            "a varint without end",
            1,
            vec![2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        ("a key over its limit", 1, with_lengths(&[0x81, 0x80, 0x04], &[7; 70_000][..])),
    ];
    for (what, count, bytes) in batches {
        let sim = with_frame(&group(3, &[(*count, bytes.clone())]));
        assert_refused(&sim, ErrorKind::Corruption, what);
        // A sound batch before it in the group changes nothing.
        let both = [(1, one.clone()), (*count, bytes.clone())];
        let sim = with_frame(&group(3, &both));
        assert_refused(&sim, ErrorKind::Corruption, what);
    }

    let groups: &[(&str, Vec<u8>)] = &[
        ("no payload", vec![]),
        ("half a header", vec![0]),
        ("a header that does not end", vec![0xff; 12]),
        ("no batch", group(3, &[])),
        ("an empty batch", group(3, &[(1, vec![])])),
        ("no operations", group(3, &[(0, one.clone())])),
        ("numbers that go back", group(2, &[(1, one.clone())])),
        ("number 0", group(0, &[(1, one.clone())])),
        ("numbers beyond the last", group(SEQNO_MAX + 1, &[(1, one.clone())])),
        ("numbers that wrap", group(u64::MAX, &[(1, one.clone())])),
        ("a last number beyond the last", group(SEQNO_MAX - 1, &[(7, one.clone())])),
        ("a batch length beyond the frame", [&[0, 3, 1, 0x7f][..], &one].concat()),
        ("a batch length of 4 GiB", [&[0, 3, 1, 0xff, 0xff, 0xff, 0xff, 0x0f][..], &one].concat()),
        ("more batches than there are", [&group(3, &[(1, one.clone())])[..], &[1]].concat()),
    ];
    for (what, payload) in groups {
        assert_refused(&with_frame(payload), ErrorKind::Corruption, what);
    }
}

/// The last number that there is can be read; then nothing more can be written, and nothing wraps.
#[test]
fn a_log_at_the_last_sequence_number_is_read_and_takes_no_more() {
    let mut batch = esker_base::Batch::new();
    batch.put(KeyspaceId(1), b"c", b"3").unwrap();
    let sim = with_frame(&group(SEQNO_MAX, &[(1, batch.as_bytes().to_vec())]));
    let db = match small(sim.world()).open(DIR) {
        Ok(db) => db,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
            return;
        }
    };
    let ks = db.keyspace("k").unwrap();
    assert_eq!(ks.get("c").unwrap().unwrap(), "3");
    assert_eq!(ks.put("d", "4").unwrap_err().kind(), ErrorKind::Unsupported);
    db.flush().unwrap();
    assert_eq!(ks.iter().count(), 3);
    db.close().unwrap();
}

/// A live segment has the length that it was made with. One that was cut off used to look like a tear, and what it had
/// held was lost without a word.
#[test]
fn a_live_log_segment_that_was_cut_off_is_refused() {
    let (sim, end) = killed();
    let len = sim.world().fs.metadata(&path(end.file)).unwrap().len;
    assert!(len > end.offset);
    let lens = [0, 1, 63, 64, 65, end.offset - 1, end.offset, end.offset + 1, len - 4096, len - 1];
    for cut in lens {
        let sim = Simulation::with_fs(sim.fs.fork(), 2);
        let file = sim.world().fs.open(&path(end.file), OpenMode::ReadWrite).unwrap();
        file.truncate(cut).unwrap();
        file.sync_all().unwrap();
        assert_refused(&sim, ErrorKind::Corruption, &format!("cut to {cut} of {len}"));
    }
}

/// Changes a header's byte at `at` and makes its checksum, at `sum_at`, right again.
fn forge(fs: &dyn Fs, path: &Path, at: usize, len: usize, sum_at: usize) {
    let mut header = read(fs, path);
    header.truncate(len);
    header[at] += 1;
    let summed = [&header[..sum_at], &header[sum_at + 4..]].concat();
    header[sum_at..sum_at + 4].copy_from_slice(&checksum::plain(&summed).to_le_bytes());
    write(fs, path, 0, &header);
}

/// A newer version is told from damage in every kind of file, and left alone, by a repair too.
#[test]
fn files_of_a_newer_version_are_refused_and_left_alone() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("a", "1").unwrap();
    db.flush().unwrap();
    ks.put("b", "2").unwrap();
    let left = Simulation::with_fs(sim.fs.image(CrashPolicy::KeepAll, 2), 2);
    let mut tried = 0;
    for name in left.world().fs.list(Path::new(DIR)).unwrap() {
        // The version and the features that a reader must know, where the formats have them.
        let (fields, len, sum_at): (&[usize], usize, usize) = match name.rsplit('.').next() {
            Some("wal") => (&[8, 16], 64, 60),
            Some("manifest") => (&[8, 16], 64, 20),
            Some("sst") => (&[8, 16], 48, 44),
            Some("CURRENT") => (&[8], 64, 60),
            _ => continue,
        };
        for &at in fields {
            let sim = Simulation::with_fs(left.fs.fork(), 3);
            forge(&*sim.world().fs, &Path::new(DIR).join(&name), at, len, sum_at);
            assert_refused(&sim, ErrorKind::Unsupported, &format!("{name}, byte {at}"));
            tried += 1;
        }
    }
    assert!(tried >= 7, "{tried}");
}

/// Whatever file of a closed database is gone, empty, cut off, longer or another's: it is refused, and stays as it is.
#[test]
fn missing_cut_off_and_swapped_files_are_refused() {
    let closed = |seed| {
        let sim = Simulation::new(seed);
        let db = small(sim.world()).open(DIR).unwrap();
        let ks = db.keyspace("k").unwrap();
        for value in ["1", "2"] {
            ks.put("a", value).unwrap();
            db.flush().unwrap();
        }
        ks.put("b", "3").unwrap();
        db.close().unwrap();
        sim
    };
    let (ours, other) = (closed(1), closed(2));
    let dir = Path::new(DIR);
    let names: Vec<_> = ours.world().fs.list(dir).unwrap();
    let mut tried = 0;
    for name in names.iter().filter(|name| name.contains('.') || *name == "CURRENT") {
        let path = dir.join(name);
        let content = read(&*ours.world().fs, &path);
        let foreign = read(&*other.world().fs, &path);
        let sibling = names.iter().find(|other| {
            let ending = |name: &str| name.rsplit('.').next().map(str::to_owned);
            *other != name && other.contains('.') && ending(other) == ending(name)
        });
        let sibling = sibling.map(|name| read(&*ours.world().fs, &dir.join(name)));
        let half = content[..content.len() / 2].to_vec();
        let short = content[..content.len() - 1].to_vec();
        let long = [&content[..], &[1]].concat();
        let all = [None, Some(vec![]), Some(half), Some(short), Some(long), Some(foreign), sibling];
        for (at, bytes) in all.into_iter().enumerate() {
            // The last needs a second file of the kind; behind the end of a closed manifest nothing counts.
            if at == 6 && bytes.is_none() || at == 4 && name.ends_with(".manifest") {
                continue;
            }
            let sim = Simulation::with_fs(ours.fs.fork(), 3);
            let fs = sim.world().fs;
            fs.remove_file(&path).unwrap();
            if let Some(bytes) = bytes {
                let file = fs.create_new(&path).unwrap();
                file.write_all_at(&bytes, 0).unwrap();
                file.sync_all().unwrap();
            }
            fs.sync_dir(dir).unwrap();
            assert_refused(&sim, ErrorKind::Corruption, &format!("{name}, damage {at}"));
            tried += 1;
        }
    }
    assert!(tried > 25, "{tried}");
}

/// Files that are none of ours stay; what an interrupted flush or compaction left goes, and not before the manifest that
/// does without it is durable.
#[test]
fn foreign_files_stay_and_orphans_go_once_the_manifest_is_durable() {
    let sim = Simulation::new(1);
    let db = small(sim.world()).open(DIR).unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.put("a", "1").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let dir = Path::new(DIR);
    let fs = sim.world().fs;
    let foreign = ["notes.txt", "x.sst", "0000000099.bak", "17.sst", "99.wal.tmp", "tmp"];
    let orphans = ["0000000777.sst", "0000000778.wal", "0000000779.manifest", "0000000780.sst.tmp"];
    for name in foreign.iter().chain(&orphans) {
        let file = fs.create_new(&dir.join(name)).unwrap();
        file.write_all_at(b"something", 0).unwrap();
        file.sync_all().unwrap();
    }
    fs.sync_dir(dir).unwrap();
    let has = |fs: &dyn Fs, name: &str| fs.exists(&dir.join(name)).unwrap();
    let reader = small(sim.world()).read_only(true).open(DIR).unwrap();
    drop(reader);
    assert!(orphans.iter().all(|name| has(&*fs, name)), "who only reads removes nothing");

    sim.fs.record_states();
    let db = small(sim.world()).open(DIR).unwrap();
    let states = sim.fs.take_states();
    assert!(foreign.iter().all(|name| has(&*fs, name)));
    assert!(!orphans.iter().any(|name| has(&*fs, name)));
    // The first removal comes after the swap of `CURRENT` is durable.
    let before = read(&states[0].1, &dir.join("CURRENT"));
    for (call, state) in &states {
        let is_whole = orphans.iter().all(|name| has(state, name));
        let durable = state.crash(CrashPolicy::DropAll, 1);
        assert!(is_whole || read(&durable, &dir.join("CURRENT")) != before, "call {call}");
    }
    // Numbers that were ever seen are not used again.
    db.keyspace("k").unwrap().put("b", "2").unwrap();
    db.flush().unwrap();
    assert!(db.inspect().wal.iter().all(|segment| segment.number > 780));
    db.verify().unwrap();
}
