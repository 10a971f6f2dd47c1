//! Esker's in-memory table of the newest entries.
