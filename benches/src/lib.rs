//! Esker's micro-benchmarks (`cargo bench -p esker-benches`) and, in `src/bin`, load generators that drive a running
//! server. The library is empty; nothing may import this crate.
