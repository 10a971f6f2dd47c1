//! Writes every target's seeds into `corpus/<target>/` below the current folder, for libFuzzer to start from.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for target in esker_fuzz::TARGETS {
        let folder = Path::new("corpus").join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
