//! Sets `cfg(loom)` for the memtable's sources, and for nothing else: as a flag for the whole build it would reach the
//! dependencies too.

fn main() {
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rustc-check-cfg=cfg(loom, esker_asan)");
    println!("cargo::rerun-if-changed=build.rs");
}
