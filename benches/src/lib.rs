//! Esker's micro-benchmarks.
