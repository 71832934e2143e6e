//! `export!`: the two-line `main.rs` of an extension.
//!
//! Symbols and sections need `unsafe` attributes, which a library with `#![forbid(unsafe_code)]`
//! cannot have; so the library holds everything an author writes, and this binary only the names under
//! which the runtime finds it. Built for the host, the binary says what it is good for.

/// Exports the extension in the given library crate: `run`, `init`, the interfaces for other extensions and
/// the manifest's section.
///
/// ```ignore
/// #![cfg_attr(target_arch = "wasm32", no_std, no_main)]
/// spine_sdk::export!(spine_hello);
/// ```
#[macro_export]
macro_rules! export {
    ($library:ident) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "names the linker sees; each is defined once, here")]
        mod exports {
            // SAFETY: no other symbol has this name; the linker would refuse two.
            #[unsafe(no_mangle)]
            extern "C" fn run() {
                $library::extension::run();
            }

            // SAFETY: as above.
            #[unsafe(no_mangle)]
            extern "C" fn init() {
                // SAFETY: the runtime calls this once, before any handler.
                let mut setup = unsafe { spine_sdk::Init::from_runtime() };
                $library::extension::initialise(&mut setup);
            }

            $library::__spine_interfaces!();

            // SAFETY: a custom section of the module: never loaded, and read by the linker only.
            #[unsafe(link_section = "spine.manifest")]
            static MANIFEST: [u8; $library::extension::MANIFEST.len()] =
                $library::extension::MANIFEST;
        }

        #[cfg(not(target_arch = "wasm32"))]
        fn main() {
            println!("This is an extension: build it for wasm32-unknown-unknown and load it.");
        }
    };
}
