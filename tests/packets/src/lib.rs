//! Packets for tests, and whose they are.
//!
//! Who owns a packet, an adapter or the kernel, is decided four times: by the XDP classifier in C, by a
//! classic BPF filter and an nftables rule where there is no XDP, and by the router's extension. Each is
//! tested in the crate it is in, on the one table of packets that is here ([`owners`]). So a new case is
//! one row, and red wherever it is not answered as the row says.
//!
//! What of the four runs in the kernel only is run here by reading the kernel's own formats: classic BPF
//! ([`cbpf`]) and the expressions of nftables ([`nft`]). Tests in network namespaces run the real ones.
//!
//! Why a crate, and not a feature of `spine-headers`? Tests of four crates need it, of which one becomes
//! WebAssembly: features of what that uses would be switched on with the tests of the others.
//!
//! Helpers panic with what went wrong: they are part of tests.

pub mod cbpf;
pub mod frames;
pub mod nft;
pub mod owners;
pub mod routes;
