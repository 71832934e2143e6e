//! The command line as a whole: a router to run, or a question to one that runs.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::Ipv4Net;

use super::routes::{LIMIT, MOST};
use crate::cli::Options;

/// What `--help` ends with.
const MORE: &str = "\
EXAMPLES
  spine-router --iface lan0 --iface wan0
  spine-router --iface lan0 --iface wan0 --metrics 127.0.0.1:9464
  spine-router show                              whose the packets are, and why
  spine-router show routes --prefix 10.0.0.0/8
  spine-router explain 'iif=lan0 10.1.2.3 > 10.9.8.7 tcp 443'
  spine-router capture -w - | wireshark -k -i -

NEEDS
  Two Ethernet interfaces between which the kernel forwards (net.ipv4.ip_forward=1), and root or the capabilities that are
  named where one is missing. Routes, neighbours and rules are the kernel's: set them with ip, nft and routing daemons.

LIMITS
  What needs more than forwarding is the kernel's, and so are frames longer than an adapter's (an MTU of 3390): `spine-router show`
  says what and why. 64 interfaces. One capture at a time.

EXIT CODES
  0  it was stopped, its time was up, or the question was answered
  1  it could not start or go on, or was not answered: one sentence says why
  2  the command line cannot be followed";

/// Turns the kernel's router into a SPINE router, and asks one that runs.
///
/// Packets are forwarded by a safe extension; routes and neighbours are the kernel's, and so is everything out of the ordinary. Without
/// a command, a router is run.
#[derive(Debug, Parser)]
#[command(
    name = "spine-router",
    version,
    after_long_help = MORE,
    after_help = "--help says more: examples, needs, limits, exit codes",
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true
)]
pub struct CommandLine {
    /// A question, in place of a router.
    #[command(subcommand)]
    pub question: Option<Question>,
    /// A router to run.
    #[command(flatten)]
    pub options: Options,
}

/// A question to a router that runs.
#[derive(Debug, Subcommand)]
pub enum Question {
    /// What a running router does
    Show(Show),
    /// What becomes of a packet, and why
    Explain(Explain),
    /// The packets that a running router receives, sends, drops and gives to the kernel, as pcapng
    Capture(Capture),
}

/// Which router is asked.
#[derive(Debug, Clone, Default, Args)]
pub struct Whom {
    /// The router's control socket (default: the router of this network namespace, else the only one there is)
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum What {
    /// Whose the packets are, and why
    #[default]
    Coverage,
    /// The routes, and what they mean for the adapters
    Routes,
    /// The machines on the links
    Neighbours,
    /// The interfaces, and how they are opened
    Interfaces,
    /// All that is counted
    Counters,
}

/// `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// What to show
    #[arg(value_enum, default_value = "coverage")]
    pub what: What,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// The counters as OpenMetrics text
    #[arg(long, conflicts_with = "json")]
    pub metrics: bool,
    /// Only the routes in this prefix
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<Ipv4Net>,
    /// So many routes at most
    #[arg(long, value_name = "N", default_value_t = LIMIT, value_parser = limit)]
    pub limit: usize,
    /// Which router
    #[command(flatten)]
    pub whom: Whom,
}

/// `explain`.
#[derive(Debug, Args)]
#[command(after_help = super::explain::GRAMMAR)]
pub struct Explain {
    /// The packet, such as 'iif=eth1 10.1.2.3 > 10.9.8.7 tcp 443'
    #[arg(required = true, value_name = "PACKET")]
    pub packet: Vec<String>,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// Which router
    #[command(flatten)]
    pub whom: Whom,
}

/// `capture`.
#[derive(Debug, Args)]
pub struct Capture {
    /// Only the packets of this interface; may be given more than once
    #[arg(long = "iface", value_name = "NAME")]
    pub interfaces: Vec<String>,
    /// Where to write: a file, or - for standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Bytes of each packet at most
    #[arg(short, long, value_name = "BYTES", default_value_t = 65_535)]
    pub snap: usize,
    /// Ends by itself after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<u64>,
    /// Which router
    #[command(flatten)]
    pub whom: Whom,
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    limit.ok_or_else(|| format!("1 to {MOST}; --prefix narrows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(["spine-router"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn a_router_is_run_as_ever_and_a_question_needs_no_interface() {
        let line = parse("--iface a --iface b --metrics 127.0.0.1:9464").expect("a router");
        assert!(line.question.is_none());
        assert_eq!(line.options.interfaces, ["a", "b"]);
        assert!(line.options.metrics.is_some());

        let line = parse("show routes --prefix 10.0.0.0/8 --json").expect("a question");
        let Some(Question::Show(show)) = line.question else { panic!("{line:?}") };
        assert_eq!((show.what, show.limit, show.json), (What::Routes, LIMIT, true));
        let line = parse("show").expect("a question");
        assert!(matches!(line.question, Some(Question::Show(Show { what: What::Coverage, .. }))));
        let line = parse("explain iif=a 10.1.1.1 > 10.2.2.2 tcp 443").expect("a question");
        assert!(
            matches!(line.question, Some(Question::Explain(Explain { packet, .. })) if packet.len() == 6)
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for line in [
            "",
            "--json",
            "show everything",
            "show routes --limit 0",
            "show routes --limit 1000000",
            "show routes --prefix 10.0.0.0/40",
            "show --json --metrics",
            "explain",
            "--iface a --iface b show",
            "--iface a --iface b --metrics nowhere",
        ] {
            assert_eq!(
                parse(line).map_err(|error| error.exit_code()).expect_err(line),
                2,
                "{line}"
            );
        }
    }
}
