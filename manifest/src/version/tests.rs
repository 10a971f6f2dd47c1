//! Edits against pictures: what fits, what is refused.
