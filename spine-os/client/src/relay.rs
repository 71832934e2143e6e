//! Reaching an endpoint on another machine: by an extension that passes messages on.
//!
//! Messages between machines are sent and received by extensions. For an application that has none of its own
//! there, this makes one: what the application sends it goes to the peer, and what that peer sends it comes to the
//! application. It is loaded like any other, so the policy says who may (the domains peer and host, and the peer),
//! and each message goes from the application's FIFO through the adapter to the wire without the daemon.

use spine_abi::interface::{Domain, Domains, NEXT, SEND_HOST, SEND_PEER};
use spine_abi::manifest::{self, HandlerDeclaration, SECTION};
use spine_abi::{Endpoint, HandlerNumber};
use wasm_encoder::{
    BlockType, CodeSection, CustomSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, MemArg, MemorySection, MemoryType, Module, TypeSection,
    ValType,
};

use crate::daemon::protocol::PeerInfo;
use crate::{Client, ClientError, ExtensionNumber, Load};

/// The handler of the application that hears what became of each message: four bytes, zero where the adapter
/// has taken it (it is sent again until the peer has it), or a negative [`spine_abi::ErrorCode`].
pub const TAKEN: u16 = u16::MAX;

/// What the module's functions are numbered, imports first.
const NEXT_INDEX: u32 = 0;
const PEER_INDEX: u32 = 1;
const HOST_INDEX: u32 = 2;
const RUN_INDEX: u32 = 3;

/// Where a message has its handler, its source, its length and its arguments.
const HANDLER: u64 = 0;
const SOURCE: u64 = 4;
const LENGTH: u64 = 6;
const ARGUMENTS: u64 = 16;

impl Client {
    /// Opens a way to a handler of an extension on another machine. What is sent to the extension that this
    /// answers, to its handler `answer`, goes to that peer's `handler`; what the peer sends to our handler `answer`
    /// comes as messages of it. [`TAKEN`] is sent for each message. It ends with this client.
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
        let module = module(found, handler, answer);
        Ok(self.load(&load, &module, &[])?.number)
    }
}

/// The extension: what it takes from the peer goes to our handler `answer`, what it is sent to the peer's `handler`.
pub fn module(peer: &PeerInfo, handler: u16, answer: u16) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64], [ValType::I64]);
    types.ty().function([ValType::I32, ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    for (interface, kind) in [(NEXT, 0), (SEND_PEER, 1), (SEND_HOST, 2)] {
        let domain = format!("spine:{}", interface.domain.name());
        imports.import(&domain, interface.name, EntityType::Function(kind));
    }
    let mut functions = FunctionSection::new();
    functions.function(3);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("run", ExportKind::Func, RUN_INDEX);
    let mut code = CodeSection::new();
    code.function(&run(peer.number, handler));

    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories);
    module.section(&exports).section(&code);
    let declared = [HandlerDeclaration { number: HandlerNumber(answer), prefix: 0, writeback: 0 }];
    let domains = Domains::CORE.with(Domain::Peer).with(Domain::Host);
    let manifest: [u8; manifest::FIXED_BYTES + manifest::HANDLER_BYTES] =
        manifest::build("relay", domains, 0, &declared);
    module.section(&CustomSection { name: SECTION.into(), data: manifest.as_slice().into() });
    module.finish()
}

/// The loop over a burst: from the application to the peer, from that peer to the application.
fn run(peer: u16, handler: u16) -> Function {
    let source = |endpoint: Endpoint| i32::from(endpoint.to_bits());
    // The slot, and what became of the message.
    let mut function = Function::new([(2, ValType::I32)]);
    let mut code = function.instructions();
    code.loop_(BlockType::Empty);
    code.i64_const(0).call(NEXT_INDEX).i32_wrap_i64().local_tee(0);
    code.i32_eqz().if_(BlockType::Empty).return_().end();

    code.local_get(0).i32_load16_u(at(SOURCE)).i32_const(source(Endpoint::Host)).i32_eq();
    code.if_(BlockType::Empty);
    code.local_get(0).i32_const(i32::from(handler)).i32_store16(at(HANDLER));
    code.i32_const(i32::from(peer)).local_get(0).call(PEER_INDEX).local_set(1);
    code.local_get(0).i32_const(i32::from(TAKEN)).i32_store16(at(HANDLER));
    code.local_get(0).i32_const(4).i32_store16(at(LENGTH));
    code.local_get(0).local_get(1).i32_store(at(ARGUMENTS));
    code.local_get(0).call(HOST_INDEX).drop();
    code.end();

    code.local_get(0).i32_load16_u(at(SOURCE)).i32_const(source(Endpoint::Peer(peer))).i32_eq();
    code.if_(BlockType::Empty).local_get(0).call(HOST_INDEX).drop().end();
    code.br(0).end().end();
    function
}

const fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, memory_index: 0 }
}
