//! How many instructions a second the processor executes here: `cargo run --release -p lanai-model --example speed`.
//!
//! The loop is shaped like firmware (a fifth loads, a fifth stores, a sixth branches), and runs on both instruction sets.

use std::error::Error;
use std::time::{Duration, Instant};

use lanai_model::cpu::{Cpu, FlatMemory, Isa};
use lanai_model::object::assemble;

/// 16 instructions a turn: copies a word, adds it up, folds the sum, steps a ring, and branches three times.
const LOOP: &str = "
        mov     0x2000, %r6
        mov     0x3000, %r7
loop:   ld      [%r6++], %r12
        sub.f   %r6, 0x2400, %r0
        st      %r12, [%r7++]
        add.f   %r13, %r12, %r13
        addc    %r13, 0x0, %r13
        bult    ahead
        nop
        mov     0x2000, %r6
        mov     0x3000, %r7
ahead:  uld.h   2[%r7], %r14
        sh      %r13, -0x10, %r15
        xor     %r15, %r14, %r15
        st.h    %r15, 4[%r7]
        ld      [%r6 add %r0], %r16
        and     %r16, 0xffff00ff, %r16
        bt      loop
        add     %r9, 0x1, %r9
";

fn main() -> Result<(), Box<dyn Error>> {
    let program = assemble(LOOP, 0x1000)?;
    for isa in [Isa::V11, Isa::Lanai4] {
        let mut memory = FlatMemory::new(1 << 20);
        memory.write_words(0x1000, &program.words);
        let mut cpu = Cpu::new(isa);
        cpu.set_pc(0x1000);
        let start = Instant::now();
        let before = processor_time();
        let cycles = cpu.run(&mut memory, 1_000_000_000);
        // On a machine that others use too, only the time this thread had a core counts.
        let time = match (before, processor_time()) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            _ => start.elapsed(),
        };
        let seconds = time.as_secs_f64();
        let turns = u64::from(cpu.register(9));
        // All but one turn in 256 skip the two instructions before `ahead`.
        let instructions = turns * 15 + turns / 256 * 2;
        println!(
            "{isa:?}: {instructions} instructions in {cycles} cycles, {seconds:.2} s of a core: {:.0} M instructions/s",
            instructions as f64 / seconds / 1e6
        );
    }
    Ok(())
}

/// How long this thread has run on a core; `None` where the kernel does not say.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
