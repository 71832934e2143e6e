//! The event plan of the paper's card: 21 events of the system and the handler for each packet.
//!
//! Published are sums, not events: 55 us in all, of which chained DMA would save 12 and, with hardware
//! FIFOs besides, leave 33; 4 us for the router's handler; 2.5 us for the mean event. The names and
//! single costs below are *derived*: one division that has those sums. What is predicted from them is
//! how the events and the engines they wait for come to lie beside each other.

use spine_abi::event::{Class, Cost, EventKind, EventPlan, Gate, Policy, Stage};
use spine_nic::schedule;

use super::costs::{
    CREDIT_NS, FAST_PROCESSOR, IDLE_POLL_NS, LINK_BYTES_PER_SECOND, MEAN_EVENT_NS, MESSAGE_BYTES,
    POINTER_BYTES, ROUTER_PICOSECONDS_PER_FUEL, host_dma_ns, transfer_ns,
};

/// By which way packets go to the egress card (SPINE 5, Figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Over the PCI bus, into a FIFO in the other card's memory.
    Pci,
    /// Over the Myrinet switch.
    Wire,
}

/// What a card is like: the paper's, or one with what section 7 wishes for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Card {
    /// The way to the egress card.
    pub way: Way,
    /// FIFOs in hardware: no events for slots, flow and credit (7.1).
    pub hardware_fifo: bool,
    /// DMA that follows a list: no events between the parts of a message (7.2).
    pub chained_dma: bool,
    /// The time of events and polls, as a fraction of this card's (7.3).
    pub processor: (u32, u32),
    /// The length of the idle poll, in nanoseconds.
    pub idle_poll_ns: u32,
    /// The rule that picks events.
    pub policy: Policy,
    /// Picoseconds of a unit of the handlers' fuel.
    pub picoseconds_per_fuel: u64,
}

impl Default for Card {
    fn default() -> Self {
        Self {
            way: Way::Pci,
            hardware_fifo: false,
            chained_dma: false,
            processor: (1, 1),
            idle_poll_ns: IDLE_POLL_NS,
            policy: schedule::PAPER,
            picoseconds_per_fuel: ROUTER_PICOSECONDS_PER_FUEL,
        }
    }
}

impl Card {
    /// The processor of section 7.3.
    #[must_use]
    pub fn with_fast_processor(self) -> Self {
        Self { processor: FAST_PROCESSOR, ..self }
    }
}

/// What the card's hardware does when an event ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    Compute,
    /// A packet was taken note of.
    Detect,
    /// Data goes out: the packet, and what is sent with it in one transfer.
    SendData {
        /// Bytes sent with it.
        also: u64,
    },
    /// So many bytes go out.
    Send(u64),
    /// The egress card has been told, and answers.
    AwaitCredit,
    /// The packet's receive buffer is free.
    FreeBuffer,
}

/// Why an event is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Always.
    Core,
    /// Because FIFOs are software.
    Fifo,
    /// Because following a list of transfers is software.
    Chain,
}

/// One line of the table: a name, why it is there, its stage and class, nanoseconds, and what it starts.
type Line = (&'static str, Part, Stage, Class, u32, Action);

const LINES: [Line; 20] = {
    use Action::{AwaitCredit, Compute, Detect, FreeBuffer, Send, SendData};
    use Class::{In, On, Out};
    use Part::{Chain, Core, Fifo};
    [
        ("rx_detect", Core, Stage::Receive, In, 2_000, Detect),
        ("rx_alloc_buf", Core, Stage::Receive, In, 2_500, Compute),
        ("rx_post", Core, Stage::Receive, In, 2_000, Compute),
        ("rx_header", Core, Stage::Receive, In, 2_000, Compute),
        ("rx_tail", Core, Stage::Receive, In, 1_500, Compute),
        ("rx_crc_check", Core, Stage::Receive, In, 2_000, Compute),
        ("rx_msg_build", Core, Stage::Receive, In, 3_000, Compute),
        ("peer_send", Core, Stage::Send, On, 3_500, Compute),
        ("msg_prepare", Core, Stage::Send, On, 3_000, Compute),
        ("fifo_slot_lookup", Fifo, Stage::Send, On, 2_500, Compute),
        ("fifo_flow_check", Fifo, Stage::Send, On, 2_500, Compute),
        ("dma_data_start", Core, Stage::Send, Out, 2_500, SendData { also: 0 }),
        ("dma_chain_sched", Chain, Stage::Send, Out, 2_000, Compute),
        ("dma_msg_start", Chain, Stage::Send, Out, 3_000, Send(MESSAGE_BYTES)),
        ("dma_msg_done", Chain, Stage::Send, Out, 2_000, Compute),
        ("dma_ptr_start", Chain, Stage::Send, Out, 3_000, Send(POINTER_BYTES)),
        ("dma_ptr_done", Chain, Stage::Send, Out, 2_000, Compute),
        ("fifo_tail_post", Fifo, Stage::Send, Out, 2_500, AwaitCredit),
        ("fifo_credit_apply", Fifo, Stage::Send, Out, 2_500, Compute),
        ("buf_free", Core, Stage::Complete, Out, 2_500, FreeBuffer),
    ]
};

impl Card {
    /// Its event plan, and what each kind of it has the hardware do.
    pub(super) fn plan(&self) -> (EventPlan, Vec<Action>) {
        let mut kinds = Vec::new();
        let mut actions = Vec::new();
        for (name, part, stage, class, nanos, action) in LINES {
            if self.is_there(part) {
                kinds.push(self.kind(name, stage, class, nanos));
                actions.push(self.action(action));
            }
            if name == "rx_msg_build" {
                kinds.push(self.kind("am_dispatch", Stage::Dispatch, Class::On, 2_500));
                let cost = Cost::Fuel;
                kinds.push(EventKind { cost, ..self.kind("handler", Stage::Handle, Class::On, 0) });
                actions.extend([Action::Compute; 2]);
            }
        }
        // The egress side of a card (derived, like the credit: three mean events), the host's messages
        // (derived: one), and the poll.
        for (name, stage, class, nanos) in [
            ("egress_detect", Stage::Arrive, Class::In, MEAN_EVENT_NS),
            ("egress_build", Stage::Arrive, Class::On, MEAN_EVENT_NS),
            ("egress_send", Stage::Arrive, Class::Out, MEAN_EVENT_NS),
            ("host_message", Stage::Control, Class::Control, MEAN_EVENT_NS),
            ("idle_poll", Stage::Idle, Class::In, self.idle_poll_ns),
        ] {
            kinds.push(self.kind(name, stage, class, nanos));
            actions.push(Action::Compute);
        }
        join(&mut kinds);
        let plan = EventPlan::new("lanai", &kinds, 1, self.policy, self.fuel_time());
        (plan, actions)
    }

    /// Nanoseconds of its idle poll.
    pub(super) fn poll_ns(&self) -> u64 {
        self.scaled(self.idle_poll_ns).max(1)
    }

    /// So many nanoseconds of the paper's processor, on this card's.
    fn scaled(&self, nanos: u32) -> u64 {
        let (part, whole) = self.processor;
        u64::from(nanos) * u64::from(part) / u64::from(whole.max(1))
    }

    fn fuel_time(&self) -> u64 {
        let (part, whole) = self.processor;
        self.picoseconds_per_fuel * u64::from(part) / u64::from(whole.max(1))
    }

    fn is_there(&self, part: Part) -> bool {
        match part {
            Part::Core => true,
            Part::Fifo => self.way == Way::Pci && !self.hardware_fifo,
            Part::Chain => !self.chained_dma,
        }
    }

    fn kind(&self, name: &'static str, stage: Stage, class: Class, nanos: u32) -> EventKind {
        let cost = Cost::Fixed(u32::try_from(self.scaled(nanos)).unwrap_or(u32::MAX));
        let gate = Gate::Open;
        EventKind { name, stage, class, cost, works: false, chained: false, gate }
    }

    fn action(&self, action: Action) -> Action {
        match action {
            Action::SendData { .. } if self.chained_dma => Action::SendData { also: MESSAGE_BYTES },
            other => other,
        }
    }

    /// How long the hardware is busy after an event; `bytes` is the packet's length.
    pub(super) fn busy_ns(&self, action: Action, bytes: usize) -> Option<u64> {
        let transfer = |bytes| match self.way {
            Way::Pci => host_dma_ns(bytes),
            Way::Wire => transfer_ns(bytes, LINK_BYTES_PER_SECOND),
        };
        match action {
            Action::SendData { also } => Some(transfer(bytes as u64 + also)),
            Action::Send(bytes) => Some(transfer(bytes)),
            Action::AwaitCredit => Some(CREDIT_NS),
            Action::Compute | Action::Detect | Action::FreeBuffer => None,
        }
    }
}

/// Says which kinds follow which, where the runtime's work of each stage is done, and what is behind the
/// gate: from the first transfer to the freed buffer, one packet at a time (the card's one DMA engine,
/// followed by software).
fn join(kinds: &mut [EventKind]) {
    for at in 0..kinds.len() {
        let stage = kinds[at].stage;
        let next = kinds.get(at + 1).map(|kind| kind.stage);
        // A packet that was sent has its buffer freed in the same chain.
        kinds[at].chained = next == Some(stage) || stage == Stage::Send;
        kinds[at].works = next != Some(stage) && stage != Stage::Idle;
        match kinds[at].name {
            "dma_data_start" => kinds[at].gate = Gate::Enter,
            "buf_free" => kinds[at].gate = Gate::Leave,
            _ => {}
        }
    }
    // Where there is a FIFO, the egress card has the packet once the tail is posted.
    let Some(post) = kinds.iter().position(|kind| kind.name == "fifo_tail_post") else { return };
    for (at, kind) in kinds.iter_mut().enumerate() {
        if kind.stage == Stage::Send {
            kind.works = at == post;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::costs::ROUTE_HANDLER_NS;
    use super::*;

    /// Nanoseconds of the events of one packet, with the published handler.
    fn packet_ns(card: &Card) -> u64 {
        let (plan, actions) = card.plan();
        assert_eq!(plan.kinds().len(), actions.len());
        let stages = [Stage::Receive, Stage::Dispatch, Stage::Send, Stage::Complete];
        let system = plan.kinds().iter().filter(|kind| stages.contains(&kind.stage));
        let cost = |kind: &EventKind| match kind.cost {
            Cost::Fixed(nanos) => u64::from(nanos),
            _ => 0,
        };
        ROUTE_HANDLER_NS + system.map(cost).sum::<u64>()
    }

    #[test]
    fn the_sums_are_the_published_ones() {
        let card = Card::default();
        assert_eq!(packet_ns(&card), 55_000);
        assert_eq!(packet_ns(&Card { chained_dma: true, ..card }), 55_000 - 12_000);
        assert_eq!(packet_ns(&Card { chained_dma: true, hardware_fifo: true, ..card }), 33_000);
        assert_eq!(packet_ns(&Card { way: Way::Wire, ..card }), 45_000);
        let events =
            card.plan().0.kinds().iter().filter(|kind| kind.stage != Stage::Handle).count();
        assert_eq!(events, 21 + 5, "the system's 21, three of egress, the host's, the poll");
    }

    #[test]
    fn a_packet_that_was_sent_has_its_buffer_freed_in_the_same_chain() {
        for chained_dma in [false, true] {
            for hardware_fifo in [false, true] {
                let (plan, _) = Card { chained_dma, hardware_fifo, ..Card::default() }.plan();
                let kinds = plan.kinds();
                let free = kinds.iter().position(|kind| kind.name == "buf_free").unwrap();
                assert!(kinds[free - 1].chained && !kinds[free].chained);
                assert_eq!(plan.entry(Stage::Complete), Some(free));
            }
        }
    }
}
