//! What can go wrong with the classifier, and what to do about it.

use std::error::Error;
use std::net::Ipv4Addr;
use std::{fs, io};

use aya::maps::MapError;
use aya::programs::ProgramError;
use nix::errno::Errno;
use spine_abi::HandlerNumber;

use super::AttachMode;

/// Why the classifier could not be loaded, attached or told something.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The process may not load XDP programs.
    #[error(
        "XDP and AF_XDP need the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW, and {missing}: \
         run as root, or grant them to the program file with setcap"
    )]
    Permission {
        /// What is lacking, as a clause.
        missing: String,
    },
    /// The kernel does not take the program.
    #[error("the kernel refused the XDP classifier, which needs Linux 5.18 or newer: {0}")]
    Load(String),
    /// No interface has that name.
    #[error("there is no interface {interface:?} in this network namespace")]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// Somebody else's program is there.
    #[error(
        "{interface} already has an XDP program attached (program id {program}): \
         detach it first (ip link set dev {interface} xdp off, or end its owner)"
    )]
    Occupied {
        /// The interface.
        interface: String,
        /// The program's id.
        program: u32,
    },
    /// The interface or its driver does not take it in this mode; another mode may do.
    #[error("cannot attach the XDP classifier to {interface} in {mode} mode: {cure} ({error})")]
    Refused {
        /// The interface.
        interface: String,
        /// The mode that was tried.
        mode: AttachMode,
        /// What to do about it.
        cure: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel has no `bpf_link` for XDP here, and we attach in no other way.
    #[error(
        "{interface} takes no XDP program by a bpf_link, and one attached otherwise would outlive \
         this process: use Linux 5.9 or newer, or another mode than {mode}"
    )]
    NoLink {
        /// The interface.
        interface: String,
        /// The mode that was tried.
        mode: AttachMode,
    },
    /// A claim that no packet can meet.
    #[error(
        "UDP port {port} at {address} cannot be claimed for handler {handler}: neither may be zero"
    )]
    NoFlow {
        /// The destination.
        address: Ipv4Addr,
        /// The port.
        port: u16,
        /// Whose packets they would be.
        handler: HandlerNumber,
    },
    /// An entry of a map was refused; a full map among others.
    #[error("the classifier's map {map:?} cannot be changed or read: {error}")]
    Map {
        /// The map's name.
        map: &'static str,
        /// What the kernel said.
        #[source]
        error: MapError,
    },
}

/// What the kernel said at the bottom of an error of aya's.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(number) = error.downcast_ref().and_then(io::Error::raw_os_error) {
            return Some(Errno::from_raw(number));
        }
        next = error.source();
    }
    None
}

pub(super) fn load_error(error: impl Error + Send + Sync + 'static) -> AttachError {
    match errno(&error) {
        Some(Errno::EPERM | Errno::EACCES) if !is_verifier_error(&error) => {
            AttachError::Permission { missing: missing_capabilities() }
        }
        _ => AttachError::Load(without_log(&error.to_string())),
    }
}

/// A refusal without what the verifier has to say of each instruction, which is for those who ask for it.
fn without_log(text: &str) -> String {
    match text.split_once("Verifier output:") {
        None => text.to_owned(),
        Some((text, log)) => {
            tracing::info!("the verifier: {log}");
            format!("{} (-v shows what the verifier says)", text.trim_end_matches([' ', '.']))
        }
    }
}

/// The verifier answers EACCES for what it finds in a program: that is our fault, not the user's.
fn is_verifier_error(error: &(dyn Error + 'static)) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ProgramError::LoadError { io_error, .. })
            if io_error.raw_os_error() == Some(Errno::EACCES as i32)
    )
}

/// What this process lacks of what we need, as a clause: "this process lacks CAP_BPF".
pub(super) fn missing_capabilities() -> String {
    const NEEDED: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13)];
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let missing: Vec<_> =
        NEEDED.iter().filter(|(_, bit)| held & (1 << bit) == 0).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        "this process has them only inside a user namespace or a restricted container".to_owned()
    } else {
        format!("this process lacks {}", missing.join(", "))
    }
}

/// Whether waiting may help.
pub(super) fn is_taken(error: &AttachError) -> bool {
    match error {
        AttachError::Occupied { .. } => true,
        AttachError::Refused { error, .. } => {
            matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EBUSY | Errno::EEXIST))
        }
        _ => false,
    }
}

pub(super) fn refused(interface: &str, mode: AttachMode, error: &ProgramError) -> AttachError {
    let number = errno(error);
    let cure = match number {
        Some(Errno::EPERM) => {
            return AttachError::Permission { missing: missing_capabilities() };
        }
        Some(Errno::ERANGE) => {
            "its MTU, or its peer's, is too large for XDP in this mode: lower both, or use generic mode"
        }
        Some(Errno::ENOSPC) => {
            "it has fewer receive queues than its peer sends on: give it as many"
        }
        Some(Errno::EOPNOTSUPP) => "its driver has no XDP in this mode",
        Some(Errno::EBUSY | Errno::EEXIST) => "another XDP program is attached to it",
        Some(Errno::ENODEV) => "it has just disappeared",
        _ => {
            "its driver refused; lowering its MTU or its number of queues, or generic mode, may help"
        }
    };
    let error = match number {
        Some(number) => number.into(),
        None => io::Error::other(error.to_string()),
    };
    AttachError::Refused { interface: interface.to_owned(), mode, cure, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_sentence_without_the_verifier_s_log() {
        let long = "the BPF_PROG_LOAD syscall returned Permission denied (os error 13). Verifier output: 0: R1=ctx()\n1: exit\n";
        assert_eq!(
            without_log(long),
            "the BPF_PROG_LOAD syscall returned Permission denied (os error 13) (-v shows what the verifier says)"
        );
        assert_eq!(without_log("no BTF"), "no BTF");
    }
}
