//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use ipnet::Ipv4Net;
use spine_client::ExtensionNumber;
use spine_client::daemon::socket_path;

/// Loads, replaces and watches extensions on the adapters of a running spined.
///
/// What you may do is what the daemon's policy grants your user: an extension that asks for more is
/// refused with the name of what is missing.
#[derive(Debug, Parser)]
#[command(
    name = "spinectl",
    version,
    after_help = "Examples:\n  \
        spinectl adapters\n  \
        spinectl load hello.wasm --iface eth1 --keep\n  \
        spinectl send 1 2 --text 'how many?' --wait 1\n  \
        spinectl send vienna 2 --text 'how many?' --wait 1\n  \
        spinectl replace 1 hello-2.wasm\n  \
        spinectl stats eth1 --json\n  \
        spinectl policy check /etc/spine/policy.toml"
)]
pub(crate) struct Options {
    /// Where spined listens (SPINE_SOCKET in the environment says so, too)
    #[arg(long, global = true, value_name = "PATH", default_value_os_t = socket_path(), value_hint = ValueHint::FilePath)]
    pub(crate) socket: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists the adapters: interface, index, how packets reach it, how many extensions it has
    Adapters {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists the extensions: number, name, interface, whose it is, its handlers and domains
    Extensions {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Loads an extension and prints its number
    ///
    /// The author's signature is taken from FILE.sig if there is one. Without --keep the extension is
    /// gone when this command ends, so it then waits, printing what the extension sends, until stopped.
    Load(LoadOptions),
    /// Unloads an extension of yours
    Unload {
        /// Its number (see `spinectl extensions`)
        #[arg(value_name = "NUMBER")]
        extension: ExtensionNumber,
    },
    /// Puts another version in an extension's place, without losing a message
    ///
    /// Handler numbers, waiting messages and kept buffers go over, and so do the regions: the new version
    /// must ask for as many. Other memory of the old version does not.
    Replace {
        /// Its number (see `spinectl extensions`)
        #[arg(value_name = "NUMBER")]
        extension: ExtensionNumber,
        /// The new version
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Changes which destinations' packets an extension gets instead of the kernel
    ///
    /// The longest prefix decides; without any, packets are the kernel's. One extension of an interface can have
    /// destinations.
    Claim(ClaimOptions),
    /// Prints what adapters have counted since spined started
    Stats {
        /// Of this one only
        #[arg(value_name = "INTERFACE")]
        interface: Option<String>,
        /// Prints one JSON object for all adapters
        #[arg(long)]
        json: bool,
    },
    /// Shows what adapters and extensions do, each second, until q is pressed
    Top {
        /// Seconds between two frames
        #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
        interval: Duration,
        /// Prints one frame as text and ends
        #[arg(long)]
        once: bool,
    },
    /// Lists the endpoints on other machines, and the messages to and from each
    ///
    /// They are in spined's configuration (`[[peer]]`). NUMBER is what extensions on that interface call one. WAITING
    /// are messages it has not acknowledged yet; REFUSED are frames that were not sealed with the shared key, or
    /// that had been seen before; LOST are messages that it may or may not have had when it was started anew.
    Peers {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Makes a key for two machines to share, in a new file that only you can read
    ///
    /// Copy it to the other machine by a way that you trust (scp), keep its mode, 0600, and name it in
    /// the configuration of both spined (`[[peer]]`, key = "FILE").
    Key {
        /// The new file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Sends an active message to a handler of an extension of yours, or of one on another machine
    ///
    /// To a peer it goes by a small extension that is loaded on its adapter for as long as this command runs. The
    /// policy must let you have the domains peer and host there, and send to that peer.
    Send {
        /// The extension's number (see `spinectl extensions`), or the peer's name (see `spinectl peers`)
        #[arg(value_name = "NUMBER|PEER", value_parser = target)]
        target: Target,
        /// The handler's number
        handler: u16,
        /// The arguments as hexadecimal digits, up to 240 bytes
        #[arg(value_name = "HEX", value_parser = bytes, default_value = "")]
        arguments: Bytes,
        /// The arguments as text
        #[arg(long, conflicts_with = "arguments")]
        text: Option<String>,
        /// Waits so many seconds for answers and prints each
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        wait: Option<Duration>,
        /// With --wait: ends after so many answers
        #[arg(long, value_name = "N", default_value_t = 1, requires = "wait")]
        count: usize,
        /// Of a peer: the handler here that it sends its answers to; no extension on that adapter may have it
        #[arg(long, value_name = "HANDLER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..1024))]
        answer: u16,
    },
    /// Looks at policy files
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Prints completions for a shell
    Completions {
        /// Which
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Says whether spined would start with a policy file, or what is wrong and on which line
    Check {
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LoadOptions {
    /// The extension, as WebAssembly
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The interface whose adapter gets it
    #[arg(long = "iface", value_name = "NAME")]
    pub(crate) interface: String,
    /// A domain it may have; without this, all that it asks for and the policy grants
    #[arg(long = "domain", value_name = "NAME")]
    pub(crate) domains: Vec<String>,
    /// A destination whose packets it gets instead of the kernel, e.g. 10.1.0.0/16
    #[arg(long = "claim", value_name = "PREFIX")]
    pub(crate) prefixes: Vec<Ipv4Net>,
    /// A UDP port whose packets it gets, at any address; goes before --claim
    #[arg(long = "port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ports: Vec<u16>,
    /// Another machine that it may send messages to (see `spinectl peers`)
    #[arg(long = "peer", value_name = "NAME")]
    pub(crate) peers: Vec<String>,
    /// The handler that gets the packets it claims (default: its first)
    #[arg(long, value_name = "NUMBER")]
    pub(crate) handler: Option<u16>,
    /// A new region to share with it, of so many KiB, for each that it asks for
    #[arg(long = "region", value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..=(256 << 10)))]
    pub(crate) regions: Vec<u64>,
    /// Fuel of one message (default: the usual, or less where the policy allows less)
    #[arg(long, value_name = "UNITS")]
    pub(crate) fuel: Option<u64>,
    /// Keeps it loaded when this command ends; `unload` ends it
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClaimOptions {
    /// Its number (see `spinectl extensions`)
    #[arg(value_name = "NUMBER")]
    pub(crate) extension: ExtensionNumber,
    /// Packets to this prefix are the extension's
    #[arg(long, value_name = "PREFIX")]
    pub(crate) take: Vec<Ipv4Net>,
    /// Packets to this prefix are the kernel's, although those around them are the extension's
    #[arg(long, value_name = "PREFIX")]
    pub(crate) leave: Vec<Ipv4Net>,
    /// Nothing is said of this prefix any more; comes before --take and --leave
    #[arg(long, value_name = "PREFIX")]
    pub(crate) forget: Vec<Ipv4Net>,
    /// Leaves all of its destinations to the kernel for now; nobody else can have them
    #[arg(long)]
    pub(crate) pause: bool,
    /// Gives it its destinations again; one that had none before begins paused
    #[arg(long, conflicts_with = "pause")]
    pub(crate) resume: bool,
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// An extension here.
    Extension(ExtensionNumber),
    /// An endpoint on another machine.
    Peer(String),
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a value parser")]
fn target(text: &str) -> Result<Target, String> {
    let number = text.parse().map(Target::Extension);
    Ok(number.unwrap_or_else(|_| Target::Peer(text.to_owned())))
}

/// Arguments of a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

fn bytes(text: &str) -> Result<Bytes, String> {
    spine_client::hex::decode(text)
        .map(Bytes)
        .ok_or_else(|| "pairs of hexadecimal digits, such as 00ff".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| *duration <= Duration::from_secs(86_400))
        .ok_or_else(|| "a number of seconds up to a day, such as 1 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn nonsense_is_refused_by_the_parser() {
        for line in [
            "",
            "load",
            "load x.wasm",
            "load x.wasm --iface a --claim 10.0.0.1/40",
            "load x.wasm --iface a --port 0",
            "load x.wasm --iface a --region 0",
            "send 1 2 0g",
            "send 1 2 00 --text x",
            "send 1 2 --count 2",
            "send 1 2 --wait forever",
            "unload one",
            "claim 1 --take 10.0.0.1/40",
            "claim 1 --pause --resume",
            "send vienna 2 --answer 0",
            "send vienna 2 --answer 1024",
            "key",
        ] {
            let words = ["spinectl"].into_iter().chain(line.split_whitespace());
            assert!(Options::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn a_message_is_for_an_extension_by_number_or_a_peer_by_name() {
        for (text, expected) in [
            ("17", Target::Extension(17)),
            ("vienna", Target::Peer("vienna".to_owned())),
            ("17b", Target::Peer("17b".to_owned())),
        ] {
            let options = Options::try_parse_from(["spinectl", "send", text, "2"]).expect("fine");
            let Command::Send { target, .. } = options.command else { panic!("a message") };
            assert_eq!(target, expected);
        }
    }

    #[test]
    fn every_command_and_every_argument_says_what_it_is_for() {
        fn look(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} says nothing");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {} says nothing",
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(|inner| look(inner, &path));
        }
        let mut command = Options::command();
        look(&command, "");
        let help = command.render_long_help().to_string();
        for inner in Options::command().get_subcommands() {
            assert!(help.contains(inner.get_name()), "{} is missing in {help}", inner.get_name());
        }
        assert!(help.contains("Examples:") && help.contains("policy grants"), "{help}");
    }

    #[test]
    fn a_shell_that_reads_the_completions_completes_commands_and_options() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Options::command(), "spinectl", &mut script);
        let script = String::from_utf8(script).expect("text");
        let complete = |words: &str| {
            let try_it = format!(
                "{script}\nCOMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
                 _spinectl spinectl \"${{COMP_WORDS[COMP_CWORD]}}\" '' && echo \"${{COMPREPLY[@]}}\""
            );
            let shell = std::process::Command::new("bash").args(["--norc", "-c", &try_it]).output();
            let Ok(shell) = shell else { return None };
            assert!(shell.stderr.is_empty(), "{}", String::from_utf8_lossy(&shell.stderr));
            Some(String::from_utf8_lossy(&shell.stdout).trim().to_owned())
        };
        let Some(commands) = complete("spinectl pe") else {
            return println!("skipped: there is no bash");
        };
        assert_eq!(commands, "peers");
        assert_eq!(complete("spinectl load --ke").as_deref(), Some("--keep"));
        for shell in [Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Options::command(), "spinectl", &mut script);
            let script = String::from_utf8(script).expect("text");
            assert!(script.contains("replace") && script.contains("peers"), "{shell}");
        }
    }
}
