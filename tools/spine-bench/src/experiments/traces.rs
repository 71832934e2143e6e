//! What the card did, event by event, for `event-graph` (the paper's Figure 6).

use std::path::Path;

use serde::Serialize;
use spine_io::lanai::Card;

use super::Failure;
use super::figures::best;
use super::station::{Input, Laboratory};

/// Packets before the part that is written: the card is in its stride.
const SETTLED_US: f64 = 20_000.0;
/// How much is written.
const WRITTEN_US: f64 = 2_000.0;

/// One run.
#[derive(Serialize)]
struct Run {
    title: String,
    kinds: Vec<&'static str>,
    /// Start and length in microseconds, kind, message.
    events: Vec<(f64, f64, u8, u64)>,
}

/// Writes both runs to a file, and says so.
pub(super) fn write(laboratory: &Laboratory, path: &Path) -> Result<String, Failure> {
    let loaded = Card::default();
    let runs = [
        run(laboratory, "loaded, the network strictly before the bus", loaded, 60.0)?,
        run(laboratory, "best case, the bus before the network", best(loaded), 55.0)?,
    ];
    let file = std::fs::File::create(path)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    serde_json::to_writer(std::io::BufWriter::new(file), &runs)?;
    Ok(format!("wrote {}: draw it with event-graph\n", path.display()))
}

fn run(laboratory: &Laboratory, title: &str, card: Card, period_us: f64) -> Result<Run, Failure> {
    let input = Input { jitter: 0.0, ..Input::new(card, u64::MAX, period_us) };
    let mut station = laboratory.station(&input)?;
    station.trace(None);
    let kinds = station.plan().kinds().iter().map(|kind| kind.name).collect();
    let (mut events, mut now) = (Vec::new(), 0.0);
    while now < SETTLED_US + WRITTEN_US {
        station.turn(|record| {
            now = record.start as f64 / 1_000.0;
            if now >= SETTLED_US {
                let length = f64::from(record.nanos) / 1_000.0;
                events.push((now - SETTLED_US, length, record.kind, record.message));
            }
        });
    }
    Ok(Run { title: title.to_owned(), kinds, events })
}
