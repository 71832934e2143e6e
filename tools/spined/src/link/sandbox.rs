//! What the linker's process gives up before it reads anything.

use std::collections::BTreeMap;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use spine_abi::limits::IMAGE_BYTES;

/// Seconds of processor time: the worst module that the linker's limits let through takes about half of them.
const SECONDS: u64 = 10;
/// Bytes of address space: the largest module, its image, and what Cranelift keeps of one function.
const MEMORY: u64 = 2 << 30;

/// Gives it all up.
///
/// # Errors
/// A sentence: something stayed, and nothing may be read.
pub(super) fn enter() -> Result<(), String> {
    if nix::unistd::geteuid().is_root() || nix::unistd::getuid().is_root() {
        return Err("the linker's process still belongs to root".to_owned());
    }
    let failed =
        |what: &str, error: nix::Error| format!("the linker cannot give up {what}: {error}");
    prctl::set_no_new_privs().map_err(|error| failed("gaining privileges", error))?;
    // Nobody else of the same user looks into it.
    prctl::set_dumpable(false).map_err(|error| failed("being looked into", error))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| failed("outliving spined", error))?;
    for (what, resource, most) in [
        ("memory", Resource::RLIMIT_AS, MEMORY),
        ("time", Resource::RLIMIT_CPU, SECONDS),
        ("core files", Resource::RLIMIT_CORE, 0),
        ("files", Resource::RLIMIT_NOFILE, 0),
        ("large files", Resource::RLIMIT_FSIZE, IMAGE_BYTES as u64),
        ("processes", Resource::RLIMIT_NPROC, 0),
    ] {
        setrlimit(resource, most, most).map_err(|error| failed(what, error))?;
    }
    let program = filter().map_err(|error| format!("the linker has no filter: {error}"))?;
    seccompiler::apply_filter(&program)
        .map_err(|error| format!("the linker cannot give up system calls: {error}"))
}

/// Reading, computing, writing; no code is made executable.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let free = [
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_restart_syscall,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        free.into_iter().map(|call| (call, Vec::new())).collect();
    let executable = libc::PROT_EXEC.cast_unsigned().into();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let protection = SeccompCondition::new(
            2,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(executable),
            0,
        )?;
        rules.insert(call, vec![SeccompRule::new(vec![protection])?]);
    }
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture)?
        .try_into()
}
