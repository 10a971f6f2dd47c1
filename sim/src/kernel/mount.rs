//! A small ext4 of our own: an image file, a loop device on it, and a mount, each released when its guard goes.
//!
//! Everything lies in a temporary directory that is made here. Must never touch a device or a mount that it did not make.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

/// An ext4 in an image file, attached to a loop device.
#[derive(Debug)]
pub(super) struct Image {
    device: PathBuf,
    mount_point: PathBuf,
    /// Goes after the device was let go.
    _directory: TempDir,
}

impl Image {
    /// Makes a file system of `bytes`. The error says what is missing on this machine.
    pub(super) fn create(bytes: u64) -> Result<Image, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".to_string());
        }
        let directory = super::directory_in(&super::memory_directory())?;
        let (file, mount_point) = (directory.path().join("image"), directory.path().join("mount"));
        let made = fs::create_dir(&mount_point).and_then(|()| File::create(&file)?.set_len(bytes));
        made.map_err(|error| format!("no image file: {error}"))?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0"], &file)?;
        let device = run("losetup", &["--find", "--show"], &file)?;
        Ok(Image { device: PathBuf::from(device.trim()), mount_point, _directory: directory })
    }

    /// Mounts it with ext4's `options`.
    pub(super) fn mount(&self, options: &str) -> Result<Mount<'_>, String> {
        let options = std::ffi::CString::new(options).map_err(|error| error.to_string())?;
        let flags = MountFlags::NOATIME;
        rustix::mount::mount(&self.device, &self.mount_point, c"ext4", flags, &*options)
            .map_err(|error| format!("cannot mount: {error}"))?;
        Ok(Mount { image: self })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Nothing more can be done if the kernel does not let go; the device's name is in the list of loop devices.
        let _ = run("losetup", &["--detach"], &self.device);
    }
}

/// A mounted [`Image`].
#[derive(Debug)]
pub(super) struct Mount<'a> {
    image: &'a Image,
}

impl Mount<'_> {
    /// Its root.
    pub(super) fn path(&self) -> &Path {
        &self.image.mount_point
    }

    /// Takes the power away: what is not on the device now never gets there.
    pub(super) fn cut_power(&self) -> io::Result<()> {
        super::shutdown::cut_power(self.path())
    }

    /// Unmounts it; an error if something still has a file open.
    pub(super) fn unmount(self) -> Result<(), String> {
        let result = rustix::mount::unmount(self.path(), UnmountFlags::empty());
        if result.is_ok() {
            std::mem::forget(self);
        }
        // Otherwise the guard detaches it.
        result.map_err(|error| format!("cannot unmount: {error}"))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Lazily: on the way out of a failure somebody may still have files open.
        let _ = rustix::mount::unmount(&self.image.mount_point, UnmountFlags::DETACH);
    }
}

/// Runs a tool of the system on `file`; its output.
fn run(tool: &str, arguments: &[&str], file: &Path) -> Result<String, String> {
    let output = Command::new(tool).args(arguments).arg(file).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{tool} is not here: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{tool} failed: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
