//! Esker's background merging: what to merge, which versions survive, and the merge itself.
