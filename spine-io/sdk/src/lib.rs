//! What extension authors use.
//!
//! An extension is a library crate with `#![forbid(unsafe_code)]` and a two-line `main.rs`
//! (`spine-io/sdk/hello` is the one to copy). Its handlers are plain functions:
//!
//! ```
//! use spine_sdk::{Context, Message, Reason, Verdict, handler};
//!
//! #[handler(1, prefix = 64)]
//! fn look(_context: Context, message: &mut Message<'_>) -> Verdict {
//!     match message.packet().first_chunk::<14>() {
//!         Some(_ethernet) => Verdict::kernel(Reason::Unhandled),
//!         None => Verdict::Drop(Reason::Truncated),
//!     }
//! }
//!
//! spine_sdk::extension! { name: "look", domains: [Kernel], handlers: [look] }
//! # fn main() {}
//! ```
//!
//! **Ephemeral by types** (SPINE 3.3.2). The runtime may stop a handler at any instruction, so a handler
//! must not reach an interface that cannot bear it. Those are methods of [`Init`], and only the function
//! marked [`init`] is given one. The linker checks the same again on the finished module.
//! The paper's own examples are in the documentation of [`Init`].
//!
//! **Other extensions.** One may export a domain of its own (`exports:` in [`extension!`](extension)), and
//! another call its interfaces ([`import!`](import)); `spine-io/sdk/flows` and `spine-io/sdk/heavy` are such a pair. Numbers go
//! across and nothing else. Who exports an interface checks what it is given, as it checks packets: a trap is
//! its own strike. And it may be stopped in it at any instruction, when its caller's fuel is used up.
//!
//! **On the host** the crate is ordinary Rust with `std`: [`sys`](self) is replaced by a double, and
//! [`testing`] calls handlers with plain slices. On wasm32 it is `no_std`, without an allocator, and a
//! panic is a trap without a text: formatting one would cost more than the extension.
//!
//! **Later.** A handler never waits: it [arms a timer](Timer) and is called again.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod buffer;
mod declare;
mod dma;
mod export;
mod global;
mod init;
mod message;
mod number;
mod region;
mod send;
mod sys;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod timer;

pub use buffer::Buffer;
pub use declare::{check, declare, is_handler};
pub use dma::{Dma, Scratch};
pub use global::{Global, RegionCell};
pub use init::Init;
pub use message::{Context, Message, handler_number};
pub use number::Number;
pub use region::Region;
pub use send::{send_to_host, send_to_peer};
pub use spine_abi::dma::{Direction, Element, Publish, Source, Strides, Transfer};
pub use spine_abi::interface::{Domain, Domains, Value};
pub use spine_abi::manifest::HandlerDeclaration;
pub use spine_abi::verdict::{ChecksumRequest, Finish};
pub use spine_abi::{
    BufferRef, Endpoint, ErrorCode, HandlerNumber, Header, Kind, PackedVerdict, Reason, Verdict,
    declaration, limits, manifest,
};
pub use timer::Timer;

pub use spine_sdk_macros::{extension, handler, import, init};
#[cfg(target_arch = "wasm32")]
pub use sys::run;

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
