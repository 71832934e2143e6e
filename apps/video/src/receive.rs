//! Receiving: from a command line to pictures on the screen, and back.
//!
//! First everything that only looks, then what costs time but touches nothing (linking the extension, opening
//! windows), then the adapter. From then on this thread sleeps until a frame is published, the X server says
//! something, or a tenth of a second has passed without either; it never touches a pixel unless asked to.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use spine_client::signature::SecretKey;
use spine_client::voice;
use spine_io::TrustedKey;
use spine_nic::open::OpenError;
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use spine_video_extension::protocol::Counter;

use crate::backend::{self, Backend, BackendError};
use crate::cli::{Incomplete, Misuse, Receive, file_for};
use crate::firewall::{Firewall, Refused};
use crate::interface::Interface;
use crate::listen::{ListenError, Listener};
use crate::on_screen::{OnScreen, OnScreenError};
use crate::present::window::LOOK_WHILE_DRAGGING;
use crate::processor_time::{ProcessorTime, percent};
use crate::report::{self, Report, StreamReport};
use crate::screen::Protocol;
use crate::signals::Signals;
use crate::stream::Stream;
use crate::trouble::{self, Symptoms};
use crate::view::{Manner, View, ViewError};

/// The longest sleep: what is asked for and no descriptor tells of is looked at so often.
const NAP: Duration = Duration::from_millis(100);
/// How often windows say how it goes.
const LOOK: Duration = Duration::from_millis(500);
/// How often a line of statistics is printed.
const LINE: Duration = Duration::from_secs(10);
/// How long frames may stay away before that is said.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why nothing is received, or nothing more: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line cannot be followed.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The interface.
    #[error(transparent)]
    Interface(#[from] OpenError),
    /// The ordinary sockets.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The host's firewall.
    #[error(transparent)]
    Firewall(#[from] Refused),
    /// A key.
    #[error(transparent)]
    Key(#[from] spine_client::signature::KeyError),
    /// The extension is refused.
    #[error("the extension is refused: {0}")]
    Link(#[from] spine_os::linker::LinkError),
    /// The linker's key.
    #[error(transparent)]
    Image(#[from] spine_io::extension::ImageError),
    /// The adapter.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A stream.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The screen.
    #[error(transparent)]
    OnScreen(#[from] OnScreenError),
    /// Memory to share.
    #[error("cannot share a frame buffer: {0}")]
    Share(std::io::Error),
    /// Waiting.
    #[error("cannot wait for frames: {0}")]
    Wait(#[from] nix::Error),
    /// The adapter is gone.
    #[error("the adapter has ended; its last words are above, if it had any")]
    Ended,
    /// The extension is gone.
    #[error("the extension was unloaded: its handlers were stopped too often")]
    Unloaded,
}

/// The linker of this process, and the extension, linked.
fn link() -> Result<(Arc<Linker>, Vec<u8>), Failure> {
    let linker = Linker::new(SecretKey::generate()?, Policy::everything())?;
    let image = linker.link(crate::extension::MODULE)?.into_bytes();
    Ok((Arc::new(linker), image))
}

/// A receiver that runs.
struct Receiver<'a> {
    options: &'a Receive,
    interface: Interface,
    /// The rules that its packets would pass; none where they are to be bypassed.
    firewall: Option<Firewall>,
    streams: Vec<Stream>,
    /// What it had dropped before we listened.
    dropped_before: u64,
    backend: Backend,
    views: Vec<View>,
    on_screen: Option<OnScreen>,
    watches: Vec<Watch>,
    /// Joined groups and quiet ports.
    _listeners: Vec<Listener>,
    ready: Instant,
    next_look: Instant,
    next_line: Instant,
    /// Packets missing, and lost by the adapter, when that was said last.
    losses_said: (u64, u64),
    time: Times,
}

/// Processor time at moments that matter.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    start: ProcessorTime,
    start_seconds: f64,
    first: Option<(Instant, ProcessorTime)>,
    last: Option<(Instant, ProcessorTime)>,
}

/// What is known of a stream since the last look.
struct Watch {
    shown: u64,
    since: Instant,
    trouble: Option<String>,
    /// The extension's counters when the last frame was shown.
    then: Vec<u64>,
    fragments_then: u64,
    line: (Instant, StreamReport),
    overlay: (Instant, StreamReport),
}

/// Receives until there is a reason to end; the report is that of the whole run.
///
/// # Errors
/// [`Failure`].
pub fn run(options: &Receive, signals: &Signals) -> Result<Report, Failure> {
    let (start, streams) = (Instant::now(), options.streams()?);
    let name = options.interface.as_deref().unwrap_or_default();
    let interface = Interface::find(name)?;
    let firewall = firewall(options, &interface, &streams)?;
    let listeners: Result<Vec<_>, _> =
        streams.iter().map(|stream| Listener::open(stream, name)).collect();
    let listeners = listeners?;
    let on_screen = options.screen.map(|size| {
        let protocol = if options.naive_moves { Protocol::Naive } else { Protocol::Leases };
        OnScreen::open(size, &streams, protocol, &options.control)
    });
    let on_screen = on_screen.transpose()?;
    let views = open_views(options, &streams)?;
    let (linker, image) = link()?;
    let opening = backend::Options {
        interface: &interface,
        streams: &streams,
        choice: options.backend,
        mode: options.xdp_mode,
        core: options.core,
        key: TrustedKey::from_bytes(&linker.public().to_bytes())?,
        router: &options.router,
    };
    let mut backend = Backend::open(&opening, &linker, &image, say)?;
    for (index, view) in views.iter().enumerate() {
        if let Some(on_screen) = &on_screen {
            on_screen.lease(&backend, index)?;
        } else if let Some(buffer) = view.to_grant().map_err(Failure::Share)? {
            backend.grant(index, buffer)?;
        }
        backend.receive(index, &view.stream)?;
    }
    backend.begin_forwarding()?;
    let ready = Instant::now();
    let time = Times {
        start: ProcessorTime::now(),
        start_seconds: (ready - start).as_secs_f64(),
        ..Times::default()
    };
    let mut receiver = Receiver {
        options,
        dropped_before: interface.dropped(),
        interface,
        firewall,
        streams,
        backend,
        watches: Vec::new(),
        views,
        on_screen,
        _listeners: listeners,
        ready,
        next_look: ready + LOOK,
        next_line: ready + LINE,
        losses_said: (0, 0),
        time,
    };
    receiver.watches = (0..receiver.streams.len()).map(|index| receiver.watch(index)).collect();
    voice::say("ready");
    receiver.run(signals)?;
    receiver.finish()
}

fn say(sentence: &str) {
    voice::say(format_args!("spine-video: {sentence}"));
}

/// The host's firewall, which lets the streams pass; or what of it is bypassed is said.
fn firewall(
    options: &Receive,
    interface: &Interface,
    streams: &[Stream],
) -> Result<Option<Firewall>, Failure> {
    let firewall = Firewall::read(interface, Instant::now());
    let allowed = firewall.and_then(|firewall| firewall.allows(streams).map(|()| firewall));
    match allowed {
        Err(refused) if options.bypass_kernel_policy => {
            say(&format!("bypassed, as --bypass-kernel-policy says: {refused}"));
            Ok(None)
        }
        Ok(_) if options.bypass_kernel_policy => Ok(None),
        allowed => Ok(Some(allowed?)),
    }
}

fn open_views(options: &Receive, streams: &[Stream]) -> Result<Vec<View>, Failure> {
    let manner = Manner { repair: options.incomplete == Incomplete::Repair, check: options.check };
    let mut views = Vec::new();
    for (index, stream) in streams.iter().enumerate() {
        if options.screen.is_some() {
            views.push(View::on_screen(*stream)?);
            continue;
        }
        let mut view = View::new(*stream, index, manner)?;
        if !options.headless {
            view.open_window()?;
        }
        if let Some(file) = &options.record {
            let file = file_for(file, stream.port, streams.len() > 1);
            view.record(&file, options.record_rate)?;
        }
        views.push(view);
    }
    Ok(views)
}

impl Receiver<'_> {
    fn run(&mut self, signals: &Signals) -> Result<(), Failure> {
        let until = self.options.duration.map(|duration| self.ready + duration);
        loop {
            self.wait(signals.as_fd(), until)?;
            let mut shown = false;
            for view in &mut self.views {
                shown |= view.turn()?;
            }
            shown |= self.turn_screen()?;
            if shown && self.time.first.is_none() {
                self.time.first = Some((Instant::now(), ProcessorTime::now()));
            }
            let mut quit = signals.came();
            if let Some(on_screen) = &mut self.on_screen {
                quit |= on_screen.obey()?;
            }
            for view in &mut self.views {
                quit |= view.obey()?;
            }
            let now = Instant::now();
            quit |= until.is_some_and(|until| now >= until);
            let enough = |frames| self.views.iter().all(|view| view.shown() >= frames);
            quit |= self.options.frames.is_some_and(enough);
            if quit {
                return Ok(());
            }
            if now >= self.next_look {
                self.next_look = now + LOOK;
                self.look(now)?;
            }
        }
    }

    /// What is on the screen was seen at once.
    fn turn_screen(&mut self) -> Result<bool, Failure> {
        let Some(on_screen) = &mut self.on_screen else { return Ok(false) };
        let shown = on_screen.turn(&self.backend)?;
        for (index, view) in self.views.iter_mut().enumerate() {
            view.note_shown(on_screen.screen().counters(index).complete);
        }
        Ok(shown)
    }

    /// Sleeps until there is something to do.
    fn wait(&self, signals: BorrowedFd<'_>, until: Option<Instant>) -> Result<(), Failure> {
        let mut fds = vec![PollFd::new(signals, PollFlags::POLLIN)];
        let screens = self.on_screen.iter().flat_map(OnScreen::fds);
        let descriptors = self.views.iter().flat_map(View::fds).chain(screens);
        fds.extend(descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // A moment longer than what is left, so that the end is not waited for in zero steps.
        let dragging = self.on_screen.as_ref().is_some_and(OnScreen::is_dragging);
        let nap = if dragging { LOOK_WHILE_DRAGGING } else { NAP };
        let nap = left.map_or(nap, |left| nap.min(left + Duration::from_millis(1)));
        let timeout = PollTimeout::try_from(nap).unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Twice a second: processor time, who has not shown anything for long, statistics.
    fn look(&mut self, now: Instant) -> Result<(), Failure> {
        if let Some(trouble) = self.backend.router_trouble() {
            return Err(BackendError::from(trouble).into());
        }
        if !self.backend.is_running() {
            return Err(Failure::Ended);
        }
        if let Some(firewall) = &mut self.firewall {
            firewall.still_allows(now, &self.streams)?;
        }
        let line = now >= self.next_line;
        if line {
            self.next_line = now + LINE;
            let adapter = self.backend.statistics()?;
            if adapter.counters.unloaded > 0 {
                return Err(Failure::Unloaded);
            }
            self.say_losses(adapter.nic.receive_lost);
        }
        if self.time.first.is_some() {
            self.time.last = Some((now, ProcessorTime::now()));
        }
        let (mut troubles, mut lines) = (Vec::new(), Vec::new());
        for index in 0..self.views.len() {
            self.look_at(index, now);
            let statistics = self.statistics_lines(index, now, line);
            let trouble = self.watches.get(index).and_then(|watch| watch.trouble.clone());
            if let Some(view) = self.views.get_mut(index) {
                view.say(trouble.as_deref(), &statistics)?;
                troubles.extend(trouble.map(|trouble| format!("{}: {trouble}", view.stream)));
            }
            lines.extend(statistics);
        }
        match &mut self.on_screen {
            Some(on_screen) => Ok(on_screen.say(&troubles, &lines)?),
            None => Ok(()),
        }
    }

    /// Says who lost packets, if there are more lost ones than when it was said last.
    fn say_losses(&mut self, adapter: u64) {
        let missing = |index| self.backend.counted(index, Counter::Lost);
        let losses = report::Losses {
            missing: (0..self.views.len()).map(missing).sum(),
            adapter,
            interface: self.interface.dropped().saturating_sub(self.dropped_before),
            stall_ms: self.backend.measured().longest_stall() as f64 * 1e-6,
        };
        let known = (losses.missing, losses.adapter);
        if known != self.losses_said
            && let Some(sentence) = losses.sentence()
        {
            say(&sentence);
        }
        self.losses_said = known;
    }

    /// Notes whether a stream still shows frames, and why not.
    fn look_at(&mut self, index: usize, now: Instant) {
        let (Some(view), Some(watch)) = (self.views.get(index), self.watches.get(index)) else {
            return;
        };
        if view.shown() > watch.shown {
            let (line, overlay) = (watch.line.clone(), watch.overlay.clone());
            if watch.trouble.is_some() {
                say(&format!("{}: frames come", view.stream));
            }
            self.watches[index] = Watch { shown: view.shown(), line, overlay, ..self.watch(index) };
            return;
        }
        if now - watch.since < PATIENCE {
            return;
        }
        let counted = |counter: Counter| {
            let then = watch.then.get(counter as usize).copied().unwrap_or_default();
            self.backend.counted(index, counter).saturating_sub(then)
        };
        let interface = self.interface.trouble();
        let fragments = self.backend.fragments().unwrap_or_default();
        let sentence = trouble::sentence(&Symptoms {
            stream: &view.stream,
            interface: interface.as_deref(),
            fragments: fragments.saturating_sub(watch.fragments_then),
            counted,
            payload_type: self.backend.counted(index, Counter::PayloadType),
        });
        if watch.trouble.as_ref() != Some(&sentence) {
            say(&format!("{}: {sentence}", view.stream));
            self.watches[index].trouble = Some(sentence);
        }
    }

    /// A watch that starts now.
    fn watch(&self, index: usize) -> Watch {
        let counts = |counter: &Counter| self.backend.counted(index, *counter);
        let now = Instant::now();
        Watch {
            shown: self.views.get(index).map_or(0, View::shown),
            since: now,
            trouble: None,
            then: Counter::ALL.iter().map(counts).collect(),
            fragments_then: self.backend.fragments().unwrap_or_default(),
            line: (now, self.stream_report(index)),
            overlay: (now, self.stream_report(index)),
        }
    }

    /// The lines for the overlay; every ten seconds one is printed, too.
    fn statistics_lines(&mut self, index: usize, now: Instant, print: bool) -> Vec<String> {
        let report = self.stream_report(index);
        let Some((view, watch)) = self.views.get(index).zip(self.watches.get_mut(index)) else {
            return Vec::new();
        };
        let name = view.stream.to_string();
        let since = |(time, before): &(Instant, StreamReport)| {
            let report = with_rates(report.clone(), before, now - *time);
            report::lines(&name, before, &report, now - *time)
        };
        if print {
            let measured = self.backend.measured();
            say(&format!(
                "{}, burst {}, longest stall {:.1} ms",
                since(&watch.line).join(", "),
                measured.largest_backlog(),
                measured.longest_stall() as f64 * 1e-6
            ));
            watch.line = (now, report.clone());
        }
        let lines = since(&watch.overlay);
        watch.overlay = (now, report);
        lines
    }

    fn stream_report(&self, index: usize) -> StreamReport {
        let Some(view) = self.views.get(index) else { return StreamReport::default() };
        let counted = |counter| self.backend.counted(index, counter);
        let on_screen = self.on_screen.as_ref().map(|it| it.screen().counters(index));
        let mut report = StreamReport::new(
            view.stream.to_string(),
            view.counters().or(on_screen).unwrap_or_default(),
            view.shown(),
            view.checked(),
            counted,
        );
        // Of the whole run; lines make theirs of two reports.
        report.packets.insert("bytes", counted(Counter::Bytes));
        report
    }

    /// Ends everything and says what it came to.
    fn finish(mut self) -> Result<Report, Failure> {
        // The moment of the last frame, if that was just now; else the last look's.
        let last_shown = self.views.iter().filter_map(View::span).map(|(_, last)| last).max();
        if last_shown.is_some_and(|last| last.elapsed() < LOOK) {
            self.time.last = Some((Instant::now(), ProcessorTime::now()));
        }
        // Before a router ends, which takes its classifier with it.
        let (fragments, classifier) = (self.backend.fragments(), self.backend.classified());
        let router = self.backend.stop()?;
        let several = self.views.len() > 1;
        if let (Some(on_screen), Some(file)) = (&self.on_screen, &self.options.screenshot) {
            on_screen.screenshot(file)?;
        }
        for view in &mut self.views {
            view.finish()?;
            if let Some(file) = &self.options.screenshot {
                view.screenshot(&file_for(file, view.stream.port, several))?;
            }
        }
        let adapter = self.backend.statistics()?;
        let measured = self.backend.measured();
        let whole = self.ready.elapsed();
        let streams = (0..self.views.len()).map(|index| {
            let report = self.stream_report(index);
            let mut report = with_rates(report, &StreamReport::default(), whole);
            if let Some((first, last)) = self.views.get(index).and_then(View::span) {
                // Frames' gaps, of which there is one less than frames.
                let gaps = report.frames_shown.saturating_sub(1) as f64;
                report.fps = gaps / (last - first).as_secs_f64().max(1e-9);
            }
            report
        });
        let streams = streams.collect();
        let presented = match &self.on_screen {
            Some(on_screen) => on_screen.mode(),
            None => self.views.first().map_or("nothing", View::mode),
        };
        let mut report = Report {
            mode: adapter.mode,
            presented: presented.to_owned(),
            adapter_lost: adapter.nic.receive_lost,
            interface_dropped: self.interface.dropped().saturating_sub(self.dropped_before),
            packets_unknown: self.backend.unknown(),
            handlers_stopped: adapter.counters.strikes,
            classifier,
            router,
            ip_fragments: fragments.unwrap_or_default(),
            largest_backlog: measured.largest_backlog(),
            longest_stall_ms: measured.longest_stall() as f64 * 1e-6,
            startup_seconds: self.time.start_seconds,
            startup_cpu_seconds: self.time.start.host.as_secs_f64(),
            seconds: whole.as_secs_f64(),
            streams,
            ..Report::default()
        };
        if let (Some((first, before)), Some((last, after))) = (self.time.first, self.time.last) {
            let (time, used) = (last.saturating_duration_since(first), after.since(before));
            report.shown_seconds = time.as_secs_f64();
            report.cpu_host_percent = percent(used.host, time);
            report.cpu_adapter_percent = percent(used.adapter, time);
        }
        report.sum();
        Ok(report)
    }
}

/// Fills in what is by the second.
fn with_rates(report: StreamReport, before: &StreamReport, time: Duration) -> StreamReport {
    let seconds = time.as_secs_f64().max(1e-9);
    let bytes = |report: &StreamReport| report.packets.get("bytes").copied().unwrap_or_default();
    let megabits = bytes(&report).saturating_sub(bytes(before)) as f64 * 8e-6;
    StreamReport {
        fps: report.frames_shown.saturating_sub(before.frames_shown) as f64 / seconds,
        mbit_per_second: megabits / seconds,
        ..report
    }
}
