//! The supplied routines, against this machine's arithmetic; no compiler needed.

use lanai_model::cpu::{Memory as _, Width};
use lanai_model::object::{Image, assemble, runtime_source};

use crate::program::{BASE, Program};
use crate::tools::Random;

fn routines() -> Program {
    let assembly = assemble(&runtime_source(), BASE).expect("assembly text");
    let bytes = assembly.words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let symbols = assembly.symbols.into_iter().collect();
    Program::load(Image { base: BASE, bytes, symbols })
}

/// Corners and random numbers of every length.
fn numbers(random: &mut Random) -> u64 {
    let corners =
        [0, 1, 2, 3, 31, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, 1 << 63, u64::MAX];
    match random.below(3) {
        0 => *random.pick(&corners),
        1 => random.next() >> random.below(64),
        _ => (random.next() >> random.below(64)).wrapping_neg(),
    }
}

fn halves(value: u64) -> [u32; 2] {
    [value >> 32, value & 0xffff_ffff].map(|half| half.try_into().expect("32 bits"))
}

#[test]
fn products_quotients_and_remainders_of_32_bits() {
    let mut program = routines();
    let mut random = Random(32);
    for _ in 0..2000 {
        let [a, b] = [(); 2].map(|()| halves(numbers(&mut random))[1]);
        let (sa, sb) = (a.cast_signed(), b.cast_signed());
        let results = [
            ("__mulsi3", Some(a.wrapping_mul(b))),
            ("__udivsi3", a.checked_div(b)),
            ("__umodsi3", a.checked_rem(b)),
            ("__divsi3", (b != 0).then(|| sa.wrapping_div(sb).cast_unsigned())),
            ("__modsi3", (b != 0).then(|| sa.wrapping_rem(sb).cast_unsigned())),
        ];
        for (name, expected) in results {
            // By zero: whatever it is, it comes back.
            let found = program.call(name, &[a, b]).word();
            assert_eq!(expected.unwrap_or(found), found, "{name}({a:#x}, {b:#x})");
        }
    }
}

#[test]
fn products_quotients_remainders_and_shifts_of_64_bits() {
    let mut program = routines();
    let mut random = Random(64);
    for _ in 0..600 {
        let (a, b) = (numbers(&mut random), numbers(&mut random));
        let (sa, sb) = (a.cast_signed(), b.cast_signed());
        let results = [
            ("__muldi3", Some(a.wrapping_mul(b))),
            ("__udivdi3", a.checked_div(b)),
            ("__umoddi3", a.checked_rem(b)),
            ("__divdi3", (b != 0).then(|| sa.wrapping_div(sb).cast_unsigned())),
            ("__moddi3", (b != 0).then(|| sa.wrapping_rem(sb).cast_unsigned())),
        ];
        let ([ah, al], [bh, bl]) = (halves(a), halves(b));
        for (name, expected) in results {
            let found = program.call(name, &[ah, al, bh, bl]).value;
            assert_eq!(expected.unwrap_or(found), found, "{name}({a:#x}, {b:#x})");
        }
    }
    for count in 0..64 {
        let value = numbers(&mut random) | 1 << 63;
        let [high, low] = halves(value);
        for (name, expected) in [
            ("__ashldi3", value << count),
            ("__lshrdi3", value >> count),
            ("__ashrdi3", (value.cast_signed() >> count).cast_unsigned()),
        ] {
            let found = program.call(name, &[high, low, count]).value;
            assert_eq!(found, expected, "{name}({value:#x}, {count})");
        }
    }
}

#[test]
fn bytes_are_copied_moved_set_and_compared() {
    const PLACE: u32 = 0x8000;
    let mut program = routines();
    let mut random = Random(8);
    for _ in 0..500 {
        let before: Vec<u8> = (0..256).map(|_| random.word().to_le_bytes()[0]).collect();
        let [to, from] = [random.below(160), random.below(160)];
        // A third of them whole words, which is the other way through.
        let (to, from, length) = match random.below(3) {
            0 => (to & !3, from & !3, random.below(24) * 4),
            _ => (to, from, random.below(96)),
        };
        let range = from as usize..(from + length) as usize;
        for name in ["memmove", "memcpy", "memset"] {
            let overlap = to < from + length && from < to + length;
            if name == "memcpy" && overlap {
                continue;
            }
            let mut expected = before.clone();
            let second = match name {
                "memset" => {
                    expected[to as usize..(to + length) as usize].fill(0xab);
                    0x12_34ab
                }
                _ => {
                    expected.copy_within(range.clone(), to as usize);
                    PLACE + from
                }
            };
            program.memory.write(PLACE, &before);
            let call = program.call(name, &[PLACE + to, second, length]);
            assert_eq!(call.word(), PLACE + to, "{name} returns its target");
            let found: Vec<u8> = (0..256)
                .map(|offset| program.memory.load(PLACE + offset, Width::Byte).to_le_bytes()[0])
                .collect();
            assert_eq!(found, expected, "{name} {length} bytes from {from} to {to}");
        }
        let [a, b] = [to, from].map(|at| &before[at as usize..(at + length) as usize]);
        program.memory.write(PLACE, &before);
        let found =
            program.call("memcmp", &[PLACE + to, PLACE + from, length]).word().cast_signed();
        assert_eq!(found.cmp(&0), a.cmp(b), "memcmp {length} bytes at {to} and {from}");
    }
}

#[test]
fn what_the_routines_cost_is_known() {
    // A multiplication is not an addition: these are what the model charges, and what the texts of the routines say.
    let mut program = routines();
    for (name, arguments, cycles) in [
        ("__mulsi3", vec![0, 12345], 13),
        ("__mulsi3", vec![255, u32::MAX], 13 + 7 * 5),
        ("__mulsi3", vec![u32::MAX, u32::MAX], 13 + 31 * 5),
        ("__udivsi3", vec![100, 7], 16 + 7 * 10),
        ("__udivsi3", vec![u32::MAX, 1], 16 + 32 * 10),
    ] {
        assert_eq!(program.call(name, &arguments).cycles, cycles, "{name}{arguments:?}");
    }
}
