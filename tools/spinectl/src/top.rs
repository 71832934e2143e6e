//! `spinectl top`: what adapters and extensions do, as rates, in a view that stays.
//!
//! One frame is drawn from two samples; the live view and the printed frame (`--once`) are the same
//! drawing on two backends.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Row, Table};
use spine_client::{AdapterStatistics, Client, ExtensionInfo};

use crate::commands::Failure;
use crate::print;

/// Columns of a printed frame.
const WIDTH: u16 = 132;

/// What the daemon said at one time.
struct Sample {
    at: Instant,
    adapters: Vec<AdapterStatistics>,
    extensions: Vec<ExtensionInfo>,
}

impl Sample {
    fn take(client: &mut Client) -> Result<Self, Failure> {
        let names = client.adapters()?.into_iter().map(|adapter| adapter.interface);
        let adapters = names.map(|name| client.statistics(&name)).collect::<Result<_, _>>()?;
        let extensions = client.extensions()?;
        Ok(Self { at: Instant::now(), adapters, extensions })
    }

    fn adapter(&self, interface: &str) -> Option<&AdapterStatistics> {
        self.adapters.iter().find(|adapter| adapter.interface == interface)
    }
}

/// Shows the view until a key ends it; with `once`, prints one frame.
///
/// # Errors
/// The daemon or the terminal has gone.
pub(crate) fn run(client: &mut Client, interval: Duration, once: bool) -> Result<(), Failure> {
    let mut before = Sample::take(client)?;
    if once {
        std::thread::sleep(interval);
        let now = Sample::take(client)?;
        return print::line(&printed(&before, &now)?);
    }
    let mut terminal = ratatui::try_init()?;
    let shown = loop {
        let now = match Sample::take(client) {
            Ok(now) => now,
            Err(failure) => break Err(failure),
        };
        if let Err(error) = terminal.draw(|frame| draw(frame, &before, &now)) {
            break Err(error.into());
        }
        before = now;
        match wait_for_end(interval) {
            Ok(false) => {}
            Ok(true) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
    };
    ratatui::try_restore()?;
    shown
}

/// Waits for the next frame; true if a key says that it is enough.
fn wait_for_end(interval: Duration) -> std::io::Result<bool> {
    let end = Instant::now() + interval;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if !event::poll(left)? {
            return Ok(false);
        }
        if let Event::Key(key) = event::read()? {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                KeyCode::Char('c') if control => return Ok(true),
                _ => {}
            }
        }
    }
}

/// One frame as text.
fn printed(before: &Sample, now: &Sample) -> Result<String, Failure> {
    let height = u16::try_from(now.adapters.len() + now.extensions.len() + 5).unwrap_or(u16::MAX);
    let mut terminal =
        Terminal::new(TestBackend::new(WIDTH, height)).map_err(std::io::Error::other)?;
    terminal.draw(|frame| draw(frame, before, now)).map_err(std::io::Error::other)?;
    let buffer = terminal.backend().buffer();
    let cells = buffer.content().chunks(usize::from(WIDTH));
    let lines = cells.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    Ok(lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"))
}

fn draw(frame: &mut Frame<'_>, before: &Sample, now: &Sample) {
    let rows = |count: usize| Constraint::Length(u16::try_from(count + 1).unwrap_or(u16::MAX));
    let [title, adapters, gap, extensions] = Layout::vertical([
        Constraint::Length(1),
        rows(now.adapters.len()),
        Constraint::Length(1),
        Constraint::Min(1),
    ])
    .areas(frame.area());
    let summary = format!(
        "spined: {} adapters, {} extensions   (each second; q ends)",
        now.adapters.len(),
        now.extensions.len()
    );
    frame.render_widget(Line::from(summary).bold(), title);
    frame.render_widget(adapter_table(before, now), adapters);
    frame.render_widget(Line::from(""), gap);
    frame.render_widget(extension_table(before, now), extensions);
}

fn adapter_table(before: &Sample, now: &Sample) -> Table<'static> {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    let rows = now.adapters.iter().map(|adapter| {
        let earlier = before.adapter(&adapter.interface);
        let counter = |name: &str| {
            let of = |found: &AdapterStatistics| found.counters.get(name).copied().unwrap_or(0);
            rate(earlier.map_or(0, of), of(adapter), seconds)
        };
        let summed =
            |of: fn(&AdapterStatistics) -> u64| rate(earlier.map_or(0, of), of(adapter), seconds);
        let frames = |name: &str| adapter.counters.get(name).copied().unwrap_or(0).to_string();
        Row::new([
            adapter.interface.clone(),
            adapter.mode.clone(),
            counter("received"),
            counter("transmitted"),
            counter("handled"),
            summed(|adapter| adapter.to_kernel.values().sum()),
            summed(|adapter| adapter.dropped.values().sum()),
            counter("strikes"),
            counter("fuel"),
            format!("{}/{}", frames("frames_free"), frames("frames")),
        ])
    });
    let widths = [14, 18, 9, 9, 9, 9, 9, 8, 10, 12].map(Constraint::Length);
    let head = [
        "ADAPTER",
        "MODE",
        "RECEIVED",
        "SENT",
        "HANDLED",
        "KERNEL",
        "DROPPED",
        "STRIKES",
        "FUEL",
        "FREE FRAMES",
    ];
    Table::new(rows.collect::<Vec<_>>(), widths)
        .header(Row::new(head).style(Style::new().underlined()))
}

fn extension_table(before: &Sample, now: &Sample) -> Table<'static> {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    let rows = now.extensions.iter().map(|extension| {
        let earlier = before.extensions.iter().find(|it| it.number == extension.number);
        let earlier = earlier.map(|it| it.bill.clone()).unwrap_or_default();
        let bill = &extension.bill;
        Row::new([
            extension.number.to_string(),
            extension.name.clone(),
            extension.interface.clone(),
            print::user(extension.user),
            share(earlier.nanos, bill.nanos, seconds),
            rate(earlier.messages, bill.messages, seconds),
            rate(earlier.fuel, bill.fuel, seconds),
            bill.picos_per_unit.to_string(),
            bill.stops().to_string(),
            bill.strikes.to_string(),
            bill.last_stop
                .as_ref()
                .map_or_else(|| "-".to_owned(), |(handler, _)| handler.to_string()),
            extension.sent.to_string(),
            extension.received.to_string(),
            extension.lost.to_string(),
        ])
    });
    let widths = [7, 16, 12, 10, 7, 9, 9, 8, 7, 8, 8, 8, 8, 7].map(Constraint::Length);
    let head = [
        "NUMBER",
        "EXTENSION",
        "ADAPTER",
        "USER",
        "TIME",
        "HANDLED",
        "FUEL",
        "PS/UNIT",
        "STOPS",
        "STRIKES",
        "STOPPED",
        "TO",
        "FROM",
        "UNHEARD",
    ];
    Table::new(rows.collect::<Vec<_>>(), widths)
        .header(Row::new(head).style(Style::new().underlined()))
}

/// How much of a processor's time so many nanoseconds were.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(before: u64, now: u64, seconds: f64) -> String {
    format!("{:.1} %", now.saturating_sub(before) as f64 / (seconds.max(1e-3) * 1e7))
}

/// Events a second, short enough for a column.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(before: u64, now: u64, seconds: f64) -> String {
    let rate = now.saturating_sub(before) as f64 / seconds.max(1e-3);
    match rate {
        rate if rate >= 1e9 => format!("{:.1} G", rate / 1e9),
        rate if rate >= 1e6 => format!("{:.1} M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_client::daemon::protocol::Bill;

    fn sample(at: Instant, received: u64) -> Sample {
        let mut adapter = AdapterStatistics { interface: "eth1".to_owned(), ..Default::default() };
        adapter.counters.insert("received".to_owned(), received);
        adapter.dropped.insert("no_handler".to_owned(), received / 10);
        Sample { at, adapters: vec![adapter], extensions: Vec::new() }
    }

    #[test]
    fn a_frame_shows_rates_between_two_samples() {
        let start = Instant::now();
        let (before, now) = (sample(start, 1000), sample(start + Duration::from_secs(2), 101_000));
        let frame = printed(&before, &now).expect("drawn");
        assert!(frame.contains("1 adapters, 0 extensions"), "{frame}");
        let line = frame.lines().find(|line| line.starts_with("eth1")).expect("the adapter");
        assert!(line.contains("50.0 k") && line.contains("5000"), "{frame}");
    }

    #[test]
    fn who_takes_the_time_is_seen_with_how_often_he_was_stopped_and_where() {
        let start = Instant::now();
        let with = |at, nanos| {
            let bill = Bill {
                nanos,
                too_dear: 41,
                last_stop: Some((7, "stopped".to_owned())),
                ..Bill::default()
            };
            let extension = ExtensionInfo {
                number: 3,
                name: "cold".to_owned(),
                bill,
                ..ExtensionInfo::default()
            };
            Sample { at, adapters: Vec::new(), extensions: vec![extension] }
        };
        let (before, now) =
            (with(start, 5_000_000), with(start + Duration::from_secs(2), 1_005_000_000));
        let frame = printed(&before, &now).expect("drawn");
        let line = frame.lines().find(|line| line.contains("cold")).expect("the extension");
        assert!(line.contains("50.0 %") && line.contains("41") && line.contains('7'), "{frame}");
    }

    #[test]
    fn rates_fit_their_columns() {
        for (count, text) in [(0, "0"), (9_999, "9999"), (10_000, "10.0 k"), (2_500_000, "2.5 M")] {
            assert_eq!(rate(0, count, 1.0), text);
        }
        assert_eq!(rate(10, 5, 1.0), "0", "a daemon started again counts from zero");
    }
}
