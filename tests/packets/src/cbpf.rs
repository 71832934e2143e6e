//! Classic BPF, run on a packet as linux/filter.h says.
//!
//! The numbers are the kernel's (linux/bpf_common.h), written down here once more: a test that took them
//! from the code it tests would agree with any mistake in them. Left out is what no filter of ours is made
//! of; a program with an unknown instruction panics.

/// One instruction (struct sock_filter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// Instructions that a jump skips if its condition holds.
    pub jt: u8,
    /// Those it skips if not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// Where loads read what is beside the packet (SKF_AD_OFF), and there, whether a card or the kernel took
/// a VLAN tag out of it (SKF_AD_VLAN_TAG_PRESENT).
const BESIDE: u32 = 0xffff_f000;
const TAGGED: u32 = BESIDE + 48;

/// How many bytes of a packet a program takes; 0 refuses it. `tagged`: a VLAN tag was taken out of it.
///
/// # Panics
/// An instruction that is not known, or a jump out of the program.
pub fn run(program: &[Instruction], packet: &[u8], tagged: bool) -> u32 {
    let (mut accumulator, mut index, mut at) = (0_u32, 0_u32, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let taken = match code {
            // BPF_JMP with BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET, all with a constant.
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            0x45 => accumulator & k != 0,
            // BPF_RET.
            0x06 => return k,
            // BPF_LDX with BPF_MSH: the length of the IPv4 header that starts there.
            0xb1 => {
                let Some(byte) = load(packet, k, 1) else { return 0 };
                index = (byte & 15) * 4;
                continue;
            }
            0x30 if k == TAGGED => {
                accumulator = tagged.into();
                continue;
            }
            // BPF_LD: four, two, one byte at a place or counted from the index on.
            _ => {
                let (bytes, place) = match code {
                    0x20 => (4, Some(k)),
                    0x28 => (2, Some(k)),
                    0x30 => (1, Some(k)),
                    0x48 => (2, k.checked_add(index)),
                    other => panic!("an instruction that is not known: {other:#x}"),
                };
                let Some(value) = place.and_then(|place| load(packet, place, bytes)) else {
                    return 0;
                };
                accumulator = value;
                continue;
            }
        };
        at += usize::from(if taken { jt } else { jf });
    }
}

/// A field of a packet; `None` if the packet ends before, which ends the program.
fn load(packet: &[u8], at: u32, bytes: usize) -> Option<u32> {
    assert!(at < BESIDE, "only the tag is known of what is beside a packet");
    let field = packet.get(usize::try_from(at).ok()?..)?.get(..bytes)?;
    Some(field.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn step(code: u16, k: u32) -> Instruction {
        Instruction { code, jt: 0, jf: 0, k }
    }

    /// Loads, then takes everything if the condition holds.
    fn holds(load: Instruction, jump: u16, k: u32, packet: &[u8]) -> bool {
        let jump = Instruction { code: jump, jt: 1, jf: 0, k };
        run(&[load, jump, step(0x06, 0), step(0x06, 9)], packet, false) == 9
    }

    #[test]
    fn each_instruction_does_what_the_kernel_says() {
        let packet = [0x45, 0x12, 0x34, 0x56, 0x78];
        assert!(holds(step(0x20, 1), 0x15, 0x1234_5678, &packet), "four bytes");
        assert!(holds(step(0x28, 1), 0x15, 0x1234, &packet), "two");
        assert!(holds(step(0x30, 4), 0x15, 0x78, &packet), "one");
        assert!(!holds(step(0x30, 5), 0x15, 0, &packet), "behind the end");
        for (name, jump, less, equal, more) in [
            ("equal", 0x15, false, true, false),
            ("greater", 0x25, true, false, false),
            ("at least", 0x35, true, true, false),
        ] {
            let compare = |k| holds(step(0x30, 1), jump, k, &packet);
            assert_eq!(
                [compare(0x11), compare(0x12), compare(0x13)],
                [less, equal, more],
                "{name}"
            );
        }
        assert!(holds(step(0x30, 1), 0x45, 0x10, &packet), "a bit");
        assert!(!holds(step(0x30, 1), 0x45, 0x01, &packet), "no bit");
    }

    #[test]
    fn the_index_is_the_length_of_an_ipv4_header() {
        let mut packet = vec![0; 30];
        packet[2] = 0x46;
        packet[24..26].copy_from_slice(&[7, 9]);
        let program = [step(0xb1, 2), step(0x48, 0)];
        let rest = [Instruction { code: 0x15, jt: 1, jf: 0, k: 0x0709 }, step(6, 0), step(6, 5)];
        assert_eq!(run(&[&program[..], &rest].concat(), &packet, false), 5);
        assert_eq!(run(&[&program[..], &rest].concat(), &packet[..25], false), 0);
    }

    #[test]
    fn a_tag_is_seen_beside_the_packet() {
        let rest = [Instruction { code: 0x15, jt: 1, jf: 0, k: 1 }, step(6, 0), step(6, 5)];
        let program = [&[step(0x30, TAGGED)][..], &rest].concat();
        assert_eq!([run(&program, &[], false), run(&program, &[], true)], [0, 5]);
    }
}
