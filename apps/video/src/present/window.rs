//! A window on the screen, whichever way pictures get into it.
//!
//! minifb makes the window and hears the keyboard. On an X server of this machine pictures come from the
//! frame buffer's own memory ([`shared`](super::shared)); where that cannot be, where the window was
//! resized, and while text lies over the picture, they are copied and scaled by minifb. minifb 0.29 neither
//! repaints nor knows where the window is; the second connection does.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use minifb::{InputCallback, Key, MouseButton, MouseMode, ScaleMode, WindowOptions};
use raw_window_handle::{HasWindowHandle as _, RawWindowHandle};

use super::shared::{Shared, SharedError, Watch};
use super::{Picture, overlay};
use crate::format::Size;

/// How often the keyboard is looked at: it costs a question to the X server.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is while something is dragged.
pub const LOOK_WHILE_DRAGGING: Duration = Duration::from_millis(20);
/// Bits of a pixel that are shown.
const SHOWN: u32 = 0x00ff_ffff;

/// Why there is no window, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// No display to open one on.
    #[error(
        "there is no display to open a window on (DISPLAY is not set): run it in a desktop session, under \
         xvfb-run, or with --headless"
    )]
    NoDisplay,
    /// The window.
    #[error(
        "cannot open a window: {0} (is the X server running, and are libx11-6 and libxcursor1 installed?)"
    )]
    Open(minifb::Error),
    /// Painting it.
    #[error("cannot paint the window: {0}")]
    Paint(minifb::Error),
    /// The second connection.
    #[error(transparent)]
    Shared(#[from] SharedError),
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To end: q, or the window was closed.
    Quit,
    /// A picture in a file: s.
    Screenshot,
    /// The statistics, or no longer: i.
    Statistics,
}

/// Keys that went down, and those that are: minifb calls this for each event. Its own list of keys pressed has
/// only those that are still down at the second look (0.29), and at ten looks a second many are not.
#[derive(Default)]
struct Keys {
    went_down: Vec<Key>,
    down: Vec<Key>,
}

struct Keyboard(Rc<RefCell<Keys>>);

impl InputCallback for Keyboard {
    fn add_char(&mut self, _character: u32) {}

    fn set_key_state(&mut self, key: Key, is_down: bool) {
        let mut keys = self.0.borrow_mut();
        let was_down = keys.down.contains(&key);
        keys.down.retain(|other| *other != key);
        if is_down {
            keys.down.push(key);
            // A key that is held repeats itself.
            if !was_down {
                keys.went_down.push(key);
            }
        }
    }
}

/// A window.
pub struct Window {
    window: minifb::Window,
    keys: Rc<RefCell<Keys>>,
    watch: Option<Watch>,
    shared: Option<Shared>,
    size: Size,
    /// The window's own size, as of the last look.
    inner: (usize, usize),
    /// What is copied and painted where memory is not shared.
    copy: Vec<u32>,
    /// Text to lie over the picture.
    text: Vec<String>,
    last_look: Instant,
    wishes: Vec<Wish>,
    dragging: bool,
    /// Painted with text, or never: not to be left as it is.
    stale: bool,
}

impl Window {
    /// Opens a window for pictures of this one's size.
    ///
    /// # Errors
    /// [`WindowError`].
    pub fn open(title: &str, picture: &dyn Picture) -> Result<Self, WindowError> {
        if std::env::var_os("DISPLAY").is_none_or(|display| display.is_empty()) {
            return Err(WindowError::NoDisplay);
        }
        let size = picture.size();
        let options = WindowOptions {
            resize: true,
            scale_mode: ScaleMode::AspectRatioStretch,
            ..WindowOptions::default()
        };
        let mut window = minifb::Window::new(title, size.width(), size.height(), options)
            .map_err(WindowError::Open)?;
        // It would sleep in `update`; we sleep until there is a frame.
        window.set_target_fps(0);
        let keys = Rc::new(RefCell::new(Keys::default()));
        window.set_input_callback(Box::new(Keyboard(Rc::clone(&keys))));
        let watch =
            watch(&window).map_err(|error| tracing::info!(%error, "windows are polled")).ok();
        let shared = watch.as_ref().and_then(|watch| match Shared::new(watch, picture) {
            Ok(shared) => Some(shared),
            Err(error) => {
                tracing::info!(%error, "pictures are copied to the X server");
                None
            }
        });
        let inner = (size.width(), size.height());
        let (copy, text, wishes) = (Vec::new(), Vec::new(), Vec::new());
        let last_look = Instant::now();
        let mut window = Self {
            window,
            keys,
            watch,
            shared,
            size,
            inner,
            copy,
            text,
            last_look,
            wishes,
            dragging: false,
            stale: true,
        };
        window.paint(picture)?;
        Ok(window)
    }

    /// How pictures get to the screen, for people.
    pub fn mode(&self) -> &'static str {
        if self.shared.is_some() { "MIT-SHM" } else { "copy" }
    }

    /// Where the window's picture is on the screen, if that can be known.
    pub fn position(&self) -> Option<(i16, i16)> {
        self.watch.as_ref()?.position().ok()
    }

    /// Whether the frame taken last may still be read by the X server, and no other may be taken.
    pub fn is_busy(&self) -> bool {
        self.shared.as_ref().is_some_and(Shared::is_busy)
    }

    /// Becomes readable when something happened to the window; `None` where only asking helps.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Shows the frame taken last.
    ///
    /// # Errors
    /// [`WindowError`].
    pub fn show(&mut self, picture: &dyn Picture) -> Result<(), WindowError> {
        self.paint(picture)
    }

    /// Puts text over the pictures from now on, or takes it away.
    ///
    /// # Errors
    /// [`WindowError`].
    pub fn set_text(
        &mut self,
        text: Vec<String>,
        picture: &dyn Picture,
    ) -> Result<(), WindowError> {
        if text == self.text {
            return Ok(());
        }
        self.text = text;
        self.stale = true;
        if self.is_busy() { Ok(()) } else { self.paint(picture) }
    }

    /// The title bar's text.
    pub fn set_title(&mut self, title: &str) {
        self.window.set_title(title);
    }

    /// Sees to what happened on the X server; paints again what was uncovered.
    ///
    /// # Errors
    /// [`WindowError`].
    pub fn tend(&mut self, picture: &dyn Picture) -> Result<(), WindowError> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let happened = watch.look()?;
        if happened.released
            && let Some(shared) = &mut self.shared
        {
            shared.released();
        }
        if happened.configured {
            let (width, height) = watch.size()?;
            self.inner = (usize::from(width), usize::from(height));
            // minifb paints in the size that it has heard of.
            self.window.update();
            self.heard();
        }
        self.stale |= happened.exposed || happened.configured;
        if self.stale && !self.is_busy() { self.paint(picture) } else { Ok(()) }
    }

    /// What the user wishes; asks the keyboard ten times a second at most.
    pub fn wishes(&mut self) -> Vec<Wish> {
        let every = if self.dragging { LOOK_WHILE_DRAGGING } else { LOOK };
        if self.last_look.elapsed() >= every {
            self.last_look = Instant::now();
            self.window.update();
            self.heard();
        }
        std::mem::take(&mut self.wishes)
    }

    /// Where the pointer is in the picture, if its left button is down. While it is, the pointer is looked
    /// at more often.
    pub fn dragged(&mut self) -> Option<(u32, u32)> {
        self.dragging = self.window.get_mouse_down(MouseButton::Left);
        if !self.dragging {
            return None;
        }
        let (x, y) = self.window.get_mouse_pos(MouseMode::Discard)?;
        // Of the window, which may be scaled.
        let (width, height) = (self.inner.0.max(1) as f32, self.inner.1.max(1) as f32);
        let scaled = |at: f32, of: f32, to: usize| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let pixel = (at / of * to as f32) as u32;
            pixel
        };
        Some((scaled(x, width, self.size.width()), scaled(y, height, self.size.height())))
    }

    /// Whether the pointer's button is down, as of the last look.
    pub fn is_dragging(&self) -> bool {
        self.dragging
    }

    /// Notes the keys that went down until minifb's last update.
    fn heard(&mut self) {
        let keys = std::mem::take(&mut self.keys.borrow_mut().went_down);
        for key in keys {
            match key {
                Key::Q => self.wishes.push(Wish::Quit),
                Key::S => self.wishes.push(Wish::Screenshot),
                Key::I => self.wishes.push(Wish::Statistics),
                Key::F => self.fit(),
                _ => {}
            }
        }
        if !self.window.is_open() {
            self.wishes.push(Wish::Quit);
        }
    }

    /// Makes the window as large as its pictures; if it is, as large as the screen allows.
    fn fit(&self) {
        let Some(watch) = &self.watch else { return };
        let own = (self.size.width(), self.size.height());
        let larger = watch.screen().ok().filter(|_| self.inner == own);
        let (width, height) = larger.map_or(own, |screen| largest(own, screen));
        let side = |pixels| u32::try_from(pixels).unwrap_or(1).max(1);
        let resized = watch.resize(side(width), side(height), larger.is_some());
        if let Err(error) = resized {
            tracing::debug!(%error, "cannot resize the window");
        }
    }

    fn paint(&mut self, picture: &dyn Picture) -> Result<(), WindowError> {
        self.stale = false;
        if self.text.is_empty()
            && self.inner == (self.size.width(), self.size.height())
            && let (Some(shared), Some(watch)) = (&mut self.shared, &self.watch)
        {
            match shared.show(watch, picture) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "pictures are copied from now on"),
            }
            self.shared = None;
        }
        picture.copy(&mut self.copy);
        // The highest byte is nobody's; minifb wants it empty.
        self.copy.iter_mut().for_each(|pixel| *pixel &= SHOWN);
        overlay::draw(&mut self.copy, self.size, &self.text);
        let (width, height) = (self.size.width(), self.size.height());
        // minifb has not heard of the window's new size yet: once more, when it has.
        self.stale = self.watch.is_some() && self.window.get_size() != self.inner;
        let painted = self.window.update_with_buffer(&self.copy, width, height);
        self.heard();
        painted.map_err(WindowError::Paint)
    }
}

/// Watches minifb's window, if it is one of an X server.
fn watch(window: &minifb::Window) -> Result<Watch, SharedError> {
    let handle = window.window_handle().map(|handle| handle.as_raw());
    match handle {
        Ok(RawWindowHandle::Xlib(handle)) => {
            let id = u32::try_from(handle.window)
                .map_err(|_| SharedError::Unfit("the window has no X11 number"))?;
            Watch::new(id)
        }
        _ => Err(SharedError::Unfit("the window is none of an X server")),
    }
}

/// The largest size of the same shape that fits.
fn largest(own: (usize, usize), screen: (u16, u16)) -> (usize, usize) {
    let (width, height) = (usize::from(screen.0), usize::from(screen.1));
    if own.0 * height <= own.1 * width {
        (own.0 * height / own.1.max(1), height)
    } else {
        (width, own.1 * width / own.0.max(1))
    }
}

#[cfg(test)]
mod tests;
