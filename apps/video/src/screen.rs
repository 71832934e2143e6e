//! A screen: several videos as rectangles of one frame buffer, moved while they run (SPINE 5.1).
//!
//! This is the paper's own arrangement, where the adapter writes straight into what is seen, and where the
//! paper saw stray lines after a window had moved. Here a rectangle is leased: to move a video its lease is
//! revoked, and only when the adapter has acknowledged that nothing is written there any more is the place
//! erased and the new one leased. So no pixel is ever written outside of a lease. Tearing is possible: the
//! X server may look while a frame is being written.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::eventfd::EventFd;
use spine_abi::frame_buffer::{Geometry, Rectangle};
use spine_client::memory::{Region, RegionError};
use spine_io::dma::{FrameBuffer, Grant, GrantError, Start};

use crate::backend::Backend;
use crate::format::Size;
use crate::frames::{FrameBufferError, WindowCounters, window_counters};
use crate::present::Picture;
use crate::stream::Stream;

/// What is where no video is.
const DESKTOP: u32 = 0x0020_3040;
/// How long the adapter may take to acknowledge: it does within one turn of its loop.
const ACKNOWLEDGE: Duration = Duration::from_secs(2);
/// Bits of a pixel that are seen.
const SEEN: u32 = 0x00ff_ffff;

/// How a video is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Revoke, wait for the acknowledgement, erase, lease.
    Leases,
    /// Erase, tell the adapter, hope: what leaves stray lines. To show that the test sees them.
    Naive,
}

/// Why a video cannot be put there.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// No such video.
    #[error("there is no video {0}: they are numbered from 0 in the order they were named")]
    NoVideo(usize),
    /// Not on the screen.
    #[error("a video of {0} at {1},{2} is not all on the screen")]
    Outside(Size, u32, u32),
    /// On top of another.
    #[error("it would cover video {0}, and videos on a screen lie side by side")]
    Covered(usize),
    /// The adapter.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// Sharing the memory with it.
    #[error("cannot share the screen: {0}")]
    Share(std::io::Error),
}

/// Why there is no screen.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// It is too large.
    #[error(transparent)]
    FrameBuffer(#[from] FrameBufferError),
    /// Its memory.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The videos need more room.
    #[error("the videos do not fit on a screen of {0} side by side")]
    Full(Size),
}

/// The screen's frame buffer, and where each video is in it.
pub struct Screen {
    region: Region,
    geometry: Geometry,
    size: Size,
    sizes: Vec<Size>,
    places: Vec<Rectangle>,
    protocol: Protocol,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Screen {
    /// A screen with the streams' videos side by side, none leased yet.
    ///
    /// # Errors
    /// [`ScreenError`].
    pub fn new(size: Size, streams: &[Stream], protocol: Protocol) -> Result<Self, ScreenError> {
        let sizes: Vec<Size> = streams.iter().map(|stream| stream.size).collect();
        let places = arrange(size, &sizes).ok_or(ScreenError::Full(size))?;
        let geometry = Geometry::screen(1, side(size.width()), side(size.height()))
            .map_err(|_| FrameBufferError::Size(size))?;
        let region = Region::create("video-screen", geometry.bytes())?;
        let screen = Self { region, geometry, size, sizes, places, protocol };
        screen.fill(geometry.whole(), |_| DESKTOP);
        Ok(screen)
    }

    /// Leases a video's place to the adapter.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn lease(
        &self,
        backend: &Backend,
        video: usize,
        doorbell: &Arc<EventFd>,
    ) -> Result<(), MoveError> {
        let rectangle = *self.places.get(video).ok_or(MoveError::NoVideo(video))?;
        let file = self.region.file().try_clone().map_err(MoveError::Share)?;
        let doorbell = Some(Arc::clone(doorbell));
        let buffer = FrameBuffer { file: file.into(), geometry: self.geometry, doorbell };
        let window = u8::try_from(video).unwrap_or(u8::MAX);
        let grant = Grant { window, buffer, rectangle, start: Start::AtOnce };
        let acknowledgement = backend.begin(grant)?;
        if self.protocol == Protocol::Leases {
            acknowledgement.wait(ACKNOWLEDGE)?;
        }
        Ok(())
    }

    /// Moves a video's upper left corner to a pixel of the screen, with the picture it shows.
    ///
    /// # Errors
    /// [`MoveError`]; it stays where it was, unless the adapter is gone.
    pub fn move_to(
        &mut self,
        backend: &Backend,
        video: usize,
        (x, y): (u32, u32),
        doorbell: &Arc<EventFd>,
    ) -> Result<(), MoveError> {
        let (old, new) = self.allowed(video, (x, y))?;
        if self.protocol == Protocol::Leases {
            let window = u8::try_from(video).unwrap_or(u8::MAX);
            backend.revoke(window)?.wait(ACKNOWLEDGE)?;
        }
        let picture = self.pixels(old);
        self.fill(old, |_| DESKTOP);
        self.fill(new, |at| picture.get(at).copied().unwrap_or(DESKTOP));
        if let Some(place) = self.places.get_mut(video) {
            *place = new;
        }
        self.lease(backend, video, doorbell)
    }

    /// Where it is and where it would be.
    fn allowed(
        &self,
        video: usize,
        (x, y): (u32, u32),
    ) -> Result<(Rectangle, Rectangle), MoveError> {
        let (old, size) =
            self.places.get(video).zip(self.sizes.get(video)).ok_or(MoveError::NoVideo(video))?;
        let new = Rectangle { x, y, ..*old };
        if !self.geometry.contains(new) {
            return Err(MoveError::Outside(*size, x, y));
        }
        let covers = |(other, place): (usize, &Rectangle)| other != video && place.meets(new);
        match self.places.iter().enumerate().position(covers) {
            Some(other) => Err(MoveError::Covered(other)),
            None => Ok((*old, new)),
        }
    }

    /// The video at a pixel, and where in it that pixel is.
    pub fn at(&self, x: u32, y: u32) -> Option<(usize, (u32, u32))> {
        let point = Rectangle { x, y, width: 1, height: 1 };
        let video = self.places.iter().position(|place| place.meets(point))?;
        let place = self.places.get(video)?;
        Some((video, (x - place.x, y - place.y)))
    }

    /// A video's upper left corner.
    pub fn corner(&self, video: usize) -> Option<(u32, u32)> {
        self.places.get(video).map(|place| (place.x, place.y))
    }

    /// Pixels outside of all videos that are not the desktop's: there are none, ever.
    pub fn strays(&self) -> usize {
        let mut strays = 0;
        for y in 0..self.geometry.height() {
            let mut x = 0;
            let width = self.geometry.width();
            while x < width {
                let on = |place: &&Rectangle| {
                    (place.x..place.x + place.width).contains(&x)
                        && (place.y..place.y + place.height).contains(&y)
                };
                if let Some(place) = self.places.iter().find(on) {
                    x = place.x + place.width;
                    continue;
                }
                strays += usize::from(self.load(x, y) & SEEN != DESKTOP);
                x += 1;
            }
        }
        strays
    }

    /// What the adapter counted for a video.
    pub fn counters(&self, video: usize) -> WindowCounters {
        window_counters(&self.region, video)
    }

    fn offset(&self, x: u32, y: u32) -> usize {
        self.geometry.pixels(0) + y as usize * self.geometry.stride() as usize + 4 * x as usize
    }

    fn load(&self, x: u32, y: u32) -> u32 {
        self.region.load_u32(self.offset(x, y)).unwrap_or_default()
    }

    /// The pixels of a rectangle, line by line.
    fn pixels(&self, rectangle: Rectangle) -> Vec<u32> {
        let Rectangle { x, y, width, height } = rectangle;
        (y..y + height)
            .flat_map(|y| (x..x + width).map(move |x| (x, y)))
            .map(|(x, y)| self.load(x, y))
            .collect()
    }

    /// Fills a rectangle, line by line.
    fn fill(&self, rectangle: Rectangle, pixel: impl Fn(usize) -> u32) {
        let mut at = 0;
        for y in rectangle.y..rectangle.y + rectangle.height {
            for x in rectangle.x..rectangle.x + rectangle.width {
                // Inside: the rectangle is (`allowed`, `arrange`), and the region is as large as the screen.
                let _ = self.region.store_u32(self.offset(x, y), pixel(at));
                at += 1;
            }
        }
    }
}

impl Picture for Screen {
    fn size(&self) -> Size {
        self.size
    }

    fn region(&self) -> &Region {
        &self.region
    }

    fn offset(&self) -> usize {
        self.geometry.pixels(0)
    }

    fn copy(&self, into: &mut Vec<u32>) {
        into.clear();
        into.extend(self.pixels(self.geometry.whole()));
    }
}

fn side(pixels: usize) -> u32 {
    u32::try_from(pixels).unwrap_or(u32::MAX)
}

/// Puts videos side by side in rows; `None` where they do not fit.
fn arrange(screen: Size, videos: &[Size]) -> Option<Vec<Rectangle>> {
    let (mut x, mut y, mut row) = (0, 0, 0);
    let mut places = Vec::new();
    for video in videos {
        if x + video.width() > screen.width() {
            (x, y, row) = (0, y + row, 0);
        }
        if video.width() > screen.width() || y + video.height() > screen.height() {
            return None;
        }
        places.push(Rectangle {
            x: side(x),
            y: side(y),
            width: side(video.width()),
            height: side(video.height()),
        });
        x += video.width();
        row = row.max(video.height());
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(size: &str, videos: &[&str]) -> Result<Screen, ScreenError> {
        let stream = |size: &&str| Stream {
            port: 1,
            address: None,
            source: None,
            payload_type: None,
            format: crate::format::Format::Bgra,
            size: size.parse().unwrap(),
            colorimetry: crate::colour::Colorimetry::Bt709,
            range: crate::colour::Range::Narrow,
        };
        let streams: Vec<Stream> = videos.iter().map(stream).collect();
        Screen::new(size.parse().unwrap(), &streams, Protocol::Leases)
    }

    #[test]
    fn videos_lie_side_by_side_in_rows_and_too_many_are_refused() {
        let found = screen("100x60", &["60x30", "40x20", "50x30"]).unwrap();
        let corners: Vec<_> = found.places.iter().map(|place| (place.x, place.y)).collect();
        assert_eq!(corners, [(0, 0), (60, 0), (0, 30)]);
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            assert!(!found.places[one].meets(found.places[other]));
        }
        assert!(screen("100x60", &["60x30", "60x31"]).is_err());
        assert!(screen("100x60", &["101x3"]).is_err());
    }

    #[test]
    fn a_place_that_cannot_be_is_named() {
        let found = screen("100x60", &["40x30", "40x20"]).unwrap();
        let say = |video, x, y| found.allowed(video, (x, y)).map(drop).map_err(|e| e.to_string());
        assert_eq!(say(0, 0, 30), Ok(()));
        assert!(say(0, 61, 0).unwrap_err().contains("not all on the screen"));
        assert!(say(0, u32::MAX, 0).unwrap_err().contains("not all on the screen"));
        assert!(say(0, 1, 0).unwrap_err().contains("would cover video 1"));
        assert!(say(2, 0, 0).unwrap_err().contains("no video 2"));
    }

    #[test]
    fn a_stray_pixel_is_seen_and_pixels_of_videos_are_none() {
        let found = screen("100x60", &["40x30", "40x20"]).unwrap();
        assert_eq!(found.strays(), 0);
        found.region.store_u32(found.offset(39, 29), 5).unwrap();
        assert_eq!(found.strays(), 0, "inside of a video");
        found.region.store_u32(found.offset(40, 29), 5).unwrap();
        found.region.store_u32(found.offset(99, 59), 5).unwrap();
        assert_eq!(found.strays(), 2);
        assert_eq!(found.at(79, 19), Some((1, (39, 19))));
        assert_eq!(found.at(80, 19), None);
    }
}
