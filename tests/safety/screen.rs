//! A screen of which an extension has a part, and whose other pixels nobody may touch.

use std::time::Duration;

use spine_abi::frame_buffer::{Geometry, Rectangle};
use spine_client::memory::Region;
use spine_io::dma::{Acknowledgement, FrameBuffer, Grant, Start};

/// Pixels each way.
const SIZE: u32 = 64;
/// The part that is leased: in the middle, so that there is something on every side.
const LEASE: Rectangle = Rectangle { x: 24, y: 24, width: 16, height: 16 };
/// What all pixels are at first.
const BACKGROUND: u8 = 0x5a;

/// The screen's memory, as the application sees it.
pub(crate) struct Screen {
    region: Region,
    geometry: Geometry,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let geometry = Geometry::screen(1, SIZE, SIZE).expect("a geometry");
        let region = Region::create("screen", geometry.bytes()).expect("memory");
        let pixels = vec![BACKGROUND; (geometry.stride() * SIZE) as usize];
        region.write(geometry.pixels(0), &pixels).expect("inside");
        Self { region, geometry }
    }

    /// The part of it, as window 0 of an extension.
    pub(crate) fn grant(&self) -> Grant {
        let file = self.region.file().try_clone().expect("a descriptor").into();
        let buffer = FrameBuffer { file, geometry: self.geometry, doorbell: None };
        Grant { window: 0, buffer, rectangle: LEASE, start: Start::AtOnce }
    }

    /// How many bytes are not what they were: outside and inside of the part.
    pub(crate) fn changed(&self) -> (usize, usize) {
        let (stride, pixel) = (self.geometry.stride(), self.geometry.bytes_per_pixel());
        let mut bytes = vec![0; (stride * SIZE) as usize];
        self.region.read(self.geometry.pixels(0), &mut bytes).expect("inside");
        let leased = |at: u32| {
            let (x, y) = (at % stride / pixel, at / stride);
            let inside =
                |value: u32, start: u32, length: u32| (start..start + length).contains(&value);
            inside(x, LEASE.x, LEASE.width) && inside(y, LEASE.y, LEASE.height)
        };
        let changed = (0..).zip(&bytes).filter(|(_, byte)| **byte != BACKGROUND);
        let (inside, outside): (Vec<u32>, Vec<u32>) =
            changed.map(|(at, _)| at).partition(|at| leased(*at));
        (outside.len(), inside.len())
    }
}

/// Fails unless the adapter, which has had a turn since, has begun.
pub(crate) fn begun(acknowledgement: &Acknowledgement) {
    acknowledgement.wait(Duration::ZERO).expect("granted");
}
