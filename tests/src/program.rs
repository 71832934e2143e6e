//! Programs of other packages, as they are now.

use std::path::PathBuf;
use std::process::Command;

/// A package's program: the one that the variable names, or the one built beside this test.
pub fn built(package: &str, variable: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| build(&[package]).join(package), PathBuf::from)
}

/// A package's program: in the folder `SPINE_TOOLS`, or built beside this test.
pub fn tool(package: &str) -> PathBuf {
    let given = std::env::var_os("SPINE_TOOLS").map(PathBuf::from);
    given.unwrap_or_else(|| build(&[package])).join(package)
}

/// Brings the programs of these packages up to date (cargo does not build another package's programs for a
/// test), and answers their folder.
pub fn build(packages: &[&str]) -> PathBuf {
    let folder = folder();
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Of the whole workspace, as everywhere: a choice of packages would have what they depend on built again.
    build.args(["build", "--quiet", "--workspace"]);
    for package in packages {
        build.args(["--bin", package]);
    }
    if folder.ends_with("release") {
        build.arg("--release");
    }
    // Cargo's variables for this test would make build scripts of other packages run again.
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = build.status().unwrap_or_else(|error| panic!("cargo build: {error}"));
    assert!(built.success(), "{} do not build", packages.join(", "));
    folder
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
