//! Programs of other packages, as they are now.

use std::path::PathBuf;
use std::process::Command;

/// A package's program: the one that the variable names, or the one built beside this test, brought up to
/// date first (cargo does not build another package's programs for a test).
pub fn built(package: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let folder = folder();
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", package, "--bins"]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    // Cargo's variables for this test would make build scripts of other packages run again.
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = build.status().unwrap_or_else(|error| panic!("cargo build: {error}"));
    assert!(built.success(), "{package} does not build");
    folder.join(package)
}

/// The folder that cargo puts programs into: the test runs from `deps` in it, a program from itself.
pub fn folder() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own program");
    let folder = own.parent().expect("a program is in a folder");
    if folder.ends_with("deps") {
        return folder.parent().expect("deps is in a folder").to_path_buf();
    }
    folder.to_path_buf()
}
