//! Esker's record of which files exist.
