//! `link` lines: packets in and out, and what is at the far end.

use lanai_model::link::{Packet, Switch, crc8_of};
use lanai_model::registers::{CRC_ENABLE, offset};

use super::Machine;
use crate::lanai_run::value;
use crate::lanai_run::wire::{Tail, Wire};

impl Machine {
    pub(super) fn link(&mut self, wire: &Wire) -> Result<Result<(), String>, String> {
        let now = self.board.now();
        let (latency, rate) = (self.board.config().switch_latency, self.board.config().link_rate);
        let crc_enabled = self.board.read_register(offset::MYRINET) & CRC_ENABLE != 0;
        let cable = self.board.link_mut();
        match wire {
            Wire::Inject { payload, tail, port } => {
                let bytes = with_tail(payload, *tail);
                match port {
                    Some(port) if !cable.inject_at_port(*port, now, &bytes) => {
                        return Err(
                            "there is no switch to inject into; `link switch PORTS PORT` makes one"
                                .to_owned(),
                        );
                    }
                    Some(_) => {}
                    None => cable.inject_raw(now, &bytes),
                }
            }
            Wire::Expect(payload) => {
                self.expectations += 1;
                return Ok(match cable.take() {
                    None => Err("expected a packet, and none was sent".to_owned()),
                    Some(packet) if packet.payload() != payload => {
                        let (expected, found) = (value::hex(payload), value::hex(packet.payload()));
                        Err(format!("expected the packet: {expected}, found: {found}"))
                    }
                    Some(packet) if crc_enabled && !packet.crc_is_good() => {
                        Err("expected a packet with a good CRC-8, found a wrong one".to_owned())
                    }
                    Some(_) => Ok(()),
                });
            }
            Wire::ExpectNone => {
                self.expectations += 1;
                let waiting = cable.sent().count();
                if waiting > 0 {
                    return Ok(Err(format!("expected no packet, found {waiting}")));
                }
            }
            Wire::Show => {
                let packets: Vec<String> = cable.sent().map(describe).collect();
                packets.iter().for_each(|packet| self.say(packet));
            }
            Wire::Clear => while cable.take().is_some() {},
            Wire::Cable => cable.unplug(),
            Wire::Loopback => cable.loopback(),
            Wire::Switch { ports, port } => cable.plug(Switch::new(*ports, latency, rate), *port),
            Wire::Stop(stopped) => cable.stop(*stopped),
            Wire::Event(reset) => self.board.link_event(*reset),
        }
        Ok(Ok(()))
    }
}

/// A packet that was sent, on one line.
fn describe(packet: &Packet) -> String {
    let (tail, payload) = (packet.bytes.last().copied().unwrap_or(0), value::hex(packet.payload()));
    let crc = if packet.crc_is_good() { "good" } else { "bad" };
    let Packet { port, start, end, .. } = packet;
    format!("packet port={port} start={start} end={end} tail={tail:02x} crc={crc}: {payload}")
}

fn with_tail(payload: &[u8], tail: Tail) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    match tail {
        Tail::Good => bytes.push(crc8_of(payload)),
        Tail::Bad => bytes.push(crc8_of(payload) ^ 0x55),
        Tail::Raw => {}
    }
    bytes
}
