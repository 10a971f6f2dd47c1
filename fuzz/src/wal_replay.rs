//! Replay of one log segment, as it is and with its checksums made good.

use std::path::Path;

use esker_base::{Batch, Epoch, ErrorKind, FileId, FileNumber, KeyspaceId, LogPosition, SeqNo};
use esker_wal::format::{HEADER_LEN, Header};
use esker_wal::{GroupBuilder, SegmentExpectation, SegmentSpec, Writer};

use super::{disk, reseal};

const ID: FileId = FileId([0x22; 16]);
const NUMBER: FileNumber = FileNumber(2);
const DIR: &str = "/db";
const NAME: &str = "0000000002.wal";

/// Replays `data` as the only segment of a log.
pub fn check(data: &[u8]) {
    replay(data);
    let mut resealed = data.to_vec();
    if let Some(header) = resealed.first_chunk_mut() {
        let (number, epoch, file_id) = (NUMBER, Epoch(1), ID);
        *header = Header { number, epoch, file_id, size_bytes: 0, is_recycled: false }.encode();
        reseal::log_frames(ID, &mut resealed, HEADER_LEN);
    }
    replay(&resealed);
}

fn replay(data: &[u8]) {
    let fs = disk::with(DIR, &[(NAME, data)]);
    let expected = SegmentExpectation {
        number: NUMBER,
        file_id: ID,
        ends_at: None,
        sealed: None,
        optional: false,
    };
    let before = fs.image_hash();
    let mut last = SeqNo(0);
    let floor = LogPosition::default();
    let outcome = esker_wal::replay(&fs, Path::new(DIR), &[expected], floor, |group| {
        for batch in group.batches() {
            esker_base::batch::ops(batch.bytes).for_each(drop);
        }
        assert!(group.last_seq > last, "sequence numbers grow");
        last = group.last_seq;
        Ok(())
    });
    match outcome {
        Ok(outcome) => {
            assert_eq!(outcome.last_seq, last);
            assert!(outcome.end.offset <= data.len() as u64);
            assert!(outcome.known_synced <= outcome.end);
        }
        Err(error) => match error.kind() {
            ErrorKind::Corruption => assert!(error.path().is_some() && error.offset().is_some()),
            ErrorKind::Unsupported => {}
            other => panic!("{other:?}: {error}"),
        },
    }
    assert_eq!(fs.image_hash(), before, "replay writes nothing");
}

/// Segments of none to four groups, open and sealed.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..5).flat_map(|groups| [segment(groups, false), segment(groups, true)]).collect()
}

fn segment(groups: u64, seal: bool) -> Vec<u8> {
    let fs = disk::with(DIR, &[]);
    let spec = SegmentSpec {
        number: NUMBER,
        file_id: ID,
        epoch: Epoch(1),
        size_bytes: 64 * 1024,
        zero_fill: false,
        recycle: None,
        map: false,
    };
    let dir = Path::new(DIR);
    let segment = esker_wal::create_segment(&fs, dir, &spec).expect("an empty disk");
    let mut writer = Writer::new(segment, SeqNo(0), LogPosition::default());
    let mut builder = GroupBuilder::new();
    for group in 0..groups {
        builder.start(1_700_000_000_000 + group, SeqNo(writer.last_seq().0 + 1));
        for _ in 0..=group % 2 {
            let mut batch = Batch::new();
            batch.put(KeyspaceId(1), b"key", &[group as u8; 20]).expect("small");
            batch.delete(KeyspaceId(1), b"other").expect("small");
            builder.push(batch.as_bytes(), batch.count()).expect("small");
        }
        writer.append(&mut builder).expect("there is room");
        if group % 2 == 1 {
            writer.sync().expect("a healthy disk");
        }
    }
    let end = writer.position().offset as usize;
    if seal {
        writer.seal().expect("a healthy disk");
    }
    let mut content = disk::read(&fs, &dir.join(NAME));
    // Most of a segment is zeros; a few of them say as much and leave more mutations to the rest.
    content.truncate(if seal { content.len() } else { end + 64 });
    content
}
