//! What of the outer cargo's environment the inner one sees.
//!
//! Kept is what says where things are and how to reach them. Everything else that cargo, rustc and the
//! tools around them read would make the module depend on how the outer build was started.

/// Variables whose name begins so belong to cargo, rustc or a tool that wraps them...
const OURS: &[&str] = &["CARGO", "RUST", "CLIPPY", "MIRI", "LLVM_PROFILE", "DEP_"];

/// ... and of those, the ones that begin so are kept all the same.
const KEPT: &[&str] = &[
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "RUSTUP_",
];

/// What cargo gives a build script about the package and target it is for.
const OF_THE_SCRIPT: &[&str] =
    &["DEBUG", "HOST", "NUM_JOBS", "OPT_LEVEL", "OUT_DIR", "PROFILE", "TARGET"];

/// What the module is built with, whatever the workspace's profile says.
pub(crate) const ADDED: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    // Not the names: the linker shows them when it refuses a module.
    ("CARGO_PROFILE_RELEASE_STRIP", "debuginfo"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    // The separator between flags is what cargo defines: 0x1f.
    (
        "CARGO_ENCODED_RUSTFLAGS",
        "-Clink-arg=--export=__stack_pointer\x1f-Clink-arg=-zstack-size=8192",
    ),
];

/// Whether the inner cargo sees this variable.
pub(crate) fn is_kept(name: &str) -> bool {
    if OF_THE_SCRIPT.contains(&name) {
        return false;
    }
    let begins = |with: &[&str]| with.iter().any(|start| name.starts_with(start));
    !begins(OURS) || begins(KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_things_are_is_kept_and_how_to_build_is_not() {
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN", "CARGO_NET_OFFLINE"] {
            assert!(is_kept(name), "{name}");
        }
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_WRAPPER",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_FEATURE_WRITER",
            "CARGO_PKG_NAME",
            "CLIPPY_ARGS",
            "MIRIFLAGS",
            "TARGET",
            "OUT_DIR",
        ] {
            assert!(!is_kept(name), "{name}");
        }
    }
}
