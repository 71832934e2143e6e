//! `spine-ports INTERFACE`: counts the packets that a router forwards from an interface, by UDP and TCP port.
//!
//! The application to copy. Its extension counts in a region that both share and gives every packet back
//! to the kernel.

use std::error::Error;
use std::time::Duration;

use spine_client::memory::Region;
use spine_client::{Client, Load};

/// The extension, built with this program.
static EXTENSION: &[u8] = include_bytes!(env!("SPINE_PORTS_EXTENSION"));
/// Its handler that says whether it counts, and the number it says so to.
const READY: u16 = 2;
const COUNTING: u16 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: spine-ports INTERFACE [SECONDS [SOCKET]]";
    let interface = arguments.next().ok_or(usage)?;
    let seconds = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let mut client = match arguments.next() {
        Some(socket) => Client::open_at(socket.as_ref(), "spine-ports")?,
        None => Client::open("spine-ports")?,
    };

    // Four bytes for each of 65,536 ports.
    let counts = Region::create("ports", 4 << 16)?;
    let everything = vec!["0.0.0.0/0".parse()?];
    let load = Load { interface, prefixes: everything, ..Load::default() };
    let extension = client.load(&load, EXTENSION, &[&counts])?.number;
    client.ask(extension, READY, &[], COUNTING, Duration::from_secs(1))?;
    println!("counting for {seconds} s");

    // Until then there is nothing to hear but the extension's end.
    if let Some(event) = client.receive(Duration::from_secs(seconds))? {
        return Err(format!("{event:?}").into());
    }
    let count = |port: usize| counts.load_u32(4 * port).unwrap_or(0);
    let mut ports: Vec<usize> = (0..1 << 16).filter(|port| count(*port) > 0).collect();
    ports.sort_by_key(|port| std::cmp::Reverse(count(*port)));
    for port in ports.into_iter().take(20) {
        println!("{port:>5} {:>10}", count(port));
    }
    Ok(())
}
