//! The extension that the client library makes for itself, as the linker sees it, and in its sandbox.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use spine_abi::interface::{Domain, Domains};
use spine_abi::limits::MESSAGE_BYTES;
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_client::relay::{self, TAKEN};
use spine_client::signature::SecretKey;
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use wasmtime::{Caller, Engine, Memory, Module, Store};

/// The peer's number, its handler, and ours.
const PEER: u16 = 3;
const THEIRS: u16 = 7;
const OURS: u16 = 1;

#[test]
fn it_links_with_the_domains_it_needs_and_no_more() {
    let policy = |domains| Policy::grant(domains);
    let link = |policy| {
        let linker = Linker::new(SecretKey::generate().unwrap(), policy).unwrap();
        linker.link(&relay::module(PEER, THEIRS, OURS)).map(drop)
    };
    let both = Domains::CORE.with(Domain::Peer).with(Domain::Host);
    link(policy(both)).unwrap();
    let error = link(policy(Domains::CORE.with(Domain::Host))).unwrap_err().to_string();
    assert!(error.contains("peer"), "{error}");
}

/// Where the message lies, as the adapter would put it: behind what the module has for itself.
const SLOT: usize = 1024;
/// What the adapter says to a message for the peer: no room.
const ANSWER: i32 = -5;

/// What an adapter knows of one run.
#[derive(Default)]
struct Adapter {
    given: bool,
    to_peer: Vec<(i32, Message)>,
    to_host: Vec<Message>,
}

/// Gives the relay one message, and says what it sent.
fn run(message: &Message) -> Adapter {
    let engine = Engine::default();
    let module = Module::new(&engine, relay::module(PEER, THEIRS, OURS)).unwrap();
    let mut linker = wasmtime::Linker::new(&engine);
    let next = |mut caller: Caller<'_, Adapter>, _verdict: i64| -> i64 {
        if std::mem::replace(&mut caller.data_mut().given, true) { 0 } else { SLOT as i64 }
    };
    let send_peer = |mut caller: Caller<'_, Adapter>, peer: i32, slot: i32| -> i32 {
        let sent = slot_of(&mut caller, slot);
        caller.data_mut().to_peer.push((peer, sent));
        ANSWER
    };
    let send_host = |mut caller: Caller<'_, Adapter>, slot: i32| -> i32 {
        let sent = slot_of(&mut caller, slot);
        caller.data_mut().to_host.push(sent);
        0
    };
    linker.func_wrap("spine:core", "next", next).unwrap();
    linker.func_wrap("spine:peer", "send", send_peer).unwrap();
    linker.func_wrap("spine:host", "send", send_host).unwrap();
    let mut store = Store::new(&engine, Adapter::default());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    memory.write(&mut store, SLOT, message.as_bytes()).unwrap();
    instance.get_typed_func::<(), ()>(&mut store, "run").unwrap().call(&mut store, ()).unwrap();
    store.into_data()
}

/// The message in a slot.
fn slot_of(caller: &mut Caller<'_, Adapter>, slot: i32) -> Message {
    let memory: Memory = caller.get_export("memory").unwrap().into_memory().unwrap();
    let at = usize::try_from(slot).unwrap();
    Message::parse(&memory.data(&*caller)[at..at + MESSAGE_BYTES]).unwrap()
}

#[test]
fn what_the_application_sends_goes_to_the_peer_and_the_application_hears_what_became_of_it() {
    let adapter = run(&Message::small(HandlerNumber(OURS), Endpoint::Host, b"how many?"));
    let [(peer, sent)] = adapter.to_peer.as_slice() else { panic!("one message to the peer") };
    assert_eq!((*peer, sent.header().handler), (i32::from(PEER), HandlerNumber(THEIRS)));
    assert_eq!(sent.arguments(), b"how many?");
    let [heard] = adapter.to_host.as_slice() else { panic!("one message to the application") };
    assert_eq!(heard.header().handler, HandlerNumber(TAKEN));
    assert_eq!(heard.arguments(), ANSWER.to_le_bytes());
}

#[test]
fn what_its_peer_sends_goes_to_the_application_as_it_is_and_what_others_send_nowhere() {
    let message = |source| Message::small(HandlerNumber(OURS), source, b"nine");
    let answer = message(Endpoint::Peer(PEER));
    let adapter = run(&answer);
    assert_eq!((adapter.to_host, adapter.to_peer), (vec![answer], vec![]));
    for other in [Endpoint::Peer(PEER + 1), Endpoint::Extension(PEER), Endpoint::Runtime] {
        let adapter = run(&message(other));
        assert_eq!((adapter.to_host, adapter.to_peer), (vec![], vec![]), "{other:?}");
    }
}
