//! The adapter's side of a claim: a classic BPF program for its socket.
//!
//! Each test is a load, one or two jumps, and a "no" to fall into; a packet that passes them all is
//! taken whole. A load beyond the packet's end is a "no", too.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use spine_headers::{ethernet, in_u16};

use super::claim::{Field, Header, Test, value};
use crate::packet::FilterInstruction;
use crate::packet::code::{
    JUMP_AT_LEAST, JUMP_EQUAL, JUMP_GREATER, LOAD_1, LOAD_2, LOAD_4, RETURN,
};

/// Where the kernel shows what is beside the packet (SKF_AD_OFF), and there, whether a VLAN tag was
/// taken out of it (SKF_AD_VLAN_TAG_PRESENT).
const TAGGED: u32 = 0xffff_f000 + 48;
const ETHERNET: u32 = in_u16(ethernet::BYTES) as u32;
/// Nothing of the packet, and all of it.
const NO: FilterInstruction = FilterInstruction { code: RETURN, jt: 0, jf: 0, k: 0 };
const YES: FilterInstruction = FilterInstruction { code: RETURN, jt: 0, jf: 0, k: u32::MAX };

/// The program that lets nothing pass.
pub(super) const CLOSED: [FilterInstruction; 1] = [NO];

/// The program for these tests, with these addresses of this machine.
pub(super) fn program(tests: &[Test], local: &BTreeSet<Ipv4Addr>) -> Vec<FilterInstruction> {
    let mut program = vec![instruction(LOAD_1, TAGGED), jump(JUMP_EQUAL, 0, 1, 0), NO];
    for test in tests {
        append(&mut program, test, local);
    }
    program.push(YES);
    program
}

fn append(program: &mut Vec<FilterInstruction>, test: &Test, local: &BTreeSet<Ipv4Addr>) {
    match *test {
        Test::Is(field, value) => {
            // Six bytes do not fit into the register: four, then two.
            let [.., c, d, e, f, g, h] = value.to_be_bytes();
            if field.bytes == 6 {
                let first = Field { bytes: 4, ..field };
                let second = Field { offset: field.offset + 4, bytes: 2, ..field };
                let high = u32::from_be_bytes([c, d, e, f]);
                let low = u32::from(u16::from_be_bytes([g, h]));
                program.extend([load(first), jump(JUMP_EQUAL, high, 1, 0), NO]);
                program.extend([load(second), jump(JUMP_EQUAL, low, 1, 0), NO]);
            } else {
                let value = u32::from_be_bytes([e, f, g, h]);
                program.extend([load(field), jump(JUMP_EQUAL, value, 1, 0), NO]);
            }
        }
        Test::Above(field, value) => {
            program.extend([load(field), jump(JUMP_GREATER, value, 1, 0), NO]);
        }
        Test::Outside(field, low, high) => program.extend([
            load(field),
            jump(JUMP_AT_LEAST, low, 0, 2),
            jump(JUMP_GREATER, high, 1, 0),
            NO,
        ]),
        Test::NotLocal(field) => {
            program.push(load(field));
            let each = |address: &Ipv4Addr| [jump(JUMP_EQUAL, value(*address), 0, 1), NO];
            program.extend(local.iter().flat_map(each));
        }
        Test::IsOrAtMost(field, value, other, most) => program.extend([
            load(field),
            jump(JUMP_EQUAL, value, 3, 0),
            load(other),
            jump(JUMP_GREATER, most, 0, 1),
            NO,
        ]),
    }
}

fn load(field: Field) -> FilterInstruction {
    let code = match field.bytes {
        1 => LOAD_1,
        2 => LOAD_2,
        _ => LOAD_4,
    };
    let start = match field.header {
        Header::Link => 0,
        Header::Network => ETHERNET,
    };
    instruction(code, start + u32::from(field.offset))
}

const fn instruction(code: u16, k: u32) -> FilterInstruction {
    FilterInstruction { code, jt: 0, jf: 0, k }
}

/// Skips so many instructions if true, and so many if not.
const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> FilterInstruction {
    FilterInstruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use spine_packets::cbpf;
    use spine_packets::owners::{self, MTU, Owner, Tier};

    use super::super::claim::{ADDRESSES, tests};
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 9, 1, 1];
    const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 1);

    /// Whether a program lets a packet pass that had no tag.
    fn passes(program: &[FilterInstruction], packet: &[u8]) -> bool {
        runs(program, packet, false)
    }

    fn runs(program: &[FilterInstruction], packet: &[u8], tagged: bool) -> bool {
        let instruction =
            |&FilterInstruction { code, jt, jf, k }: &_| cbpf::Instruction { code, jt, jf, k };
        let program: Vec<_> = program.iter().map(instruction).collect();
        cbpf::run(&program, packet, tagged) > 0
    }

    #[test]
    fn the_filter_answers_as_the_table_of_owners_says() {
        let program = program(&tests(owners::MAC, MTU.into()), &BTreeSet::from(owners::LOCAL));
        owners::check(Tier::Filter, |frame| match passes(&program, frame) {
            true => Owner::Adapter,
            false => Owner::Kernel,
        });
    }

    #[test]
    fn what_a_tag_was_taken_out_of_is_the_kernels() {
        let program = program(&tests(MAC, 1500), &BTreeSet::new());
        assert_eq!([false, true].map(|tagged| runs(&program, &packet(), tagged)), [true, false]);
    }

    fn packet() -> Vec<u8> {
        let mut packet = MAC.to_vec();
        packet.extend([2, 0, 0, 9, 1, 2, 8, 0, 0x45, 0, 0, 100, 0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend([10, 9, 1, 2, 10, 9, 2, 2]);
        packet.resize(114, 0);
        packet
    }

    #[test]
    fn only_the_common_case_is_the_adapters() {
        let program = program(&tests(MAC, 1500), &BTreeSet::from([LOCAL]));
        assert!(passes(&program, &packet()));
        for (name, at, bytes, expected) in [
            ("another station", 5, &[2][..], false),
            ("a group", 0, &[3], false),
            ("ARP", 12, &[8, 6], false),
            ("options", 14, &[0x46], false),
            ("the last hop", 22, &[1], false),
            ("the last but one", 22, &[2], true),
            ("OSPF", 23, &[89], false),
            ("GRE", 23, &[47], false),
            ("ESP", 23, &[50], true),
            ("a length that cannot be said", 16, &[0, 0, 0, 0, 0, 0, 64, 6], false),
            ("UDP of the MTU", 16, &[0x05, 0xdc], true),
            ("UDP larger than the MTU", 16, &[0x05, 0xdd], false),
            ("TCP larger than the MTU", 16, &[0xff, 0xff, 0, 0, 0, 0, 64, 6], true),
            ("from 0/8", 26, &[0], false),
            ("from 127/8", 26, &[127], false),
            ("from 128/8", 26, &[128], true),
            ("from a group", 26, &[239], false),
            ("from 240/4, which Linux forwards", 26, &[240], true),
            ("from us", 26, &[10, 9, 1, 1], false),
            ("to us", 30, &[10, 9, 1, 1], false),
            ("to one beside us", 30, &[10, 9, 1, 3], true),
            ("to a group", 30, &[224], false),
            ("to everybody", 30, &[255, 255, 255, 255], false),
            ("to a link-local address", 30, &[169, 254], false),
            ("to 169.253/16", 30, &[169, 253], true),
        ] {
            let mut packet = packet();
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(passes(&program, &packet), expected, "{name}");
        }
        assert!(!passes(&program, &packet()[..20]), "cut");
        assert!(!passes(&CLOSED, &packet()));
    }

    #[test]
    fn as_many_addresses_as_are_allowed_fit_into_what_the_kernel_takes() {
        /// BPF_MAXINSNS.
        const MOST: usize = 4096;
        let first = u32::from(Ipv4Addr::new(10, 0, 0, 0));
        let all = (0..ADDRESSES).map(|n| Ipv4Addr::from(first + u32::try_from(n).expect("few")));
        let program = program(&tests(MAC, 1500), &all.collect());
        assert!(program.len() <= MOST, "{}", program.len());
        let mut packet = packet();
        packet[30..34].copy_from_slice(&[10, 0, 3, 0]);
        assert!(!passes(&program, &packet), "one of the addresses");
    }
}
