//! What the daemon gives up once its interfaces are attached.
//!
//! | capability | kept for |
//! |---|---|
//! | `CAP_BPF`, `CAP_NET_ADMIN` | the classifier's maps, which change with every claim, and handing packets to the kernel |
//! | `CAP_SETUID`, `CAP_SETGID` | starting the linker's process as nobody |
//! | `CAP_KILL` | ending that process when it takes too long |
//!
//! Capabilities belong to threads: they are dropped before the adapters' threads are started, which then
//! never had more.
//!
//! Of system calls, those are refused (`EPERM`, in all threads) with which a process changes the machine or
//! looks into others: modules, mounts, clocks, tracing, namespaces, keys. Why a list of what is refused,
//! where the linker's process has one of what is allowed? That process computes, and we know its calls;
//! here are the user database, the bpf library and the runtime, whose calls change with their versions, and a
//! daemon that dies of a new one would take everybody's extensions with it.

use std::collections::BTreeMap;

use caps::{CapSet, Capability, CapsHashSet};
use seccompiler::{SeccompAction, SeccompFilter};

/// What is kept.
const KEPT: [Capability; 5] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_KILL,
];

/// What is needed before that, too: sockets on interfaces, and memory that is not swapped.
const NEEDED: [Capability; 1] = [Capability::CAP_NET_RAW];

/// The capabilities that this process lacks, by name.
pub(crate) fn missing() -> Vec<String> {
    let has = |capability: &Capability| {
        caps::has_cap(None, CapSet::Effective, *capability).unwrap_or(false)
    };
    let all = KEPT.iter().chain(&NEEDED);
    all.filter(|capability| !has(capability)).map(ToString::to_string).collect()
}

/// Drops all others, for good, in this thread and those it starts.
///
/// # Errors
/// What the kernel says; nothing may go on then.
pub(crate) fn drop_capabilities() -> Result<(), caps::errors::CapsError> {
    let kept: CapsHashSet = KEPT.into_iter().collect();
    // The bounding set first: lowering it takes a capability that goes with the next step.
    for capability in caps::all() {
        if !kept.contains(&capability)
            && caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false)
        {
            // Root in a container may be without CAP_SETPCAP; what is left then is what it had.
            if let Err(error) = caps::drop(None, CapSet::Bounding, capability) {
                tracing::debug!(%capability, %error, "stays in the bounding set");
            }
        }
    }
    caps::clear(None, CapSet::Ambient).or_else(|error| {
        tracing::debug!(%error, "no ambient capabilities here");
        Ok::<(), caps::errors::CapsError>(())
    })?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())
}

/// Refuses the system calls that the daemon has no use for once it serves, in all threads and in every
/// process it starts. No program it starts can gain privileges any more, either.
///
/// # Errors
/// What the kernel says.
pub(crate) fn refuse_system_calls() -> Result<(), seccompiler::Error> {
    let refused = [
        libc::SYS_acct,
        libc::SYS_add_key,
        libc::SYS_adjtimex,
        libc::SYS_chroot,
        libc::SYS_clock_adjtime,
        libc::SYS_clock_settime,
        libc::SYS_delete_module,
        libc::SYS_finit_module,
        libc::SYS_fsmount,
        libc::SYS_fsopen,
        libc::SYS_init_module,
        libc::SYS_io_uring_setup,
        libc::SYS_kexec_load,
        libc::SYS_keyctl,
        libc::SYS_mount,
        libc::SYS_move_mount,
        libc::SYS_name_to_handle_at,
        libc::SYS_open_by_handle_at,
        libc::SYS_open_tree,
        libc::SYS_perf_event_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_pivot_root,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_ptrace,
        libc::SYS_quotactl,
        libc::SYS_reboot,
        libc::SYS_request_key,
        libc::SYS_setdomainname,
        libc::SYS_sethostname,
        libc::SYS_setns,
        libc::SYS_settimeofday,
        libc::SYS_swapoff,
        libc::SYS_swapon,
        libc::SYS_syslog,
        libc::SYS_umount2,
        libc::SYS_unshare,
        libc::SYS_userfaultfd,
        libc::SYS_vhangup,
    ];
    let rules: BTreeMap<_, _> = refused.into_iter().map(|call| (call, Vec::new())).collect();
    let errno = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, architecture)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    seccompiler::apply_filter_all_threads(&program)
}
