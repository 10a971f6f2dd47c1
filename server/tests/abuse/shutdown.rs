//! The server is told to stop while clients hold it in every way they can: it ends within its time, and cleanly.

use std::io::Write;

use crate::slow::stalled;
use crate::support::request;
use crate::victim::{Victim, put_large_items};

#[test]
fn a_server_that_is_held_ends_when_it_is_told_to() {
    let victim = Victim::start(&["drain-ms=500", "write-ms=600000", "body-ms=600000"]);
    put_large_items(&victim, 8);
    let open = stalled(&victim, 100);
    let mut busy = victim.server.connect();
    busy.write_all(&request("Scan", r#"{"TableName":"Tab"}"#).repeat(1000)).unwrap();
    victim.during();
    // Ends it, with all of them still open.
    victim.end("shutdown", 400);
    drop((open, busy));
}
