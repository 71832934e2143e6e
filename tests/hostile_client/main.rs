//! A client of `spined` under a user of its own, hostile or not: a program, so that tests can give it any user.
//!
//! `spine-hostile-client SOCKET WHAT ...`, where WHAT is
//!
//! | words | what it does |
//! |---|---|
//! | `silent COUNT` | connects so often, says nothing, and how many stay until a line comes |
//! | `orders COUNT INTERFACE MODULE` | so often: connects, orders an extension with four regions, and goes |
//! | `fuzz SEED SECONDS INTERFACE MODULE` | anything that a client can do to a daemon, by seed |
//! | `honest SECONDS INTERFACE MODULE` | loads, asks, lists and unloads; ends badly at the first request that is not served |
//!
//! What it says of itself at the end is one line of numbers.

mod fuzz;

use std::fmt::Display;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use spine_client::daemon::file::seal;
use spine_client::daemon::protocol::{Call, FromDaemon, Request, VERSION, encode, parse_answer};
use spine_client::daemon::socket::{Connection, Received};
use spine_client::memory::Region;
use spine_client::{Client, Load};
use spine_tests::daemon::{ANSWER, ASK};

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        [socket, "silent", count] => silent(Path::new(socket), number(count)),
        [socket, "orders", count, interface, module] => {
            orders(Path::new(socket), number(count), interface, Path::new(module))
        }
        [socket, "fuzz", seed, seconds, interface, module] => {
            let seconds = Duration::from_secs(number(seconds));
            fuzz::run(Path::new(socket), number(seed), seconds, interface, Path::new(module))
        }
        [socket, "honest", seconds, interface, module] => {
            let seconds = Duration::from_secs(number(seconds));
            honest(Path::new(socket), seconds, interface, Path::new(module))
        }
        _ => Err("spine-hostile-client SOCKET silent|orders|fuzz|honest ...".to_owned()),
    };
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("spine-hostile-client: {why}");
            ExitCode::FAILURE
        }
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is no number"))
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// A module, sealed as orders bring it.
fn module(path: &Path) -> Result<OwnedFd, String> {
    seal(&std::fs::read(path).map_err(text)?).map_err(text)
}

fn silent(socket: &Path, count: u64) -> Result<String, String> {
    let all: Vec<Connection> =
        (0..count).filter_map(|_| Connection::connect(socket).ok()).collect();
    println!("there");
    std::io::stdin().read_line(&mut String::new()).map_err(text)?;
    let stay = all.iter().filter(|connection| {
        // Who is sent away is told why, and then hung up on.
        let mut said = std::iter::from_fn(|| connection.try_receive().ok());
        said.find(|said| !matches!(said, Received::Packet(_)))
            .is_some_and(|said| matches!(said, Received::Nothing))
    });
    Ok(format!("{} of {count} stay", stay.count()))
}

/// Says hello; false if that is not answered.
fn greet(connection: &Connection) -> bool {
    let hello = Request::Hello { version: VERSION, program: "hostile".to_owned() };
    let sent = encode(&Call { id: 1, request: hello }).ok();
    sent.is_some_and(|bytes| connection.send(&bytes, &[]).is_ok())
        && matches!(
            connection.receive(PATIENCE),
            Ok(Received::Packet(packet))
                if matches!(parse_answer(&packet.bytes), Ok(FromDaemon::Answer { .. }))
        )
}

fn orders(socket: &Path, count: u64, interface: &str, path: &Path) -> Result<String, String> {
    let module = module(path)?;
    let region = Region::create("order", 65536).map_err(text)?;
    let load = Load {
        interface: interface.to_owned(),
        keep: true,
        regions: vec![65536; 4],
        ..Load::default()
    };
    let load = encode(&Call { id: 2, request: Request::Load(load) }).map_err(text)?;
    let region = region.as_fd();
    let beside: [BorrowedFd<'_>; 5] = [module.as_fd(), region, region, region, region];
    let mut ordered = 0;
    for _ in 0..count {
        let connection = Connection::connect(socket).map_err(text)?;
        if greet(&connection) && connection.send(&load, &beside).is_ok() {
            ordered += 1;
        }
    }
    Ok(format!("{ordered} ordered"))
}

fn honest(socket: &Path, time: Duration, interface: &str, path: &Path) -> Result<String, String> {
    let module = std::fs::read(path).map_err(text)?;
    let mut client = Client::open_at(socket, "honest").map_err(text)?;
    let load = Load { interface: interface.to_owned(), ..Load::default() };
    let number = client.load(&load, &module, &[]).map_err(text)?.number;
    let (start, mut served, mut longest) = (Instant::now(), 0_u32, Duration::ZERO);
    while start.elapsed() < time {
        let turn = Instant::now();
        client.adapters().map_err(text)?;
        client.extensions().map_err(text)?;
        client.ask(number, ASK.0, &[], ANSWER, PATIENCE).map_err(text)?;
        Client::open_at(socket, "honest, too").map_err(text)?.adapters().map_err(text)?;
        longest = longest.max(turn.elapsed());
        served += 1;
    }
    client.unload(number).map_err(text)?;
    Ok(format!("{served} turns, the longest {longest:?}"))
}
