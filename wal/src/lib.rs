//! Esker's write-ahead log.
