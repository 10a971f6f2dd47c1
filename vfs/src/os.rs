//! The real machine.

/// The operating system's files.
#[derive(Debug)]
pub struct OsFs;
/// The operating system's clock.
#[derive(Debug)]
pub struct OsClock;
/// The operating system's randomness.
#[derive(Debug)]
pub struct OsRandom;
