//! The board, its host and its link, doing what a script says.

mod link;
mod memory;
mod processor;
mod waiting;

use std::io::Write;

use lanai_model::Board;
use lanai_model::board::Counters;
use lanai_model::bus::HostMemory;
use lanai_model::config::Config;
use lanai_model::cpu::{Isa, State, disassemble};
use lanai_model::link::Cable;
use lanai_model::registers::isr;
use lanai_model::trace::Trace;

use super::image::Image;
use super::place::{hex, size};
use super::statement::{Line, Statement};

/// A board under a script.
pub(super) struct Machine {
    board: Board<HostMemory, Cable>,
    out: Box<dyn Write>,
    traced: usize,
    pio: bool,
    ran: bool,
    expectations: u64,
    failed: u64,
}

impl Machine {
    /// A board in reset, its memory zero; what the script prints goes to `out`.
    pub(super) fn new(config: Config, out: Box<dyn Write>) -> Self {
        let cable = Cable::new(config.link_rate);
        let board = Board::new(config, HostMemory::default(), cable);
        Self { board, out, traced: 0, pio: false, ran: false, expectations: 0, failed: 0 }
    }

    /// Puts an image into memory.
    pub(super) fn load(&mut self, image: &Image) -> Result<(), String> {
        let config = self.board.config();
        let bytes = image.read(config.sram.bytes(), config.isa)?;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        match self.board.sram_mut().slice_mut(image.address, length) {
            Some(to) => to.copy_from_slice(&bytes),
            None => return Err(format!("image {} does not fit", image.path.display())),
        }
        Ok(())
    }

    /// Does what the lines of the script `name` say, prints the summary, and answers how many expectations failed.
    pub(super) fn run(&mut self, name: &str, lines: &[Line]) -> Result<u64, String> {
        for line in lines {
            match self.statement(&line.statement) {
                Ok(Ok(())) => {}
                Ok(Err(unexpected)) => {
                    self.failed += 1;
                    eprintln!("{name}:{}: {unexpected}", line.number);
                }
                Err(problem) => return Err(format!("{name}:{}: {problem}", line.number)),
            }
        }
        if self.ran && self.board.instructions() == 0 {
            eprintln!("note: the processor executed nothing; `ctrl reset off` starts it");
        }
        if let State::Illegal { address, word } = self.board.cpu().state() {
            eprintln!("note: {}", stopped(address, word, self.board.config().isa));
        }
        let summary = self.summary();
        self.say(&summary);
        Ok(self.failed)
    }

    fn summary(&self) -> String {
        let board = &self.board;
        let state = self.state();
        format!(
            "end: time={}us instructions={} cycles={} isr={:#010x} ({}) pc={:#010x} state={state} irq={} expectations={} failed={}",
            board.now().to_string().trim_end_matches(" us"),
            board.instructions(),
            board.cycles(),
            board.isr(),
            isr::describe(board.isr()),
            board.cpu().pc(),
            u8::from(board.host().interrupted()),
            self.expectations,
            self.failed,
        )
    }

    /// `running`, `reset`, or at which word the processor stopped.
    fn state(&self) -> String {
        match self.board.cpu().state() {
            _ if self.board.in_reset() => "reset".to_owned(),
            State::Running => "running".to_owned(),
            State::Illegal { address, word } => format!("illegal:{word:#010x}@{address:#010x}"),
        }
    }

    /// The outer error ends the run, the inner one is an expectation that failed.
    fn statement(&mut self, statement: &Statement) -> Result<Result<(), String>, String> {
        match statement {
            Statement::Write { place, width, values } => {
                for (step, &value) in (0u32..).step_by(size(*width) as usize).zip(values) {
                    self.write(place.plus(step), *width, value)?;
                }
            }
            Statement::Read { place, width, count } => {
                for index in 0..*count {
                    let place = place.plus(index * size(*width));
                    let value = self.read(place, *width);
                    self.say(&format!("r{} {place} = {}", 8 * size(*width), hex(value, *width)));
                }
            }
            Statement::Control(bits) => self.board.control(*bits),
            Statement::Run(length) => {
                self.ran = true;
                self.board.advance(*length);
            }
            Statement::Step { count, show } => {
                self.ran = true;
                self.steps(*count, *show);
            }
            Statement::Expect(check) => return Ok(self.expect(check)),
            Statement::Wait { within, check } => return Ok(self.wait(*within, check)),
            Statement::Memory { space, block } => return self.block(*space, block),
            Statement::Link(wire) => return self.link(wire),
            Statement::Trace(events) => self.trace(*events),
            Statement::TraceClear => self.trace(self.traced),
            Statement::TraceDump => self.dump_trace(),
            Statement::Pio(on) => self.pio = *on,
            Statement::Disassemble { address, count } => self.disassemble(*address, *count),
            Statement::Processor => self.show_processor(),
            Statement::Time => {
                let line = format!("time {} cycles={}", self.board.now(), self.board.cycles());
                self.say(&line);
            }
            Statement::Counters => self.say(&counters(self.board.counters())),
            Statement::Echo(text) => self.say(text),
        }
        Ok(Ok(()))
    }

    /// A line of output; a reader that has gone away is no reason to stop.
    fn say(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }

    fn trace(&mut self, events: usize) {
        self.traced = events;
        self.board.set_trace(if events == 0 { Trace::default() } else { Trace::ring(events) });
    }

    fn dump_trace(&mut self) {
        let entries: Vec<String> = self.board.trace().entries().map(ToString::to_string).collect();
        entries.iter().for_each(|entry| self.say(&format!("trace {entry}")));
        let lost = self.board.trace().lost();
        if lost > 0 {
            self.say(&format!("trace: {lost} older events are lost; `trace on EVENTS` keeps more"));
        }
    }
}

/// Why the processor stopped, and what may help.
fn stopped(address: u32, word: u32, isa: Isa) -> String {
    let (name, other, other_name) = match isa {
        Isa::Lanai4 => ("lanai4", Isa::V11, "v11"),
        Isa::V11 => ("v11", Isa::Lanai4, "lanai4"),
    };
    let text = disassemble(word, other).replace('\t', " ");
    let hint = if text == "<unknown>" {
        "`trace on` and `step show` say how it came there".to_owned()
    } else {
        format!("with --isa {other_name} it is `{text}`")
    };
    format!(
        "the processor stopped at {address:#010x}: {word:#010x} is no instruction of {name}; {hint}"
    )
}

fn counters(c: Counters) -> String {
    format!(
        "counters: outside={} dma_transfers={} dma_restarts={} dma_aborts={} chain_faults={} fifo_full={} send_restarts={} \
         packets_sent={} packets_received={} bad_crc={} empty_reads={} link_timeouts={}",
        c.outside,
        c.dma_transfers,
        c.dma_restarts,
        c.dma_aborts,
        c.chain_faults,
        c.fifo_full,
        c.send_restarts,
        c.packets_sent,
        c.packets_received,
        c.bad_crc,
        c.empty_reads,
        c.link_timeouts
    )
}
