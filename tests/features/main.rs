//! Nothing that we depend on is built twice, whichever job comes first and whichever after it.
//!
//! Cargo builds a crate again for each set of features and each profile that somebody asks for. Which those are it
//! says before it builds anything (its *unit graph*), so this test reads what it would do for each selection of
//! `ci/run.sh selections`, and compares. Cranelift twice is minutes.
//!
//! Twice is not: once for this machine and once for build scripts and macros (which are not optimised), and once to be
//! linked and once to be checked (which makes no code).
//!
//! Left out: the profile `fuzz`, which has other checks in all code, on purpose.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a crate is built as: its package, its target's kind and name, how, for which machine, and whether for build
/// scripts.
type Role = (String, String, String, bool);
/// What makes cargo build it again.
type Way = (String, String);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn output(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap_or_else(|error| panic!("{error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// The jobs' selections: a name, and arguments of cargo.
fn selections() -> Vec<(String, Vec<String>)> {
    let text = output(Command::new("ci/run.sh").arg("selections"));
    text.lines()
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().expect("a name"), words.collect())
        })
        .collect()
}

/// What cargo would build of others' crates for these arguments.
fn units(arguments: &[String]) -> Vec<(Role, Way)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The unit graph is not stable yet; nothing is compiled here, so nothing is compiled with this variable.
    command.env("RUSTC_BOOTSTRAP", "1").args(arguments);
    let text = output(command.args(["--unit-graph", "-Z", "unstable-options"]));
    let graph: Value = serde_json::from_str(&text).expect("a unit graph");
    let units = graph["units"].as_array().expect("units");
    units.iter().filter_map(unit).collect()
}

/// A unit of a crate that is not ours; `None` for ours, and for build scripts: one of a crate that is built in both
/// roles (below) is built for each, and the crate itself is compared.
fn unit(unit: &Value) -> Option<(Role, Way)> {
    let package = unit["pkg_id"].as_str().expect("a package");
    let script = unit["target"]["kind"][0] == "custom-build";
    if !package.starts_with("registry+") || script {
        return None;
    }
    let mut profile = unit["profile"].clone();
    let for_scripts = profile["opt_level"] == "0";
    // `release` and `bench` are one, unless they differ.
    profile["name"] = Value::Null;
    let (target, mode) = (&unit["target"], &unit["mode"]);
    let role = (
        package.to_owned(),
        format!("{} {}", target["kind"], target["name"]),
        format!("{mode} for {}", unit["platform"]),
        for_scripts,
    );
    Some((role, (unit["features"].to_string(), profile.to_string())))
}

/// Fails with each crate that these selections, the first of which is compared with, would build more than one way.
fn are_built_alike(selections: &[(String, Vec<String>)]) {
    let mut ways: BTreeMap<Role, BTreeMap<Way, BTreeSet<&str>>> = BTreeMap::new();
    for (name, arguments) in selections {
        let units = units(arguments);
        assert!(!units.is_empty(), "{name}: cargo {arguments:?} builds nothing of others");
        for (role, way) in units {
            ways.entry(role).or_default().entry(way).or_default().insert(name);
        }
    }
    let twice: Vec<_> = ways.iter().filter(|(_, ways)| ways.len() > 1).collect();
    assert!(twice.is_empty(), "built more than one way (features, profile; by): {twice:#?}");
}

#[test]
fn no_job_builds_again_what_another_has_built() {
    are_built_alike(&selections());
}

/// What `quick` and `one` do: one package, together with this one.
#[test]
fn one_package_is_built_like_all() {
    let metadata =
        output(Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args([
            "metadata",
            "--no-deps",
            "--format-version=1",
        ]));
    let metadata: Value = serde_json::from_str(&metadata).expect("metadata");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut selections = vec![(String::from("test"), words("test --release --workspace --no-run"))];
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let arguments = format!("test --release --no-run -p {name} -p spine-features");
        selections.push((name.to_owned(), words(&arguments)));
    }
    assert!(selections.len() > 20, "{} packages", selections.len());
    are_built_alike(&selections);
}
