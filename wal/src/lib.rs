//! Esker's write-ahead log: opaque groups of batches, in order, durably.
//!
//! The log is a chain of numbered segment files ([`mod@format`] specifies them). One [`Writer`]
//! appends groups to the last segment, rotates into segments made by [`create_segment`], and says
//! what is known to be durable. [`replay`] reads the chain without writing anything and tells a
//! torn tail from corruption; [`rewrite_tail`] then carries what may be in the page cache alone
//! into new, synced segments. A clean close ends in [`Writer::seal`].
//!
//! The engine drives all of it and the manifest remembers which segments live; this crate knows
//! neither keys nor manifests, takes no locks and starts no threads.

#![forbid(unsafe_code)]

pub mod format;
pub mod frame;

mod group;
mod reader;
mod salvage;
mod segment;
mod tail;
mod writer;

#[cfg(test)]
mod testing;

pub use group::{BatchBytes, Group, GroupBuilder};
pub use reader::{Groups, Outcome, SegmentExpectation, SegmentOutcome, replay, replay_segments};
pub use salvage::{Piece, SalvagedSegment, look_at, salvage_segment};
pub use segment::{
    GROWTH_MAX, SEGMENT_LEN_MAX, Segment, SegmentSpec, create_segment, retired_name,
    segment_size_for,
};
pub use tail::{RewrittenTail, rewrite_tail, tail_bytes};
pub use writer::{FinishedSegment, SealInfo, SyncHandle, Writer};
