//! Esker's whole-product tests. The library is empty: each test is a target of its own, named in `Cargo.toml`, and
//! nothing may import this crate.
