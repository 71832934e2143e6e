//! The three programs that show the stream, and what each of them took.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use spine_tests::process::{Running, processor_time};
use spine_tests::video::Receiver;
use spine_tests::{Namespace, Topology};

use crate::Screen;

/// What showing took: percent of one core.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The program; of spine-video all threads but the adapter's.
    pub(crate) host: f64,
    /// The adapter's thread.
    pub(crate) adapter: Option<f64>,
    /// The X server.
    pub(crate) server: Option<f64>,
    /// Pictures shown, where it says.
    pub(crate) frames: Option<u64>,
    /// Packets lost on the way in: by the adapter, or by the socket.
    pub(crate) lost: Option<u64>,
}

/// Starts sending, a little longer than it is shown.
fn send(net: &Topology, format: &str, time: Duration) -> Running {
    send_video(net, format, (1280, 720), time)
}

/// The same with pictures of another size, sixty a second.
pub(crate) fn send_video(
    net: &Topology,
    format: &str,
    (width, height): (u32, u32),
    time: Duration,
) -> Running {
    let pictures = (time.as_secs() + 4) * 60;
    net.host("sender").spawn(&format!(
        "gst-launch-1.0 -q videotestsrc pattern=ball is-live=true num-buffers={pictures} ! \
         video/x-raw,format={format},width={width},height={height},framerate=60/1 ! \
         rtpvrawpay mtu=1400 pt=96 ! udpsink host=10.9.1.1 port=5004"
    ))
}

/// Processor time by the second, between two moments.
struct Meter {
    start: Instant,
    program: (Option<Pid>, Duration),
    server: (Option<Pid>, Duration),
}

impl Meter {
    fn start(program: Option<Pid>, server: Option<Pid>) -> Self {
        let used = |pid: Option<Pid>| (pid, pid.map(processor_time).unwrap_or_default());
        Self { start: Instant::now(), program: used(program), server: used(server) }
    }

    fn percent(&self, (pid, before): (Option<Pid>, Duration)) -> Option<f64> {
        let used = processor_time(pid?).saturating_sub(before);
        Some(100.0 * used.as_secs_f64() / self.start.elapsed().as_secs_f64())
    }

    fn program(&self) -> Option<f64> {
        self.percent(self.program)
    }

    fn server(&self) -> Option<f64> {
        self.percent(self.server)
    }
}

/// `spine-video`: what it says itself, and the X server's time.
pub(crate) fn spine_video(
    net: &Topology,
    screen: &Screen,
    format: &str,
    time: Duration,
    screenshot: &Path,
) -> Shown {
    let options = format!(
        "--iface sender --port 5004 --format {format} --size 1280x720 --duration {} --screenshot {}",
        time.as_secs() + 2,
        screenshot.display()
    );
    let receiver = Receiver::with_display(net.router(), &screen.name(), &options);
    let sender = send(net, format, time);
    std::thread::sleep(Duration::from_secs(1));
    let meter = Meter::start(None, screen.server());
    std::thread::sleep(time);
    let server = meter.server();
    let statistics = receiver.finish(time + Duration::from_secs(10));
    drop(sender);
    Shown {
        host: statistics.number("cpu_host_percent"),
        adapter: Some(statistics.number("cpu_adapter_percent")),
        server,
        frames: Some(statistics.count("frames_shown")),
        // What the adapter lost is missing in the numbers, but for what came last.
        lost: Some(statistics.count("packets_lost").max(statistics.count("adapter_lost"))),
    }
}

/// A player in the receiver's namespace.
fn play(namespace: &Namespace, screen: &Screen, line: &str) -> Running {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command: Command = namespace.command(words[0], &words[1..]);
    command.env("DISPLAY", screen.name()).env("SDL_AUDIODRIVER", "dummy");
    Running::start(command)
}

/// What the sockets of a namespace lost for want of room.
fn lost(namespace: &Namespace) -> u64 {
    let text = namespace.run("cat /proc/net/snmp");
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs
        .find(|(name, _)| *name == "RcvbufErrors")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

/// Plays while the stream is sent.
fn watch(
    net: &Topology,
    screen: &Screen,
    format: &str,
    time: Duration,
    player: &str,
) -> (Shown, Running) {
    let before = lost(net.router());
    let running = play(net.router(), screen, player);
    std::thread::sleep(Duration::from_secs(1));
    let sender = send(net, format, time);
    std::thread::sleep(Duration::from_secs(1));
    let meter = Meter::start(Some(running.pid()), screen.server());
    std::thread::sleep(time);
    let (host, server) = (meter.program().unwrap_or_default(), meter.server());
    let lost = lost(net.router()) - before;
    drop(sender);
    (Shown { host, adapter: None, server, frames: None, lost: Some(lost) }, running)
}

/// GStreamer, with the options that its manual has for this; it does not say how many pictures it showed.
pub(crate) fn gstreamer(net: &Topology, screen: &Screen, format: &str, time: Duration) -> Shown {
    let sampling = if format == "UYVY" { "YCbCr-4:2:2" } else { format };
    let caps = format!(
        "application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)RAW,\
         sampling=(string){sampling},depth=(string)8,width=(string)1280,height=(string)720,\
         payload=(int)96"
    );
    let player = format!(
        "gst-launch-1.0 -q udpsrc port=5004 buffer-size=4000000 caps={caps} ! rtpvrawdepay ! \
         videoconvert ! ximagesink sync=false"
    );
    watch(net, screen, format, time, &player).0
}

/// ffplay, which does not say how many pictures it showed.
pub(crate) fn ffplay(net: &Topology, screen: &Screen, time: Duration) -> Shown {
    let folder = tempfile::tempdir().expect("a folder for the description");
    let sdp = folder.path().join("video.sdp");
    let description = "v=0\r\no=- 0 0 IN IP4 10.9.1.2\r\ns=demo\r\nc=IN IP4 10.9.1.1\r\nt=0 0\r\n\
        m=video 5004 RTP/AVP 96\r\na=rtpmap:96 raw/90000\r\n\
        a=fmtp:96 sampling=YCbCr-4:2:2; width=1280; height=720; depth=8\r\n";
    std::fs::write(&sdp, description).expect("the description is written");
    let player = format!(
        "ffplay -loglevel error -protocol_whitelist file,udp,rtp -buffer_size 4000000 -an -i {}",
        sdp.display()
    );
    watch(net, screen, "UYVY", time, &player).0
}
