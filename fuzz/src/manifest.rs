//! Recovery of a manifest, as it is and with its checksums made good.

use std::path::Path;
use std::sync::Arc;

use esker_base::{Epoch, ErrorKind, FileId, FileNumber, KeyspaceId, SeqNo};
use esker_manifest::format::{Current, HEADER_LEN, Header};
use esker_manifest::{Edit, KeyspaceMeta, ManifestLog, Version};
use esker_vfs::World;

use super::{disk, reseal};

const ID: FileId = FileId([0x33; 16]);
const DATABASE: [u8; 16] = [0x44; 16];
const NUMBER: FileNumber = FileNumber(1);
const DIR: &str = "/db";
const NAME: &str = "0000000001.manifest";

/// Recovers from `data` as the manifest that `CURRENT` names.
pub fn check(data: &[u8]) {
    recover(data);
    let mut resealed = data.to_vec();
    if let Some(header) = resealed.first_chunk_mut() {
        *header = Header { number: NUMBER, file_id: ID, database_id: DATABASE }.encode();
        reseal::frames(ID, &mut resealed, HEADER_LEN);
    }
    recover(&resealed);
}

fn recover(data: &[u8]) {
    let current = Current {
        manifest: NUMBER,
        file_id: ID,
        database_id: DATABASE,
        min_len: HEADER_LEN as u64,
    };
    let fs = disk::with(DIR, &[("CURRENT", &current.encode()), (NAME, data)]);
    let before = fs.image_hash();
    match esker_manifest::recover(&fs, Path::new(DIR)) {
        Ok(recovered) => {
            recovered.version.check().expect("a recovered picture is sound");
            assert_eq!(recovered.version.database_id, DATABASE);
        }
        Err(error) => match error.kind() {
            ErrorKind::Corruption => assert!(error.path().is_some() && error.offset().is_some()),
            ErrorKind::Unsupported => {}
            other => panic!("{other:?}: {error}"),
        },
    }
    assert_eq!(fs.image_hash(), before, "recovery writes nothing");
}

/// Manifests with none to three edits.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..4).map(manifest).collect()
}

fn manifest(edits: usize) -> Vec<u8> {
    let fs = Arc::new(disk::with(DIR, &[]));
    let world = World { fs: fs.clone(), ..World::real() };
    let dir = Path::new(DIR);
    let mut version = Version::new(DATABASE);
    version.next_file = FileNumber(2);
    let mut log = ManifestLog::create(&world, dir, NUMBER, ID, &version).expect("an empty disk");
    let changes = [
        Edit { opened: Some(Epoch(1)), ..Edit::default() },
        Edit {
            created_keyspaces: vec![KeyspaceMeta::new(KeyspaceId(1), "users")],
            ..Edit::default()
        },
        Edit { last_seq: Some(SeqNo(9)), next_file: Some(FileNumber(7)), ..Edit::default() },
    ];
    for edit in &changes[..edits] {
        log.append(edit).expect("a healthy disk");
    }
    let mut content = disk::read(&*fs, &dir.join(NAME));
    // What follows is reserved space, all zeros; a little of it says as much.
    let used = content.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    content.truncate((used + 64).next_multiple_of(8));
    content
}
