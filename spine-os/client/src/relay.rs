//! Reaching an endpoint on another machine: by an extension that passes messages on.
//!
//! Messages between machines are sent and received by extensions. For an application that has none
//! of its own there, this makes one: what the application sends it goes to the peer, and what that
//! peer sends it comes to the application. It is loaded like any other, so the policy says who may
//! (the domains peer and host, and the peer), and each message goes from the application's FIFO
//! through the adapter to the wire without the daemon.
//!
//! Why bytes and not an encoder? The extension is one loop, and differs from peer to peer by a few
//! numbers. As text (`relay.wat`) anybody can read it, and applications need no crate that knows
//! WebAssembly.

use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{self, HandlerDeclaration, SECTION};
use spine_abi::{Endpoint, HandlerNumber};

use crate::{Client, ClientError, ExtensionNumber, Load};

/// The handler of the application that hears what became of each message: four bytes, zero where
/// the adapter has taken it (it is sent again until the peer has it), or a negative
/// [`spine_abi::ErrorCode`].
pub const TAKEN: u16 = u16::MAX;

/// The loop over a burst, from `relay.wat`. Its data section is the last one, and the words end it.
const CODE: &[u8] = include_bytes!("relay.wasm");
/// How many words `relay.wat` says are to be filled in.
const WORDS: usize = 5;
/// The manifest with its one handler.
const MANIFEST_BYTES: usize = manifest::FIXED_BYTES + manifest::HANDLER_BYTES;
/// The kind of a custom section, and its bytes: the name with its length, and the manifest. Both
/// lengths are small enough to be numbers of one byte.
const CUSTOM: u8 = 0;
const CUSTOM_BYTES: u8 = 71;
const NAME_BYTES: u8 = 14;

const _: () = assert!(SECTION.len() == NAME_BYTES as usize);
const _: () = assert!(1 + SECTION.len() + MANIFEST_BYTES == CUSTOM_BYTES as usize);
const _: () = assert!(CUSTOM_BYTES < 0x80, "else its number takes two bytes");

impl Client {
    /// Opens a way to a handler of an extension on another machine. What is sent to the extension
    /// that this answers, to its handler `answer`, goes to that peer's `handler`; what the peer
    /// sends to our handler `answer` comes as messages of it. [`TAKEN`] is sent for each message.
    /// It ends with this client.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is no such peer, the policy does not grant it, or the number
    /// `answer` is another extension's on that adapter.
    pub fn reach(
        &mut self,
        peer: &str,
        handler: u16,
        answer: u16,
    ) -> Result<ExtensionNumber, ClientError> {
        let known = self.peers()?;
        let Some(found) = known.iter().find(|known| known.name == peer) else {
            let names: Vec<&str> = known.iter().map(|known| known.name.as_str()).collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(ClientError::Refused(format!(
                "spined knows no peer {peer:?}; it knows {has}"
            )));
        };
        let load = Load {
            interface: found.interface.clone(),
            peers: vec![peer.to_owned()],
            ..Load::default()
        };
        let module = module(found.number, handler, answer);
        Ok(self.load(&load, &module, &[])?.number)
    }
}

/// The extension, as WebAssembly: what it is sent by its application goes to `handler` of the
/// endpoint that its adapter numbers `peer`; its own handler has the number `answer`.
pub fn module(peer: u16, handler: u16, answer: u16) -> Vec<u8> {
    let (ours, theirs) = (Endpoint::Host.to_bits(), Endpoint::Peer(peer).to_bits());
    let words: [u16; WORDS] = [peer, handler, TAKEN, ours, theirs];
    let mut module = CODE.to_vec();
    module.truncate(CODE.len() - size_of_val(&words));
    module.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    add_manifest(&mut module, answer);
    module
}

/// Appends the custom section that says what the extension is.
fn add_manifest(module: &mut Vec<u8>, answer: u16) {
    let declared = [HandlerDeclaration { number: HandlerNumber(answer), prefix: 0, writeback: 0 }];
    let domains = Domains::CORE.with(Domain::Peer).with(Domain::Host);
    let manifest: [u8; MANIFEST_BYTES] = manifest::build("relay", domains, 0, &declared);
    module.extend_from_slice(&[CUSTOM, CUSTOM_BYTES, NAME_BYTES]);
    module.extend_from_slice(SECTION.as_bytes());
    module.extend_from_slice(&manifest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_text() {
        let text = wat::parse_str(include_str!("relay.wat")).unwrap();
        let (code, names) = text.split_at(CODE.len());
        assert!(code == CODE, "relay.wat was changed: run `wat2wasm relay.wat` beside it");
        assert_eq!(
            names.first(),
            Some(&CUSTOM),
            "and of what its parts are called nothing is needed"
        );
        assert!(CODE.ends_with(&[0; size_of::<[u16; WORDS]>()]), "the words end it");
    }
}
