//! The adapter's half of the router, built with this crate and embedded in it.
//!
//! It was built by the same build as the host's half, so it needs no author's signature; what comes
//! from a file does ([`spine_client::extension`]). Either way the linker validates it.

/// The module, as WebAssembly.
pub static MODULE: &[u8] = include_bytes!(env!("SPINE_ROUTER_EXTENSION"));

/// The same with the table of the paper's card, an LC-trie.
pub static LC_TRIE: &[u8] = include_bytes!(env!("SPINE_ROUTER_LC_TRIE"));

#[cfg(test)]
mod tests {
    #[test]
    fn each_table_has_a_module_of_its_own() {
        assert!(super::MODULE != super::LC_TRIE, "one was built over the other");
    }
}
