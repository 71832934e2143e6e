//! What systemd is told: that the daemon is ready, that it lives, that it ends (sd_notify(3)).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager; without one nothing is said.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the service manager's environment says. `NOTIFY_SOCKET` is a path, or a name behind `@`.
    pub(crate) fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.as_encoded_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            Some((UnixDatagram::unbound().ok()?, address.ok()?))
        });
        let microseconds = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let ours = std::env::var("WATCHDOG_PID")
            .map_or(true, |process| process == std::process::id().to_string());
        Self { to: socket, watchdog: microseconds.filter(|_| ours).map(Duration::from_micros) }
    }

    /// How often to say that one lives: twice in the time after which one is taken for dead.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.watchdog.map(|after| after / 2)
    }

    /// Says something; nobody can help it if that is not heard.
    pub(crate) fn say(&self, state: &str) {
        if let Some((socket, to)) = &self.to
            && let Err(error) = socket.send_to_addr(state.as_bytes(), to)
        {
            tracing::warn!(%error, state, "the service manager does not hear");
        }
    }
}
