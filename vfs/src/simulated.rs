//! An in-memory disk that can lose what was not synced.
