//! What a test needs from the machine, and what it says when that is not there.

use std::fs::File;
use std::io::Write as _;

use nix::fcntl::{Flock, FlockArg};

/// Prints `reason` past the test runner's capture, so that a skipped test is seen to be one.
pub fn say_skipped(test: &str, reason: &str) {
    // Nothing is lost where even stderr is closed.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
}

/// Why tests in network namespaces cannot run here; `None` where they can.
pub fn why_no_namespaces() -> Option<&'static str> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("network namespaces and AF_XDP need root");
    }
    None
}

/// Leaves the test, saying why, unless it can run in network namespaces here. While the value lives, no
/// other test of this kind runs on the machine: what is measured must not share the cores.
#[macro_export]
macro_rules! need_namespaces {
    () => {
        match $crate::need::why_no_namespaces() {
            None => $crate::need::alone(),
            Some(reason) => {
                return $crate::need::say_skipped(
                    std::thread::current().name().unwrap_or(module_path!()),
                    reason,
                );
            }
        }
    };
}

/// Leaves the test, saying why, where topologies use wired interfaces: what it tests is a veth's.
#[macro_export]
macro_rules! need_virtual_interfaces {
    () => {
        if $crate::ports::wired().is_some() {
            return $crate::need::say_skipped(
                std::thread::current().name().unwrap_or(module_path!()),
                "it tests what a veth does, and the interfaces here are wired ones",
            );
        }
    };
}

/// Makes two tests of each of these functions, which take options of `spine-router`: one on AF_XDP and one
/// on AF_PACKET.
#[macro_export]
macro_rules! on_each_wire {
    ($($scenario:ident)*) => {
        mod af_xdp {
            $(#[test]
            fn $scenario() {
                super::$scenario(&["--nic", "xdp"]);
            })*
        }
        mod af_packet {
            $(#[test]
            fn $scenario() {
                super::$scenario(&["--nic", "packet"]);
            })*
        }
    };
}

/// The same on the model of the paper's card at full speed, over AF_XDP and over AF_PACKET.
#[macro_export]
macro_rules! on_the_model {
    ($($scenario:ident)*) => {
        mod model_over_af_xdp {
            $(#[test]
            fn $scenario() {
                super::$scenario(&["--nic", "lanai", "--lanai-speed", "max", "--lanai-wire", "xdp"]);
            })*
        }
        mod model_over_af_packet {
            $(#[test]
            fn $scenario() {
                super::$scenario(
                    &["--nic", "lanai", "--lanai-speed", "max", "--lanai-wire", "packet"],
                );
            })*
        }
    };
}

/// Leaves the test, saying why, where it was built without optimisation: its figures would mean nothing.
#[macro_export]
macro_rules! need_release {
    () => {
        if cfg!(debug_assertions) {
            return $crate::need::say_skipped(
                std::thread::current().name().unwrap_or(module_path!()),
                "measures, so it needs --release",
            );
        }
    };
}

/// Waits for the other tests that use the network, in this process and in others.
pub fn alone() -> Flock<File> {
    let path = std::env::temp_dir().join("spine-tests.lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Flock::lock(file, FlockArg::LockExclusive)
        .unwrap_or_else(|(_, error)| panic!("{}: {error}", path.display()))
}
