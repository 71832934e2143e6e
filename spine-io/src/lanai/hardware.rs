//! What a card's hardware does when an event of its processor ends: engines start, buffers come free.

use spine_abi::Nanos;
use spine_abi::event::EventPlan;

use super::costs::{RUNTIME_BYTES, SRAM_BYTES};
use super::intake::Intake;
use super::plan::{Action, Card};

/// A card with its event plan.
#[derive(Debug)]
pub(super) struct Hardware {
    card: Card,
    plan: EventPlan,
    actions: Vec<Action>,
}

impl Hardware {
    pub(super) fn new(card: Card) -> Self {
        let (plan, actions) = card.plan();
        Self { card, plan, actions }
    }

    pub(super) fn plan(&self) -> &EventPlan {
        &self.plan
    }

    /// Nanoseconds of one look at everything when no event is ready.
    pub(super) fn poll_ns(&self) -> u64 {
        self.card.poll_ns()
    }

    /// Bytes of the card's memory that are left for extensions.
    pub(super) fn free_bytes<T>(&self, intake: &Intake<T>) -> usize {
        SRAM_BYTES.saturating_sub(intake.bytes() + RUNTIME_BYTES)
    }

    /// The hardware's part of an event that ends at `now`; if it started an engine, when that is done.
    #[inline]
    pub(super) fn end_of<T>(
        &self,
        kind: usize,
        bytes: usize,
        now: Nanos,
        intake: &mut Intake<T>,
    ) -> Option<Nanos> {
        let action = self.actions.get(kind).copied().unwrap_or(Action::Compute);
        match action {
            Action::Compute => return None,
            Action::Detect => intake.note(now),
            Action::FreeBuffer => intake.release(),
            Action::SendData { .. } | Action::Send(_) | Action::AwaitCredit => {}
        }
        self.card.busy_ns(action, bytes).map(|nanos| Nanos(now.0 + nanos))
    }
}
