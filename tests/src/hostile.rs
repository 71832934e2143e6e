//! Hostile clients: how long they are let loose, and what a daemon holds before and after.

use std::time::{Duration, Instant};

use spine_client::Client;

use crate::daemon::{Daemon, wait_until};
use crate::process::patient;

/// How long a daemon may take to let go of everything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Seconds that hostile clients are let loose: `SPINE_HOSTILE_MINUTES`, or a moment.
pub fn seconds() -> u64 {
    let minutes = std::env::var("SPINE_HOSTILE_MINUTES").ok();
    minutes.and_then(|text| text.parse::<u64>().ok()).map_or(20, |minutes| 60 * minutes)
}

/// Where what they do begins: `SPINE_SEED`, or always the same.
pub fn seed() -> u64 {
    std::env::var("SPINE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What a daemon holds: descriptors, threads, and mappings of memory files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Mapped memory files.
    pub memory_files: usize,
}

impl Holdings {
    /// What a daemon holds now.
    pub fn of(daemon: &Daemon) -> Self {
        let process = format!("/proc/{}", daemon.pid());
        let count = |folder: &str| {
            std::fs::read_dir(format!("{process}/{folder}")).map_or(0, Iterator::count)
        };
        let maps = std::fs::read_to_string(format!("{process}/maps")).unwrap_or_default();
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            memory_files: maps.lines().filter(|line| line.contains("/memfd:")).count(),
        }
    }

    /// Waits until it holds that again; panics if it keeps more.
    pub fn wait_for(self, daemon: &Daemon) {
        let start = Instant::now();
        let mut now = Self::of(daemon);
        while now != self {
            assert!(start.elapsed() < patient(PATIENCE), "it held {self:?}, and holds {now:?}");
            std::thread::sleep(Duration::from_millis(20));
            now = Self::of(daemon);
        }
    }
}

/// Unloads everything, whosever it is, until nothing more comes.
pub fn unload_all(client: &mut Client) {
    wait_until("nothing to be loaded any more", || {
        for extension in client.extensions().expect("a list") {
            // It may have ended by itself meanwhile.
            let _ = client.unload(extension.number);
        }
        // What was on its way is there by then.
        std::thread::sleep(Duration::from_millis(200));
        client.extensions().expect("a list").is_empty()
    });
}
