//! Frames, the manifest's and the log's: the file id is fixed, the bytes are the file. Frames found must be where they say
//! they are, and encode back to the same bytes.

use esker_base::frame::{self, Parsed};
use esker_base::{FileId, FileNumber, LogPosition};
use esker_wal::frame as log_frame;

const ID: FileId = FileId([0x11; 16]);

/// Reads `data` as both, front to back and by trying every place.
pub fn check(data: &[u8]) {
    of_manifest(data);
    of_log(data);
}

fn of_manifest(data: &[u8]) {
    let mut offset = 0;
    while let Parsed::Frame(found) = frame::decode(ID, offset, data) {
        assert_eq!(found.offset, offset);
        assert!(found.end() > offset && found.end() <= data.len() as u64);
        let mut again = Vec::new();
        frame::encode(
            ID,
            offset,
            found.kind,
            found.version,
            found.synced,
            found.payload,
            &mut again,
        );
        // Checksums cover the padding, so it need not be zeros to be valid: compare what is specified.
        let taken = &data[offset as usize..];
        assert_eq!(again[8..32 + found.payload.len()], taken[8..32 + found.payload.len()]);
        offset = found.end();
    }
    let mut last = 0;
    for found in frame::scan(ID, 0, data) {
        assert!(found.offset >= last && found.end() <= data.len() as u64);
        last = found.end();
    }
    assert!(!matches!(frame::decode(ID, u64::MAX, data), Parsed::Frame(_)));
}

fn of_log(data: &[u8]) {
    use log_frame::{HEADER_LEN, Parsed};
    let place = place();
    let mut offset = 0;
    while let Parsed::Frame(found) = log_frame::decode(place, offset, data) {
        assert_eq!(found.offset, offset);
        assert!(found.end() > offset && found.end() <= data.len() as u64);
        let mut again = Vec::new();
        log_frame::encode(place, offset, found.kind, found.synced, found.payload, &mut again);
        // Checksums cover the padding, so it need not be zeros to be valid; with other padding they are others.
        let taken = &data[offset as usize..found.end() as usize];
        let end = HEADER_LEN + found.payload.len();
        assert_eq!(again[4..end], taken[4..end]);
        assert!(again == taken || again[end..] != taken[end..]);
        offset = found.end();
    }
    let mut last = 0;
    for found in log_frame::scan(place, 0, data) {
        let Ok(found) = found else { break };
        assert!(found.synced <= LogPosition { file: FileNumber(3), offset: found.offset });
        assert!(found.offset >= last && found.end() <= data.len() as u64);
        last = found.end();
    }
    assert!(!matches!(log_frame::decode(place, u64::MAX, data), Parsed::Frame(_)));
}

fn place() -> log_frame::Place {
    log_frame::Place::new(ID, FileNumber(3))
}

/// Files of none to three frames.
pub fn seeds() -> Vec<Vec<u8>> {
    let (mut manifest, mut log) = (Vec::new(), Vec::new());
    let mut files = vec![Vec::new()];
    for payload in [&b"first"[..], &[0xff; 40], b""] {
        let synced = |offset: usize| LogPosition { file: FileNumber(3), offset: offset as u64 };
        let at = manifest.len();
        frame::encode(ID, at as u64, 1, 1, synced(at), payload, &mut manifest);
        let at = log.len();
        log_frame::encode(place(), at as u64, 1, synced(at), payload, &mut log);
        files.extend([manifest.clone(), log.clone()]);
    }
    files
}
