#![allow(clippy::unwrap_used)]
//! What only the real machine has.
