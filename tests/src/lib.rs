//! Esker's whole-product tests.
