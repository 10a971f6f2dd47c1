//! A simulated disk with some files on it, for the targets of whole files.

use std::path::Path;

use esker_vfs::simulated::SimulatedFs;
use esker_vfs::{Fs, OpenMode};

/// A disk with one directory that holds these files.
pub fn with(dir: &str, files: &[(&str, &[u8])]) -> SimulatedFs {
    let fs = SimulatedFs::new();
    let dir = Path::new(dir);
    fs.create_dir_all(dir).expect("an empty disk");
    for (name, content) in files {
        let file = fs.create_new(&dir.join(name)).expect("an empty directory");
        file.write_all_at(content, 0).expect("no limit");
        file.sync_all().expect("a healthy disk");
    }
    fs.sync_dir(dir).expect("a healthy disk");
    fs
}

/// A file's content.
pub fn read(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, OpenMode::Read).expect("the file is there");
    let mut content = vec![0; file.len().expect("a healthy disk") as usize];
    file.read_exact_at(&mut content, 0).expect("a healthy disk");
    content
}
