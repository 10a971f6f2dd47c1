//! What a writer takes and what it refuses; keys and values at their limits; files that are given up.

use esker_base::limits::{BATCH_LEN_MAX, KEY_LEN_MAX};
use esker_base::{ErrorKind, key};
use esker_vfs::Fs;
use esker_vfs::fault::{FaultFs, Rule};

use super::*;
use crate::Compression;

fn writer(fs: &Arc<dyn Fs>) -> Writer {
    let options = WriterOptions::default();
    Writer::create(fs.clone(), Path::new(DIR), FileNumber(1), file_id(1), options).unwrap()
}

#[test]
fn the_longest_keys_and_large_values_come_back() {
    let long = |last: u8| [vec![b'k'; KEY_LEN_MAX - 1], vec![last]].concat();
    let value = |len: usize| (0..len).map(|at| ((at * 31) >> 3) as u8).collect::<Vec<u8>>();
    let entries = vec![
        put(b"", 9, b""),
        put(b"", 3, &value(1 << 20)),
        put(b"a", 5, &value((3 << 20) + 1)),
        put(&long(1), 5, b""),
        put(&long(1), 4, &value(70_000)),
        put(&long(2), 5, b"x"),
        delete(&long(3), 6),
    ];
    for compression in [Compression::None, Compression::Lz4] {
        let fs = disk();
        let options = WriterOptions { compression, ..WriterOptions::default() };
        let summary = write(&fs, 1, &entries, options);
        for mode in BOTH_MODES {
            let reader = open(&fs, &Identity::from(&summary), mode).unwrap();
            assert_eq!(scan(&mut reader.cursor(true)).unwrap(), entries);
            for (key, value) in &entries {
                let parts = esker_base::InternalKey::decode(key).unwrap();
                let got = found(&reader, parts.user_key, parts.seq.0).unwrap().unwrap();
                assert_eq!((got.0, got.1), (parts.seq.0, parts.kind));
                assert!(got.2 == *value);
            }
            assert_eq!(reader.verify().unwrap().entries, entries.len() as u64);
        }
    }
}

#[test]
fn what_cannot_be_stored_is_refused_and_the_file_goes_on() {
    let fs = disk();
    let mut writer = writer(&fs);
    let refused = |result: Result<()>| result.unwrap_err().kind();
    writer.add(&put(b"b", 5, b"").0, b"first").unwrap();
    for (key, _) in [put(b"b", 5, b""), put(b"b", 6, b""), put(b"a", 1, b"")] {
        assert_eq!(refused(writer.add(&key, b"x")), ErrorKind::InvalidArgument);
    }
    assert_eq!(refused(writer.add(b"short", b"")), ErrorKind::InvalidArgument);
    assert_eq!(refused(writer.add(&[0xff; 9], b"")), ErrorKind::InvalidArgument);
    let too_long = put(&vec![b'x'; KEY_LEN_MAX + 1], 1, b"").0;
    assert_eq!(refused(writer.add(&too_long, b"")), ErrorKind::InvalidArgument);
    let too_large = vec![0; BATCH_LEN_MAX + 1];
    assert_eq!(refused(writer.add(&put(b"c", 1, b"").0, &too_large)), ErrorKind::InvalidArgument);
    let malformed = key::encode(b"c", SeqNo(1), EntryKind::ValuePointer);
    assert_eq!(refused(writer.add(&malformed, b"nowhere")), ErrorKind::InvalidArgument);
    for kind in [EntryKind::RangeDelete, EntryKind::Merge, EntryKind::Expiring] {
        let key = key::encode(b"c", SeqNo(1), kind);
        assert_eq!(refused(writer.add(&key, b"")), ErrorKind::Unsupported);
    }
    writer.add(&put(b"b", 4, b"").0, b"second").unwrap();
    assert_eq!(writer.entry_count(), 2);
    let summary = writer.finish().unwrap();
    assert_eq!((summary.min_seq, summary.max_seq), (SeqNo(4), SeqNo(5)));
    let reader = open(&fs, &Identity::from(&summary), ReadMode::Mapped).unwrap();
    assert_eq!(scan(&mut reader.cursor(false)).unwrap().len(), 2);
}

#[test]
fn options_out_of_range_are_refused() {
    let fs = disk();
    let good = WriterOptions::default();
    for bad in [
        WriterOptions { block_size_bytes: 255, ..good.clone() },
        WriterOptions { block_size_bytes: (16 << 20) + 1, ..good.clone() },
        WriterOptions { restart_interval: 0, ..good.clone() },
        WriterOptions { restart_interval: 1025, ..good.clone() },
        WriterOptions { filter_bits_per_key: 65, ..good },
    ] {
        let error = Writer::create(fs.clone(), Path::new(DIR), FileNumber(1), file_id(1), bad);
        assert_eq!(error.err().unwrap().kind(), ErrorKind::InvalidArgument);
    }
    assert!(fs.list(Path::new(DIR)).unwrap().is_empty());
}

#[test]
fn an_unfinished_file_is_removed_and_a_taken_name_is_left_alone() {
    let fs = disk();
    let mut given_up = writer(&fs);
    given_up.add(&put(b"a", 1, b"").0, b"x").unwrap();
    given_up.abandon();
    assert!(fs.list(Path::new(DIR)).unwrap().is_empty());

    assert_eq!(writer(&fs).finish().unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(fs.list(Path::new(DIR)).unwrap().is_empty());

    write(&fs, 1, &[put(b"a", 1, b"x")], WriterOptions::default());
    let options = WriterOptions::default();
    let again = Writer::create(fs.clone(), Path::new(DIR), FileNumber(1), file_id(1), options);
    assert_eq!(again.err().unwrap().kind(), ErrorKind::Io);
    assert_eq!(fs.list(Path::new(DIR)).unwrap().len(), 1);
}

/// A failing write, writeback or sync fails the file, whichever call it strikes, and leaves nothing behind.
#[test]
fn a_failing_disk_fails_the_file_and_leaves_nothing() {
    let entries: Vec<_> = (0..4000u32).map(|n| put(&n.to_be_bytes(), 1, &[n as u8; 700])).collect();
    let options = WriterOptions { compression: Compression::None, ..WriterOptions::default() };
    for call in 0.. {
        let inner = disk();
        let faulty = Arc::new(FaultFs::new(inner.clone()));
        let fs: Arc<dyn Fs> = faulty.clone();
        let failure = esker_vfs::fault::Failure::Io;
        faulty.inject(Rule::new(esker_vfs::fault::Fault::Fail(failure)).suffix(".sst").after(call));
        let id = file_id(1);
        let result = Writer::create(fs, Path::new(DIR), FileNumber(1), id, options.clone())
            .and_then(|mut writer| {
                for (key, value) in &entries {
                    writer.add(key, value)?;
                }
                writer.finish()
            });
        if faulty.strikes() == 0 {
            assert!(call > 10, "writes, writebacks and the sync count");
            assert!(result.is_ok());
            break;
        }
        assert!(result.is_err(), "call {call}");
        assert!(inner.list(Path::new(DIR)).unwrap().is_empty(), "call {call}");
    }
}
