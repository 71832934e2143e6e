//! How much one user may have on one daemon, all his extensions together.

use spine_abi::limits::{
    ADAPTERS, EXTENSIONS, FUEL_PER_MESSAGE, MEMORY_BYTES, REGION_BYTES, REGIONS,
};

/// What a user's extensions may use together, on all adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Extensions at one time.
    pub extensions: u32,
    /// Bytes of linear memory that their modules start with.
    pub memory: u64,
    /// Bytes of regions shared with them.
    pub region_bytes: u64,
    /// Messages his applications send to the extensions of one adapter, each second.
    pub messages_per_second: u32,
    /// Destination prefixes that they claim, or leave to the kernel within what they claim.
    pub claims: u64,
    /// Fuel of one message, for each of them.
    pub fuel_per_message: u64,
}

impl Limits {
    /// What a grant gives that does not say otherwise.
    pub const USUAL: Self = Self {
        extensions: 4,
        memory: MEMORY_BYTES as u64,
        region_bytes: 64 << 20,
        messages_per_second: 10_000,
        claims: 4096,
        fuel_per_message: FUEL_PER_MESSAGE,
    };

    /// As much as the adapters can hold: root's.
    pub const MOST: Self = Self {
        extensions: 64 * 128,
        memory: (ADAPTERS * EXTENSIONS) as u64 * MEMORY_BYTES as u64,
        region_bytes: (ADAPTERS * EXTENSIONS * REGIONS) as u64 * REGION_BYTES as u64,
        messages_per_second: 1_000_000,
        // As many as the classifiers tell apart.
        claims: (ADAPTERS as u64) << 20,
        fuel_per_message: 1_000 * FUEL_PER_MESSAGE,
    };
}

const _: () = assert!(ADAPTERS * EXTENSIONS == 64 * 128);
