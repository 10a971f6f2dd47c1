//! Esker's immutable sorted files.
