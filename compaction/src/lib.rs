//! Esker's background merging: what to merge, which versions survive, and the merge itself.
//!
//! A [`Strategy`] looks at a [`Picture`] of one keyspace's levels and proposes a [`Task`];
//! [`compact`] carries a task out and [`build`] turns any sorted cursor into sstables (flush uses
//! it too); [`retain`] decides which versions are still needed. Snapshots, history floor, file
//! numbers, limiter and cancellation come in as arguments: nothing here knows the engine, starts
//! threads, reads a clock or touches the manifest on disk.

#![forbid(unsafe_code)]

pub mod retain;
pub mod run;
pub mod strategy;
pub mod values;

pub use retain::{Below, Retain, Rules, Survivors};
pub use run::{BuildContext, Built, Limiter, Unlimited, build, compact, compression_of, file_meta};
pub use strategy::{Options, Picture, Strategy, Task, TaskKind, for_kind, pick_range};
pub use values::{ValuePolicy, ValueUsage, value_file_meta, value_identity};
