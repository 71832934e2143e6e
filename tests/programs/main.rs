//! Programs that need no network, from outside: `spine-bench lanai-run`, the firmware that comes with it, and
//! what builds extensions.

mod firmware;
mod lanai_run;
mod wasm_build;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use spine_tests::program;

/// `spine-bench`, built once.
fn spine_bench() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program::tool("spine-bench"))
}

/// `spine-bench lanai-run`.
fn lanai_run() -> Command {
    let mut command = Command::new(spine_bench());
    command.arg("lanai-run");
    command
}

/// A file or folder of spine-bench's.
fn of_spine_bench(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/spine-bench").join(path)
}
