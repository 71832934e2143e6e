//! Builds an extension crate for wasm32 from a build script.
//!
//! An application embeds its extension, so building the one must build the other; and the extension is
//! for another target, which cargo does not do by itself. This runs a second cargo, kept apart from the
//! first one: a target folder of its own (the first holds the lock of the ordinary one), which all extensions
//! share, so that the compiler of their attributes is built once; and its own environment (what was meant for
//! the host, such as clippy's wrapper, must not reach the module).
//!
//! Left out: signing and linking, which happen when the module is loaded.

mod environment;
mod sources;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fs, io};

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the extension in the workspace's package `package` and answers the path of the module.
///
/// The package's binary has the package's name. To be called from a build script: it tells cargo when
/// to call it again. If the module cannot be built it says why and ends the build.
pub fn extension(package: &str) -> PathBuf {
    extension_with(package, &[])
}

/// As [`extension`], with features of the package.
pub fn extension_with(package: &str, features: &[&str]) -> PathBuf {
    variable("OUT_DIR").and_then(|out| embed(package, features, Path::new(&out))).unwrap_or_else(
        |text| {
            println!("cargo::error={text}");
            exit(1);
        },
    )
}

/// Builds a module in the folder that all build scripts share, and takes it to `out` before another set of features
/// can have it made anew: its name there is always the same.
fn embed(package: &str, features: &[&str], out: &Path) -> Result<PathBuf, String> {
    let folder = shared_folder(out)?;
    let said = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(said)?;
    let lock = File::create(folder.join("taken")).map_err(said)?;
    lock.lock().map_err(said)?;
    let built = build_with(package, features, &folder)?;
    watch(&built)?;
    let module = out.join([&[package], features].concat().join("-")).with_extension("wasm");
    fs::copy(&built, &module).map_err(said)?;
    Ok(module)
}

/// `wasm-build` beside the folders of profiles, of which a build script's `OUT_DIR` is
/// `PROFILE/build/PACKAGE/out`.
fn shared_folder(out: &Path) -> Result<PathBuf, String> {
    let target =
        out.ancestors().nth(4).ok_or_else(|| format!("{} is no OUT_DIR", out.display()))?;
    Ok(target.join("wasm-build"))
}

/// Builds the extension with `folder` as the target folder and answers the path of the module. The
/// workspace is the one of the package that cargo runs this for (a build script or a test).
///
/// # Errors
/// A sentence for people: what is missing, or that the extension does not build. Cargo's own message
/// about it goes to standard error before.
pub fn build(package: &str, folder: &Path) -> Result<PathBuf, String> {
    build_with(package, &[], folder)
}

fn build_with(package: &str, features: &[&str], folder: &Path) -> Result<PathBuf, String> {
    has_target()?;
    let output = cargo(package, folder)?
        .args(["--features", &features.join(",")])
        .output()
        .map_err(|error| format!("cannot run cargo to build {package}: {error}"))?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(format!(
            "the extension {package} does not build for {TARGET}: see cargo's message"
        ));
    }
    let module = folder.join(TARGET).join("release").join(package).with_extension("wasm");
    if module.is_file() {
        return Ok(module);
    }
    let path = module.display();
    Err(format!("{package} was built without {path}: its binary must have the package's name"))
}

/// The second cargo.
fn cargo(package: &str, target_folder: &Path) -> Result<Command, String> {
    let mut command = Command::new(variable("CARGO")?);
    for (name, _) in env::vars_os() {
        if name.to_str().is_none_or(|name| !environment::is_kept(name)) {
            command.env_remove(name);
        }
    }
    command.envs(environment::ADDED.iter().copied());
    // A configuration may keep intermediate files elsewhere, and there the outer cargo has the lock.
    command.env("CARGO_BUILD_BUILD_DIR", target_folder);
    command.current_dir(variable("CARGO_MANIFEST_DIR")?);
    command.args(["build", "--locked", "--release", "--target", TARGET]);
    command.args(["--package", package, "--bin", package, "--target-dir"]).arg(target_folder);
    Ok(command)
}

/// Says what to do if the toolchain cannot build for wasm32, before cargo says it in a page.
fn has_target() -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("cannot run {}: {error}", rustc.display()))?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let has = fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_some());
    if has {
        return Ok(());
    }
    Err(format!("the target {TARGET} is not installed: run `rustup target add {TARGET}`"))
}

/// Tells cargo which files the module was made of.
fn watch(module: &Path) -> Result<(), String> {
    let dependencies = module.with_extension("d");
    let text = fs::read_to_string(&dependencies)
        .map_err(|error| format!("cannot read {}: {error}", dependencies.display()))?;
    for file in sources::watched(&text) {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: this runs under cargo only"))
}
