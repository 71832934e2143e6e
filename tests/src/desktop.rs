//! Somebody at a display: keys, the pointer, other windows, through the X server's own test extension (XTEST).

use std::time::{Duration, Instant};

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    ConfigureWindowAux, ConnectionExt as _, CreateWindowAux, InputFocus, MapState, Window,
    WindowClass,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use crate::video::Display;

/// Event codes of the core protocol.
const KEY_PRESS: u8 = 2;
const KEY_RELEASE: u8 = 3;
const BUTTON_PRESS: u8 = 4;
const BUTTON_RELEASE: u8 = 5;
const MOTION: u8 = 6;
/// How long a window may take to appear.
const PATIENCE: Duration = Duration::from_secs(8);

/// Somebody's hands.
pub struct Hands {
    connection: RustConnection,
    root: Window,
}

impl Hands {
    /// At a display.
    pub fn at(display: &Display) -> Self {
        let (connection, screen) =
            x11rb::connect(Some(&display.name())).unwrap_or_else(|error| panic!("X: {error}"));
        let root = connection.setup().roots[screen].root;
        Self { connection, root }
    }

    fn fake(&self, kind: u8, detail: u8, (x, y): (i16, i16)) {
        let sent = self.connection.xtest_fake_input(kind, detail, 0, self.root, x, y, 0);
        sent.expect("a connection").check().expect("XTEST");
    }

    /// Presses and releases the key of a letter, as quickly as people do.
    pub fn press(&self, letter: char) {
        let code = self.key_of(letter);
        self.fake(KEY_PRESS, code, (0, 0));
        std::thread::sleep(Duration::from_millis(50));
        self.fake(KEY_RELEASE, code, (0, 0));
    }

    /// The code of a letter's key.
    fn key_of(&self, letter: char) -> u8 {
        let setup = self.connection.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let reply = self.connection.get_keyboard_mapping(first, last - first + 1);
        let map = reply.expect("a connection").reply().expect("a keyboard");
        let each = usize::from(map.keysyms_per_keycode);
        // Latin letters are their own symbols.
        let symbol = u32::from(letter);
        let place = map.keysyms.chunks(each).position(|symbols| symbols.first() == Some(&symbol));
        let place = place.unwrap_or_else(|| panic!("there is no key {letter:?}"));
        first + u8::try_from(place).expect("a key's code")
    }

    /// Moves the pointer to a pixel of the screen.
    pub fn point(&self, x: i16, y: i16) {
        self.fake(MOTION, 0, (x, y));
    }

    /// Moves the pointer from one place to another, a few pixels at a time, with the left button down.
    pub fn drag(&self, from: (i16, i16), to: (i16, i16)) {
        const STEPS: i16 = 10;
        let step = Duration::from_millis(40);
        self.point(from.0, from.1);
        self.fake(BUTTON_PRESS, 1, (0, 0));
        // Until it is seen to be down.
        std::thread::sleep(Duration::from_millis(300));
        for number in 1..=STEPS {
            let between = |from: i16, to: i16| from + (to - from) / STEPS * number;
            self.point(between(from.0, to.0), between(from.1, to.1));
            std::thread::sleep(step);
        }
        self.point(to.0, to.1);
        std::thread::sleep(Duration::from_millis(200));
        self.fake(BUTTON_RELEASE, 1, (0, 0));
    }

    /// The one window that is shown.
    pub fn window(&self) -> Window {
        let start = Instant::now();
        loop {
            let tree = self.connection.query_tree(self.root).expect("a connection").reply();
            let shown = tree.expect("a tree").children.into_iter().find(|window| {
                let about = self.connection.get_window_attributes(*window);
                let about = about.ok().and_then(|cookie| cookie.reply().ok());
                about.is_some_and(|about| about.map_state == MapState::VIEWABLE)
            });
            if let Some(window) = shown {
                return window;
            }
            assert!(start.elapsed() < PATIENCE, "no window is shown");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Gives a window the keyboard, as a window manager does.
    pub fn focus(&self, window: Window) {
        let sent = self.connection.set_input_focus(InputFocus::PARENT, window, 0_u32);
        sent.expect("a connection").check().expect("the keyboard");
    }

    /// Where a window is on the screen.
    pub fn place(&self, window: Window) -> (i16, i16) {
        let reply = self.connection.translate_coordinates(window, self.root, 0, 0);
        let place = reply.expect("a connection").reply().expect("a window");
        (place.dst_x, place.dst_y)
    }

    /// Size of a window.
    pub fn size(&self, window: Window) -> (u16, u16) {
        let reply = self.connection.get_geometry(window).expect("a connection").reply();
        let geometry = reply.expect("a window");
        (geometry.width, geometry.height)
    }

    /// Gives a window another size, as a window manager does.
    pub fn resize(&self, window: Window, width: u32, height: u32) {
        let change = ConfigureWindowAux::new().width(width).height(height);
        let sent = self.connection.configure_window(window, &change);
        sent.expect("a connection").check().expect("another size");
    }

    /// Lays a white window over a part of the screen for a moment, and takes it away again.
    pub fn cover(&self, width: u16, height: u16) {
        let window = self.connection.generate_id().expect("an identifier");
        let aux = CreateWindowAux::new().background_pixel(0x00ff_ffff).override_redirect(1);
        let class = WindowClass::INPUT_OUTPUT;
        let made = self.connection.create_window(
            x11rb::COPY_DEPTH_FROM_PARENT,
            window,
            self.root,
            0,
            0,
            width,
            height,
            0,
            class,
            x11rb::COPY_FROM_PARENT,
            &aux,
        );
        made.expect("a connection").check().expect("a window");
        self.connection.map_window(window).expect("a connection").check().expect("shown");
        std::thread::sleep(Duration::from_millis(200));
        self.connection.destroy_window(window).expect("a connection").check().expect("gone");
    }
}
