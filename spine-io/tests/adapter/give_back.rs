//! What becomes of packets whose extension is gone: the kernel has them, as they were received, or nobody.

use crate::common::{
    FORWARD, KERNEL_QUEUE, MESSAGE, PACKET, Rig, linker, module_of, packet, wait_until,
};
use spine_abi::interface::Domain;
use spine_abi::manifest::HandlerDeclaration;
use spine_abi::{Reason, Verdict};
use spine_io::{Budget, ExtensionId};

/// Far more than a message takes here, and a few of them in one entry at most.
const PATIENT: Budget = Budget { message: 2_000_000_000, entry: 50_000_000, strikes: u32::MAX };

/// A function that takes some milliseconds.
const SLOWLY: &str = "(func $slowly (local $n i32)
    (local.set $n (i32.const 30000000))
    (loop $more (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))";

/// An extension whose handlers copy so many bytes back, and do this.
fn extension(writeback: u16, imports: &str, body: &str) -> Vec<u8> {
    let handler = |number| HandlerDeclaration { number, prefix: 64, writeback };
    let handlers = [handler(PACKET), handler(MESSAGE)];
    let domains = [Domain::Peer, Domain::Buffer];
    let wasm = module_of(&handlers, &domains, &[], imports, SLOWLY, body);
    linker().link(&wasm).unwrap_or_else(|error| panic!("{error}")).into_bytes()
}

/// Packets whose length says which they are.
fn packets(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| packet(60 + number, 7)).collect()
}

fn unload(rig: &Rig, id: ExtensionId) {
    assert!(rig.adapter(0).unload(id).expect("the adapter answers"));
}

fn given(rig: &Rig) -> Vec<Vec<u8>> {
    rig.kernels[0].try_iter().collect()
}

#[test]
fn packets_that_wait_for_an_extension_that_ends_are_the_kernels_as_they_came() {
    let mut rig = Rig::new(1);
    let slow = extension(64, "", &format!("(call $slowly) (local.set $verdict {FORWARD})"));
    let id = rig.load_with(&slow, PATIENT);
    let sent = packets(40);
    for packet in &sent {
        rig.send(packet);
    }
    wait_until("all to be there", || rig.statistics(0).nic.received == sent.len() as u64);
    unload(&rig, id);
    let counters = rig.statistics(0).counters;
    let handled = usize::try_from(counters.handled).expect("few");
    // It takes some hundred milliseconds for all, and this test a moment.
    let orphans = sent.get(handled..).filter(|orphans| !orphans.is_empty());
    let orphans = orphans.expect("not all were handled before it was unloaded");
    assert_eq!(counters.to_kernel.get(Reason::Unloaded), orphans.len() as u64);
    assert_eq!(given(&rig), orphans);
    assert_eq!(counters.dropped.total(), 0);
    let forwarded = rig.take(1, handled);
    assert_eq!(forwarded, sent[..handled]);
}

#[test]
fn packets_that_come_for_nobody_are_the_kernels_as_far_as_it_has_room() {
    let mut rig = Rig::new(1);
    let sent = packets(KERNEL_QUEUE);
    for packet in &sent {
        rig.send(packet);
    }
    rig.wait_for_kernel(Reason::NoHandler, KERNEL_QUEUE as u64);
    rig.send(&packet(60, 0));
    rig.wait_for_drops(Reason::KernelFull, 1);
    assert_eq!(given(&rig), sent);
}

#[test]
fn a_packet_passed_on_after_bytes_were_copied_back_is_nobodys_any_more() {
    // Handler 1 passes on to handler 2, which takes its time.
    let next = Verdict::Next(MESSAGE).to_bits();
    let body = format!(
        "(if (i32.eq (i32.load16_u (local.get $slot)) (i32.const {}))
            (then (local.set $verdict (i64.const {next})))
            (else (call $slowly) (local.set $verdict {FORWARD})))",
        PACKET.0
    );
    for writeback in [64, 0] {
        let mut rig = Rig::new(1);
        let id = rig.load_with(&extension(writeback, "", &body), PATIENT);
        let sent = packets(40);
        for packet in &sent {
            rig.send(packet);
        }
        // What is there is passed on, and so goes to the end of the queue, before the next one is handled.
        let handled = |rig: &Rig| rig.statistics(0).counters.handled;
        wait_until("all to be there", || rig.statistics(0).nic.received == sent.len() as u64);
        let before = handled(&rig);
        wait_until("all to be passed on", || handled(&rig) >= before + 2);
        unload(&rig, id);
        let counters = rig.statistics(0).counters;
        let handled = usize::try_from(counters.handled).expect("few");
        let left = (sent.len() - handled) as u64;
        assert!(left > 0, "all were handled before it could be unloaded");
        let kernels = counters.to_kernel.get(Reason::Unloaded);
        let dropped = counters.dropped.get(Reason::Unloaded);
        let expected = if writeback > 0 { (0, left) } else { (left, 0) };
        assert_eq!((kernels, dropped), expected, "{writeback} bytes are copied back");
    }
}

#[test]
fn a_kept_packet_is_the_kernels_unless_the_extension_may_have_changed_it() {
    let keep = Verdict::Keep.to_bits();
    let imports = r#"(import "spine:buffer" "write"
        (func $write (param i64 i32 i32 i32) (result i32)))"#;
    let write = |offset| {
        format!(
            "(i64.store (i32.const 256) (i64.load offset=8 (local.get $slot)))
            (drop (call $write (i64.load (i32.const 256)) (i32.const {offset}) (i32.const 512) (i32.const 1)))"
        )
    };
    let kept = format!("(local.set $verdict (i64.const {keep}))");
    let written = format!("{} {kept}", write(20));
    let refused = format!("{} {kept}", write(2000));
    // The second packet writes into the first, which is kept already.
    let later = format!(
        "(if (i64.ne (i64.load (i32.const 256)) (i64.const 0))
            (then (drop (call $write
                (i64.load (i32.const 256)) (i32.const 20) (i32.const 512) (i32.const 1))))
            (else (i64.store (i32.const 256) (i64.load offset=8 (local.get $slot)))))
        {kept}"
    );
    for (name, writeback, body, kernels) in [
        ("untouched", 0, &kept, 2),
        ("copied back", 64, &kept, 0),
        ("written to", 0, &written, 0),
        ("written to in vain", 0, &refused, 2),
        ("written to when it was kept", 0, &later, 1),
    ] {
        let mut rig = Rig::new(1);
        let id = rig.load(&extension(writeback, imports, body));
        let sent = packets(2);
        for (count, packet) in (1..).zip(&sent) {
            rig.send(packet);
            wait_until("it to be kept", || rig.statistics(0).counters.handled == count);
        }
        unload(&rig, id);
        let counters = rig.statistics(0).counters;
        assert_eq!(counters.to_kernel.get(Reason::Unloaded), kernels, "{name}");
        assert_eq!(counters.dropped.get(Reason::Unloaded), 2 - kernels, "{name}");
        let first = 2 - usize::try_from(kernels).expect("few");
        assert_eq!(given(&rig), sent[first..], "{name}");
        assert_eq!(counters.consumed, 0, "{name}");
    }
}
