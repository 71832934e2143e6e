//! One stream on its way to the screen: its frame buffer, its window, and what was shown of it.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};
use spine_client::voice;

use crate::frames::{FrameBuffer, FrameBufferError, WindowCounters};
use crate::present::Picture as _;
use crate::present::window::{Window, WindowError, Wish};
use crate::record::{RecordError, Recording, screenshot};
use crate::stamp::{self, Verdict};
use crate::stream::Stream;

/// Why a stream cannot be shown, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// Its frame buffer.
    #[error(transparent)]
    FrameBuffer(#[from] FrameBufferError),
    /// Its doorbell.
    #[error("no doorbell for frames: {0}")]
    Doorbell(#[from] nix::Error),
    /// Its window.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Its files.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// How to show a stream.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Whether incomplete frames are repaired.
    pub repair: bool,
    /// Whether frames are looked at for tearing.
    pub check: bool,
}

/// What was found in the frames that were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// All lines carry one number.
    pub whole: u64,
    /// They carry several.
    pub torn: u64,
    /// There is no number: another picture than the test pattern.
    pub unstamped: u64,
}

/// One stream.
pub struct View {
    /// What it is.
    pub stream: Stream,
    /// None on a screen, which has a buffer for all.
    buffer: Option<FrameBuffer>,
    doorbell: Arc<EventFd>,
    window: Option<Window>,
    recording: Option<Recording>,
    check: bool,
    checked: Checked,
    shown: u64,
    /// When the first and the last frame was shown.
    span: Option<(Instant, Instant)>,
    overlay: bool,
    screenshots: u64,
}

impl View {
    /// A stream with a frame buffer of its own, without a window; `index` is its number, and its window's at
    /// the extension.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn new(stream: Stream, index: usize, manner: Manner) -> Result<Self, ViewError> {
        let buffer = FrameBuffer::create(stream.size, index, manner.repair)?;
        Ok(Self { buffer: Some(buffer), check: manner.check, ..Self::on_screen(stream)? })
    }

    /// A stream whose pictures go to a screen.
    ///
    /// # Errors
    /// [`ViewError::Doorbell`].
    pub fn on_screen(stream: Stream) -> Result<Self, ViewError> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            stream,
            buffer: None,
            doorbell: Arc::new(EventFd::from_value_and_flags(0, flags)?),
            window: None,
            recording: None,
            check: false,
            checked: Checked::default(),
            shown: 0,
            span: None,
            overlay: false,
            screenshots: 0,
        })
    }

    /// Opens its window.
    ///
    /// # Errors
    /// [`ViewError::Window`].
    pub fn open_window(&mut self) -> Result<(), ViewError> {
        if let Some(buffer) = &self.buffer {
            self.window = Some(Window::open(&self.title(""), buffer)?);
        }
        Ok(())
    }

    /// Records what is shown from now on.
    ///
    /// # Errors
    /// [`ViewError::Record`].
    pub fn record(&mut self, file: &std::path::Path, rate: u32) -> Result<(), ViewError> {
        self.recording = Some(Recording::create(file, self.stream.size, rate)?);
        Ok(())
    }

    /// Its frame buffer as an adapter is granted it; `None` on a screen.
    ///
    /// # Errors
    /// What the system says.
    pub fn to_grant(&self) -> std::io::Result<Option<spine_io::dma::FrameBuffer>> {
        let Some(buffer) = &self.buffer else { return Ok(None) };
        Ok(Some(spine_io::dma::FrameBuffer {
            file: buffer.region().as_fd().try_clone_to_owned()?,
            geometry: *buffer.geometry(),
            doorbell: Some(Arc::clone(&self.doorbell)),
        }))
    }

    /// What becomes readable when there is something to do. Frames are not waited for while the X server
    /// still reads the last one: it says when it is done.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let busy = self.window.as_ref().is_some_and(Window::is_busy);
        let waits = self.buffer.is_some() && !busy;
        let window = self.window.as_ref().and_then(Window::fd);
        waits.then(|| self.doorbell.as_fd()).into_iter().chain(window)
    }

    /// Does what there is to do; says whether a frame was shown.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn turn(&mut self) -> Result<bool, ViewError> {
        let Some(buffer) = &mut self.buffer else { return Ok(false) };
        if let Some(window) = &mut self.window {
            window.tend(buffer)?;
            if window.is_busy() {
                return Ok(false);
            }
        }
        // Silenced before the look at the mailbox, so that no frame is missed. Nothing to read is no error.
        let _ = self.doorbell.read();
        if !buffer.take() {
            return Ok(false);
        }
        if let Some(window) = &mut self.window {
            window.show(buffer)?;
        }
        if let Some(recording) = &mut self.recording {
            recording.add(buffer.pixels())?;
        }
        if self.check {
            match stamp::judge(buffer.pixels().chunks_exact(self.stream.size.width())) {
                Verdict::Whole(_) => self.checked.whole += 1,
                Verdict::Torn => self.checked.torn += 1,
                Verdict::Unstamped => self.checked.unstamped += 1,
            }
        }
        self.note_shown(self.shown + 1);
        Ok(true)
    }

    /// So many frames were seen by now.
    pub fn note_shown(&mut self, shown: u64) {
        if shown > self.shown {
            let now = Instant::now();
            self.span = Some((self.span.map_or(now, |(first, _)| first), now));
            self.shown = shown;
        }
    }

    /// What its user wishes; says whether to end.
    ///
    /// # Errors
    /// [`ViewError::Record`].
    pub fn obey(&mut self) -> Result<bool, ViewError> {
        let wishes = self.window.as_mut().map(Window::wishes).unwrap_or_default();
        for wish in wishes {
            match wish {
                Wish::Quit => return Ok(true),
                Wish::Statistics => self.overlay = !self.overlay,
                Wish::Screenshot => {
                    self.screenshots += 1;
                    let name = format!("spine-video-{}-{}.png", self.stream.port, self.screenshots);
                    let file = PathBuf::from(name);
                    self.screenshot(&file)?;
                    voice::say(format_args!("spine-video: screenshot in {}", file.display()));
                }
            }
        }
        Ok(false)
    }

    /// Writes the frame shown last.
    ///
    /// # Errors
    /// [`ViewError::Record`].
    pub fn screenshot(&self, file: &std::path::Path) -> Result<(), ViewError> {
        let Some(buffer) = &self.buffer else { return Ok(()) };
        Ok(screenshot(file, self.stream.size, buffer.pixels())?)
    }

    /// Says what there is to say: `trouble` (why nothing comes) in title and picture, the statistics only
    /// if they are wished for.
    ///
    /// # Errors
    /// [`ViewError::Window`].
    pub fn say(&mut self, trouble: Option<&str>, statistics: &[String]) -> Result<(), ViewError> {
        let title = self.title(trouble.unwrap_or_default());
        let Some((window, buffer)) = self.window.as_mut().zip(self.buffer.as_ref()) else {
            return Ok(());
        };
        let mut lines: Vec<String> = trouble.into_iter().map(str::to_owned).collect();
        if self.overlay {
            lines.extend_from_slice(statistics);
        }
        window.set_title(&title);
        Ok(window.set_text(lines, buffer)?)
    }

    /// Ends the recording, if there is one.
    ///
    /// # Errors
    /// [`ViewError::Record`].
    pub fn finish(&mut self) -> Result<(), ViewError> {
        Ok(self.recording.take().map_or(Ok(()), Recording::finish)?)
    }

    fn title(&self, trouble: &str) -> String {
        let dash = if trouble.is_empty() { "" } else { ": " };
        format!("spine-video {}{dash}{trouble}", self.stream)
    }

    /// What the adapter counted; `None` on a screen, which knows.
    pub fn counters(&self) -> Option<WindowCounters> {
        self.buffer.as_ref().map(FrameBuffer::counters)
    }

    /// Frames shown.
    pub fn shown(&self) -> u64 {
        self.shown
    }

    /// When the first and the last frame was shown.
    pub fn span(&self) -> Option<(Instant, Instant)> {
        self.span
    }

    /// What was found in the frames.
    pub fn checked(&self) -> Option<Checked> {
        self.check.then_some(self.checked)
    }

    /// How pictures get to the screen.
    pub fn mode(&self) -> &'static str {
        self.window.as_ref().map_or("headless", Window::mode)
    }
}
