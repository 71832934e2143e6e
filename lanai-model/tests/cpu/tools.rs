//! The compiler's tools, found or not, and a seeded source of numbers.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// `name-19`, `name-14` and so on, the first that runs and knows the Lanai target; the test that finds none skips.
fn find(name: &str, knows_lanai: impl Fn(&str) -> bool) -> Option<String> {
    ["-19", "-16", "-14", ""]
        .iter()
        .map(|version| format!("{name}{version}"))
        .find(|command| knows_lanai(command))
}

fn succeeds(command: &str, arguments: &[&str]) -> bool {
    Command::new(command)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}

/// A clang that compiles for lanai.
pub(crate) fn clang() -> Option<&'static str> {
    static CLANG: OnceLock<Option<String>> = OnceLock::new();
    CLANG
        .get_or_init(|| {
            let arguments = ["--target=lanai", "-x", "c", "-c", "-o", "/dev/null", "/dev/null"];
            let found = find("clang", |command| succeeds(command, &arguments));
            if found.is_none() {
                println!("skipped: no clang with the lanai target (apt-get install clang-14)");
            }
            found
        })
        .as_deref()
}

/// LLVM's assembler and disassembler of single words.
pub(crate) fn llvm_mc() -> Option<&'static str> {
    static LLVM_MC: OnceLock<Option<String>> = OnceLock::new();
    LLVM_MC
        .get_or_init(|| {
            let arguments = ["-triple=lanai", "-filetype=null", "/dev/null"];
            let found = find("llvm-mc", |command| succeeds(command, &arguments));
            if found.is_none() {
                println!("skipped: no llvm-mc with the lanai target (apt-get install llvm-14)");
            }
            found
        })
        .as_deref()
}

/// LLVM's disassembler of object files, of the same version as [`llvm_mc`].
pub(crate) fn llvm_objdump() -> Option<String> {
    llvm_mc().map(|name| name.replace("llvm-mc", "llvm-objdump"))
}

/// Runs a command with `input`; the caller looks at how it ended.
pub(crate) fn run<A: AsRef<OsStr>>(command: &str, arguments: &[A], input: &str) -> Output {
    let mut child = Command::new(command)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // The tools answer while they read: a full pipe in either direction must not stop the other.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("a child can be waited for");
    writer.join().expect("the writer does not panic").expect("the tool reads its input");
    output
}

/// SplitMix64: numbers that are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn word(&mut self) -> u32 {
        (self.next() >> 32).try_into().expect("32 bits")
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.word() % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.word() as usize % of.len()]
    }
}
