//! Anything that a client can do to a daemon, by seed.
//!
//! What the daemon answers is thrown away: what is tested is what others notice, and what is left in the end.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use spine_client::Load;
use spine_client::daemon::protocol::{Call, Claim, ClaimChange, Request, VERSION, encode};
use spine_client::daemon::socket::{Connection, Received};
use spine_client::memory::Region;

use super::{module, text};

/// Connections at one time: more than it may have.
const CONNECTIONS: usize = 48;
/// What it does between two moments of rest, so that others on the machine have some.
const BATCH: usize = 64;

/// The fuzzer.
struct Fuzz {
    random: Rng,
    connections: Vec<Connection>,
    module: OwnedFd,
    /// A sealed file that is no module.
    nonsense: OwnedFd,
    region: Region,
    interface: String,
    call: u64,
}

/// Does what a seed says, for so long.
pub(super) fn run(
    socket: &Path,
    seed: u64,
    time: Duration,
    interface: &str,
    path: &Path,
) -> Result<String, String> {
    let mut fuzz = Fuzz {
        random: Rng::with_seed(seed),
        connections: Vec::new(),
        module: module(path)?,
        nonsense: spine_client::daemon::file::seal(&[7; 4096]).map_err(text)?,
        region: Region::create("fuzz", 65536).map_err(text)?,
        interface: interface.to_owned(),
        call: 1,
    };
    let (start, mut steps) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        for _ in 0..BATCH {
            fuzz.step(socket);
            steps += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(format!("{steps} steps of seed {seed}"))
}

impl Fuzz {
    fn step(&mut self, socket: &Path) {
        match self.random.u8(..16) {
            0..4 => self.come(socket),
            4 | 5 => self.go(),
            6 => self.hear(),
            7 => self.say_nonsense(),
            8 => self.flood_with_descriptors(),
            9..13 => self.order(),
            _ => self.ask(),
        }
    }

    fn some(&mut self) -> Option<usize> {
        (!self.connections.is_empty()).then(|| self.random.usize(..self.connections.len()))
    }

    fn come(&mut self, socket: &Path) {
        let Ok(connection) = Connection::connect(socket) else { return };
        // Some never say hello.
        if self.random.u8(..8) > 0 {
            let version = if self.random.u8(..16) > 0 { VERSION } else { self.random.u32(..) };
            self.send(&connection, Request::Hello { version, program: "fuzz".to_owned() }, &[]);
        }
        self.connections.push(connection);
        if self.connections.len() > CONNECTIONS {
            self.go();
        }
    }

    fn go(&mut self) {
        let Some(at) = self.some() else { return };
        let connection = self.connections.swap_remove(at);
        if self.random.bool() {
            connection.hang_up();
        }
    }

    /// Takes some of what was answered; what is not taken waits at the daemon.
    fn hear(&mut self) {
        let Some(at) = self.some() else { return };
        for _ in 0..self.random.u8(..8) {
            if !matches!(self.connections[at].try_receive(), Ok(Received::Packet(_))) {
                self.connections.swap_remove(at);
                return;
            }
        }
    }

    fn say_nonsense(&mut self) {
        let Some(at) = self.some() else { return };
        let bytes: Vec<u8> = std::iter::repeat_with(|| self.random.u8(..)).take(300).collect();
        let length = self.random.usize(1..bytes.len());
        // It may be full, or have been closed; so in all that follows.
        let _ = self.connections[at].try_send(&bytes[..length], &[]);
    }

    fn flood_with_descriptors(&mut self) {
        let Some(at) = self.some() else { return };
        let connection = &self.connections[at];
        let many: Vec<BorrowedFd<'_>> = vec![self.region.as_fd(); self.random.usize(1..250)];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(250))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if beside.push(SendAncillaryMessage::ScmRights(&many)) {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let _ = rustix::net::sendmsg(connection, &[IoSlice::new(b"{}")], &mut beside, flags);
        }
    }

    /// Orders an extension, or another version of one; mostly it goes before that is there.
    fn order(&mut self) {
        let Some(at) = self.some() else { return };
        let connection = self.connections.swap_remove(at);
        let regions = self.random.usize(..3);
        let request = if self.random.u8(..4) > 0 {
            Request::Load(Load {
                interface: self.interface.clone(),
                keep: self.random.bool(),
                regions: vec![65536; regions],
                prefixes: self.prefixes(),
                claimant: self.random.u8(..4) == 0,
                ports: if self.random.bool() { vec![self.random.u16(5000..5010)] } else { vec![] },
                fuel: self.random.bool().then(|| self.random.u64(..20_000)),
                ..Load::default()
            })
        } else {
            Request::Replace { extension: self.extension(), signature: None }
        };
        let is_module = self.random.u8(..4) > 0;
        let files = if is_module { &self.module } else { &self.nonsense };
        let Ok(wasm) = files.try_clone() else { return };
        let beside: Vec<BorrowedFd<'_>> = std::iter::once(wasm.as_fd())
            .chain((0..regions).map(|_| self.region.as_fd()))
            .collect();
        self.call += 1;
        if let Ok(bytes) = encode(&Call { id: self.call, request }) {
            let _ = connection.try_send(&bytes, &beside);
        }
        if self.random.bool() {
            self.connections.push(connection);
        }
    }

    fn ask(&mut self) {
        let Some(at) = self.some() else { return };
        let connection = self.connections.swap_remove(at);
        let request = match self.random.u8(..8) {
            0 => Request::Adapters,
            1 => Request::Extensions { after: self.extension() },
            2 => Request::Unload { extension: self.extension() },
            3 => Request::Attach { extension: self.extension() },
            4 => Request::Statistics { interface: self.interface.clone() },
            5 => Request::Peers,
            _ => Request::Claim(Claim {
                extension: self.extension(),
                enabled: self.random.bool().then(|| self.random.bool()),
                changes: self.prefixes().into_iter().map(ClaimChange::Take).collect(),
            }),
        };
        self.send(&connection, request, &[]);
        self.connections.push(connection);
    }

    fn prefixes(&mut self) -> Vec<ipnet::Ipv4Net> {
        let count = self.random.usize(..4);
        let nets = (0..count).map(|_| {
            let address = std::net::Ipv4Addr::from(self.random.u32(..));
            let inside = std::net::Ipv4Addr::new(10, 9, self.random.u8(..), 0);
            let address = if self.random.bool() { address } else { inside };
            ipnet::Ipv4Net::new(address, self.random.u8(20..=32)).map(|net| net.trunc())
        });
        nets.filter_map(Result::ok).collect()
    }

    /// The number of an extension that there may be.
    fn extension(&mut self) -> u64 {
        if self.random.bool() { self.random.u64(..8) } else { self.random.u64(..2000) }
    }

    fn send(&mut self, connection: &Connection, request: Request, beside: &[BorrowedFd<'_>]) {
        self.call += 1;
        if let Ok(bytes) = encode(&Call { id: self.call, request }) {
            let _ = connection.try_send(&bytes, beside);
        }
    }
}
