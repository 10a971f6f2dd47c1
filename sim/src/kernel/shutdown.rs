//! The one ioctl that cuts a file system off, as if the power had gone: the only unsafe code of this crate.
//!
//! `mount.rs` calls it on file systems that it has made itself.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::ioctl::{Opcode, Setter, ioctl};

/// `EXT4_IOC_SHUTDOWN`: `_IOR('X', 125, __u32)`.
const EXT4_IOC_SHUTDOWN: Opcode = 0x8004_587d;

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: not even the journal is written.
const NO_LOG_FLUSH: u32 = 2;

/// Stops the ext4 file system that is mounted on `mount_point`: from now on every write to it fails, and what it has not
/// written yet is lost.
pub(super) fn cut_power(mount_point: &Path) -> io::Result<()> {
    let root = File::open(mount_point)?;
    // SAFETY: the kernel defines this opcode to read one u32 through the pointer, and `Setter` passes a pointer to one
    // that lives through the call. `root` keeps the descriptor open.
    unsafe { ioctl(&root, Setter::<EXT4_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }?;
    Ok(())
}
