//! The attributes of spine-sdk: `#[handler]`, `#[init]`, `extension!` and `import!`.
//!
//! They write down what an author would have to repeat by hand: the declaration of each handler, the
//! manifest, and the choice of the function by the number. An extension keeps its `#![forbid(unsafe_code)]`:
//! what they emit there is safe code, but for the declaration of imported functions, which take numbers and
//! are safe to call. What is wrong is said where it is written.

mod extension;
mod handler;
mod init;
mod interface;

use proc_macro::TokenStream;

/// Makes a function a handler: `#[handler(number, prefix = bytes, writeback = bytes)]`.
///
/// The function is `fn(Context, &mut Message<'_>) -> Verdict`. `number` is its number in the extension
/// (from 1); `prefix` is how many bytes of a packet it wants to see (default 0); `writeback` how many of
/// them are copied back to the packet when it is sent on (default 0, at most `prefix`). All three are
/// constant expressions of type `u16`.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(handler::expand(arguments.into(), item.into()))
}

/// Marks the function that runs once, before any handler: `fn(&mut Init)`.
#[proc_macro_attribute]
pub fn init(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(init::expand(arguments.into(), item.into()))
}

/// Says what the extension consists of; the last item of its `lib.rs`.
///
/// ```ignore
/// spine_sdk::extension! {
///     name: "hello",              // at most 32 bytes
///     domains: [Net, Peer],       // besides Core, which everyone has
///     regions: 1,                 // default 0
///     handlers: [forward, swap],  // functions with #[handler]
///     exports: flow {             // a domain for other extensions; may be left out
///         fn count(flow: u64) -> u64; // calls this crate's function of that name
///     },
///     init: init,                 // a function with #[init]; may be left out
/// }
/// ```
///
/// Makes a module `extension` with the manifest, the dispatch function and the entry points for
/// `spine_sdk::export!`.
#[proc_macro]
pub fn extension(input: TokenStream) -> TokenStream {
    finish(extension::expand(input.into()))
}

/// Says which interfaces of a domain that another extension exports are called here.
///
/// ```ignore
/// spine_sdk::import! {
///     /// What the extension `flows` counts.
///     mod flow {
///         /// Counts a packet of a flow, and gives how many there were.
///         fn count(flow: u64) -> u64;
///     }
/// }
/// ```
///
/// Makes a module `flow` with those functions, to be called by handlers (not by `init`). The linker
/// refuses the extension where none that exports such a domain is loaded. On the host they call what a
/// test gave to `spine_sdk::testing::answer`.
#[proc_macro]
pub fn import(input: TokenStream) -> TokenStream {
    finish(interface::import(input.into()))
}

fn finish(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|error| error.to_compile_error()).into()
}
