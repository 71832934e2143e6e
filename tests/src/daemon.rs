//! `spined`, running in a namespace, and the extensions that tests load on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use spine_abi::HandlerNumber;
use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_client::Client;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::process::{Finished, Running};
use crate::program;

/// Attaching and starting may take a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon that serves. Dropped, it is killed; its folder goes with it.
#[derive(Debug)]
pub struct Daemon {
    running: Running,
    folder: TempDir,
}

impl Daemon {
    /// Starts a daemon on these interfaces without a policy, and waits until it says "ready".
    pub fn start(namespace: &Namespace, interfaces: &[&str]) -> Self {
        Self::start_with(namespace, interfaces, "")
    }

    /// The same with a policy.
    pub fn start_with(namespace: &Namespace, interfaces: &[&str], policy: &str) -> Self {
        Self::start_on(namespace, interfaces, policy, &[])
    }

    /// The same with more arguments.
    pub fn start_on(
        namespace: &Namespace,
        interfaces: &[&str],
        policy: &str,
        arguments: &[&str],
    ) -> Self {
        let folder = folder();
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, policy).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let running = run_on(namespace, interfaces, folder.path(), &[], arguments);
        let mut daemon = Self { running, folder };
        daemon.running.wait_for("ready", PATIENCE);
        daemon
    }

    /// A daemon without a policy, with these variables in its environment.
    pub fn start_in(
        namespace: &Namespace,
        interfaces: &[&str],
        environment: &[(&str, String)],
    ) -> Self {
        let folder = folder();
        let file = folder.path().join("policy.toml");
        std::fs::write(&file, "").unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let running = run_on(namespace, interfaces, folder.path(), environment, &[]);
        let mut daemon = Self { running, folder };
        daemon.running.wait_for("ready", PATIENCE);
        daemon
    }

    /// The same in the folder of one that has ended.
    pub fn start_again(namespace: &Namespace, interfaces: &[&str], folder: TempDir) -> Self {
        let running = run(namespace, interfaces, folder.path());
        let mut daemon = Self { running, folder };
        daemon.running.wait_for("ready", PATIENCE);
        daemon
    }

    /// Starts one in the folder of one that has ended, and kills it after `moment`, ready or not.
    pub fn kill_while_starting(
        namespace: &Namespace,
        interfaces: &[&str],
        folder: TempDir,
        moment: impl FnOnce(),
    ) -> TempDir {
        let running = run(namespace, interfaces, folder.path());
        moment();
        running.signal(Signal::SIGKILL);
        running.finish(PATIENCE);
        folder
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("spined.sock")
    }

    /// A folder that everybody can read, which lives as long as the daemon.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection to it.
    pub fn client(&self) -> Client {
        Client::open_at(&self.socket(), "test").unwrap_or_else(|error| panic!("{error}"))
    }

    /// `spinectl` with these words, to its end.
    pub fn ctl(&self, arguments: &[&str]) -> Finished {
        self.ctl_as(None, arguments)
    }

    /// The same by another user.
    pub fn ctl_as(&self, user: Option<u32>, arguments: &[&str]) -> Finished {
        Running::start(self.ctl_command(user, arguments)).finish(PATIENCE)
    }

    /// The same, not yet started.
    pub fn ctl_command(&self, user: Option<u32>, arguments: &[&str]) -> Command {
        use std::os::unix::process::CommandExt as _;
        // Where others may run it from.
        let program = self.folder.path().join("spinectl");
        if !program.exists() {
            std::fs::copy(programs_built().join("spinectl"), &program)
                .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        }
        let mut command = Command::new(program);
        command.arg("--socket").arg(self.socket()).args(arguments);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command
    }

    /// `spine-hostile-client` with these words behind the socket, not yet started, as this user.
    pub fn stranger(&self, user: u32, arguments: &[&str]) -> Command {
        use std::os::unix::process::CommandExt as _;
        let program = self.folder.path().join("spine-hostile-client");
        if !program.exists() {
            std::fs::copy(programs_built().join("spine-hostile-client"), &program)
                .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        }
        let mut command = Command::new(program);
        command.arg(self.socket()).args(arguments).uid(user).gid(user);
        command
    }

    /// Has it read its policy again, which is this from now on.
    pub fn reload(&self, policy: &str) {
        self.file("policy.toml", policy.as_bytes());
        self.running.signal(Signal::SIGHUP);
    }

    /// Writes a file that everybody can read.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.running.pid()
    }

    /// Kills it, and waits until it is gone; its folder stays.
    pub fn kill(self) -> TempDir {
        self.running.signal(Signal::SIGKILL);
        self.running.finish(PATIENCE);
        self.folder
    }

    /// Asks it to end, and waits for that.
    pub fn stop(self) -> Finished {
        self.running.signal(Signal::SIGTERM);
        self.running.finish(PATIENCE)
    }
}

/// Waits until something holds, ten seconds at most.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a daemon that is expected to end by itself.
pub fn run_to_end(namespace: &Namespace, arguments: &[&str]) -> Finished {
    let program = programs_built().join("spined");
    let command = namespace.command(&program.to_string_lossy(), arguments);
    Running::start(command).finish(PATIENCE)
}

/// One of the programs, brought up to date.
pub fn program(name: &str) -> PathBuf {
    programs_built().join(name)
}

fn run(namespace: &Namespace, interfaces: &[&str], folder: &Path) -> Running {
    run_on(namespace, interfaces, folder, &[], &[])
}

fn run_on(
    namespace: &Namespace,
    interfaces: &[&str],
    folder: &Path,
    environment: &[(&str, String)],
    more: &[&str],
) -> Running {
    let program = programs_built().join("spined");
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (socket, policy, key) = (path("spined.sock"), path("policy.toml"), path("linker.key"));
    let mut arguments = vec!["--socket", &socket, "--policy", &policy, "--key", &key];
    for interface in interfaces {
        arguments.extend(["--iface", interface]);
    }
    arguments.extend(more);
    let mut command = namespace.command(&program.to_string_lossy(), &arguments);
    command.envs(environment.iter().map(|(name, value)| (*name, value)));
    Running::start(command)
}

fn folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::Builder::new().prefix("spined-").tempdir();
    let folder = folder.unwrap_or_else(|error| panic!("no folder: {error}"));
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap_or_else(|error| panic!("{error}"));
    folder
}

/// The folder with `spined`, `spinectl`, `spine-ports` and `spine-hostile-client`: `SPINE_TOOLS`, or built beside this test.
fn programs_built() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let given = std::env::var_os("SPINE_TOOLS").map(PathBuf::from);
        given.unwrap_or_else(|| {
            program::build(&["spined", "spinectl", "spine-ports", "spine-hostile-client"])
        })
    })
}

/// The handler of the echo extension for packets, and the one for messages.
pub const ECHO: HandlerNumber = HandlerNumber(1);
/// See [`ECHO`].
pub const ASK: HandlerNumber = HandlerNumber(2);
/// The number its answers are sent to.
pub const ANSWER: u16 = 1;

/// An extension that sends every UDP packet back to where it came from. Asked, it answers with its
/// `version` and, if it has a region, with how often it was asked: the count is in the region.
pub fn echo(version: u8, regions: u16) -> Vec<u8> {
    echo_at(ECHO.0, version, regions)
}

/// The same with other handlers: this one for packets, the next one for messages.
pub fn echo_at(first: u16, version: u8, regions: u16) -> Vec<u8> {
    let domains = Domains::CORE.with(Domain::Net).with(Domain::Host);
    let handlers = [
        HandlerDeclaration { number: HandlerNumber(first), prefix: 64, writeback: 64 },
        HandlerDeclaration { number: HandlerNumber(first + 1), prefix: 0, writeback: 0 },
    ];
    const LENGTH: usize = FIXED_BYTES + 2 * HANDLER_BYTES;
    let manifest: [u8; LENGTH] = build("echo", domains, regions, &handlers);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let swap = |a: u32, b: u32, bits: &str| {
        let (load, store) = match bits {
            "16" => ("i32.load16_u", "i32.store16"),
            _ => ("i32.load", "i32.store"),
        };
        format!(
            "(local.set $t ({load} offset={a} (local.get $slot)))
             ({store} offset={a} (local.get $slot) ({load} offset={b} (local.get $slot)))
             ({store} offset={b} (local.get $slot) (local.get $t))"
        )
    };
    // Link-layer addresses, network addresses, ports; the packet begins at 16.
    let swaps =
        [swap(16, 22, "32"), swap(20, 26, "16"), swap(42, 46, "32"), swap(50, 52, "16")].concat();
    let text = format!(
        r#"(module
            (import "spine:core" "next" (func $next (param i64) (result i64)))
            (import "spine:core" "region" (func $find (param i32) (result i64)))
            (import "spine:host" "send" (func $send (param i32) (result i32)))
            (memory (export "memory") 1)
            (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 8192))
            (global $region (mut i32) (i32.const 2048))
            (func (export "init")
                (if (i32.const {regions}) (then
                    (global.set $region (i32.wrap_i64 (call $find (i32.const 0)))))))
            (func $answer
                ;; handler 1, small, 5 bytes of arguments: the version and the count
                (i32.store (i32.const 1024) (i32.const {ANSWER}))
                (i32.store (i32.const 1028) (i32.const 0x50000))
                (i32.store (global.get $region)
                    (i32.add (i32.load (global.get $region)) (i32.const 1)))
                (i32.store8 (i32.const 1040) (i32.const {version}))
                (i32.store (i32.const 1041) (i32.load (global.get $region)))
                (drop (call $send (i32.const 1024))))
            (func (export "run")
                (local $slot i32) (local $given i64) (local $verdict i64) (local $t i32)
                (loop $again
                    (local.set $given (call $next (local.get $verdict)))
                    (local.set $slot (i32.wrap_i64 (local.get $given)))
                    (if (i32.eqz (local.get $slot)) (then (return)))
                    (local.set $verdict (i64.const 0))
                    (if (i32.eq (i32.load16_u (local.get $slot)) (i32.const {echo}))
                        (then {swaps} (local.set $verdict (i64.const 3)))
                        (else (call $answer)))
                    (br $again)))
            (@custom "spine.manifest" "{section}"))"#,
        echo = first,
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
