//! Tests of whole tables, through the operations.
