//! Pictures from the frame buffer's own memory onto the X server's screen (MIT-SHM 1.2): nobody copies but
//! the server.
//!
//! The server is given the memory file, read-only, and told which slot to show; when it is done it says so,
//! and until then the slot is not given back. Only a server on this machine can do it, with pixels laid out
//! as ours: 32 bits, the least significant byte first, at least 24 of them shown.

use std::os::fd::{AsFd, BorrowedFd};

use x11rb::connection::{Connection, RequestConnection as _};
use x11rb::errors::{ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::Event;
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{
    ChangeWindowAttributesAux, ConfigureWindowAux, ConnectionExt as _, CreateGCAux, EventMask,
    Gcontext, ImageFormat, ImageOrder, Window,
};
use x11rb::rust_connection::RustConnection;

use super::Picture;
use crate::format::Size;

/// What went wrong with the X server; the window then works without shared memory.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// No connection.
    #[error("no connection to the X server: {0}")]
    Connect(#[from] x11rb::errors::ConnectError),
    /// The connection broke.
    #[error("the X server is gone: {0}")]
    Connection(#[from] ConnectionError),
    /// The server refused.
    #[error("the X server refused: {0}")]
    Reply(#[from] ReplyError),
    /// The server refused.
    #[error("the X server refused: {0}")]
    ReplyOrId(#[from] ReplyOrIdError),
    /// The server cannot do it.
    #[error("{0}")]
    Unfit(&'static str),
    /// The memory file.
    #[error("cannot give the X server the frame buffer: {0}")]
    File(#[from] std::io::Error),
}

/// What happened to the window since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Happened {
    /// A part that was covered is to be painted again.
    pub exposed: bool,
    /// It was moved or resized.
    pub configured: bool,
    /// The server is done with the slot it was shown last.
    pub released: bool,
}

/// A second connection to a window that somebody else made: to watch it.
pub struct Watch {
    connection: RustConnection,
    window: Window,
    root: Window,
}

impl Watch {
    /// Connects to the display of the environment and watches a window.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn new(window: Window) -> Result<Self, SharedError> {
        let (connection, screen) = x11rb::connect(None)?;
        let roots = &connection.setup().roots;
        let root = roots.get(screen).ok_or(SharedError::Unfit("the X server has no screen"))?.root;
        let events = EventMask::EXPOSURE | EventMask::STRUCTURE_NOTIFY;
        let attributes = ChangeWindowAttributesAux::new().event_mask(events);
        connection.change_window_attributes(window, &attributes)?.check()?;
        Ok(Self { connection, window, root })
    }

    /// Where the window's picture is on the screen.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn position(&self) -> Result<(i16, i16), SharedError> {
        let reply = self.connection.translate_coordinates(self.window, self.root, 0, 0)?.reply()?;
        Ok((reply.dst_x, reply.dst_y))
    }

    /// How large the window's picture is.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn size(&self) -> Result<(u16, u16), SharedError> {
        let geometry = self.connection.get_geometry(self.window)?.reply()?;
        Ok((geometry.width, geometry.height))
    }

    /// How large the screen is.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn screen(&self) -> Result<(u16, u16), SharedError> {
        let geometry = self.connection.get_geometry(self.root)?.reply()?;
        Ok((geometry.width, geometry.height))
    }

    /// Asks for another size, and to be put into the screen's upper left corner.
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn resize(&self, width: u32, height: u32, into_corner: bool) -> Result<(), SharedError> {
        let corner = into_corner.then_some(0);
        let change = ConfigureWindowAux::new().width(width).height(height).x(corner).y(corner);
        self.connection.configure_window(self.window, &change)?;
        Ok(self.connection.flush()?)
    }

    /// What happened since the last look; does not wait.
    ///
    /// # Errors
    /// [`SharedError::Connection`].
    pub fn look(&self) -> Result<Happened, SharedError> {
        let mut happened = Happened::default();
        while let Some(event) = self.connection.poll_for_event()? {
            match event {
                Event::Expose(_) => happened.exposed = true,
                Event::ConfigureNotify(_) => happened.configured = true,
                Event::ShmCompletion(_) => happened.released = true,
                // Of a request nobody waits for: the window is being closed.
                Event::Error(error) => tracing::debug!(?error, "the X server refused"),
                _ => {}
            }
        }
        Ok(happened)
    }
}

/// Becomes readable when something happened.
impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }
}

/// A frame buffer that the server shows in a window.
#[derive(Debug)]
pub struct Shared {
    segment: shm::Seg,
    context: Gcontext,
    depth: u8,
    size: Size,
    busy: bool,
}

impl Shared {
    /// Gives the server the frame buffer.
    ///
    /// # Errors
    /// [`SharedError`]: it is on another machine, is too old, or has other pixels.
    pub fn new(watch: &Watch, picture: &dyn Picture) -> Result<Self, SharedError> {
        let connection = &watch.connection;
        if connection.extension_information(shm::X11_EXTENSION_NAME)?.is_none() {
            return Err(SharedError::Unfit("the X server has no shared memory (MIT-SHM)"));
        }
        let version = connection.shm_query_version()?.reply()?;
        if (version.major_version, version.minor_version) < (1, 2) {
            return Err(SharedError::Unfit("the X server's MIT-SHM is older than 1.2"));
        }
        let depth = connection.get_geometry(watch.window)?.reply()?.depth;
        let setup = connection.setup();
        let bits = setup.pixmap_formats.iter().find(|format| format.depth == depth);
        let fits = bits.is_some_and(|format| format.bits_per_pixel == 32 && depth >= 24);
        if !fits || setup.image_byte_order != ImageOrder::LSB_FIRST {
            return Err(SharedError::Unfit("the X server has pixels of another kind"));
        }
        let segment = connection.generate_id()?;
        let file = picture.region().as_fd().try_clone_to_owned()?;
        connection.shm_attach_fd(segment, file, true)?.check()?;
        let context = connection.generate_id()?;
        // The server says when it is done; it need not say that nothing was covered.
        let aux = CreateGCAux::new().graphics_exposures(0);
        connection.create_gc(context, watch.window, &aux)?.check()?;
        Ok(Self { segment, context, depth, size: picture.size(), busy: false })
    }

    /// Has the server show the frame taken last, which must stay taken until [`released`](Self::released).
    ///
    /// # Errors
    /// [`SharedError`].
    pub fn show(&mut self, watch: &Watch, picture: &dyn Picture) -> Result<(), SharedError> {
        let side = |pixels| u16::try_from(pixels).unwrap_or_default();
        let (width, height) = (side(self.size.width()), side(self.size.height()));
        let offset = u32::try_from(picture.offset())
            .map_err(|_| SharedError::Unfit("the frame buffer is too large for the X server"))?;
        watch.connection.shm_put_image(
            watch.window,
            self.context,
            width,
            height,
            0,
            0,
            width,
            height,
            0,
            0,
            self.depth,
            ImageFormat::Z_PIXMAP.into(),
            true,
            self.segment,
            offset,
        )?;
        watch.connection.flush()?;
        self.busy = true;
        Ok(())
    }

    /// The server is done with the slot.
    pub fn released(&mut self) {
        self.busy = false;
    }

    /// Whether the server may still be reading the slot.
    pub fn is_busy(&self) -> bool {
        self.busy
    }
}
