//! A service's own crash test: an account book that must never lose a booking it has confirmed, on a disk whose power
//! fails at a random call. `cargo run -p esker-sim --example power_cut`

use esker::{Db, Result};
use esker_sim::Machine;

/// Books until something fails; counts what was confirmed.
fn book(db: &Db, first: u32, confirmed: &mut u32) -> Result<()> {
    let bookings = db.keyspace("bookings")?;
    for number in first..first + 1000 {
        bookings.put(number.to_be_bytes(), format!("booking {number}"))?;
        *confirmed = number + 1;
    }
    Ok(())
}

fn main() -> Result<()> {
    for seed in 0..100 {
        let mut machine = Machine::new(seed);
        let mut confirmed = 0;
        for _ in 0..5 {
            machine.cut_power_within(500);
            let run = machine.open("/data").and_then(|db| book(&db, confirmed, &mut confirmed));
            assert!(run.is_ok() || machine.power_is_off(), "seed {seed}: {run:?}");
            machine.restart_at_random();
            let found = machine.open("/data")?.keyspace("bookings")?.iter().count() as u32;
            assert!(found >= confirmed, "seed {seed}: {found} of {confirmed} bookings are left");
            confirmed = found;
        }
    }
    println!("100 machines, 5 power cuts each: no confirmed booking was lost");
    Ok(())
}
