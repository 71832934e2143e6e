//! Endpoints: where a message comes from or goes to (SPINE 3.1, Figure 1).

/// One end of a message's way, packed in 16 bits: 4 bits of kind, 12 bits of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The runtime itself (timers, notices).
    Runtime,
    /// The wire of the adapter that has the message.
    Network,
    /// The application that loaded the extension.
    Host,
    /// The kernel's own network stack.
    Kernel,
    /// Another adapter, by its index in the process.
    Peer(u16),
    /// An extension on the same adapter, by its slot.
    Extension(u16),
}

const KIND_SHIFT: u32 = 12;
const INDEX_MASK: u16 = (1 << KIND_SHIFT) - 1;

impl Endpoint {
    /// The packed form. Indices over 4095 do not occur (see `limits`) and lose their high bits.
    #[inline]
    pub const fn to_bits(self) -> u16 {
        match self {
            Self::Runtime => 0,
            Self::Network => 1 << KIND_SHIFT,
            Self::Host => 2 << KIND_SHIFT,
            Self::Kernel => 3 << KIND_SHIFT,
            Self::Peer(index) => (4 << KIND_SHIFT) | (index & INDEX_MASK),
            Self::Extension(index) => (5 << KIND_SHIFT) | (index & INDEX_MASK),
        }
    }

    /// Unpacks; `None` for a kind that does not exist.
    #[inline]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        let index = bits & INDEX_MASK;
        Some(match bits >> KIND_SHIFT {
            0 => Self::Runtime,
            1 => Self::Network,
            2 => Self::Host,
            3 => Self::Kernel,
            4 => Self::Peer(index),
            5 => Self::Extension(index),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_survives_packing_and_unknown_kinds_are_refused() {
        for endpoint in [
            Endpoint::Runtime,
            Endpoint::Network,
            Endpoint::Host,
            Endpoint::Kernel,
            Endpoint::Peer(63),
            Endpoint::Extension(4095),
        ] {
            assert_eq!(Endpoint::from_bits(endpoint.to_bits()), Some(endpoint));
        }
        assert_eq!(Endpoint::from_bits(0xf000), None);
    }
}
