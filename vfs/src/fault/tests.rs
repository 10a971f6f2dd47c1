//! Tests of the fault injector.
