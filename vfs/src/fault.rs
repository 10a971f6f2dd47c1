//! Scripted failures over any file system.
