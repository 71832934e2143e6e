//! The bits of the interrupt status register. (SRC Cplant, Linux)

/// Debug.
pub const DBG: u32 = 1 << 31;
/// The processor calls the host.
pub const HOST_SIG: u32 = 1 << 30;
/// The host calls the processor: eight bits, LAN0_SIG the lowest.
pub const LAN_SIG: u32 = 0xFF << 16;
/// LAN0_SIG, the lowest of [`LAN_SIG`].
pub const LAN0_SIG: u32 = 1 << 16;
/// Four bytes, or the end of a packet, wait to be polled.
pub const WORD_RDY: u32 = 1 << 15;
/// Two bytes, or the end of a packet, wait to be polled.
pub const HALF_RDY: u32 = 1 << 14;
/// The link takes a send.
pub const SEND_RDY: u32 = 1 << 13;
/// The link went up or down.
pub const LINK_INT: u32 = 1 << 12;
/// The link was reset by a time-out.
pub const NRES_INT: u32 = 1 << 11;
/// The host wrote WAKE.
pub const WAKE_INT: u32 = 1 << 10;
/// Two bytes of the last received word are not the packet's.
pub const ORUN2: u32 = 1 << 9;
/// One byte of the last received word is not the packet's.
pub const ORUN1: u32 = 1 << 8;
/// A polled read took the end of a packet.
pub const TAIL_INT: u32 = 1 << 7;
/// Watchdog; nothing in this model raises it.
pub const WDOG_INT: u32 = 1 << 6;
/// IT wrapped.
pub const TIME_INT: u32 = 1 << 5;
/// The host DMA is done.
pub const DMA_INT: u32 = 1 << 4;
/// The send DMA is done.
pub const SEND_INT: u32 = 1 << 3;
/// The receive DMA wrote the word at RML.
pub const BUFF_INT: u32 = 1 << 2;
/// The receive DMA wrote the end of a packet.
pub const RECV_INT: u32 = 1 << 1;
/// A byte waits to be polled.
pub const BYTE_RDY: u32 = 1;

/// Bits that follow the state of an engine and that no write clears.
pub const LEVELS: u32 = WORD_RDY | HALF_RDY | SEND_RDY | BYTE_RDY | SEND_INT;

/// Names of the bits, highest first.
pub const NAMES: &[(&str, u32)] = &[
    ("DBG", DBG),
    ("HOST_SIG", HOST_SIG),
    ("LAN7_SIG", 1 << 23),
    ("LAN6_SIG", 1 << 22),
    ("LAN5_SIG", 1 << 21),
    ("LAN4_SIG", 1 << 20),
    ("LAN3_SIG", 1 << 19),
    ("LAN2_SIG", 1 << 18),
    ("LAN1_SIG", 1 << 17),
    ("LAN0_SIG", LAN0_SIG),
    ("WORD_RDY", WORD_RDY),
    ("HALF_RDY", HALF_RDY),
    ("SEND_RDY", SEND_RDY),
    ("LINK_INT", LINK_INT),
    ("NRES_INT", NRES_INT),
    ("WAKE_INT", WAKE_INT),
    ("ORUN2", ORUN2),
    ("ORUN1", ORUN1),
    ("TAIL_INT", TAIL_INT),
    ("WDOG_INT", WDOG_INT),
    ("TIME_INT", TIME_INT),
    ("DMA_INT", DMA_INT),
    ("SEND_INT", SEND_INT),
    ("BUFF_INT", BUFF_INT),
    ("RECV_INT", RECV_INT),
    ("BYTE_RDY", BYTE_RDY),
];

/// The bit called `name`, in upper or lower case; the headers' OFF_BY_1 and OFF_BY_2 are ORUN1 and ORUN2.
#[must_use]
pub fn by_name(name: &str) -> Option<u32> {
    let name = match name.to_ascii_uppercase().as_str() {
        "OFF_BY_1" | "ORUN1_INT" => "ORUN1",
        "OFF_BY_2" | "ORUN2_INT" => "ORUN2",
        _ => name,
    };
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, bit)| bit)
}

/// `DMA_INT|SEND_INT`, for people; `0` if no bit is set.
#[must_use]
pub fn describe(value: u32) -> String {
    let names: Vec<&str> =
        NAMES.iter().filter(|&&(_, bit)| value & bit != 0).map(|&(name, _)| name).collect();
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}

#[cfg(test)]
mod tests {
    use super::{LAN_SIG, NAMES, by_name, describe};

    #[test]
    fn the_bits_are_the_lanai_4s() {
        let high = ["DBG", "HOST_SIG"];
        let rest = [
            "WORD_RDY", "HALF_RDY", "SEND_RDY", "LINK_INT", "NRES_INT", "WAKE_INT", "OFF_BY_2",
            "OFF_BY_1", "TAIL_INT", "WDOG_INT", "TIME_INT", "DMA_INT", "SEND_INT", "BUFF_INT",
            "RECV_INT", "BYTE_RDY",
        ];
        let places = high.iter().zip([31, 30]).chain(rest.iter().zip((0..16).rev()));
        for (name, place) in places {
            assert_eq!(by_name(name), Some(1 << place), "{name}");
        }
        for n in 0..8 {
            assert_eq!(by_name(&format!("LAN{n}_SIG")), Some(1 << (16 + n)));
        }
        let all = NAMES.iter().fold(0, |all, &(_, bit)| all | bit);
        assert_eq!((all, NAMES.len()), (0xC0FF_FFFF, 26), "each bit once");
        assert_eq!(LAN_SIG, 0x00FF_0000);
    }

    #[test]
    fn the_mask_that_firmware_of_the_time_polls_reads_as_expected() {
        let polled = "LAN0_SIG|NRES_INT|WAKE_INT|TIME_INT|DMA_INT|SEND_INT|BUFF_INT|RECV_INT";
        assert_eq!(describe(0x10C3E), polled);
        assert_eq!(describe(0), "0");
        assert_eq!(by_name("host_sig"), Some(1 << 30));
        assert_eq!(by_name("OFF_BY_2"), Some(1 << 9));
    }
}
