//! Why there is no router, or none any more.

use spine_client::memory::RegionError;
use spine_nic::netlink::socket::NetlinkError;

use crate::cli::Misuse;
use crate::control::ControlError;
use crate::dataplane::DataPathError;
use crate::guest::GuestError;
use crate::path::PathError;
use crate::router::RouterError;
use crate::spined::SpinedError;

/// Why there is no router, or none any more: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line cannot be followed.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The process may not do it.
    #[error("the capabilities {0} are missing: run as root, or grant them with setcap")]
    Capabilities(String),
    /// The kernel keeps some packets, and that is not wanted.
    #[error("some packets would be left to the kernel, which --strict does not allow: {0}")]
    Kept(String),
    /// The kernel does not tell.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The extension in a file.
    #[error(transparent)]
    Extension(#[from] spine_client::extension::ExtensionError),
    /// A key.
    #[error(transparent)]
    Key(#[from] spine_client::signature::KeyError),
    /// The extension is refused.
    #[error("the extension is refused: {0}")]
    Link(#[from] spine_os::linker::LinkError),
    /// The linker's key.
    #[error(transparent)]
    Image(#[from] spine_io::extension::ImageError),
    /// The table's memory.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The table's memory is too small; ours never is.
    #[error("the table's region is smaller than the table")]
    TableRegion,
    /// The daemon is there first, and its adapters cannot be used.
    #[error(transparent)]
    Spined(#[from] SpinedError),
    /// The daemon's adapters are not what is wanted.
    #[error("spined owns the interface {interface}, and {what} needs adapters of one's own")]
    Owned {
        /// The interface.
        interface: String,
        /// What cannot be had there.
        what: &'static str,
    },
    /// The data path.
    #[error(transparent)]
    DataPath(#[from] DataPathError),
    /// The adapters, while it runs.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A socket for questions.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The control loop.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// Who shares the adapters.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// Signals.
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] nix::Error),
}
