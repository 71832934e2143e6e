//! Whether this process may do what a router does.

use std::fs;

/// The capabilities that are missing, by name; `with_xdp`: XDP programs are loaded, too.
pub fn missing(with_xdp: bool) -> Vec<&'static str> {
    missing_from(effective(), with_xdp)
}

/// Bits from linux/capability.h.
fn missing_from(effective: u64, with_xdp: bool) -> Vec<&'static str> {
    const CAP_NET_ADMIN: u32 = 12;
    const CAP_NET_RAW: u32 = 13;
    const CAP_SYS_ADMIN: u32 = 21;
    const CAP_BPF: u32 = 39;
    let has = |bit: u32| effective & (1 << bit) != 0;
    let mut missing = Vec::new();
    if !has(CAP_NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    if !has(CAP_NET_RAW) {
        missing.push("CAP_NET_RAW");
    }
    // Before CAP_BPF there was CAP_SYS_ADMIN, and it still covers it.
    if with_xdp && !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        missing.push("CAP_BPF");
    }
    missing
}

fn effective() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let bit = |n: u32| 1_u64 << n;
        for (name, effective, with_xdp, expected) in [
            ("none", 0, true, vec!["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"]),
            ("all", u64::MAX, true, vec![]),
            ("old kernels", bit(12) | bit(13) | bit(21), true, vec![]),
            ("no BPF", bit(12) | bit(13), true, vec!["CAP_BPF"]),
            ("no BPF needed", bit(12) | bit(13), false, vec![]),
        ] {
            assert_eq!(missing_from(effective, with_xdp), expected, "{name}");
        }
    }
}
