//! `--screen`: one window that shows a whole screen, videos moved in it by the mouse or from outside.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};
use spine_client::voice;

use crate::backend::Backend;
use crate::control::{Control, ControlError, Request};
use crate::format::Size;
use crate::present::Picture as _;
use crate::present::window::{Window, WindowError, Wish};
use crate::record::{RecordError, screenshot};
use crate::screen::{MoveError, Protocol, Screen, ScreenError};
use crate::stream::Stream;

/// Why there is no screen, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum OnScreenError {
    /// Its memory.
    #[error(transparent)]
    Screen(#[from] ScreenError),
    /// Its window.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Its control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Its doorbell.
    #[error("no doorbell for frames: {0}")]
    Doorbell(#[from] nix::Error),
    /// A lease.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// A screenshot.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A screen with its window.
pub struct OnScreen {
    screen: Screen,
    window: Window,
    control: Control,
    doorbell: Arc<EventFd>,
    /// The video that is dragged, and where in it the pointer is.
    drag: Option<(usize, (u32, u32))>,
    /// Something changed that was not shown yet.
    changed: bool,
    overlay: bool,
    screenshots: u64,
}

impl OnScreen {
    /// Opens the window; no video is leased its place yet.
    ///
    /// # Errors
    /// [`OnScreenError`].
    pub fn open(
        size: Size,
        streams: &[Stream],
        protocol: Protocol,
        control: &Path,
    ) -> Result<Self, OnScreenError> {
        let screen = Screen::new(size, streams, protocol)?;
        let window = Window::open(&title(None), &screen)?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            screen,
            window,
            control: Control::listen(control)?,
            doorbell: Arc::new(EventFd::from_value_and_flags(0, flags)?),
            drag: None,
            changed: true,
            overlay: false,
            screenshots: 0,
        })
    }

    /// Leases a video its place.
    ///
    /// # Errors
    /// [`OnScreenError::Move`].
    pub fn lease(&self, backend: &Backend, video: usize) -> Result<(), OnScreenError> {
        Ok(self.screen.lease(backend, video, &self.doorbell)?)
    }

    /// What becomes readable when there is something to do.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let frames = (!self.window.is_busy()).then(|| self.doorbell.as_fd());
        frames.into_iter().chain(self.window.fd()).chain([self.control.as_fd()])
    }

    /// Whether the pointer is to be looked at more often.
    pub fn is_dragging(&self) -> bool {
        self.window.is_dragging()
    }

    /// Does what there is to do; says whether the screen was shown anew.
    ///
    /// # Errors
    /// [`OnScreenError`].
    pub fn turn(&mut self, backend: &Backend) -> Result<bool, OnScreenError> {
        let Self { screen, control, doorbell, changed, .. } = self;
        control.serve(|request| match request {
            Request::Strays => screen.strays().to_string(),
            Request::Move(video, x, y) => match screen.move_to(backend, video, (x, y), doorbell) {
                Ok(()) => {
                    *changed = true;
                    "ok".to_owned()
                }
                Err(error) => format!("error: {error}"),
            },
        });
        self.drag(backend)?;
        self.window.tend(&self.screen)?;
        if self.window.is_busy() {
            return Ok(false);
        }
        self.changed |= self.doorbell.read().is_ok_and(|rung| rung > 0);
        if !std::mem::take(&mut self.changed) {
            return Ok(false);
        }
        self.window.show(&self.screen)?;
        Ok(true)
    }

    /// Moves what is dragged, as far as it can be moved.
    fn drag(&mut self, backend: &Backend) -> Result<(), OnScreenError> {
        let Some((x, y)) = self.window.dragged() else {
            self.drag = None;
            return Ok(());
        };
        let Some((video, (left, top))) = self.drag else {
            self.drag = self.screen.at(x, y);
            return Ok(());
        };
        let to = (x.saturating_sub(left), y.saturating_sub(top));
        if self.screen.corner(video) == Some(to) {
            return Ok(());
        }
        match self.screen.move_to(backend, video, to, &self.doorbell) {
            Ok(()) => self.changed = true,
            // Not there, then; the pointer goes on.
            Err(MoveError::Outside(..) | MoveError::Covered(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What its user wishes; says whether to end.
    ///
    /// # Errors
    /// [`OnScreenError::Record`].
    pub fn obey(&mut self) -> Result<bool, OnScreenError> {
        for wish in self.window.wishes() {
            match wish {
                Wish::Quit => return Ok(true),
                Wish::Statistics => self.overlay = !self.overlay,
                Wish::Screenshot => {
                    self.screenshots += 1;
                    let name = format!("spine-video-screen-{}.png", self.screenshots);
                    self.screenshot(Path::new(&name))?;
                    voice::say(format_args!("spine-video: screenshot in {name}"));
                }
            }
        }
        Ok(false)
    }

    /// Says what there is to say.
    ///
    /// # Errors
    /// [`OnScreenError::Window`].
    pub fn say(&mut self, troubles: &[String], lines: &[String]) -> Result<(), OnScreenError> {
        self.window.set_title(&title(troubles.first()));
        let mut text = troubles.to_vec();
        if self.overlay {
            text.extend_from_slice(lines);
        }
        Ok(self.window.set_text(text, &self.screen)?)
    }

    /// Writes what the screen shows.
    ///
    /// # Errors
    /// [`OnScreenError::Record`].
    pub fn screenshot(&self, file: &Path) -> Result<(), OnScreenError> {
        let mut pixels = Vec::new();
        self.screen.copy(&mut pixels);
        Ok(screenshot(file, self.screen.size(), &pixels)?)
    }

    /// The screen.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// How pictures get to the display.
    pub fn mode(&self) -> &'static str {
        self.window.mode()
    }
}

fn title(trouble: Option<&String>) -> String {
    trouble.map_or_else(|| "spine-video".to_owned(), |trouble| format!("spine-video: {trouble}"))
}
