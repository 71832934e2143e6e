//! What is seen of a run: period, loss, latency, gaps between departures.

use spine_abi::event::TraceRecord;

use super::Failure;
use super::station::{Input, Laboratory, Station};

/// Messages under way at one time, at most: the ring in which their starts are looked up.
const UNDER_WAY: usize = 4_096;
/// Width of a histogram's bins, and how many there are.
const BIN_NS: u64 = 100;
const BINS: usize = 20_000;
/// Turns between two looks at the counters.
const LOOK: u64 = 64;
/// Messages offered by a flooding host in each turn: more than the card can take.
const FLOOD: usize = 64;

/// Times, to 0.1 us.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    bins: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { bins: vec![0; BINS], count: 0 }
    }

    pub(super) fn add(&mut self, nanos: u64) {
        let bin = usize::try_from(nanos / BIN_NS).unwrap_or(BINS).min(BINS - 1);
        self.bins[bin] += 1;
        self.count += 1;
    }

    /// The time that `part` (0 to 1) of all stay under, in microseconds.
    pub(super) fn quantile_us(&self, part: f64) -> f64 {
        let mut left = self.count as f64 * part;
        let bin = self.bins.iter().position(|count| {
            left -= *count as f64;
            left <= 0.0
        });
        bin.unwrap_or(0) as f64 * BIN_NS as f64 / 1_000.0
    }
}

/// What a run showed.
#[derive(Debug, Clone)]
pub(super) struct Observation {
    /// Packets lost, of those that arrived.
    pub(super) loss: f64,
    /// Microseconds between departures, as a mean over the last nine tenths.
    pub(super) period_us: f64,
    /// From the detection of a packet to the return of its buffer.
    pub(super) latency: Histogram,
    /// Between departures.
    pub(super) gaps: Histogram,
    /// The longest that a packet waited in a buffer while none was taken note of.
    pub(super) starved_us: f64,
    /// Fuel of a handler for a message, as a mean.
    pub(super) fuel: f64,
    /// Virtual time that the host's messages took, as a part of all.
    pub(super) host_share: f64,
}

/// Runs a card on an input to the end.
pub(super) fn observe(laboratory: &Laboratory, input: &Input) -> Result<Observation, Failure> {
    let mut station = laboratory.station(input)?;
    let watch = if input.flood { None } else { Some(&["rx_detect", "buf_free"][..]) };
    station.trace(watch);
    let mut watcher = Watcher::new(&station, input.count);
    let mut turns = 0;
    loop {
        if input.flood {
            let room = FLOOD.saturating_sub(watcher.unserved());
            station.flood(room)?;
            watcher.offered += room as u64;
        }
        station.turn(|record| watcher.see(&record));
        turns += 1;
        if turns % LOOK != 0 {
            continue;
        }
        let lost = station.statistics().nic.receive_lost;
        let too_many = lost as f64 >= input.most_lost * input.count as f64;
        if too_many || watcher.left + lost >= input.count {
            return Ok(watcher.conclude(&mut station, input.count));
        }
    }
}

/// Follows a trace.
struct Watcher {
    detect: u8,
    free: u8,
    host: u8,
    starts: Vec<u64>,
    latency: Histogram,
    gaps: Histogram,
    settled: u64,
    left: u64,
    first_left: u64,
    last_left: u64,
    offered: u64,
    host_messages: u64,
    all_ns: u64,
    is_host: Vec<bool>,
    host_ns: u64,
}

impl Watcher {
    fn new(station: &Station, count: u64) -> Self {
        let kinds = station.plan().kinds();
        let at = |name| kinds.iter().position(|kind| kind.name == name).unwrap_or(0);
        let place = |name| u8::try_from(at(name)).unwrap_or(0);
        Self {
            detect: place("rx_detect"),
            free: place("buf_free"),
            host: place("host_message"),
            starts: vec![0; UNDER_WAY],
            latency: Histogram::new(),
            gaps: Histogram::new(),
            settled: count / 10,
            left: 0,
            first_left: 0,
            last_left: 0,
            offered: 0,
            host_messages: 0,
            all_ns: 0,
            is_host: vec![false; UNDER_WAY],
            host_ns: 0,
        }
    }

    fn unserved(&self) -> usize {
        usize::try_from(self.offered - self.host_messages).unwrap_or(0)
    }

    fn see(&mut self, record: &TraceRecord) {
        let place = usize::try_from(record.message).unwrap_or(0) % UNDER_WAY;
        let end = record.start + u64::from(record.nanos);
        self.all_ns = end;
        if record.kind == self.detect {
            self.starts[place] = record.start;
            self.is_host[place] = false;
        } else if record.kind == self.free {
            self.depart(end, end - self.starts[place]);
        } else if record.kind == self.host {
            self.host_messages += 1;
            self.is_host[place] = true;
        }
        if self.is_host[place] && record.message != 0 {
            self.host_ns += u64::from(record.nanos);
        }
    }

    fn depart(&mut self, end: u64, latency: u64) {
        self.left += 1;
        if self.left == self.settled {
            self.first_left = end;
        } else if self.left > self.settled {
            self.latency.add(latency);
            self.gaps.add(end - self.last_left);
        }
        self.last_left = end;
    }

    fn conclude(self, station: &mut Station, count: u64) -> Observation {
        let statistics = station.statistics();
        let (from, to) = if self.settled == 0 || self.left <= self.settled {
            (0, self.left)
        } else {
            (self.settled, self.left)
        };
        let counters = &statistics.counters;
        Observation {
            loss: statistics.nic.receive_lost as f64 / count as f64,
            period_us: (self.last_left - self.first_left) as f64 / 1_000.0 / (to - from) as f64,
            latency: self.latency,
            gaps: self.gaps,
            starved_us: station.starved_ns() as f64 / 1_000.0,
            fuel: counters.fuel as f64 / counters.handled as f64,
            host_share: self.host_ns as f64 / self.all_ns.max(1) as f64,
        }
    }
}
