//! Log frames: the file id is fixed, the bytes are the file. Frames found must be where they say they are, and
//! encode back to the same bytes.

use esker_base::frame::{self, Parsed};
use esker_base::{FileId, FileNumber, LogPosition};

const ID: FileId = FileId([0x11; 16]);

/// Reads `data` as a log, both front to back and by trying every place.
pub fn check(data: &[u8]) {
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

/// Logs of none to three frames.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut logs = vec![Vec::new()];
    for payload in [&b"first"[..], &[0xff; 40], b""] {
        let offset = out.len() as u64;
        let synced = LogPosition { file: FileNumber(3), offset };
        frame::encode(ID, offset, 1, 1, synced, payload, &mut out);
        logs.push(out.clone());
    }
    logs
}
