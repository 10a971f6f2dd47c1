//! One set of assertions for every file system: the simulated disk and the fault injector promise
//! what the real machine does.
//!
//! Each case gets an empty directory. A case that holds only on one of them does not belong here.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use esker_vfs::fault::{Fault, FaultFs, Rule};
use esker_vfs::os::OsFs;
use esker_vfs::simulated::SimulatedFs;
use esker_vfs::{Advice, Fs, LockMode, Metadata, OpenMode, ReadRequest};

type Case = fn(&dyn Fs, &Path);

const CASES: [(&str, Case); 15] = [
    ("write_and_read", write_and_read),
    ("gaps_read_as_zeros", gaps_read_as_zeros),
    ("truncate_and_regrow", truncate_and_regrow),
    ("allocate_extends_only", allocate_extends_only),
    ("read_batch_fills_all", read_batch_fills_all),
    ("open_modes", open_modes),
    ("names", names),
    ("rename_replaces", rename_replaces),
    ("removed_file_stays_readable", removed_file_stays_readable),
    ("hard_links_share_bytes", hard_links_share_bytes),
    ("directories", directories),
    ("locks_exclude", locks_exclude),
    ("maps_outlive_the_file", maps_outlive_the_file),
    ("stores_are_writes", stores_are_writes),
    ("syncs_and_hints", syncs_and_hints),
];

fn run(fs: &dyn Fs, root: &Path) {
    for (name, case) in CASES {
        let dir = root.join(name);
        fs.create_dir_all(&dir).unwrap();
        println!("{name}");
        case(fs, &dir);
    }
}

#[test]
fn the_real_machine_conforms() {
    let dir = tempfile::tempdir().unwrap();
    run(&OsFs, dir.path());
}

#[test]
fn the_simulated_disk_conforms() {
    run(&SimulatedFs::new(), Path::new("/"));
}

#[test]
fn the_fault_injector_without_rules_conforms() {
    run(&FaultFs::new(Arc::new(SimulatedFs::new())), Path::new("/"));
}

#[test]
fn interrupted_and_short_calls_are_not_visible() {
    for fault in [Fault::Interrupt, Fault::Short] {
        let fs = FaultFs::new(Arc::new(SimulatedFs::new()));
        fs.inject(Rule::new(fault).sticky());
        run(&fs, Path::new("/"));
        assert!(fs.strikes() > 0);
    }
}

fn write_and_read(fs: &dyn Fs, dir: &Path) {
    let file = fs.create_new(&dir.join("a")).unwrap();
    assert!(file.is_empty().unwrap());
    file.write_all_at(b"hello world", 0).unwrap();
    file.write_all_at(b"W", 6).unwrap();
    file.write_all_at(b"", 100).unwrap();
    assert_eq!(file.len().unwrap(), 11);
    let mut buffer = [0; 20];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 11);
    assert_eq!(&buffer[..11], b"hello World");
    assert_eq!(file.read_at(&mut buffer, 9).unwrap(), 2);
    assert_eq!(file.read_at(&mut buffer, 11).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 1000).unwrap(), 0);
    file.read_exact_at(&mut buffer[..5], 0).unwrap();
    let error = file.read_exact_at(&mut buffer, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

fn gaps_read_as_zeros(fs: &dyn Fs, dir: &Path) {
    let file = fs.create_new(&dir.join("a")).unwrap();
    file.write_all_at(b"x", 10_000).unwrap();
    let mut buffer = vec![1; 10_001];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert!(buffer[..10_000].iter().all(|byte| *byte == 0));
    assert_eq!(buffer[10_000], b'x');
}

fn truncate_and_regrow(fs: &dyn Fs, dir: &Path) {
    let file = fs.create_new(&dir.join("a")).unwrap();
    file.write_all_at(&[7; 9000], 0).unwrap();
    file.truncate(100).unwrap();
    assert_eq!(file.len().unwrap(), 100);
    file.truncate(9000).unwrap();
    let mut buffer = vec![1; 9000];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(buffer[..100], [7; 100]);
    assert!(buffer[100..].iter().all(|byte| *byte == 0));
}

fn allocate_extends_only(fs: &dyn Fs, dir: &Path) {
    let file = fs.create_new(&dir.join("a")).unwrap();
    file.allocate(0).unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    file.allocate(70_000).unwrap();
    assert_eq!(file.len().unwrap(), 70_000);
    file.allocate(10).unwrap();
    assert_eq!(file.len().unwrap(), 70_000);
    let mut buffer = [1; 6];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"abc\0\0\0");
}

fn read_batch_fills_all(fs: &dyn Fs, dir: &Path) {
    let file = fs.create_new(&dir.join("a")).unwrap();
    let bytes: Vec<u8> = (0..50_000_u32).map(|i| (i % 251) as u8).collect();
    file.write_all_at(&bytes, 0).unwrap();
    let (mut one, mut two, mut three) = ([0; 100], [0; 5000], [0; 1]);
    file.read_batch(&mut [
        ReadRequest { offset: 40_000, buffer: &mut one },
        ReadRequest { offset: 3, buffer: &mut two },
        ReadRequest { offset: 49_999, buffer: &mut three },
    ])
    .unwrap();
    assert_eq!(one, bytes[40_000..40_100]);
    assert_eq!(two, bytes[3..5003]);
    assert_eq!(three, bytes[49_999..]);
    file.read_batch(&mut []).unwrap();
    let mut past = [ReadRequest { offset: 49_990, buffer: &mut two }];
    assert_eq!(file.read_batch(&mut past).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

fn open_modes(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("a");
    assert_eq!(fs.open(&path, OpenMode::Read).unwrap_err().kind(), ErrorKind::NotFound);
    fs.create_new(&path).unwrap().write_all_at(b"abc", 0).unwrap();
    let reader = fs.open(&path, OpenMode::Read).unwrap();
    reader.write_all_at(b"x", 0).unwrap_err();
    reader.truncate(0).unwrap_err();
    reader.allocate(10).unwrap_err();
    fs.open(&path, OpenMode::ReadWrite).unwrap().write_all_at(b"x", 0).unwrap();
    let mut buffer = [0; 3];
    reader.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"xbc");
}

fn names(fs: &dyn Fs, dir: &Path) {
    for name in ["b", "a", "c10", "c9"] {
        fs.create_new(&dir.join(name)).unwrap();
    }
    let taken = fs.create_new(&dir.join("a")).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs.list(dir).unwrap(), ["a", "b", "c10", "c9"]);
    fs.remove_file(&dir.join("b")).unwrap();
    assert_eq!(fs.list(dir).unwrap(), ["a", "c10", "c9"]);
    assert!(!fs.exists(&dir.join("b")).unwrap());
    assert!(fs.exists(&dir.join("a")).unwrap());
    let missing = fs.remove_file(&dir.join("b")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(fs.list(&dir.join("no")).unwrap_err().kind(), ErrorKind::NotFound);
    let inside = fs.create_new(&dir.join("no/file")).unwrap_err();
    assert_eq!(inside.kind(), ErrorKind::NotFound);
    let beneath = fs.create_new(&dir.join("a/file")).unwrap_err();
    assert_eq!(beneath.kind(), ErrorKind::NotADirectory);
}

fn rename_replaces(fs: &dyn Fs, dir: &Path) {
    let (from, to) = (dir.join("from"), dir.join("to"));
    assert_eq!(fs.rename(&from, &to).unwrap_err().kind(), ErrorKind::NotFound);
    let file = fs.create_new(&from).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    fs.create_new(&to).unwrap().write_all_at(b"older", 0).unwrap();
    fs.rename(&from, &to).unwrap();
    assert_eq!(fs.list(dir).unwrap(), ["to"]);
    assert_eq!(fs.metadata(&to).unwrap(), Metadata { len: 3, is_dir: false, links: 1 });
    fs.rename(&to, &to).unwrap();
    let sub = dir.join("sub");
    fs.create_dir_all(&sub).unwrap();
    fs.rename(&to, &sub.join("moved")).unwrap();
    assert_eq!(fs.list(dir).unwrap(), ["sub"]);
    file.write_all_at(b"NEW!", 0).unwrap();
    assert_eq!(fs.metadata(&sub.join("moved")).unwrap().len, 4);
}

fn removed_file_stays_readable(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("a");
    let old = fs.create_new(&path).unwrap();
    old.write_all_at(b"old", 0).unwrap();
    fs.remove_file(&path).unwrap();
    fs.sync_dir(dir).unwrap();
    fs.create_new(&path).unwrap().write_all_at(b"new one", 0).unwrap();
    old.write_all_at(b"er", 3).unwrap();
    old.sync_data().unwrap();
    let mut buffer = [0; 10];
    assert_eq!(old.read_at(&mut buffer, 0).unwrap(), 5);
    assert_eq!(&buffer[..5], b"older");
    assert_eq!(fs.metadata(&path).unwrap().len, 7);
}

fn hard_links_share_bytes(fs: &dyn Fs, dir: &Path) {
    let (one, two) = (dir.join("one"), dir.join("two"));
    assert_eq!(fs.hard_link(&one, &two).unwrap_err().kind(), ErrorKind::NotFound);
    let file = fs.create_new(&one).unwrap();
    fs.hard_link(&one, &two).unwrap();
    assert_eq!(fs.hard_link(&one, &two).unwrap_err().kind(), ErrorKind::AlreadyExists);
    file.write_all_at(b"abc", 0).unwrap();
    assert_eq!(fs.metadata(&two).unwrap().len, 3);
    // Two names of one file: a rename does nothing.
    fs.rename(&one, &two).unwrap();
    assert_eq!(fs.list(dir).unwrap(), ["one", "two"]);
    fs.remove_file(&one).unwrap();
    let mut buffer = [0; 3];
    fs.open(&two, OpenMode::Read).unwrap().read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"abc");
}

fn directories(fs: &dyn Fs, dir: &Path) {
    let deep = dir.join("x/y/z");
    fs.create_dir_all(&deep).unwrap();
    fs.create_dir_all(&deep).unwrap();
    assert_eq!(fs.metadata(&deep).unwrap(), Metadata { len: 0, is_dir: true, links: 1 });
    assert_eq!(fs.list(dir).unwrap(), ["x"]);
    let full = fs.remove_dir(&dir.join("x/y")).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::DirectoryNotEmpty);
    fs.remove_dir(&deep).unwrap();
    assert_eq!(fs.remove_dir(&deep).unwrap_err().kind(), ErrorKind::NotFound);
    let file = dir.join("file");
    fs.create_new(&file).unwrap();
    assert_eq!(fs.remove_dir(&file).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(fs.list(&file).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(fs.metadata(&file.join("a")).unwrap_err().kind(), ErrorKind::NotADirectory);
    fs.create_dir_all(&file).unwrap_err();
    fs.create_dir_all(&file.join("a")).unwrap_err();
    fs.remove_file(&dir.join("x")).unwrap_err();
    let replaced = fs.rename(&file, &dir.join("x")).unwrap_err();
    assert_eq!(replaced.kind(), ErrorKind::IsADirectory);
    assert!(fs.free_space(dir).unwrap() > 0);
    fs.free_space(&dir.join("no")).unwrap_err();
}

fn locks_exclude(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("LOCK");
    let refused = |mode| fs.lock(&path, mode).unwrap_err().kind();
    assert_eq!(refused(LockMode::Shared), ErrorKind::NotFound);
    let exclusive = fs.lock(&path, LockMode::Exclusive).unwrap();
    assert!(fs.exists(&path).unwrap());
    assert_eq!(refused(LockMode::Exclusive), ErrorKind::WouldBlock);
    assert_eq!(refused(LockMode::Shared), ErrorKind::WouldBlock);
    drop(exclusive);
    let one = fs.lock(&path, LockMode::Shared).unwrap();
    let two = fs.lock(&path, LockMode::Shared).unwrap();
    assert_eq!(refused(LockMode::Exclusive), ErrorKind::WouldBlock);
    drop(one);
    assert_eq!(refused(LockMode::Exclusive), ErrorKind::WouldBlock);
    drop(two);
    fs.lock(&path, LockMode::Exclusive).unwrap();
    assert!(fs.exists(&path).unwrap());
}

fn maps_outlive_the_file(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("a");
    let file = fs.create_new(&path).unwrap();
    assert!(file.map().unwrap().is_empty());
    file.write_all_at(&[5; 10_000], 0).unwrap();
    let map = fs.open(&path, OpenMode::Read).unwrap().map().unwrap();
    drop(file);
    fs.remove_file(&path).unwrap();
    let part = map.slice(9000..);
    drop(map);
    assert_eq!(part[..], [5; 1000]);
}

/// Wherever they go: in order, back, far ahead, across the steps in which a system makes pages ready.
fn stores_are_writes(fs: &dyn Fs, dir: &Path) {
    const LEN: usize = 3 << 20;
    let path = dir.join("a");
    let file = fs.create_new(&path).unwrap();
    file.map_for_writes(1).unwrap_err();
    file.write_all_at(&vec![9; LEN], 0).unwrap();
    let Some(mut map) = file.map_for_writes(LEN as u64).unwrap() else { return };
    drop(file);
    let reader = fs.open(&path, OpenMode::ReadWrite).unwrap();
    let mut expected = vec![9; LEN];
    let steps = (0..LEN - 20_000).step_by(12_345);
    for (at, fill) in steps.chain([5, LEN - 7000, 65_530, 2 << 20]).zip((0..200).cycle()) {
        let bytes = vec![fill; 7000 - at % 1000];
        let bytes = &bytes[..bytes.len().min(LEN - at)];
        map.store(bytes, at as u64).unwrap();
        expected[at..at + bytes.len()].copy_from_slice(bytes);
        // Writes between stores, to the same pages.
        reader.write_all_at(&[fill], at as u64 + 3).unwrap();
        expected[at + 3] = fill;
    }
    map.store(&[], LEN as u64).unwrap();
    map.store(&[1], LEN as u64).unwrap_err();
    map.store(&[1, 2], u64::MAX).unwrap_err();
    reader.sync_data().unwrap();
    let mut found = vec![0; LEN];
    reader.read_exact_at(&mut found, 0).unwrap();
    assert!(found == expected);
    drop(map);
    reader.read_exact_at(&mut found, 0).unwrap();
    assert!(found == expected);
}

fn syncs_and_hints(fs: &dyn Fs, dir: &Path) {
    let file = fs.create_new(&dir.join("a")).unwrap();
    file.write_all_at(&[1; 100_000], 0).unwrap();
    file.start_writeback(0, 50_000).unwrap();
    file.start_writeback(0, 0).unwrap();
    for advice in [Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::DontNeed] {
        file.advise(0, 100_000, advice);
        file.advise(1 << 40, u64::MAX, advice);
        file.advise(0, 0, advice);
    }
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    fs.sync_dir(dir).unwrap();
    fs.sync_dir(&dir.join("no")).unwrap_err();
}
