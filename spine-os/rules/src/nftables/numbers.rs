//! Numbers of linux/netfilter/nf_tables.h and nfnetlink.h.

pub(crate) const SUBSYSTEM: u16 = 10 << 8;
pub(crate) const NEW_TABLE: u16 = SUBSYSTEM;
pub(crate) const GET_TABLE: u16 = SUBSYSTEM | 1;
pub(crate) const DELETE_TABLE: u16 = SUBSYSTEM | 2;
pub(crate) const NEW_CHAIN: u16 = SUBSYSTEM | 3;
pub(crate) const GET_CHAIN: u16 = SUBSYSTEM | 4;
pub(crate) const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
pub(crate) const NEW_RULE: u16 = SUBSYSTEM | 6;
pub(crate) const GET_RULE: u16 = SUBSYSTEM | 7;
pub(crate) const DELETE_RULE: u16 = SUBSYSTEM | 8;
pub(crate) const NEW_SET: u16 = SUBSYSTEM | 9;
pub(crate) const GET_SET: u16 = SUBSYSTEM | 10;
pub(crate) const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
pub(crate) const GET_ELEMENT: u16 = SUBSYSTEM | 13;
pub(crate) const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;
pub(crate) const NEW_GENERATION: u16 = SUBSYSTEM | 15;
pub(crate) const GET_GENERATION: u16 = SUBSYSTEM | 16;

/// struct nfgenmsg: family, version, resource.
pub(crate) const HEADER_BYTES: usize = 4;

pub(crate) const INET: u8 = 1;
pub(crate) const IPV4: u8 = 2;
pub(crate) const NETDEV: u8 = 5;
pub(crate) const IPV6: u8 = 10;

pub(crate) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    pub(crate) const DORMANT: u32 = 1;
}

pub(crate) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
}

pub(crate) mod hook {
    pub(crate) const NUMBER: u16 = 1;
    pub(crate) const PRIORITY: u16 = 2;
    pub(crate) const DEVICE: u16 = 3;
    pub(crate) const DEVICES: u16 = 4;
    pub(crate) const DEVICE_NAME: u16 = 1;
    /// Since Linux 6.16.
    pub(crate) const DEVICE_PREFIX: u16 = 2;
}

pub(crate) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const HANDLE: u16 = 3;
    pub(crate) const EXPRESSIONS: u16 = 4;
}

pub(crate) mod expression {
    pub(crate) const LIST_ELEMENT: u16 = 1;
    pub(crate) const NAME: u16 = 1;
    pub(crate) const DATA: u16 = 2;
}

pub(crate) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_LENGTH: u16 = 5;
    pub(crate) const DESCRIPTION: u16 = 9;
    pub(crate) const DESCRIPTION_CONCAT: u16 = 2;
    pub(crate) const FIELD: u16 = 1;
    pub(crate) const FIELD_LENGTH: u16 = 1;
    pub(crate) const IS_INTERVAL: u32 = 4;
    pub(crate) const HAS_TIMEOUTS: u32 = 0x10;
    pub(crate) const BY_PACKETS: u32 = 0x20;
}

pub(crate) mod element {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const SET: u16 = 2;
    pub(crate) const ELEMENTS: u16 = 3;
    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_END: u16 = 10;
    pub(crate) const INTERVAL_END: u32 = 1;
    pub(crate) const CATCH_ALL: u32 = 2;
}

pub(crate) mod data {
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;
}
