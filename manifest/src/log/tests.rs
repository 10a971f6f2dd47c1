//! The manifest on a simulated disk.
