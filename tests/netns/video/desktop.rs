//! What somebody at the display does: keys, dragging, resizing, covering, waiting.

use std::path::Path;
use std::time::{Duration, Instant};

use spine_tests::desktop::Hands;
use spine_tests::process::Running;
use spine_tests::video::{Display, Receiver, read_png, start_sending};
use spine_tests::{Topology, need_namespaces, need_programs};

use crate::video::pixels::Format;
use crate::video::windows::reference;
use crate::video::{ADDRESS, INTERFACE, net};

const STREAM: &str = "--port 5004 --format BGRA --size 640x480";
/// How soon what somebody did must be seen.
const SOON: Duration = Duration::from_secs(8);

/// GStreamer, sending one still picture for some seconds.
fn still_picture(net: &Topology) -> Running {
    net.host("sender").spawn(&format!(
        "gst-launch-1.0 -q videotestsrc pattern=circular is-live=true num-buffers=900 ! \
         video/x-raw,format=BGRA,width=640,height=480,framerate=30/1 ! rtpvrawpay mtu=1400 ! \
         udpsink host={ADDRESS} port=5004"
    ))
}

/// Waits until the screen is as it should be, from its upper left corner on.
fn see(display: &Display, size: (u32, u32), what: &str, is: impl Fn(&[u32]) -> bool) -> Vec<u32> {
    see_at(display, || (0, 0), size, what, is)
}

/// The same from another place on, which may change.
fn see_at(
    display: &Display,
    place: impl Fn() -> (i16, i16),
    (width, height): (u32, u32),
    what: &str,
    is: impl Fn(&[u32]) -> bool,
) -> Vec<u32> {
    let start = Instant::now();
    loop {
        let picture = display.picture_at(place(), width, height);
        if is(&picture) {
            return picture;
        }
        assert!(start.elapsed() < SOON, "not seen on the screen: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is(raw: &[u8]) -> impl Fn(&[u32]) -> bool {
    move |picture| Format::Bgra.check(picture, raw).is_ok()
}

/// Text lies over the upper left corner, and the lower half is as it was.
fn has_text_over(raw: &[u8]) -> impl Fn(&[u32]) -> bool {
    move |picture| {
        let half = picture.len() / 2;
        Format::Bgra.check(&picture[half..], &raw[half * 4..]).is_ok()
            && Format::Bgra.check(&picture[..half], &raw[..half * 4]).is_err()
            && picture[..half].contains(&0x00ff_ffff)
    }
}

/// A window that shows the still picture, as large as the display.
struct Scene {
    raw: Vec<u8>,
    display: Display,
    hands: Hands,
    receiver: Receiver,
    sender: Running,
    _net: Topology,
}

impl Scene {
    /// `folder` is where the receiver runs.
    fn new(folder: &Path, screen: (u32, u32)) -> Self {
        let net = net();
        let raw = reference(&folder.join("reference"));
        let display = Display::start(screen.0, screen.1);
        let hands = Hands::at(&display);
        let options = format!("--iface {INTERFACE} {STREAM}");
        let receiver = Receiver::on_display_in(net.router(), &display, folder, &options);
        let sender = still_picture(&net);
        let window = hands.window();
        see_at(&display, || hands.place(window), (640, 480), "the picture", is(&raw));
        hands.focus(window);
        Self { raw, display, hands, receiver, sender, _net: net }
    }
}

#[test]
fn keys_take_a_screenshot_show_statistics_fit_the_window_and_quit() {
    let _alone = need_namespaces!();
    need_programs!("gst-launch-1.0", "ffmpeg", "Xvfb");
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::new(folder.path(), (1280, 960));
    let Scene { raw, display, hands, receiver, .. } = &mut scene;
    hands.press('s');
    receiver.wait_for("screenshot in spine-video-5004-1.png", SOON);
    let shot = read_png(&folder.path().join("spine-video-5004-1.png"));
    assert_eq!(Format::Bgra.check(&shot, raw), Ok(()), "the screenshot");
    let window = hands.window();
    let see_window = |size, what, is: &dyn Fn(&[u32]) -> bool| {
        see_at(display, || hands.place(window), size, what, is)
    };
    let own = (640, 480);
    hands.press('i');
    see_window(own, "the statistics", &has_text_over(raw));
    hands.press('i');
    see_window(own, "the picture without statistics", &is(raw));
    // As large as the screen allows, which is twice as large each way, and back.
    hands.press('f');
    let start = Instant::now();
    while hands.size(window) != (1280, 960) {
        assert!(start.elapsed() < SOON, "f: {:?}", hands.size(window));
        std::thread::sleep(Duration::from_millis(50));
    }
    see_window((1280, 960), "the picture, larger", &|picture| is_scaled(picture, 1280, raw));
    hands.press('f');
    see_window(own, "the picture as it was", &is(raw));
    hands.press('q');
    let Scene { receiver, sender, .. } = scene;
    let statistics = receiver.finish(SOON);
    drop(sender);
    assert!(statistics.count("frames_shown") > 0, "{statistics:?}");
}

/// Whether a picture of 4:3 is the reference, scaled: as bright in each of 16 by 12 fields, but for some.
fn is_scaled(picture: &[u32], width: usize, raw: &[u8]) -> bool {
    let reference: Vec<u32> = raw
        .chunks_exact(4)
        .map(|pixel| u32::from_le_bytes([pixel[0], pixel[1], pixel[2], 0]))
        .collect();
    let fields = |pixels: &[u32], width: usize| -> Vec<f64> {
        let side = width / 16;
        let sum = |field: usize| {
            let (left, top) = (field % 16 * side, field / 16 * side);
            let lines = (top..top + side).flat_map(|y| &pixels[y * width + left..][..side]);
            lines.map(|pixel| f64::from(pixel >> 8 & 0xff)).sum::<f64>()
        };
        (0..16 * 12).map(|field| sum(field) / (side * side) as f64).collect()
    };
    let (found, expected) = (fields(picture, width), fields(&reference, 640));
    let close = found.iter().zip(&expected).filter(|(one, other)| (*one - *other).abs() < 24.0);
    close.count() > 180
}

#[test]
fn a_window_that_is_resized_scales_its_picture_and_one_that_was_covered_paints_it_again() {
    let _alone = need_namespaces!();
    need_programs!("gst-launch-1.0", "ffmpeg", "Xvfb");
    let folder = tempfile::tempdir().expect("a folder");
    let Scene { raw, display, hands, mut receiver, sender, _net } =
        Scene::new(folder.path(), (640, 480));
    let window = hands.window();
    hands.resize(window, 320, 240);
    see(&display, (320, 240), "the picture, smaller", |picture| is_scaled(picture, 320, &raw));
    hands.resize(window, 640, 480);
    see(&display, (640, 480), "the picture in its own size", is(&raw));
    // From here on nothing comes, so what is seen was painted again, and the window says why.
    drop(sender);
    receiver.wait_for("no packets on port 5004", SOON);
    let said = see(&display, (640, 480), "why nothing comes", has_text_over(&raw));
    hands.cover(640, 480);
    see(&display, (640, 480), "what was covered", |picture| picture == said);
    let statistics = receiver.stop();
    assert_eq!(statistics.text("presented"), "MIT-SHM");
}

#[test]
fn a_video_on_a_screen_is_dragged_with_the_mouse() {
    /// What is where no video is.
    const DESKTOP: u32 = 0x0020_3040;
    let _alone = need_namespaces!();
    need_programs!("ffmpeg", "Xvfb");
    let (net, folder) = (net(), tempfile::tempdir().expect("a folder"));
    let display = Display::start(400, 300);
    let (hands, control) = (Hands::at(&display), folder.path().join("control"));
    let options = format!(
        "--iface {INTERFACE} --stream 5004:RGB:160x120 --screen 400x300 --control {}",
        control.display()
    );
    let receiver = Receiver::on_display(net.router(), &display, &options);
    let options = format!(
        "test-pattern --to {ADDRESS}:5004 --format RGB --size 160x120 --fps 30 --duration 15"
    );
    let sender = start_sending(net.host("sender"), &options);
    let size = (400, 300);
    let (before, after) = (60 * 400 + 80, 230 * 400 + 290);
    see(&display, size, "the video where it began", |picture| {
        picture[before] != DESKTOP && picture[after] == DESKTOP
    });
    hands.drag((80, 60), (290, 230));
    see(&display, size, "the video where it was dragged", |picture| {
        picture[before] == DESKTOP && picture[after] != DESKTOP
    });
    assert_eq!(crate::video::screen::ask(&control, "strays"), "0");
    let statistics = receiver.stop();
    drop(sender);
    assert!(statistics.count("frames_shown") > 0, "{statistics:?}");
}

#[test]
fn a_recording_is_read_by_ffmpeg_and_holds_every_frame_shown() {
    let _alone = need_namespaces!();
    need_programs!("gst-launch-1.0", "ffmpeg");
    let (net, folder) = (net(), tempfile::tempdir().expect("a folder"));
    let (film, decoded) = (folder.path().join("film.y4m"), folder.path().join("decoded"));
    let raw = reference(&folder.path().join("reference"));
    let receiver = Receiver::headless(
        net.router(),
        &format!(
            "--iface {INTERFACE} {STREAM} --frames 10 --duration 12 --record {} --record-rate 30",
            film.display()
        ),
    );
    let sender = still_picture(&net);
    let statistics = receiver.finish(Duration::from_secs(16));
    drop(sender);
    let mut decode = std::process::Command::new("ffmpeg");
    decode.args(["-nostdin", "-loglevel", "error", "-i"]).arg(&film);
    decode.args(["-pix_fmt", "bgra", "-f", "rawvideo"]).arg(&decoded);
    Running::start(decode).finish(SOON).expect_success("ffmpeg");
    let frames = std::fs::read(&decoded).expect("decoded frames");
    let count = statistics.count("frames_shown");
    assert_eq!(frames.len() as u64, count * raw.len() as u64, "{count} frames");
    for (number, frame) in frames.chunks_exact(raw.len()).enumerate() {
        // Through eight bits of YCbCr and back, by somebody else's arithmetic.
        let far = frame.iter().zip(&raw).filter(|(one, other)| one.abs_diff(**other) > 6);
        // The highest byte of each pixel is nobody's.
        let far = far.count().saturating_sub(raw.len() / 4);
        assert!(far * 1000 < raw.len(), "frame {number}: {far} of {} bytes differ", raw.len());
    }
}
