//! Control groups of this run's own, version 1 or 2: one that can limit memory, one that counts the reads of the device.
//! Made by `run.rs`, joined by the children (`child.rs`), read by `measure.rs`. They are made below the group this program
//! runs in where that is possible, so that limits set from outside hold; it must remove them and leave others alone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::engine::Result;

/// Where the control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// More than any disk makes.
const READS_PER_SECOND_MAX: u64 = 1_000_000_000;

/// The groups of one run. What the machine does not offer is missing.
#[derive(Debug)]
pub struct Groups {
    /// The group whose memory can be limited, or why there is none.
    memory: std::result::Result<PathBuf, String>,
    /// The group that counts reads.
    io: Option<PathBuf>,
}

impl Groups {
    /// Makes what can be made; `dir` is on the device whose reads are to be counted.
    pub fn create(dir: &Path) -> Groups {
        let name = format!("esker-compare-{}", std::process::id());
        let root = Path::new(ROOT);
        if root.join("cgroup.controllers").exists() {
            let both = version_2(root, &name);
            return Groups { io: both.as_ref().ok().cloned(), memory: both };
        }
        let memory = version_1(root, "memory", &name, "memory.limit_in_bytes");
        let io = version_1(root, "blkio", &name, "blkio.throttle.io_serviced").ok();
        let mut groups = Groups { memory, io };
        if let Some(path) = groups.io.take() {
            match start_counting(&path, dir) {
                Some(()) => groups.io = Some(path),
                None => _ = fs::remove_dir(path),
            }
        }
        groups
    }

    /// The group that limits memory to so many bytes, the page cache of its processes included. The error says why there
    /// is none.
    pub fn limited(&self, bytes: u64) -> std::result::Result<&Path, String> {
        let path = self.memory.as_ref().map_err(Clone::clone)?;
        let failed = |error| format!("memory cannot be limited: {error}");
        if path.join("memory.max").exists() {
            // Without swap, or the limit would not mean much. A kernel without swap accounting lacks the file.
            let _ = fs::write(path.join("memory.swap.max"), "0");
            fs::write(path.join("memory.max"), bytes.to_string()).map_err(failed)?;
        } else {
            // Memory and swap together cannot be less than memory: this order, and the other way round for a higher one.
            let both = path.join("memory.memsw.limit_in_bytes");
            let _ = fs::write(&both, "-1");
            fs::write(path.join("memory.limit_in_bytes"), bytes.to_string()).map_err(failed)?;
            let _ = fs::write(&both, bytes.to_string());
        }
        Ok(path)
    }

    /// The group that counts reads.
    pub fn io(&self) -> Option<&Path> {
        self.io.as_deref()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // Fails only while a process is in it, and every child has ended.
        for path in self.memory.iter().chain(&self.io) {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Puts the calling process into a group.
pub fn join(group: &Path) -> Result<()> {
    Ok(fs::write(group.join("cgroup.procs"), std::process::id().to_string())?)
}

/// How many reads the processes of a group asked of all devices.
pub fn reads(group: &Path) -> Option<u64> {
    match fs::read_to_string(group.join("io.stat")) {
        Ok(text) => Some(reads_of_version_2(&text)),
        Err(_) => fs::read_to_string(group.join("blkio.throttle.io_serviced"))
            .ok()
            .map(|text| reads_of_version_1(&text)),
    }
}

/// Lines such as `253:0 Read 17`.
fn reads_of_version_1(text: &str) -> u64 {
    let read = |line: &str| line.split_once(" Read ")?.1.trim().parse::<u64>().ok();
    text.lines().filter_map(read).sum()
}

/// Lines such as `253:0 rbytes=0 wbytes=0 rios=17 wios=0`.
fn reads_of_version_2(text: &str) -> u64 {
    let read = |word: &str| word.strip_prefix("rios=")?.parse::<u64>().ok();
    text.split_whitespace().filter_map(read).sum()
}

/// Version 1 counts only where there is a limit: one that no disk reaches.
fn start_counting(group: &Path, dir: &Path) -> Option<()> {
    let device = fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let mut path = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    if path.join("partition").exists() {
        // Limits are those of the whole disk.
        path.pop();
    }
    let disk = fs::read_to_string(path.join("dev")).ok()?;
    let limit = format!("{} {READS_PER_SECOND_MAX}", disk.trim());
    fs::write(group.join("blkio.throttle.read_iops_device"), limit).ok()
}

/// A group of one controller, below the one this process is in.
fn version_1(
    root: &Path,
    controller: &str,
    name: &str,
    needed: &str,
) -> std::result::Result<PathBuf, String> {
    let mount = root.join(controller);
    if !mount.is_dir() {
        return Err(format!("no control groups for {controller} here"));
    }
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own_group(&groups, controller).unwrap_or("/");
    // In a container the path may be the one outside.
    let parents = [mount.join(own.trim_start_matches('/')), mount.clone()];
    let parent = parents.iter().find(|path| path.is_dir()).unwrap_or(&mount);
    make(parent, name, needed)
}

/// One group for both controllers, below the root of what is mounted: processes and controllers do not mix further down.
fn version_2(root: &Path, name: &str) -> std::result::Result<PathBuf, String> {
    // The second may be missing; then reads are not counted.
    let memory = fs::write(root.join("cgroup.subtree_control"), "+memory");
    memory.map_err(|error| format!("the control groups here do not limit memory: {error}"))?;
    let _ = fs::write(root.join("cgroup.subtree_control"), "+io");
    make(root, name, "memory.max")
}

fn make(parent: &Path, name: &str, needed: &str) -> std::result::Result<PathBuf, String> {
    let path = parent.join(name);
    fs::create_dir(&path).map_err(|error| format!("no control group can be made: {error}"))?;
    if path.join(needed).exists() {
        return Ok(path);
    }
    let _ = fs::remove_dir(&path);
    Err(format!("the control groups here have no {needed}"))
}

/// The group of a controller in the text of `/proc/self/cgroup`.
fn own_group<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|one| one == controller).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn counters_of_both_versions_are_understood() {
        let text = "253:0 Read 17\n253:0 Write 4\n253:0 Total 21\n7:0 Read 3\nTotal 24\n";
        assert_eq!(reads_of_version_1(text), 20);
        let text = "253:0 rbytes=4096 wbytes=0 rios=17 wios=2 dbytes=0 dios=0\n7:0 rios=3\n";
        assert_eq!(reads_of_version_2(text), 20);
    }

    #[test]
    fn the_own_group_is_found_by_controller() {
        let groups = "7:cpu,cpuacct:/a\n4:memory:/b/c\n0::/\n";
        assert_eq!(own_group(groups, "memory"), Some("/b/c"));
        assert_eq!(own_group(groups, "cpuacct"), Some("/a"));
        assert_eq!(own_group(groups, "blkio"), None);
    }

    #[test]
    fn groups_are_removed_again() {
        let dir = tempfile::tempdir().unwrap();
        let groups = Groups::create(dir.path());
        let paths: Vec<PathBuf> = groups.memory.iter().chain(&groups.io).cloned().collect();
        if let Ok(path) = groups.limited(64 << 20) {
            assert!(path.is_dir());
        }
        drop(groups);
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
