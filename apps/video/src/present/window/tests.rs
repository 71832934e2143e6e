//! Windows on an X server of the test's own (Xvfb), looked at through the server's screen.
//!
//! The display is a variable of the process, so each test runs itself again with the variable set.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, CreateWindowAux, ImageFormat, WindowClass};
use x11rb::rust_connection::RustConnection;

use super::*;
use crate::frames::FrameBuffer;
use crate::frames::testing::Filler;

const ENVIRONMENT: &str = "SPINE_VIDEO_TEST_DISPLAY";

/// An X server that ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `body` with a display; the test's own name is how it is found again.
fn on_a_display(name: &str, body: fn()) {
    if std::env::var_os(ENVIRONMENT).is_some() {
        return body();
    }
    let mut command = Command::new("Xvfb");
    command.args(["-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"]);
    let Ok(child) = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
        return eprintln!("skipped: {name}: Xvfb is not installed");
    };
    let mut server = Server(child);
    let mut number = String::new();
    let mut pipe = server.0.stdout.take().unwrap();
    let mut byte = [0];
    while pipe.read(&mut byte).is_ok_and(|count| count == 1) && byte != *b"\n" {
        number.push(char::from(byte[0]));
    }
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("present::window::tests::{name}"), "--nocapture"])
        .env("DISPLAY", format!(":{number}"))
        .env(ENVIRONMENT, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout).into_owned()
        + &String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

/// A window with a frame buffer that the test fills.
struct Bench {
    window: Window,
    buffer: FrameBuffer,
    filler: Filler,
    connection: RustConnection,
}

fn gradient(x: usize, y: usize) -> u32 {
    u32::try_from((x << 16) | (y << 8) | 0x55).unwrap() & SHOWN
}

impl Bench {
    fn new() -> Self {
        let buffer = FrameBuffer::create("200x120".parse().unwrap(), 0, false).unwrap();
        let filler = Filler::new(&buffer);
        let window = Window::open("test", &buffer).unwrap();
        let (connection, _) = x11rb::connect(None).unwrap();
        Self { window, buffer, filler, connection }
    }

    fn show(&mut self, pixel: impl Fn(usize, usize) -> u32) {
        self.filler.publish(&self.buffer, pixel);
        self.wait("the slot before is released", |bench| !bench.window.is_busy());
        assert!(self.buffer.take());
        self.window.show(&self.buffer).unwrap();
    }

    /// Tends the window until something holds.
    fn wait(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        loop {
            self.window.tend(&self.buffer).unwrap();
            if holds(self) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(8), "not in time: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What the screen shows where the window is.
    fn screen(&self) -> Vec<u32> {
        let (x, y) = self.window.position().unwrap();
        let root = self.connection.setup().roots[0].root;
        let (width, height) = self.window.inner;
        let side = |pixels: usize| u16::try_from(pixels).unwrap();
        let image = self
            .connection
            .get_image(ImageFormat::Z_PIXMAP, root, x, y, side(width), side(height), !0)
            .unwrap()
            .reply()
            .unwrap();
        let pixel = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        image.data.chunks_exact(4).map(pixel).collect()
    }

    fn shows(&self, pixel: impl Fn(usize, usize) -> u32) -> bool {
        let size = self.buffer.size();
        let expected = (0..size.pixels()).map(|at| pixel(at % size.width(), at / size.width()));
        self.screen().into_iter().eq(expected)
    }
}

#[test]
fn pictures_reach_the_screen_through_shared_memory_and_are_painted_again() {
    on_a_display("pictures_reach_the_screen_through_shared_memory_and_are_painted_again", || {
        let mut bench = Bench::new();
        assert_eq!(bench.window.mode(), "MIT-SHM");
        for number in 0..5 {
            bench.show(|x, y| gradient(x, y) ^ (number << 4));
            bench.wait("the picture is on the screen", |bench| {
                bench.shows(|x, y| gradient(x, y) ^ (number << 4))
            });
        }
        // Another window covers it, and goes away: nobody but us paints what was covered.
        let connection = &bench.connection;
        let (cover, root) = (connection.generate_id().unwrap(), connection.setup().roots[0].root);
        let red = CreateWindowAux::new().background_pixel(0x00ff_0000).override_redirect(1);
        let class = WindowClass::INPUT_OUTPUT;
        connection.create_window(24, cover, root, 0, 0, 800, 600, 0, class, 0, &red).unwrap();
        connection.map_window(cover).unwrap().check().unwrap();
        bench.wait("it is covered", |bench| {
            bench.screen().iter().all(|pixel| *pixel == 0x00ff_0000)
        });
        bench.connection.unmap_window(cover).unwrap().check().unwrap();
        bench.wait("it is painted again", |bench| bench.shows(|x, y| gradient(x, y) ^ (4 << 4)));
    });
}

#[test]
fn text_lies_over_the_picture_and_goes_away_and_a_resized_window_is_filled() {
    on_a_display("text_lies_over_the_picture_and_goes_away_and_a_resized_window_is_filled", || {
        let mut bench = Bench::new();
        bench.show(|_, _| 0x0040_8020);
        bench.wait("the picture", |bench| bench.shows(|_, _| 0x0040_8020));
        bench.window.set_text(vec!["no packets".to_owned()], &bench.buffer).unwrap();
        bench.wait("the text", |bench| {
            let screen = bench.screen();
            screen.contains(&0x00ff_ffff) && screen.last() == Some(&0x0040_8020)
        });
        bench.window.set_text(Vec::new(), &bench.buffer).unwrap();
        bench.wait("no text", |bench| bench.shows(|_, _| 0x0040_8020));

        bench.window.fit();
        bench.wait("it is larger", |bench| bench.window.inner == (800, 480));
        bench.wait("the picture fills it", |bench| {
            bench.screen().iter().all(|pixel| *pixel == 0x0040_8020)
        });
        bench.window.fit();
        bench.wait("its own size", |bench| bench.window.inner == (200, 120));
        bench.wait("the picture", |bench| bench.shows(|_, _| 0x0040_8020));
    });
}

#[test]
fn the_largest_window_keeps_its_shape() {
    assert_eq!(largest((640, 480), (1920, 1080)), (1440, 1080));
    assert_eq!(largest((1280, 720), (1000, 1000)), (1000, 562));
}

#[test]
fn a_key_is_heard_once_however_short_or_long_it_is_down() {
    let keys = Rc::new(RefCell::new(Keys::default()));
    let mut keyboard = Keyboard(Rc::clone(&keys));
    for (key, is_down) in
        [(Key::S, true), (Key::S, true), (Key::I, true), (Key::S, false), (Key::S, true)]
    {
        keyboard.set_key_state(key, is_down);
    }
    keyboard.set_key_state(Key::S, false);
    assert_eq!(keys.borrow().went_down, [Key::S, Key::I, Key::S]);
    assert_eq!(keys.borrow().down, [Key::I]);
}
