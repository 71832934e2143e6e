//! The processor to look at: instructions in memory, one by one as they run, and its registers.

use lanai_model::cpu::{Context, Isa, disassemble};
use lanai_model::registers;

use super::Machine;

/// What to compare after an instruction.
struct Before {
    pc: u32,
    apc: u32,
    context: Context,
    registers: [u32; 32],
}

impl Machine {
    /// Prints `count` instructions from `address` on.
    pub(super) fn disassemble(&mut self, address: u32, count: u32) {
        for address in (address..).step_by(4).zip(0..count).map(|(address, _)| address) {
            let line = self.instruction(address);
            self.say(&line);
        }
    }

    /// Executes `count` instructions, fewer if the processor stops.
    pub(super) fn steps(&mut self, count: u32, show: bool) {
        for _ in 0..count {
            if !self.board.running() {
                break;
            }
            if show {
                self.step_shown();
            } else {
                self.board.step();
            }
        }
    }

    /// Prints registers, four a line, and the contexts' names for those that have one.
    pub(super) fn show_processor(&mut self) {
        let cpu = self.board.cpu();
        let context = context_name(cpu.context());
        let mut lines =
            vec![format!("cpu pc={:#010x} context={context} state={}", cpu.pc(), self.state())];
        let value = |number: u8| format!("r{number}={:#010x}", cpu.register(number));
        for first in (4..28).step_by(4) {
            let row: Vec<String> = (first..first + 4).map(value).collect();
            lines.push(format!("cpu {}", row.join(" ")));
        }
        let named = |name: &str, number: u8| format!("{name}={:#010x}", cpu.register(number));
        lines.push(match cpu.isa() {
            Isa::V11 => format!("cpu {} flags={}", value(3), flags(cpu.status())),
            Isa::Lanai4 => {
                let names = [("ps", 3), ("aps", 28), ("apc", 29), ("imr", 30), ("isr", 31)];
                let row = names.map(|(name, number)| named(name, number));
                format!("cpu {} flags={}", row.join(" "), flags(cpu.status()))
            }
        });
        if cpu.isa() == Isa::V11 {
            let row: Vec<String> = (28..32).map(value).collect();
            lines.push(format!("cpu {}", row.join(" ")));
        }
        lines.iter().for_each(|line| self.say(line));
    }

    /// Executes one instruction and prints it with what it changed.
    fn step_shown(&mut self) {
        let at = self.board.now();
        let before = self.before();
        self.board.step();
        let cpu = self.board.cpu();
        let switched = cpu.context() != before.context;
        // An interrupt comes before the instruction: the other context goes on where it was.
        let interrupted = switched && cpu.register(29) == before.pc;
        if interrupted {
            let line = format!("step {at} interrupt at {:#010x}", before.pc);
            self.say(&line);
        }
        let address = if interrupted { before.apc } else { before.pc };
        let changes = if switched { self.switched() } else { self.changes(&before) };
        let line = format!("step {at} {}{changes}", self.instruction(address));
        self.say(&line);
    }

    fn before(&self) -> Before {
        let cpu = self.board.cpu();
        let mut registers = [0; 32];
        for (number, value) in (0..).zip(&mut registers) {
            *value = cpu.register(number);
        }
        Before { pc: cpu.pc(), apc: cpu.register(29), context: cpu.context(), registers }
    }

    fn switched(&self) -> String {
        format!(" -> {} context", context_name(self.board.cpu().context()))
    }

    /// ` -> r4=0x00000001`, for every register but the pc.
    fn changes(&self, before: &Before) -> String {
        let cpu = self.board.cpu();
        let registers = (0u8..).zip(before.registers).filter(|&(number, _)| number != 2);
        let changed = registers.filter(|&(number, old)| cpu.register(number) != old);
        let text: String = changed
            .map(|(number, _)| {
                format!(" {}={:#010x}", name(number, cpu.isa()), cpu.register(number))
            })
            .collect();
        if text.is_empty() { text } else { format!(" ->{text}") }
    }

    /// `0x00000010: 9202ff44 st %r4, -188[%r0] ! DMA_CTR`.
    fn instruction(&self, address: u32) -> String {
        let word = self.board.sram().word(address).unwrap_or(0);
        let text = disassemble(word, self.board.cpu().isa()).replace('\t', " ");
        let special = special_register(word).map_or(String::new(), |name| format!(" ! {name}"));
        format!("{address:#010x}: {word:08x} {text}{special}")
    }
}

/// The special register that a load or store at a constant distance from r0 touches.
fn special_register(word: u32) -> Option<&'static str> {
    let [.., high, low] = word.to_be_bytes();
    let constant = i16::from_be_bytes([high, low]);
    // The forms RM and SPLS, with base + constant as the address.
    let offset = match (word >> 28, word >> 15 & 7) {
        (0b1000 | 0b1001, _) if word >> 16 & 3 == 2 => constant,
        (0b1111, 0b110) if word >> 10 & 3 == 2 => constant << 6 >> 6,
        _ => return None,
    };
    let from_r0 = word >> 18 & 31 == 0;
    let address = i32::from(offset).cast_unsigned();
    let place = address.checked_sub(registers::BASE).filter(|_| from_r0)?;
    registers::name(place & !3)
}

fn context_name(context: Context) -> &'static str {
    match context {
        Context::System => "system",
        Context::User => "user",
    }
}

fn name(number: u8, isa: Isa) -> String {
    match (isa, number) {
        (Isa::Lanai4, 3) => "ps".to_owned(),
        (Isa::Lanai4, 28) => "aps".to_owned(),
        (Isa::Lanai4, 29) => "apc".to_owned(),
        (Isa::Lanai4, 30) => "imr".to_owned(),
        (Isa::Lanai4, 31) => "isr".to_owned(),
        _ => format!("r{number}"),
    }
}

/// `ZC`, or `-` if none is set.
fn flags(status: u32) -> String {
    let names = [(1, 'Z'), (2, 'N'), (4, 'V'), (8, 'C')];
    let set: String = names.iter().filter(|(bit, _)| status & bit != 0).map(|&(_, c)| c).collect();
    if set.is_empty() { "-".to_owned() } else { set }
}
