//! The DMA engine: moving bytes from packets and scratch into frame buffers (SPINE 3.4, 5.1, 7.2).
//!
//! A handler's verdict names a list of elements in its slot. The list is carried out when the verdict is
//! handed in, that is with the request for the next message: the packet is in the cache still, the
//! handler's scratch is its own again afterwards, and whatever is published later is ordered behind it. A
//! handler that is stopped has handed in nothing, and nothing of its list is done.
//!
//! Nothing an extension says is believed: `target` turns lines into addresses and knows only the rectangle
//! that the application granted; `copy` cuts each piece to it and to the source; the list is paid for in
//! fuel, by element and byte, before it is begun, and one that costs more than its handler has left is
//! refused. Which slot of a window is being filled only `window` knows. Frame buffers are in no extension's
//! memory.
//!
//! Left out: DMA out of a frame buffer.

mod copy;
mod counts;
mod frame;
mod grant;
mod sys;
mod target;
mod window;

use std::sync::mpsc::SyncSender;

use spine_abi::ErrorCode;
use spine_abi::dma::{Element, Transfer};
use spine_abi::frame_buffer::Rectangle;
use spine_abi::limits::WINDOWS;

use self::counts::Counts;
use self::window::Window;
use spine_abi::Nanos;

pub use grant::{Acknowledgement, FrameBuffer, Grant, GrantError, Start};
pub(crate) use grant::{Answer, Prepared};

/// Fuel for each element, besides its bytes and pieces.
pub const ELEMENT_COST: u64 = 16;
/// Bytes moved for one unit of fuel.
pub const BYTES_PER_UNIT: u64 = 16;
/// Fuel for publishing a frame: a few stores, a swap and a system call for the doorbell.
pub const PUBLISH_COST: u64 = 500;

/// Which file a frame buffer is.
type Identity = (u64, u64);

/// One of an extension's windows, granted or not.
struct Place {
    window: Option<Granted>,
    /// Granted while a frame is being filled: takes its place when that ends.
    next: Option<(Granted, SyncSender<Answer>)>,
    /// The counters while there is no window.
    counts: Counts,
}

/// A window with what it was granted as.
struct Granted {
    window: Box<Window>,
    identity: Identity,
    rectangle: Rectangle,
}

/// The windows of one extension.
pub(crate) struct Windows {
    places: Box<[Place; WINDOWS]>,
    now: Nanos,
    repairing: bool,
}

impl Default for Windows {
    fn default() -> Self {
        let place = |index| Place { window: None, next: None, counts: Counts::new(index) };
        Self { places: Box::new(std::array::from_fn(place)), now: Nanos(0), repairing: false }
    }
}

impl Windows {
    /// The beginning of an extension's turn: what time it is, which frames are stamped with, and a slice of
    /// a repair if one waits.
    #[inline]
    pub(crate) fn turn(&mut self, now: Nanos) {
        self.now = now;
        if self.repairing {
            self.repair();
        }
    }

    /// Whether a frame waits for the next slice of its repair.
    #[inline]
    pub(crate) fn is_repairing(&self) -> bool {
        self.repairing
    }

    /// Carries out a transfer whose elements are in `list`, copying from `source`; says what it cost.
    ///
    /// # Errors
    /// [`ErrorCode::BadVerdict`], [`ErrorCode::OutOfRange`]: not a list; [`ErrorCode::Full`]: it costs more
    /// than `fuel`. Nothing was done then.
    #[inline]
    pub(crate) fn carry_out(
        &mut self,
        transfer: Transfer,
        list: &[u8],
        source: &[u8],
        fuel: u64,
    ) -> Result<u64, ErrorCode> {
        let cost = cost(&transfer, list)?;
        if cost > fuel {
            return Err(ErrorCode::Full);
        }
        if transfer.publish.before() {
            self.publish(transfer.window);
        }
        for bytes in elements(&transfer, list)? {
            let element = Element::parse(transfer.form, bytes)?;
            self.move_element(&element, &transfer, source);
        }
        if transfer.publish.after() {
            self.publish(transfer.window);
        }
        Ok(cost)
    }

    #[inline]
    fn move_element(&mut self, element: &Element, transfer: &Transfer, source: &[u8]) {
        let Some(place) = self.places.get_mut(usize::from(element.window)) else { return };
        match &mut place.window {
            Some(granted) => granted.window.copy(element, source, transfer.tag, self.now),
            None => place.counts.revoked(),
        }
    }

    /// Publishes a window's frame; says what that cost. Nothing happens where there is no window or no
    /// frame.
    pub(crate) fn publish(&mut self, window: u8) -> u64 {
        if let Some(place) = self.places.get_mut(usize::from(window))
            && let Some(granted) = &mut place.window
        {
            granted.window.publish();
            self.repairing |= granted.window.is_repairing();
            place.begin_next();
        }
        PUBLISH_COST
    }

    /// Does a slice of a repair that waits: at most 64 KiB.
    fn repair(&mut self) {
        let windows = self.places.iter_mut().filter_map(|place| place.window.as_mut());
        let mut waiting = windows.filter(|granted| granted.window.is_repairing());
        if let Some(granted) = waiting.next() {
            granted.window.repair_slice();
            self.repairing = granted.window.is_repairing() || waiting.next().is_some();
        } else {
            self.repairing = false;
        }
    }

    /// Puts a granted window in its place, now or when the frame being filled has ended; answers then.
    pub(crate) fn grant(&mut self, prepared: Prepared, reply: SyncSender<Answer>) {
        let Prepared { index, window, identity, rectangle, start } = prepared;
        let granted = Granted { window, identity, rectangle };
        if self.is_taken(index, identity, rectangle) {
            let _ = reply.send(Err(GrantError::Taken { window: index }));
            return;
        }
        let Some(place) = self.places.get_mut(usize::from(index)) else {
            let _ = reply.send(Err(GrantError::NoWindow { window: index }));
            return;
        };
        // An earlier grant that never began is forgotten: its reply hangs up.
        place.next = Some((granted, reply));
        let open = place.window.as_ref().is_some_and(|granted| granted.window.is_open());
        if !open || start == Start::AtOnce {
            place.begin_next();
        }
    }

    /// Whether another window has pixels of the same memory.
    fn is_taken(&self, index: u8, identity: Identity, rectangle: Rectangle) -> bool {
        let others = self.places.iter().enumerate().filter(|(at, _)| *at != usize::from(index));
        let granted = |place: &'_ Place| {
            let next =
                place.next.as_ref().map(|(granted, _)| (granted.identity, granted.rectangle));
            let now = place.window.as_ref().map(|granted| (granted.identity, granted.rectangle));
            [now, next]
        };
        others
            .flat_map(|(_, place)| granted(place))
            .flatten()
            .any(|(other, theirs)| other == identity && theirs.meets(rectangle))
    }

    /// Takes a window away: once this has returned nothing is written there. The window itself goes back
    /// to whoever asked, who unmaps it.
    pub(crate) fn revoke(&mut self, index: u8, reply: &SyncSender<Answer>) {
        let answer = match self.places.get_mut(usize::from(index)) {
            Some(place) => Ok(place.take()),
            None => Err(GrantError::NoWindow { window: index }),
        };
        let _ = reply.send(answer);
    }
}

impl Place {
    /// The window waiting takes its place; the one before goes back with the answer.
    fn begin_next(&mut self) {
        let Some((mut granted, reply)) = self.next.take() else { return };
        let before = self.take();
        granted.window.count_on(self.counts);
        self.window = Some(granted);
        let _ = reply.send(Ok(before));
    }

    fn take(&mut self) -> Option<Box<Window>> {
        let granted = self.window.take()?;
        self.counts = granted.window.counts();
        Some(granted.window)
    }
}

/// The bytes of a transfer's elements, one by one.
#[inline]
fn elements<'a>(
    transfer: &Transfer,
    list: &'a [u8],
) -> Result<std::slice::ChunksExact<'a, u8>, ErrorCode> {
    let bytes = transfer.form.bytes();
    let used = list.get(..usize::from(transfer.elements) * bytes).ok_or(ErrorCode::OutOfRange)?;
    Ok(used.chunks_exact(bytes))
}

/// What a transfer costs, whatever becomes of its elements; an error if one of them is none.
#[inline]
fn cost(transfer: &Transfer, list: &[u8]) -> Result<u64, ErrorCode> {
    let mut cost = 0;
    for bytes in elements(transfer, list)? {
        let element = Element::parse(transfer.form, bytes)?;
        let pieces = u64::from(element.strides.pieces);
        cost += ELEMENT_COST + pieces + element.bytes() / BYTES_PER_UNIT;
    }
    let published = u64::from(transfer.publish.before()) + u64::from(transfer.publish.after());
    Ok(cost + published * PUBLISH_COST)
}

#[cfg(test)]
mod tests;
