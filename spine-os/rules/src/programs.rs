//! BPF programs on the way: at an interface by tcx, which tc does not list, and at hooks of netfilter.
//!
//! Which there are at an interface is told with CAP_NET_ADMIN; what they are, and those of netfilter, only with CAP_SYS_ADMIN:
//! without it programs at netfilter's hooks are not seen. Those are not told apart by network namespace: one anywhere keeps everything.
//! Not seen at all: netkit's programs, and hooks of modules (IPVS, Open vSwitch).

use std::collections::BTreeMap;
use std::sync::Arc;

use aya::programs::tc::TcAttachType;
use aya::programs::{ProgramError, SchedClassifier};
use libbpf_rs::query::{LinkInfoIter, LinkTypeInfo};
use nix::net::if_::if_nameindex;

use crate::model::{Hook, PerFamily};

/// What runs where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Programs {
    /// By interface: on what comes in, and on what goes out.
    interfaces: BTreeMap<u32, (bool, bool)>,
    /// At hooks of netfilter.
    hooks: PerFamily<Vec<Hook>>,
}

impl Programs {
    /// Looks at all interfaces and all hooks.
    pub(crate) fn read() -> Self {
        let mut found = Self::default();
        for interface in if_nameindex().iter().flat_map(|names| names.iter()) {
            let name = interface.name().to_string_lossy();
            let at = |place| has_tcx(&name, place);
            let both = (at(TcAttachType::Ingress), at(TcAttachType::Egress));
            if both != (false, false) {
                found.interfaces.insert(interface.index(), both);
            }
        }
        for link in LinkInfoIter::default() {
            let LinkTypeInfo::Netfilter(netfilter) = link.info else { continue };
            let hook = match netfilter.hooknum {
                0 => Hook::Prerouting,
                1 => Hook::Input,
                2 => Hook::Forward,
                4 => Hook::Postrouting,
                _ => continue,
            };
            match i32::try_from(netfilter.protocol_family) {
                Ok(libc::AF_INET) => found.hooks.v4.push(hook),
                Ok(libc::AF_INET6) => found.hooks.v6.push(hook),
                _ => {}
            }
        }
        found
    }

    /// A program that sees what comes in on an interface.
    pub(crate) fn incoming(&self, interface: u32, name: &str) -> Option<Arc<str>> {
        let (incoming, _) = self.interfaces.get(&interface)?;
        incoming.then(|| format!("BPF program (tcx) on {name} at its ingress").into())
    }

    /// A program that sees what goes out by an interface.
    pub(crate) fn outgoing(&self, interface: u32, name: &str) -> Option<Arc<str>> {
        let (_, outgoing) = self.interfaces.get(&interface)?;
        outgoing.then(|| format!("BPF program (tcx) on {name} at its egress").into())
    }

    /// A program at one of some hooks.
    pub(crate) fn at(&self, family: crate::packets::Family, hooks: &[Hook]) -> Option<Arc<str>> {
        let hook = self.hooks.of(family).iter().find(|hook| hooks.contains(hook))?;
        let name = match hook {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            _ => "postrouting",
        };
        Some(format!("BPF program at netfilter's {name} (see `bpftool link`)").into())
    }
}

/// Whether there are programs at a place; where that is refused, there may be.
/// Whether this process is in another user namespace than the first, whose identities are all there are.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let words: Vec<&str> = map.split_whitespace().collect();
    words != ["0", "0", "4294967295"]
}

fn has_tcx(interface: &str, place: TcAttachType) -> bool {
    match SchedClassifier::query_tcx(interface, place) {
        Ok((_, programs)) => !programs.is_empty(),
        Err(ProgramError::SyscallError(error)) => match error.io_error.raw_os_error() {
            // Kernels before 6.6 have none.
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => false,
            // Nobody inside a user namespace may attach one, and whoever may from outside is not expected to.
            Some(libc::EPERM) if in_user_namespace() => false,
            // May not ask at all, or not what a program is that is there.
            _ => true,
        },
        Err(_) => true,
    }
}
