//! Every instruction form: results, flags and cycles, from the formats' descriptions.

mod arithmetic;
mod lanai4;
mod memory;
mod order;

use lanai_model::cpu::{
    Cpu, FLAG_C as C, FLAG_N as N, FLAG_V as V, FLAG_Z as Z, FlatMemory, Isa, Memory as _, Width,
};
use lanai_model::object::assemble;

const BASE: u32 = 0x1000;
/// Bytes 0x80, 0x91, 0xa2, ... at this address.
const DATA: u32 = 0x2000;

/// One program, what is in the registers and flags before it, and what after it.
struct Case {
    name: &'static str,
    isa: Isa,
    before: Vec<(u8, u32)>,
    flags_before: u32,
    code: &'static str,
    steps: Option<usize>,
    after: Vec<(u8, u32)>,
    flags: u32,
    cycles: u32,
    memory: Vec<(u32, u32)>,
}

fn case(name: &'static str, code: &'static str) -> Case {
    Case {
        name,
        isa: Isa::V11,
        before: Vec::new(),
        flags_before: 0,
        code,
        steps: None,
        after: Vec::new(),
        flags: 0,
        cycles: 1,
        memory: Vec::new(),
    }
}

impl Case {
    fn on(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }
    fn with(mut self, registers: &[(u8, u32)]) -> Self {
        self.before = registers.to_vec();
        self
    }
    fn flags_before(mut self, flags: u32) -> Self {
        (self.flags_before, self.flags) = (flags, flags);
        self
    }
    fn steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
        self
    }
    fn gives(mut self, registers: &[(u8, u32)]) -> Self {
        self.after = registers.to_vec();
        self
    }
    fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }
    fn cycles(mut self, cycles: u32) -> Self {
        self.cycles = cycles;
        self
    }
    fn memory(mut self, words: &[(u32, u32)]) -> Self {
        self.memory = words.to_vec();
        self
    }

    fn check(&self) {
        let Case { name, isa, .. } = self;
        let program = assemble(self.code, BASE).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut memory = FlatMemory::new(0x4000);
        memory.write_words(BASE, &program.words);
        for offset in 0..32u8 {
            memory
                .write(DATA + u32::from(offset), &[0x80u8.wrapping_add(offset.wrapping_mul(0x11))]);
        }
        let mut cpu = Cpu::new(*isa);
        set_flags(&mut cpu, self.flags_before);
        for (register, value) in &self.before {
            cpu.set_register(*register, *value);
        }
        cpu.set_pc(BASE);
        let steps = self.steps.unwrap_or(program.words.len());
        let cycles: u32 = (0..steps).map(|_| cpu.step(&mut memory)).sum();
        for (register, value) in &self.after {
            let found = cpu.register(*register);
            assert_eq!(
                found, *value,
                "{name} on {isa:?}: r{register} is {found:#x}, not {value:#x}"
            );
        }
        for (address, value) in &self.memory {
            let found = memory.load(*address, Width::Word);
            assert_eq!(found, *value, "{name} on {isa:?}: [{address:#x}] is {found:#x}");
        }
        assert_eq!(cpu.status() & 15, self.flags, "{name} on {isa:?}: flags");
        assert_eq!(cycles, self.cycles, "{name} on {isa:?}: cycles");
        assert_eq!((cpu.register(0), cpu.register(1)), (0, u32::MAX), "{name}: the constants");
        assert_eq!(memory.outside, 0, "{name}: an access outside the memory");
    }

    fn check_on_both(self) {
        self.check();
        self.on(Isa::Lanai4).check();
    }
}

/// Sets the flags as a program would, by their effects: there is no register for them on v11.
fn set_flags(cpu: &mut Cpu, flags: u32) {
    if cpu.isa() == Isa::Lanai4 {
        cpu.set_register(3, flags);
        return;
    }
    // Two operands whose sum has the flags wanted; found by trying all corners.
    let corners = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, u32::MAX];
    for (a, b) in corners.iter().flat_map(|a| corners.iter().map(move |b| (*a, *b))) {
        let mut memory = FlatMemory::new(8);
        let word = assemble("add.f %r6, %r7, %r0", 0).expect("an instruction").words;
        memory.write_words(0, &word);
        cpu.set_register(6, a);
        cpu.set_register(7, b);
        cpu.set_pc(0);
        cpu.step(&mut memory);
        if cpu.status() == flags {
            cpu.set_register(6, 0);
            cpu.set_register(7, 0);
            return;
        }
    }
    panic!("no sum has the flags {flags:#x}");
}

const MIN: u32 = 0x8000_0000;
const MAX: u32 = 0x7fff_ffff;
const ONES: u32 = u32::MAX;
