//! The board, its host and its link, doing what a script says.

use std::io::Write;

use lanai_model::Board;
use lanai_model::board::{Counters, HostWrite};
use lanai_model::bus::HostMemory;
use lanai_model::config::Config;
use lanai_model::cpu::{State, Width};
use lanai_model::link::{Cable, Packet, Switch, crc8_of};
use lanai_model::registers::{CRC_ENABLE, isr, offset};
use lanai_model::time::Time;
use lanai_model::trace::Trace;

use super::blocks::{Block, dump};
use super::image::Image;
use super::place::{Place, size};
use super::script::{Check, Line, Space, Statement};
use super::value;
use super::wire::{Tail, Wire};

/// Where the special registers are in the board's PCI space.
const REGISTERS: u32 = 0x0C_0000;

/// How often `wait` looks.
const LOOK: Time = Time::from_ns(500);

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
        let bytes = image.read(self.board.config().sram.bytes())?;
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
        let summary = self.summary();
        self.say(&summary);
        Ok(self.failed)
    }

    fn summary(&self) -> String {
        let board = &self.board;
        let state = match board.cpu().state() {
            _ if board.in_reset() => "reset".to_owned(),
            State::Running => "running".to_owned(),
            State::Illegal { address, word } => format!("illegal:{word:#010x}@{address:#010x}"),
        };
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
            Statement::Step(count) => {
                self.ran = true;
                self.steps(*count);
            }
            Statement::Expect(check) => return Ok(self.expect(check)),
            Statement::Wait { within, check } => return Ok(self.wait(*within, check)),
            Statement::Memory { space, block } => return self.block(*space, block),
            Statement::Link(wire) => return self.link(wire),
            Statement::Trace(events) => self.trace(*events),
            Statement::TraceClear => self.trace(self.traced),
            Statement::TraceDump => self.dump_trace(),
            Statement::Pio(on) => self.pio = *on,
            Statement::Counters => self.say(&counters(self.board.counters())),
            Statement::Echo(text) => self.say(text),
        }
        Ok(Ok(()))
    }

    /// A line of output; a reader that has gone away is no reason to stop.
    fn say(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
    }

    fn steps(&mut self, count: u32) {
        for _ in 0..count {
            if !self.board.running() {
                break;
            }
            self.board.step();
        }
    }

    fn write(&mut self, place: Place, width: Width, value: u32) -> Result<(), String> {
        if self.pio && matches!(place, Place::Sram(_) | Place::Register(_) | Place::Bar(_)) {
            self.board.advance(self.board.config().pio_write);
        }
        let answer = match place {
            Place::Sram(at) => {
                self.board.sram_mut().store(at, width, value);
                HostWrite::Done
            }
            Place::Register(register) => self.board.host_write(REGISTERS + register, width, value),
            Place::Bar(at) => self.board.host_write(at, width, value),
            Place::Host(at) => return self.write_host(at, low_bytes(&value.to_be_bytes(), width)),
            Place::Cpu(number) => {
                self.board.cpu_mut().set_register(number, value);
                HostWrite::Done
            }
            Place::Irq | Place::Irqs => return Err(format!("{place} cannot be written")),
        };
        match answer {
            HostWrite::Done => {}
            HostWrite::Nowhere => self.say(&format!("note: nothing is at {place}")),
            HostWrite::Retry => self.say(&format!(
                "note: {place} refused {value:#010x}: the hardware FIFO is full or off"
            )),
        }
        Ok(())
    }

    fn write_host(&mut self, at: u32, bytes: &[u8]) -> Result<(), String> {
        if self.board.host_mut().poke(at, bytes) {
            return Ok(());
        }
        Err("the host's memory is full: at most 256 MB in pages of 4 KB".to_owned())
    }

    fn read(&mut self, place: Place, width: Width) -> u32 {
        if self.pio && matches!(place, Place::Sram(_) | Place::Register(_) | Place::Bar(_)) {
            self.board.advance(self.board.config().pio_read);
        }
        match place {
            Place::Sram(at) => self.board.sram().load(at, width).unwrap_or(0),
            Place::Register(register) => self.board.host_read(REGISTERS + register, width),
            Place::Bar(at) => self.board.host_read(at, width),
            Place::Host(at) => {
                let mut bytes = [0; 4];
                let low = 4 - size(width) as usize;
                if let Some(low) = bytes.get_mut(low..) {
                    self.board.host().peek(at, low);
                }
                u32::from_be_bytes(bytes)
            }
            Place::Cpu(number) => self.board.cpu().register(number),
            Place::Irq => u32::from(self.board.host().interrupted()),
            Place::Irqs => u32::try_from(self.board.host().interrupts()).unwrap_or(u32::MAX),
        }
    }

    fn expect(&mut self, check: &Check) -> Result<(), String> {
        self.expectations += 1;
        let found = self.read(check.place, check.width);
        if holds(check, found) {
            return Ok(());
        }
        Err(unexpected(check, found))
    }

    fn wait(&mut self, within: Time, check: &Check) -> Result<(), String> {
        self.ran = true;
        self.expectations += 1;
        let end = self.board.now() + within;
        loop {
            let found = self.read(check.place, check.width);
            if holds(check, found) {
                return Ok(());
            }
            if self.board.now() >= end {
                return Err(format!("{} after waiting {within}", unexpected(check, found)));
            }
            // Between events nothing changes while the processor does not run.
            let look = self.board.now() + LOOK;
            let next = if self.board.running() { look } else { look.max(self.board.next_event()) };
            self.board.run_until(next.min(end));
        }
    }

    fn block(&mut self, space: Space, block: &Block) -> Result<Result<(), String>, String> {
        match block {
            Block::Write { address, bytes } => self.put(space, *address, bytes)?,
            Block::Fill { address, length, byte } => {
                self.put(space, *address, &vec![*byte; *length as usize])?
            }
            Block::Load { address, file } => {
                let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
                self.put(space, *address, &bytes)?;
            }
            Block::Dump { address, length, file: None } => {
                let name = if space == Space::Host { "hostmem" } else { "sram" };
                let bytes = self.get(space, *address, *length);
                dump(name, *address, &bytes).iter().for_each(|line| self.say(line));
            }
            Block::Dump { address, length, file: Some(file) } => {
                std::fs::write(file, self.get(space, *address, *length))
                    .map_err(|e| format!("{}: {e}", file.display()))?;
            }
            Block::Expect { address, bytes } => {
                self.expectations += 1;
                let found =
                    self.get(space, *address, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                if found != *bytes {
                    let (expected, found) = (value::hex(bytes), value::hex(&found));
                    return Ok(Err(format!(
                        "expected at {address:#010x}: {expected}, found: {found}"
                    )));
                }
            }
        }
        Ok(Ok(()))
    }

    fn put(&mut self, space: Space, address: u32, bytes: &[u8]) -> Result<(), String> {
        if space == Space::Host {
            return self.write_host(address, bytes);
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        match self.board.sram_mut().slice_mut(address, length) {
            Some(to) => to.copy_from_slice(bytes),
            None => {
                return Err(format!(
                    "{} bytes at {address:#x} go beyond the board's memory",
                    bytes.len()
                ));
            }
        }
        Ok(())
    }

    fn get(&self, space: Space, address: u32, length: u32) -> Vec<u8> {
        match space {
            Space::Sram => self.board.sram().slice(address, length).unwrap_or(&[]).to_vec(),
            Space::Host => {
                let mut bytes = vec![0; length as usize];
                self.board.host().peek(address, &mut bytes);
                bytes
            }
        }
    }

    fn link(&mut self, wire: &Wire) -> Result<Result<(), String>, String> {
        let now = self.board.now();
        let (latency, rate) = (self.board.config().switch_latency, self.board.config().link_rate);
        let crc_enabled = self.board.read_register(offset::MYRINET) & CRC_ENABLE != 0;
        let cable = self.board.link_mut();
        match wire {
            Wire::Inject { payload, tail, port } => {
                let bytes = with_tail(payload, *tail);
                match port {
                    Some(port) if !cable.inject_at_port(*port, now, &bytes) => {
                        return Err(
                            "there is no switch to inject into; `link switch PORTS PORT` makes one"
                                .to_owned(),
                        );
                    }
                    Some(_) => {}
                    None => cable.inject_raw(now, &bytes),
                }
            }
            Wire::Expect(payload) => {
                self.expectations += 1;
                return Ok(match cable.take() {
                    None => Err("expected a packet, and none was sent".to_owned()),
                    Some(packet) if packet.payload() != payload => {
                        let (expected, found) = (value::hex(payload), value::hex(packet.payload()));
                        Err(format!("expected the packet: {expected}, found: {found}"))
                    }
                    Some(packet) if crc_enabled && !packet.crc_is_good() => {
                        Err("expected a packet with a good CRC-8, found a wrong one".to_owned())
                    }
                    Some(_) => Ok(()),
                });
            }
            Wire::ExpectNone => {
                self.expectations += 1;
                let waiting = cable.sent().count();
                if waiting > 0 {
                    return Ok(Err(format!("expected no packet, found {waiting}")));
                }
            }
            Wire::Show => {
                let packets: Vec<String> = cable.sent().map(describe).collect();
                packets.iter().for_each(|packet| self.say(packet));
            }
            Wire::Clear => while cable.take().is_some() {},
            Wire::Cable => cable.unplug(),
            Wire::Loopback => cable.loopback(),
            Wire::Switch { ports, port } => cable.plug(Switch::new(*ports, latency, rate), *port),
            Wire::Stop(stopped) => cable.stop(*stopped),
            Wire::Event(reset) => self.board.link_event(*reset),
        }
        Ok(Ok(()))
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

/// A packet that was sent, on one line.
fn describe(packet: &Packet) -> String {
    let (tail, payload) = (packet.bytes.last().copied().unwrap_or(0), value::hex(packet.payload()));
    let crc = if packet.crc_is_good() { "good" } else { "bad" };
    let Packet { port, start, end, .. } = packet;
    format!("packet port={port} start={start} end={end} tail={tail:02x} crc={crc}: {payload}")
}

fn holds(check: &Check, found: u32) -> bool {
    check.relation.holds(found & check.mask, check.value & check.mask)
}

fn unexpected(check: &Check, found: u32) -> String {
    let names = |value| {
        if check.place == Place::Register(offset::ISR) {
            format!(" ({})", isr::describe(value))
        } else {
            String::new()
        }
    };
    let mask =
        if check.mask == u32::MAX { String::new() } else { format!(" mask {:#x}", check.mask) };
    format!(
        "expected {} {} {}{}{mask}, found {}{}",
        check.place,
        check.relation.name(),
        hex(check.value, check.width),
        names(check.value),
        hex(found, check.width),
        names(found),
    )
}

/// `value` with as many digits as `width` has.
fn hex(value: u32, width: Width) -> String {
    format!("{value:#0digits$x}", digits = 2 + 2 * size(width) as usize)
}

fn low_bytes(bytes: &[u8; 4], width: Width) -> &[u8] {
    bytes.get(4 - size(width) as usize..).unwrap_or(&[])
}

fn with_tail(payload: &[u8], tail: Tail) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    match tail {
        Tail::Good => bytes.push(crc8_of(payload)),
        Tail::Bad => bytes.push(crc8_of(payload) ^ 0x55),
        Tail::Raw => {}
    }
    bytes
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
