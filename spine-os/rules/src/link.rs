//! What a rule may ask about an interface.

/// An interface, as rules ask for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its group (`ip link set group`; 0 unless set).
    pub group: u32,
    /// Its kind, as in `ip -d link` (`veth`, `bridge`); empty for hardware.
    pub kind: String,
    /// The kind of its link layer (`ARPHRD_*`), 1 for Ethernet.
    pub link_layer: u16,
    /// The interface that it is a port or slave of.
    pub master: Option<String>,
}

impl Link {
    /// An Ethernet interface of group 0.
    pub fn ethernet(index: u32, name: &str) -> Self {
        const ARPHRD_ETHER: u16 = 1;
        Self { index, name: name.to_owned(), link_layer: ARPHRD_ETHER, ..Self::default() }
    }
}
