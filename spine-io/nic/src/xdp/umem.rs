//! The memory of all frames of a process, registered with AF_XDP once and used by every socket.
//!
//! Where a packet stands in its frame is fixed: 256 bytes (what XDP keeps in front) from the frame's
//! start, because the kernel puts it there and `xsk-rs` makes descriptors for no other place. So the
//! descriptors are a table that is only read, one a frame, and a packet that stands elsewhere is moved
//! within its frame before it is transmitted.
//!
//! Which adapter a frame belongs to is arithmetic on its index, the one [`FrameMemory`] deals by.
//!
//! Left out: giving a queue back before the whole memory goes. The first socket of a UMEM is also the
//! UMEM's own descriptor, so its queue stays taken until the last user of the memory is dropped.

use std::fmt;
use std::sync::Arc;

use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};
use xsk_rs::{FrameDesc, Umem};

use super::{XdpError, kernel_error, sys};
use crate::buffer::{Frame, FrameMemory};

/// Descriptors in each ring of each socket; powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rings {
    /// Received packets that wait for us.
    pub receive: u32,
    /// Packets that wait for the driver.
    pub transmit: u32,
    /// Empty frames the driver may receive into: more than bursts are long, less than a pool.
    pub fill: u32,
    /// Frames that come back after transmission.
    pub completion: u32,
}

impl Default for Rings {
    fn default() -> Self {
        Self { receive: 2048, transmit: 2048, fill: 2048, completion: 4096 }
    }
}

/// The frames of a process, as AF_XDP sees them. Cloning it makes another handle.
#[derive(Clone)]
pub struct SharedUmem(Arc<Inner>);

pub(super) struct Inner {
    pub(super) umem: Umem,
    pub(super) memory: Arc<FrameMemory>,
    /// For each frame, where a packet stands in it.
    pub(super) places: Box<[FrameDesc]>,
    /// log2 of a frame's bytes.
    pub(super) frame_shift: u32,
    frames_per_home: u32,
    pub(super) rings: Rings,
}

impl fmt::Debug for SharedUmem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedUmem")
            .field("memory", &self.0.memory)
            .field("rings", &self.0.rings)
            .finish_non_exhaustive()
    }
}

impl SharedUmem {
    /// Registers `frames` frames of `frame_bytes` (2048 or 4096) and deals them out evenly to `homes`
    /// adapters: the memory, each adapter's frames, and what sockets are bound with.
    ///
    /// # Errors
    /// [`XdpError::Memory`] or [`XdpError::Umem`].
    #[expect(clippy::type_complexity, reason = "three things that are made together")]
    pub fn new(
        frames: u32,
        frame_bytes: usize,
        homes: u16,
    ) -> Result<(Arc<FrameMemory>, Vec<Vec<Frame>>, Self), XdpError> {
        Self::with_rings(frames, frame_bytes, homes, Rings::default())
    }

    /// The same with rings of other sizes.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`XdpError::RingSize`].
    #[expect(clippy::type_complexity, reason = "three things that are made together")]
    pub fn with_rings(
        frames: u32,
        frame_bytes: usize,
        homes: u16,
        rings: Rings,
    ) -> Result<(Arc<FrameMemory>, Vec<Vec<Frame>>, Self), XdpError> {
        FrameMemory::check(frames, frame_bytes)?;
        let refused = |source| XdpError::Umem { frames, bytes: frame_bytes, source };
        let invalid = || refused(std::io::ErrorKind::InvalidInput.into());
        let size = u32::try_from(frame_bytes).ok().and_then(|size| FrameSize::new(size).ok());
        let config = UmemConfig::builder()
            .frame_size(size.ok_or_else(invalid)?)
            .fill_queue_size(ring_size(rings.fill)?)
            .comp_queue_size(ring_size(rings.completion)?)
            .frame_headroom(0)
            .build()
            .map_err(|_| invalid())?;
        let count = std::num::NonZeroU32::new(frames).ok_or_else(invalid)?;
        let (umem, places) =
            Umem::new(config, count, false).map_err(|error| refused(kernel_error(&error)))?;
        let places = places.into_boxed_slice();
        let (memory, dealt) = sys::lend(&umem, &places, frame_bytes, homes);
        let inner = Inner {
            umem,
            memory: Arc::clone(&memory),
            places,
            frame_shift: frame_bytes.ilog2(),
            frames_per_home: (frames / u32::from(homes.max(1))).max(1),
            rings,
        };
        Ok((memory, dealt, Self(Arc::new(inner))))
    }

    /// The frames' memory.
    pub fn memory(&self) -> &Arc<FrameMemory> {
        &self.0.memory
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// The adapter a frame belongs to.
    #[inline]
    pub(super) fn home(&self, index: u32) -> u16 {
        u16::try_from(index / self.frames_per_home).unwrap_or(u16::MAX)
    }
}

/// A ring's size, if it is one.
pub(super) fn ring_size(descriptors: u32) -> Result<QueueSize, XdpError> {
    QueueSize::new(descriptors).map_err(|_| XdpError::RingSize(descriptors))
}
