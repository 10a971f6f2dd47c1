//! How blocks are fetched: failing reads, files without a name, the cache, threads.

use esker_base::ErrorKind;
use esker_vfs::Call;
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};

use super::*;
use crate::{BlockInfo, Compression, Found, LevelCursor, SstableCursor};

fn entries() -> Vec<Entry> {
    (0..3000u32).map(|n| put(format!("key{n:05}").as_bytes(), 1, &[n as u8; 50])).collect()
}

#[test]
fn an_unreadable_block_is_an_error_and_never_an_absent_key() {
    let inner = disk();
    let summary = write(&inner, 1, &entries(), WriterOptions::default());
    let faulty = Arc::new(FaultFs::new(inner));
    let fs: Arc<dyn Fs> = faulty.clone();
    let identity = Identity::from(&summary);
    let reader = open_cached(&fs, &identity, ReadMode::Positioned, 0).unwrap();
    for fill_cache in [true, false] {
        let mut cursor = reader.cursor(fill_cache);
        cursor.seek_to_first().unwrap();
        faulty.inject(Rule::new(Fault::Fail(Failure::Io)).on(&[Call::ReadAt]).sticky());
        assert_eq!(found(&reader, b"key01500", 9).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(cursor.seek_to_last().unwrap_err().kind(), ErrorKind::Io);
        assert!(!cursor.valid());
        assert_eq!(cursor.seek(&put(b"key02000", 1, b"").0).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(reader.verify().unwrap_err().kind(), ErrorKind::Io);
        faulty.clear();
        assert_eq!(found(&reader, b"key02500", 9).unwrap().unwrap().0, 1);
        assert_eq!(scan(&mut cursor).unwrap(), entries());
    }
}

#[test]
fn every_failing_call_of_an_open_is_an_error() {
    let inner = disk();
    let identity = Identity::from(&write(&inner, 1, &entries(), WriterOptions::default()));
    for mode in BOTH_MODES {
        for call in 0.. {
            let faulty = Arc::new(FaultFs::new(inner.clone()));
            faulty.inject(Rule::new(Fault::Fail(Failure::TooManyFiles)).after(call));
            let fs: Arc<dyn Fs> = faulty.clone();
            let result = open(&fs, &identity, mode);
            if faulty.strikes() == 0 {
                assert!(call >= 2 && result.is_ok());
                break;
            }
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Io, "call {call}");
        }
    }
}

#[test]
fn a_file_without_a_name_still_reads() {
    for mode in BOTH_MODES {
        let fs = disk();
        let summary = write(&fs, 1, &entries(), WriterOptions::default());
        let reader = open(&fs, &Identity::from(&summary), mode).unwrap();
        fs.remove_file(&path_of(1)).unwrap();
        for fill_cache in [true, false] {
            assert_eq!(scan(&mut reader.cursor(fill_cache)).unwrap(), entries());
        }
        assert!(found(&reader, b"key00007", 9).unwrap().is_some());
    }
}

#[test]
fn blocks_are_read_once_while_they_stay_in_the_cache() {
    let fs = disk();
    let summary = write(&fs, 1, &entries(), WriterOptions::default());
    let cache = Arc::new(BlockCache::new(1 << 20));
    let identity = Identity::from(&summary);
    let (dir, mode) = (Path::new(DIR), ReadMode::Positioned);
    for _ in 0..2 {
        let reader = Arc::new(Reader::open(&fs, dir, &identity, mode, cache.clone()).unwrap());
        scan(&mut reader.cursor(true)).unwrap();
        let before = cache.metrics();
        assert!(before.used_bytes > 0);
        scan(&mut reader.cursor(true)).unwrap();
        found(&reader, b"key00100", 9).unwrap().unwrap();
        let after = cache.metrics();
        assert_eq!(after.misses, before.misses);
        assert_eq!(after.hits, before.hits + reader.properties().block_count + 1);
        // A cursor that does not fill the cache does not ask it either.
        scan(&mut reader.cursor(false)).unwrap();
        assert_eq!(cache.metrics(), after);
    }
}

/// On the real disk, whose system may have dropped any part of a file: what is fetched ahead, at the ends of the file too,
/// changes no answer, and what is damaged is found wherever it was fetched from.
#[test]
fn files_that_left_memory_read_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(esker_vfs::os::OsFs);
    let keys: Vec<String> = (0..30_000).map(|n| format!("key{n:05}")).collect();
    let value = |n: usize| (0..100).map(|at| (n * 31 + at * at) as u8).collect::<Vec<u8>>();
    let mut writer =
        Writer::create(fs.clone(), dir.path(), FileNumber(1), file_id(1), WriterOptions::default())
            .unwrap();
    for (n, key) in keys.iter().enumerate() {
        let (key, value) = put(key.as_bytes(), 1, &value(n));
        writer.add(&key, &value).unwrap();
    }
    let summary = writer.finish().unwrap();
    let path = dir.path().join(FileKind::Sstable.name(FileNumber(1)));
    let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
    let open_cold = || {
        file.sync_data().unwrap();
        file.advise(0, summary.len, esker_vfs::Advice::DontNeed);
        let cache = Arc::new(BlockCache::new(0));
        Reader::open(&fs, dir.path(), &Identity::from(&summary), ReadMode::Mapped, cache).unwrap()
    };
    let reader = open_cold();
    for n in (0..keys.len()).map(|n| n * 7919 % keys.len()) {
        let key = keys[n].as_bytes();
        if n % 3 == 0 {
            reader.announce(key, SeqNo(9));
        }
        assert_eq!(found(&reader, key, 9).unwrap().unwrap().2, value(n), "{n}");
    }
    drop(reader);
    let mut byte = [0];
    file.read_exact_at(&mut byte, summary.len / 2).unwrap();
    file.write_all_at(&[byte[0] ^ 1], summary.len / 2).unwrap();
    let reader = open_cold();
    let failed = keys.iter().filter(|key| found(&reader, key.as_bytes(), 9).is_err()).count();
    assert!((1..200).contains(&failed), "{failed}");
}

#[test]
fn a_read_within_a_read_has_memory_of_its_own() {
    let fs = disk();
    let summary = write(&fs, 1, &entries(), WriterOptions::default());
    let reader = open(&fs, &Identity::from(&summary), ReadMode::Mapped).unwrap();
    let hash = crate::key_hash(b"key00100");
    let nested = reader.get_with(b"key00100", hash, SeqNo(9), |outer| {
        let before = outer.value.to_vec();
        let inner = found(&reader, b"key00003", 9).unwrap().unwrap();
        (outer.value == before, inner.2 != before)
    });
    assert_eq!(nested.unwrap(), Some((true, true)));
}

#[test]
fn blocks_of_a_map_never_enter_the_cache() {
    for compression in [Compression::None, Compression::Lz4] {
        stay_out_of_the_cache(compression);
    }
}

fn stay_out_of_the_cache(compression: Compression) {
    let fs = disk();
    let options = WriterOptions { compression, ..WriterOptions::default() };
    let summary = write(&fs, 1, &entries(), options);
    let cache = Arc::new(BlockCache::new(1 << 20));
    let identity = Identity::from(&summary);
    let dir = Path::new(DIR);
    let reader = Reader::open(&fs, dir, &identity, ReadMode::Mapped, cache.clone()).unwrap();
    let reader = Arc::new(reader);
    assert_eq!(scan(&mut reader.cursor(true)).unwrap(), entries());
    assert!(found(&reader, b"key00007", 9).unwrap().is_some());
    let metrics = cache.metrics();
    assert_eq!((metrics.used_bytes, metrics.hits, metrics.misses), (0, 0, 0));
}

#[test]
fn everything_crosses_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Reader>();
    crosses::<Writer>();
    crosses::<BlockCache>();
    crosses::<SstableCursor>();
    crosses::<LevelCursor<Vec<Arc<Reader>>>>();
    crosses::<Found>();
    crosses::<BlockInfo>();

    let fs = disk();
    let summary = write(&fs, 1, &entries(), WriterOptions::default());
    for mode in BOTH_MODES {
        let reader = open_cached(&fs, &Identity::from(&summary), mode, 20_000).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let reader = &reader;
                scope.spawn(move || {
                    for n in (thread..3000u32).step_by(7) {
                        let hit = found(reader, format!("key{n:05}").as_bytes(), 9).unwrap();
                        assert_eq!(hit.unwrap().2, [n as u8; 50]);
                    }
                });
            }
        });
    }
}
