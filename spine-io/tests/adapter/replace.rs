//! Replacing an extension on wires in memory: nothing is lost, nothing is left, and a refusal changes nothing.

use crate::common::{FORWARD, MESSAGE, Rig, extension, packet, wait_until};
use spine_abi::interface::Domain;
use spine_abi::{Endpoint, Message, Reason};
use spine_io::{Budget, ExtensionId, LoadError};

/// Forwards every packet with its first byte changed to `mark`.
fn forwarder(mark: u8) -> Vec<u8> {
    let body = format!(
        "(i32.store8 offset=16 (local.get $slot) (i32.const {mark})) (local.set $verdict {FORWARD})"
    );
    extension(&[Domain::Peer], "", "", &body)
}

fn replace(rig: &Rig, id: ExtensionId, image: &[u8]) -> Result<(), LoadError> {
    let loaded = rig.adapter(0).prepare(image, Vec::new(), Budget::default())?;
    rig.adapter(0).replace(id, loaded)
}

#[test]
fn every_packet_is_handled_by_one_version_or_the_next() {
    const VERSIONS: u8 = 20;
    // All of them fit into the frames there are: the far end is emptied last.
    const EACH: usize = 20;
    let mut rig = Rig::new(2);
    let id = rig.load(&forwarder(0));
    let images: Vec<Vec<u8>> = (1..=VERSIONS).map(forwarder).collect();
    for image in &images {
        // The replacement comes while these are on their way.
        (0..EACH).for_each(|_| rig.send(&packet(60, 0)));
        replace(&rig, id, image).expect("replaced");
    }
    let marks: Vec<u8> =
        rig.take(1, EACH * usize::from(VERSIONS)).into_iter().map(|packet| packet[0]).collect();
    assert!(marks.is_sorted(), "no packet overtakes a version: {marks:?}");
    assert_eq!(rig.statistics(0).counters.dropped.total(), 0);
    rig.send(&packet(60, 0));
    assert_eq!(rig.take(1, 1)[0][0], VERSIONS);
    assert!(rig.adapter(0).unload(id).expect("the adapter answers"), "it is in its old place");
}

#[test]
fn buffers_that_the_old_version_kept_are_the_new_ones_to_release() {
    // Keeps each packet; on a message, releases the one whose reference the message carries.
    let release = r#"(import "spine:buffer" "release" (func $release (param i64) (result i32)))"#;
    let keeper = extension(
        &[Domain::Buffer, Domain::Host],
        &format!(
            "{release} (import \"spine:host\" \"send\" (func $send (param i32) (result i32)))"
        ),
        "",
        // A packet: tell the application its reference, and keep it. A message: release that reference.
        "(if (i32.load8_u offset=2 (local.get $slot))
            (then
                (i32.store (i32.const 1024) (i32.const 1))
                (i32.store (i32.const 1028) (i32.const 0x80000))
                (i64.store (i32.const 1040) (i64.load offset=8 (local.get $slot)))
                (drop (call $send (i32.const 1024)))
                (local.set $verdict (i64.const 5)))
            (else
                (drop (call $release (i64.load offset=16 (local.get $slot))))
                (local.set $verdict (i64.const 0))))",
    );
    let mut rig = Rig::new(1);
    let id = rig.load(&keeper);
    let consumed = |rig: &Rig| rig.statistics(0).counters.consumed;
    rig.send(&packet(60, 0));
    let patience = std::time::Duration::from_secs(10);
    let reference = rig.adapter(0).receive(patience).expect("a reference");
    replace(&rig, id, &keeper).expect("replaced");
    assert_eq!(consumed(&rig), 0, "it is still kept");
    let message = Message::small(MESSAGE, Endpoint::Host, reference.arguments());
    rig.adapter(0).send(message).expect("sent");
    wait_until("the buffer to be released", || consumed(&rig) == 1);
}

#[test]
fn a_replacement_that_cannot_be_is_refused_and_the_old_version_runs_on() {
    let mut rig = Rig::new(1);
    let id = rig.load(&forwarder(7));
    match replace(&rig, ExtensionId(40), &forwarder(8)) {
        Err(LoadError::NoExtension { extension: 40, .. }) => {}
        other => panic!("{other:?}"),
    }
    rig.send(&packet(60, 0));
    assert_eq!(rig.take(1, 1)[0][0], 7);
    assert!(rig.adapter(0).unload(id).expect("the adapter answers"));
    assert!(replace(&rig, id, &forwarder(8)).is_err(), "it is gone");
    rig.send(&packet(60, 0));
    rig.wait_for_kernel(Reason::NoHandler, 1);
}
