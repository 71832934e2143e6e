//! Why a packet was dropped, or given to the kernel: the names under which it is counted.
//!
//! Those below [`RUNTIME`] are an extension's to give. The others are the runtime's own, and a verdict that
//! gives one of them is a bad one: an extension that could say "lost in the driver" would write false blame into
//! its adapter's statistics.

/// The first of the runtime's own reasons.
pub const RUNTIME: u8 = 64;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// A reason, one byte wide where it crosses the ABI.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant = $number),* }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name used in statistics and JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The reason with this number; `None` where there is none.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// Whether it is one that an extension gives, and not the runtime.
            #[inline]
            pub const fn is_an_extensions(self) -> bool {
                (self as u8) < RUNTIME
            }
        }
    };
}

reasons! {
    /// The extension said drop and gave no reason.
    Extension = 0, "extension";
    /// Fewer bytes than an Ethernet and IPv4 header need, or than the header says.
    Truncated = 1, "truncated";
    /// Version, header length or total length contradict each other (RFC 1812 5.2.2).
    BadHeader = 2, "bad_header";
    /// The IPv4 header checksum is wrong (RFC 1812 5.2.2).
    BadChecksum = 3, "bad_checksum";
    /// Source or destination may not be forwarded (RFC 1812 5.3.7).
    Martian = 4, "martian";
    /// A blackhole route.
    Blackhole = 5, "blackhole";
    /// TTL exhausted: the kernel answers.
    TtlExceeded = 6, "ttl_exceeded";
    /// No route: the kernel answers.
    NoRoute = 7, "no_route";
    /// The next hop's link-layer address is not known yet: the kernel resolves it.
    Unresolved = 8, "unresolved";
    /// Larger than the egress MTU: the kernel fragments or answers.
    TooBig = 9, "too_big";
    /// IP options: the kernel handles them.
    Options = 10, "options";
    /// The way out is the way in: the kernel may send a redirect.
    Hairpin = 11, "hairpin";
    /// Addressed to this machine.
    Local = 12, "local";
    /// The way out is not one of our interfaces.
    NotOurs = 13, "not_ours";
    /// Not something this extension handles.
    Unhandled = 14, "unhandled";
    /// The table is being replaced, or forwarding is switched off.
    Paused = 15, "paused";
    /// The way back to the source does not lead where the packet came from: the kernel's filter decides.
    ReversePath = 16, "reverse_path";
    /// The extension's answer could not be sent.
    Unanswered = 17, "unanswered";
    /// A handler ran out of fuel, trapped, or returned before its burst was done.
    Stopped = 64, "handler_stopped";
    /// A verdict that the extension may not give, or that makes no sense.
    BadVerdict = 65, "bad_verdict";
    /// A message for a handler that nobody has.
    NoHandler = 66, "no_handler";
    /// The ring to a peer adapter was full.
    PeerFull = 67, "peer_ring_full";
    /// The transmit queue was full, or the interface refused.
    TransmitFull = 68, "transmit_full";
    /// The bounded queue to the kernel was full.
    KernelFull = 69, "kernel_queue_full";
    /// The kernel refused a packet handed over to it.
    KernelRefused = 70, "kernel_refused";
    /// The FIFO to the host was full.
    HostFull = 71, "host_fifo_full";
    /// A received packet was larger than a frame.
    Oversized = 72, "oversized";
    /// Lost in the driver or the receive ring before the adapter saw it (XDP_STATISTICS).
    ReceiveLost = 73, "receive_lost";
    /// The peer adapter that should have sent it does not exist.
    NoPeer = 74, "no_peer";
    /// The extension was unloaded with the message waiting.
    Unloaded = 75, "unloaded";
    /// Waiting messages of an extension over its bound.
    QueueFull = 76, "queue_full";
    /// More than the extension's share of what others use, too: buffers kept, messages in one entry or
    /// in the queue to a peer or the host, packets in the queue to the kernel.
    OverShare = 80, "over_share";
    /// The application has closed its FIFO, or is gone, or broke the FIFO's protocol.
    HostClosed = 84, "host_fifo_closed";
    /// What came out of an application's FIFO was no small message.
    BadMessage = 85, "bad_message";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_reasons() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(*reason as u8), Some(*reason));
        }
        assert_eq!(Reason::from_number(255), None);
    }

    #[test]
    fn the_runtimes_own_begin_where_handlers_are_stopped() {
        let mut reasons = Reason::ALL.iter().copied();
        let first = reasons.find(|reason| !reason.is_an_extensions());
        assert_eq!(first, Some(Reason::Stopped));
        assert!(reasons.all(|reason| !reason.is_an_extensions()));
        assert!(Reason::Unanswered.is_an_extensions());
    }
}
