//! `spine-bench lanai-run`: a LANai 4 board with an image in its memory, driven by a script.
//!
//! Why it exists: firmware of that time, and firmware written today, can be tried without a line of Rust. The whole script is
//! read before anything runs, so a mistake in its last line costs nothing. Each file is one step: `image` puts words into
//! memory, `script` reads lines into `statement`s, `place` and `value` read
//! words of a line, `machine` does what the lines say.

mod blocks;
mod image;
mod machine;
mod place;
mod script;
mod statement;
mod value;
mod wire;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use lanai_model::config::{Config, Extra, SramSize, constants};
use lanai_model::cpu::Isa;

use image::Image;
use machine::Machine;

/// Exit code when something was expected and is not so.
const FAILED: u8 = 1;
/// Exit code when the command line, an image or the script is wrong; nothing ran.
const WRONG: u8 = 2;

/// Runs a LANai 4 board in virtual time, driven by a script.
#[derive(clap::Args)]
// As wide as the text below it, which must not be broken in other places than it is.
#[command(after_help = include_str!("help.txt"), term_width = 128)]
pub(crate) struct Args {
    /// Raw big-endian words and where they go: FILE@ADDRESS, several with commas or blanks between; without an address, 0.
    /// An object file of `clang --target=lanai -c` is linked, and assembly text (FILE.s) is assembled, to run there.
    #[arg(value_name = "IMAGE@ADDR", value_delimiter = ',')]
    images: Vec<Image>,

    /// Memory on the board.
    #[arg(long, value_enum, default_value = "1M", ignore_case = true)]
    sram: Sram,

    /// Instruction set of the processor.
    #[arg(long, value_enum, default_value = "lanai4", ignore_case = true)]
    isa: IsaName,

    /// The script; `-` is standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "constants")]
    script: Option<PathBuf>,

    /// Let the engines and the processor compete for the memory.
    #[arg(long)]
    arbitration: bool,

    /// Hardware that the LANai 4 does not have (section 7 of the paper).
    #[arg(long, value_enum, value_delimiter = ',')]
    extra: Vec<ExtraName>,

    /// Print every constant of the model with its mark and source, and end.
    #[arg(long)]
    constants: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sram {
    #[value(name = "256K")]
    K256,
    #[value(name = "512K")]
    K512,
    #[value(name = "1M", alias = "1024K")]
    M1,
}

#[derive(Clone, Copy, ValueEnum)]
enum IsaName {
    /// What clang --target=lanai emits.
    V11,
    /// The processor of the paper's board.
    Lanai4,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExtraName {
    /// A host DMA that follows lists.
    Chained,
    /// A host DMA that skips between rows.
    Strided,
    /// A doorbell region that fills a FIFO in memory.
    Fifo,
}

impl Args {
    fn config(&self) -> Config {
        let has = |name| self.extra.contains(&name);
        Config {
            sram: match self.sram {
                Sram::K256 => SramSize::K256,
                Sram::K512 => SramSize::K512,
                Sram::M1 => SramSize::M1,
            },
            isa: match self.isa {
                IsaName::V11 => Isa::V11,
                IsaName::Lanai4 => Isa::Lanai4,
            },
            arbitration: self.arbitration,
            extra: Extra {
                chained_dma: has(ExtraName::Chained),
                strided_dma: has(ExtraName::Strided),
                hardware_fifo: has(ExtraName::Fifo),
            },
            ..Config::default()
        }
    }
}

/// Does what the command line says; the exit code says how it went.
pub(crate) fn run(args: &Args) -> ExitCode {
    if args.constants {
        for constant in constants() {
            println!(
                "{} = {} [{}] {}",
                constant.name, constant.value, constant.mark, constant.source
            );
        }
        return ExitCode::SUCCESS;
    }
    match run_script(args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(WRONG)
        }
    }
}

/// Answers how many expectations failed.
fn run_script(args: &Args) -> Result<u64, String> {
    let config = args.config();
    let mut machine = Machine::new(config.clone(), Box::new(std::io::stdout()));
    for image in &args.images {
        machine.load(image)?;
    }
    let (name, text) = read_script(args.script.as_deref())?;
    let lines = script::parse(&name, &text, config.sram.bytes())?;
    machine.run(&name, &lines)
}

fn read_script(path: Option<&std::path::Path>) -> Result<(String, String), String> {
    let path = path.unwrap_or_else(|| std::path::Path::new("-"));
    let mut bytes = Vec::new();
    let name = path.display().to_string();
    if name == "-" {
        std::io::stdin().read_to_end(&mut bytes).map_err(|e| format!("standard input: {e}"))?;
        return Ok(("script".to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    bytes = std::fs::read(path).map_err(|e| format!("script {name}: {e}"))?;
    Ok((name, String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::machine::Machine;
    use super::script::parse;
    use super::statement::{Line, Statement};
    use super::{Config, blocks::Block};

    const WORDS: &[&str] = &[
        "w8",
        "w16",
        "w32",
        "r8",
        "r16",
        "r32",
        "ctrl",
        "reset",
        "on",
        "off",
        "int",
        "enable",
        "wake",
        "run",
        "step",
        "expect",
        "expect8",
        "wait",
        "hostmem",
        "write",
        "fill",
        "read",
        "dump",
        "sram",
        "link",
        "inject",
        "badcrc",
        "raw",
        "port",
        "none",
        "show",
        "clear",
        "cable",
        "loopback",
        "switch",
        "stop",
        "go",
        "down",
        "trace",
        "pio",
        "counters",
        "disasm",
        "cpu",
        "time",
        "until",
        "within",
        "show",
        "echo",
        "has",
        "lacks",
        "==",
        "<",
        "mask",
        "DMA_CTR",
        "SMLT",
        "RML",
        "RB",
        "ISR",
        "PULSE",
        "SB",
        "ST",
        "IT",
        "irq",
        "cpu:r31",
        "cpu:pc",
        "bar:0xC0044",
        "bar:0x808000",
        "host:0xfffffffe",
        "reg:0x5c",
        "HOST_SIG|3",
        "0",
        "1",
        "4",
        "0x100",
        "0x3fffc",
        "0x1000",
        "0xffffff44",
        "0x80000000",
        "-1",
        "64",
        "ff",
        "0102",
        "5us",
        "0.5",
        "1e9",
        ":",
        "0x",
        "é",
        "#",
    ];

    /// Lines of random words, the same on every run; most are wrong, which is the point.
    fn line(state: &mut u64) -> String {
        let mut next = |n: usize| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(*state >> 33).unwrap() % n
        };
        let count = 1 + next(6);
        (0..count).map(|_| WORDS[next(WORDS.len())]).collect::<Vec<_>>().join(" ")
    }

    fn touches_files(line: &Line) -> bool {
        matches!(
            &line.statement,
            Statement::Memory { block: Block::Load { .. } | Block::Dump { file: Some(_), .. }, .. }
        )
    }

    #[test]
    fn random_scripts_are_refused_or_run_and_never_panic() {
        let mut state = 7;
        let mut lines = Vec::new();
        for _ in 0..60_000 {
            match parse("random", &line(&mut state), 256 << 10) {
                Ok(parsed) => lines.extend(parsed),
                Err(problem) => {
                    assert!(problem.starts_with("random:1: ") && problem.len() > 20, "{problem}")
                }
            }
        }
        lines.retain(|line| !touches_files(line));
        assert!(lines.len() > 500, "some make sense: {}", lines.len());
        let config = Config { sram: lanai_model::config::SramSize::K256, ..Config::default() };
        for lines in lines.chunks(25) {
            let mut machine = Machine::new(config.clone(), Box::new(std::io::sink()));
            let _ = machine.run("random", lines);
        }
    }
}
