//! The AF_XDP sockets of the bare forwarder: the only unsafe part of it.
//!
//! Invariant behind every block here: each frame of the UMEM is in exactly one place at a time, and
//! its one descriptor moves with it: in `spare` of the port it belongs to, in that port's fill ring or
//! receive ring, in the batch being looked at, or in the other port's transmit or completion ring. A
//! port receives only into its own frames, and with two ports whatever completes at one belongs to the
//! other. Frames are touched only while they are in the batch.
#![allow(unsafe_code, reason = "xsk-rs leaves the ownership of frames to its caller")]

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use xsk_rs::config::{BindFlags, Interface, QueueSize, SocketConfig, UmemConfig, XdpFlags};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

/// Packets looked at in one step.
const BATCH: usize = 64;
/// Frames of each port, and the size of each of its four rings.
const FRAMES: u32 = 4096;
/// Linux 6.17: how many packets one system call may send in copy mode; 32 without it.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// What a step did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Step {
    /// Packets taken from the receive ring.
    pub(crate) received: usize,
    /// Packets put into the other port's transmit ring.
    pub(crate) sent: usize,
    /// System calls made.
    pub(crate) calls: usize,
    /// Packets that still wait in the transmit ring for the kernel.
    pub(crate) waiting: u32,
}

/// Two ports over one UMEM.
#[derive(Debug)]
pub(crate) struct Pair {
    umem: Umem,
    ports: [Port; 2],
    batch: [FrameDesc; BATCH],
}

#[derive(Debug)]
struct Port {
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completed: CompQueue,
    spare: Vec<FrameDesc>,
}

impl Pair {
    /// Binds queue 0 of both interfaces, in copy mode, with libxdp's default program in the driver.
    pub(crate) fn open(names: [&str; 2]) -> io::Result<Self> {
        let size = QueueSize::new(FRAMES).map_err(io::Error::other)?;
        let config = UmemConfig::builder()
            .fill_queue_size(size)
            .comp_queue_size(size)
            .build()
            .map_err(io::Error::other)?;
        let count = NonZeroU32::MIN.saturating_add(2 * FRAMES - 1);
        let (umem, mut frames) = Umem::new(config, count, false).map_err(io::Error::other)?;
        let others = frames.split_off(frames.len() / 2);
        let ports = [
            Port::open(names[0], &umem, size, frames)?,
            Port::open(names[1], &umem, size, others)?,
        ];
        Ok(Self { umem, ports, batch: [FrameDesc::default(); BATCH] })
    }

    /// Passes what waits at port `from` on to the other, after `rewrite` has seen each packet; one for
    /// which it says false is dropped.
    pub(crate) fn step(
        &mut self,
        from: usize,
        rewrite: impl Fn(&mut [u8]) -> bool,
    ) -> io::Result<Step> {
        let [left, right] = &mut self.ports;
        let (from, to) = if from == 0 { (left, right) } else { (right, left) };
        from.take_back(&mut to.completed, &mut self.batch);
        from.refill();

        let room = BATCH.min(to.tx.nb_free(NEVER_MORE) as usize);
        // SAFETY: what is received is written over descriptors that name no frame any more (the last
        // step gave each of them away), so no frame is lost or doubled.
        let received = unsafe { from.rx.consume(&mut self.batch[..room]) };
        let mut kept = 0;
        for at in 0..received {
            let mut desc = self.batch[at];
            // SAFETY: the frame belongs to this UMEM and was just received, so neither the kernel nor
            // anybody here refers to it until it is given away below.
            let keep = rewrite(unsafe { self.umem.data_mut(&mut desc) }.contents_mut());
            if keep {
                self.batch[kept] = desc;
                kept += 1;
            } else {
                from.spare.push(desc);
            }
        }
        // SAFETY: these frames were received above and are given away here, once; `room` left space
        // for all of them.
        let sent = unsafe { to.tx.produce(&self.batch[..kept]) };
        debug_assert_eq!(sent, kept, "the ring had room for the batch");
        let calls = to.kick()?;
        Ok(Step { received, sent, calls, waiting: to.waiting() })
    }

    /// Sleeps until a packet comes, or `milliseconds` have passed.
    pub(crate) fn sleep(&self, milliseconds: u8) -> io::Result<()> {
        let [left, right] = &self.ports;
        let mut fds = [&left.rx, &right.rx].map(|rx| PollFd::new(borrow(rx), PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::from(milliseconds)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// `nb_free` reads the consumer's position only when its cached count is below this.
const NEVER_MORE: u32 = 64;

impl Port {
    fn open(name: &str, umem: &Umem, size: QueueSize, spare: Vec<FrameDesc>) -> io::Result<Self> {
        let interface: Interface = name.parse().map_err(io::Error::other)?;
        let config = SocketConfig::builder()
            .rx_queue_size(size)
            .tx_queue_size(size)
            .xdp_flags(XdpFlags::XDP_FLAGS_DRV_MODE)
            .bind_flags(BindFlags::XDP_COPY | BindFlags::XDP_USE_NEED_WAKEUP)
            .build();
        // SAFETY: each interface and queue is bound once in this process.
        let (tx, rx, rings) = unsafe { Socket::new(config, umem, &interface, 0) }
            .map_err(|error| io::Error::other(format!("{name}: {error:?}")))?;
        let (fill, completed) =
            rings.ok_or_else(|| io::Error::other(format!("{name}: already bound here")))?;
        tune(borrow(&rx))?;
        Ok(Self { rx, tx, fill, completed, spare })
    }

    /// Frames of this port whose transmission the other one has completed.
    fn take_back(&mut self, completed: &mut CompQueue, batch: &mut [FrameDesc; BATCH]) {
        loop {
            // SAFETY: as for receiving, the descriptors written over name nothing any more.
            let count = unsafe { completed.consume(batch) };
            self.spare.extend_from_slice(&batch[..count]);
            if count < BATCH {
                return;
            }
        }
    }

    /// Gives all spare frames to the kernel. The ring has a place for each frame of the port.
    fn refill(&mut self) {
        if self.spare.is_empty() {
            return;
        }
        // SAFETY: what is in `spare` is nowhere else, and leaves it here.
        let given = unsafe { self.fill.produce(&self.spare) };
        self.spare.drain(..given);
    }

    fn waiting(&mut self) -> u32 {
        FRAMES - self.tx.nb_free_exact()
    }

    /// Tells the kernel to send, if there is something to send: in copy mode it always wants to be told.
    fn kick(&mut self) -> io::Result<usize> {
        if self.waiting() == 0 || !self.tx.needs_wakeup() {
            return Ok(0);
        }
        self.tx.wakeup()?;
        Ok(1)
    }
}

fn borrow(rx: &RxQueue) -> BorrowedFd<'_> {
    // SAFETY: the socket stays open as long as its receive queue, which is borrowed for as long.
    unsafe { BorrowedFd::borrow_raw(rx.fd().as_raw_fd()) }
}

/// Room for a full ring of packets in flight: each takes a socket buffer until its receiver frees it, and
/// the default allows about ninety. A kernel without the transmit budget goes on with its 32.
fn tune(socket: BorrowedFd<'_>) -> io::Result<()> {
    setsockopt(&socket, sockopt::SndBufForce, &(16 << 20))?;
    let budget = u32::try_from(BATCH).map_err(io::Error::other)?;
    let length = libc::socklen_t::try_from(size_of_val(&budget)).map_err(io::Error::other)?;
    // SAFETY: the option's value is one u32 on the stack that outlives the call.
    unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            (&raw const budget).cast(),
            length,
        );
    }
    Ok(())
}
