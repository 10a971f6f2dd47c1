//! Value files from end to end on a simulated disk: the bytes, what comes back, and every kind of damage.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{ErrorKind, FileId, FileNumber};
use esker_vfs::fault::{Failure, Fault, FaultFs, Rule};
use esker_vfs::simulated::SimulatedFs;
use esker_vfs::{Call, Fs, OpenMode};

use super::format::{self, Footer, ValuePointer};
use super::{ValueReader, ValueSummary, ValueWriter};
use super::{ValueSalvage, check_value_identity, identify_values};
use crate::format::Compression;
use crate::{Identity, ReadMode};

const BOTH_MODES: [ReadMode; 2] = [ReadMode::Mapped, ReadMode::Positioned];

fn dir() -> &'static Path {
    Path::new("/")
}

fn path() -> PathBuf {
    dir().join(FileKind::Values.name(FileNumber(7)))
}

fn disk() -> Arc<dyn Fs> {
    Arc::new(SimulatedFs::new())
}

fn values() -> Vec<Vec<u8>> {
    let mixed = (0..3000u32).flat_map(|at| (at.wrapping_mul(2_654_435_761)).to_le_bytes());
    vec![b"abc".to_vec(), vec![b'x'; 2000], Vec::new(), mixed.collect(), b"last".to_vec()]
}

fn write(fs: &Arc<dyn Fs>, compression: Compression) -> (ValueSummary, Vec<ValuePointer>) {
    let (number, id) = (FileNumber(7), FileId([0x11; 16]));
    let mut writer = ValueWriter::create(fs.clone(), dir(), number, id, compression).unwrap();
    let pointers = values().iter().map(|value| writer.add(value).unwrap()).collect();
    (writer.finish().unwrap(), pointers)
}

fn open(fs: &Arc<dyn Fs>, identity: &Identity, mode: ReadMode) -> esker_base::Result<ValueReader> {
    ValueReader::open(fs, dir(), identity, mode)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The whole file of one value, and its pointer. If this fails, the format changed: that needs a new version.
#[test]
fn the_bytes_are_pinned() {
    let fs = disk();
    let (number, id) = (FileNumber(7), FileId([0x11; 16]));
    let mut writer = ValueWriter::create(fs.clone(), dir(), number, id, Compression::None).unwrap();
    let pointer = writer.add(b"abc").unwrap();
    let summary = writer.finish().unwrap();
    let file = fs.open(&path(), OpenMode::Read).unwrap();
    let mut bytes = vec![0; summary.identity.len as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(
        hex(&bytes),
        "45534b455256414c010000000000000000000000000000001111111111111111111111111111111100000000\
         405b7291\
         03000000030000000061626328a09688\
         010000000000000010000000000000007000000000000000000000000000000000000000\
         45534b4552564e445ad71b08"
    );
    let mut encoded = Vec::new();
    pointer.encode_into(&mut encoded);
    assert_eq!(hex(&encoded), "07301003");
    assert_eq!(ValuePointer::decode(&encoded), Some(pointer));
    assert_eq!((summary.record_count, summary.record_bytes), (1, 16));
}

#[test]
fn what_was_added_is_found_in_both_modes() {
    for compression in [Compression::None, Compression::Lz4] {
        let fs = disk();
        let (summary, pointers) = write(&fs, compression);
        check_value_identity(&*fs, dir(), &summary.identity).unwrap();
        assert_eq!(identify_values(&fs, dir(), FileNumber(7)).unwrap(), Some(summary.identity));
        for mode in BOTH_MODES {
            let reader = open(&fs, &summary.identity, mode).unwrap();
            assert_eq!(reader.record_count(), 5);
            assert_eq!(
                reader.record_bytes(),
                pointers.iter().map(|p| u64::from(p.record_len)).sum::<u64>()
            );
            for (pointer, value) in pointers.iter().zip(values()) {
                assert_eq!(reader.get(pointer).unwrap(), value);
                assert_eq!(reader.get_with(pointer, <[u8]>::to_vec).unwrap(), value);
                reader.check(&*reader.file().unwrap(), pointer).unwrap();
            }
            reader.verify().unwrap();
            let (mut from, mut seen, mut pieces) = (0, 0, 0);
            loop {
                let (bytes, next) = reader.verify_piece(from, 1).unwrap();
                (seen, pieces) = (seen + bytes, pieces + 1);
                let Some(next) = next else { break };
                from = next;
            }
            assert_eq!((seen, pieces), (summary.identity.len, 5));
        }
        let saves = pointers[1].record_len < 2000;
        assert_eq!(saves, compression == Compression::Lz4);
    }
}

#[test]
fn a_record_is_copied_as_it_is_stored() {
    let fs = disk();
    let (summary, pointers) = write(&fs, Compression::Lz4);
    let reader = open(&fs, &summary.identity, ReadMode::Mapped).unwrap();
    let (number, id) = (FileNumber(9), FileId([9; 16]));
    // The copy is not asked to compress, and keeps what is compressed.
    let mut writer = ValueWriter::create(fs.clone(), dir(), number, id, Compression::None).unwrap();
    let file = reader.file().unwrap();
    let copied: Vec<_> = pointers
        .iter()
        .rev()
        .map(|p| reader.copy(&*file, p, &mut writer).unwrap().unwrap())
        .collect();
    let copy = writer.finish().unwrap();
    assert_eq!(copy.record_bytes, summary.record_bytes);
    let reader = open(&fs, &copy.identity, ReadMode::Positioned).unwrap();
    for (pointer, value) in copied.iter().zip(values().iter().rev()) {
        assert_eq!(&reader.get(pointer).unwrap(), value);
    }
}

/// Each changed byte is noticed by whoever reads it, and a salvage takes what is not touched by it.
#[test]
fn every_flipped_byte_is_found_and_costs_one_value() {
    let fs = disk();
    let (summary, pointers) = write(&fs, Compression::Lz4);
    let file = fs.open(&path(), OpenMode::ReadWrite).unwrap();
    for offset in 0..summary.identity.len {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
        let outcome = open(&fs, &summary.identity, ReadMode::Positioned)
            .and_then(|reader| reader.verify().map(|()| reader));
        let error = outcome.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corruption | ErrorKind::Unsupported), "{error}");
        assert!(error.path().is_some());
        for mode in BOTH_MODES {
            // Unless it is the header or the footer that is damaged.
            let Ok(reader) = open(&fs, &summary.identity, mode) else { continue };
            for (pointer, value) in pointers.iter().zip(values()) {
                let is_hit = (pointer.offset..pointer.end()).contains(&offset);
                // What was refused once is not known as verified.
                for _ in 0..2 {
                    match reader.get(pointer) {
                        Ok(found) => assert!(!is_hit && found == value, "{offset}"),
                        Err(error) => {
                            assert!(is_hit, "{offset}: {error}");
                            assert_eq!(error.offset(), Some(pointer.offset));
                        }
                    }
                    assert_eq!(reader.get_with(pointer, |_| ()).is_err(), is_hit, "{offset}");
                }
            }
        }
        let (number, id) = (FileNumber(100_000 + offset), FileId([3; 16]));
        let mut writer =
            ValueWriter::create(fs.clone(), dir(), number, id, Compression::None).unwrap();
        let mut lost = 0;
        let mut salvage = ValueSalvage::new(&fs, dir());
        for pointer in &pointers {
            let known = Some(summary.identity.file_id);
            match salvage.copy(known, pointer, &mut writer) {
                Ok(Some(_)) => assert!(!(pointer.offset..pointer.end()).contains(&offset)),
                Ok(None) => {
                    lost += 1;
                    assert!((pointer.offset..pointer.end()).contains(&offset), "{offset}");
                }
                Err(error) => panic!("{offset}: {error}"),
            }
        }
        assert!(lost <= 1);
        drop(writer);
        file.write_all_at(&byte, offset).unwrap();
    }
    assert!(fs.list(dir()).unwrap().len() == 1, "unfinished files are removed");
}

#[test]
fn pointers_that_lead_elsewhere_are_refused() {
    let fs = disk();
    let (summary, pointers) = write(&fs, Compression::None);
    let first = pointers[0];
    let len = summary.identity.len;
    let bad = [
        ValuePointer { offset: first.offset + 1, ..first },
        ValuePointer { offset: 0, ..first },
        ValuePointer { offset: len - 16, ..first },
        ValuePointer { offset: u64::MAX - 16, ..first },
        ValuePointer { record_len: first.record_len + 1, ..first },
        ValuePointer { value_len: first.value_len + 1, ..first },
        ValuePointer { file: FileNumber(8), ..first },
    ];
    for mode in BOTH_MODES {
        let reader = open(&fs, &summary.identity, mode).unwrap();
        for pointer in bad {
            let error = reader.get(&pointer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption);
            assert_eq!(error.offset(), Some(pointer.offset));
            assert_eq!(reader.get_with(&pointer, |_| ()).unwrap_err().kind(), error.kind());
        }
    }
    for bytes in
        [&b""[..], b"\x07", b"\x07\x2f\x10\x03", b"\x07\x30\x0c\x03", b"\x07\x30\x10\x03\x00"]
    {
        assert_eq!(ValuePointer::decode(bytes), None, "{bytes:?}");
    }
}

/// Which records were verified is kept by where they begin, so their lengths are looked at each time.
#[test]
fn a_pointer_of_another_length_into_what_was_verified_is_refused() {
    for compression in [Compression::None, Compression::Lz4] {
        let fs = disk();
        let (summary, pointers) = write(&fs, compression);
        for mode in BOTH_MODES {
            let reader = open(&fs, &summary.identity, mode).unwrap();
            for (pointer, value) in pointers.iter().zip(values()) {
                assert_eq!(reader.get(pointer).unwrap(), value);
                let ValuePointer { offset, record_len, value_len, .. } = *pointer;
                let bad = [
                    ValuePointer { record_len: record_len - 1, ..*pointer },
                    ValuePointer { record_len: record_len + 1, ..*pointer },
                    ValuePointer { record_len: 600, ..*pointer },
                    ValuePointer { value_len: value_len + 1, ..*pointer },
                    ValuePointer { value_len: value_len.wrapping_sub(1), ..*pointer },
                    ValuePointer { offset: offset + 1, ..*pointer },
                ];
                for bad in bad.iter().filter(|bad| *bad != pointer) {
                    assert_eq!(reader.get(bad).unwrap_err().kind(), ErrorKind::Corruption);
                    let error = reader.get_with(bad, |_| ()).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Corruption);
                }
                assert_eq!(reader.get(pointer).unwrap(), value);
            }
        }
    }
}

/// What says nothing of the file costs no value.
#[test]
fn a_salvage_loses_nothing_to_what_passes() {
    let disk = disk();
    let (summary, pointers) = write(&disk, Compression::None);
    let faults = FaultFs::new(disk);
    let fs: Arc<dyn Fs> = Arc::new(faults.clone());
    let known = Some(summary.identity.file_id);
    let cases = [
        (Call::Open, Failure::TooManyFiles, 0, None),
        (Call::Open, Failure::Io, 0, None),
        (Call::Len, Failure::Io, 0, None),
        (Call::ReadAt, Failure::TooManyFiles, 0, None),
        (Call::ReadAt, Failure::TooManyFiles, 1, None),
        (Call::ReadAt, Failure::Io, 0, Some(true)),
        (Call::ReadAt, Failure::Io, 1, Some(false)),
    ];
    for (call, failure, after, expected) in cases {
        faults.clear();
        faults.inject(Rule::new(Fault::Fail(failure)).on(&[call]).after(after));
        let mut salvage = ValueSalvage::new(&fs, dir());
        let found = salvage.can_read(known, &pointers[1]);
        assert_eq!(found.ok(), expected, "{call:?} {failure:?} {after}");
    }
    faults.clear();
    fs.remove_file(&path()).unwrap();
    let mut salvage = ValueSalvage::new(&fs, dir());
    assert!(!salvage.can_read(known, &pointers[1]).unwrap());
}

#[test]
fn another_file_and_a_missing_one_are_refused() {
    let fs = disk();
    let (summary, _) = write(&fs, Compression::None);
    let identity = summary.identity;
    let missing = Identity { number: FileNumber(8), ..identity };
    let other = Identity { file_id: FileId([2; 16]), ..identity };
    let longer = Identity { len: identity.len + 1, ..identity };
    for bad in [missing, other, longer] {
        for mode in BOTH_MODES {
            assert_eq!(open(&fs, &bad, mode).unwrap_err().kind(), ErrorKind::Corruption);
        }
        let error = check_value_identity(&*fs, dir(), &bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
    }
    assert_eq!(identify_values(&fs, dir(), FileNumber(8)).unwrap(), None);
    let (number, id) = (FileNumber(9), FileId([9; 16]));
    let empty = ValueWriter::create(fs.clone(), dir(), number, id, Compression::None).unwrap();
    assert_eq!(empty.finish().unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let mut header = format::encode_header(FileId([1; 16]));
    for (at, byte) in [(8, 2), (16, 1)] {
        let before = header[at];
        header[at] = byte;
        let crc = esker_base::checksum::plain(&header[..44]);
        header[44..].copy_from_slice(&crc.to_le_bytes());
        let found = format::decode_header(&header);
        assert!(matches!(found, Err(crate::format::Defect::Unsupported(_))));
        header[at] = before;
    }
    let footer = Footer { record_count: 2, record_bytes: 26 };
    let (id, len) = (FileId([1; 16]), footer.file_len());
    assert_eq!(Footer::decode(id, len, &footer.encode(id)), Ok(footer));
    let lie = Footer { record_count: 3, record_bytes: 26 };
    assert!(Footer::decode(id, len, &lie.encode(id)).is_err());
}
