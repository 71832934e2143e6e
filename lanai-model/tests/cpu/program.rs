//! C for the LANai: compiled by clang, linked by the model, called on its processor.

use std::path::PathBuf;

use lanai_model::cpu::{Cost, Cpu, FlatMemory, Isa, State};
use lanai_model::object::{Image, link};

use crate::tools::run;

/// Where the images of tests are linked.
pub(crate) const BASE: u32 = 0x1000;
const MEMORY: u32 = 1 << 20;
/// No code is here: a function that returns to it has ended.
const RETURN: u32 = 0x40;

/// The object that clang makes of `source`.
///
/// Without the peephole pass, which is wrong for this target (LLVM 14 to 19): it lets a comparison use the flags of a
/// subtraction with exchanged operands, and turns the condition round for branches but not for `s..` (`-77 - x` of 64 bits).
pub(crate) fn object(clang: &str, source: &str, options: &[&str]) -> Vec<u8> {
    let mut arguments =
        vec!["--target=lanai", "-ffreestanding", "-fno-common", "-x", "c", "-c", "-", "-o", "-"];
    arguments.extend(["-mllvm", "-disable-peephole"]);
    arguments.extend(options);
    let output = run(clang, &arguments, source);
    assert!(output.status.success(), "{clang}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A place for a file of this test run.
pub(crate) fn temporary(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

/// A linked program in memory.
pub(crate) struct Program {
    pub(crate) image: Image,
    pub(crate) memory: FlatMemory,
    cost: Cost,
}

/// What a call returned and took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// r8 and r9: 64 bits, or 32 in the upper half.
    pub(crate) value: u64,
    pub(crate) cycles: u64,
    pub(crate) instructions: u64,
}

impl Call {
    pub(crate) fn word(self) -> u32 {
        (self.value >> 32).try_into().expect("32 bits")
    }
}

impl Program {
    pub(crate) fn link(objects: &[(&str, &[u8])]) -> Program {
        Program::load(link(objects, BASE).unwrap_or_else(|error| panic!("{error}")))
    }

    pub(crate) fn load(image: Image) -> Program {
        let mut memory = FlatMemory::new(MEMORY as usize);
        memory.write(image.base, &image.bytes);
        Program { image, memory, cost: Cost::RECOMMENDED }
    }

    pub(crate) fn with_cost(mut self, cost: Cost) -> Program {
        self.cost = cost;
        self
    }

    /// Calls a function with up to four words in registers and the rest on the stack.
    pub(crate) fn call(&mut self, name: &str, arguments: &[u32]) -> Call {
        let entry = self.image.symbol(name).unwrap_or_else(|| panic!("no function {name}"));
        let mut cpu = Cpu::with_cost(Isa::V11, self.cost);
        // Garbage, so that nothing works by a register that happened to be zero.
        for register in 3..32 {
            cpu.set_register(register, 0xdead_0000 + u32::from(register));
        }
        let stack = MEMORY - 256;
        for (register, argument) in [6, 7, 18, 19].into_iter().zip(arguments) {
            cpu.set_register(register, *argument);
        }
        self.memory.write_words(stack, arguments.get(4..).unwrap_or(&[]));
        self.memory.write_words(stack - 4, &[RETURN]);
        cpu.set_register(4, stack - 4);
        cpu.set_register(15, RETURN);
        cpu.set_pc(entry);
        let (mut cycles, mut instructions) = (0, 0);
        while cpu.pc() != RETURN {
            cycles += u64::from(cpu.step(&mut self.memory));
            instructions += 1;
            assert_eq!(cpu.state(), State::Running, "{name}");
            assert!(instructions < 5_000_000, "{name} does not return");
        }
        assert_eq!(cpu.register(4), stack, "{name} must take its return address off the stack");
        assert_eq!(self.memory.outside, 0, "{name} reached beyond its memory");
        let value = u64::from(cpu.register(8)) << 32 | u64::from(cpu.register(9));
        Call { value, cycles, instructions }
    }
}
