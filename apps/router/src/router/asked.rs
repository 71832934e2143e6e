//! The router as it is shown to who asks ([`crate::control`]).

use std::net::Ipv4Addr;
use std::time::Instant;

use spine_fib::Store;

use super::Router;
use crate::control::{Control, View};

impl<R: Store> Router<R> {
    /// Answers whoever asks, as far as that goes now.
    pub(super) fn attend(&mut self, control: &mut Control<'_>) {
        if !control.is_idle() {
            self.view(|view| control.attend(view, Instant::now()));
        }
    }

    /// Says what a newcomer should know when packets are forwarded.
    pub fn open_to(&mut self, control: &Control<'_>) {
        for sentence in self.view(|view| control.opening(view)) {
            (self.say)(&sentence);
        }
    }

    fn view<T>(&mut self, look: impl FnOnce(&mut View<'_>) -> T) -> T {
        let fib = &self.fib;
        let enabled = (0..self.adapters.len()).map(|at| !fib.is_paused(at)).collect();
        let look_up = |address: Ipv4Addr, hash: u32| fib.look_up(address, || hash);
        let believes = |source: Ipv4Addr, adapter: u16| fib.believes(source, adapter);
        let (requests, state) = self.mirror.parts();
        look(&mut View {
            state,
            requests,
            table: &self.table,
            ours: &self.ours,
            names: &self.names,
            ownership: &self.ownership,
            claims: &self.claims,
            reach: self.classifier.reach(),
            enabled,
            forwarding: &self.forwarding,
            bypassed: &self.bypassed,
            noted: &self.noted,
            reasons: &self.reasons,
            most_unrepresented: self.most_unrepresented,
            adapters: &self.adapters,
            look_up: &look_up,
            believes: &believes,
        })
    }
}
