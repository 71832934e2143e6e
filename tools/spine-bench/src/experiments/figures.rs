//! Figures 5 and 6, and section 7's table of what better hardware would give.

use nix::time::{ClockId, clock_gettime};
use spine_io::lanai::costs::MESSAGE_BYTES;
use spine_io::lanai::{Card, Way};
use spine_nic::schedule;

use super::Failure;
use super::observation::{Observation, observe};
use super::report::{Mark, Report};
use super::station::{Input, Laboratory, ROUTES};

/// The paper's bound on packets lost at the highest rate.
const MOST_LOST: f64 = 0.005;
/// Where a search begins: parts of the period that the saturated card has.
const SEARCH: (f64, f64) = (0.9, 1.25);
/// A search ends when its bounds are so close, in microseconds.
const PRECISION_US: f64 = 0.04;

/// Adds all of them. Rates are searched with so many packets, and confirmed with more.
pub(super) fn run(
    laboratory: &Laboratory,
    search: u64,
    confirm: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    let paper = Card::default();
    let wire = Card { way: Way::Wire, ..paper };
    figure_5(laboratory, paper, search, confirm).map(|pps| {
        report.figure("pci_pps", "Figure 5: PCI, packets/s", 11_300.0, pps, Mark::Predicted);
    })?;
    figure_5(laboratory, wire, search, confirm).map(|pps| {
        report.figure("wire_pps", "Figure 5: Wire, packets/s", 14_100.0, pps, Mark::Fitted);
    })?;
    let few = (search / 5).max(1_000);
    best_case(laboratory, few, report)?;
    hardware(laboratory, few, search, report)?;
    handler(laboratory, few, report)
}

/// The highest rate at which a card loses less than half a per cent of Figure 5's packets.
fn figure_5(
    laboratory: &Laboratory,
    card: Card,
    search: u64,
    confirm: u64,
) -> Result<f64, Failure> {
    let mut period_us = shortest_period_us(laboratory, &Input::new(card, search, 0.0))?;
    loop {
        let before = cpu_seconds()?;
        let loss = observe(laboratory, &Input::new(card, confirm, period_us))?.loss;
        if loss < MOST_LOST {
            let (pps, took) = (1e6 / period_us, cpu_seconds()? - before);
            eprintln!("confirmed {pps:.0} packets/s with {confirm} packets: {took:.2} s of CPU");
            return Ok(pps);
        }
        // A saturated card loses the part of the packets by which they come too fast. Half of what that asks
        // for, so as not to go past the highest rate.
        period_us += PRECISION_US.max(period_us * (loss - MOST_LOST) / 2.0);
    }
}

/// Seconds of processor time that this thread has used. They go to the error output only: what an
/// experiment says is the same each time.
pub(super) fn cpu_seconds() -> Result<f64, Failure> {
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(std::time::Duration::from(used).as_secs_f64())
}

/// The shortest period at which less than half a per cent of an input's packets is lost.
pub(super) fn shortest_period_us(laboratory: &Laboratory, input: &Input) -> Result<f64, Failure> {
    let period_us = saturated(laboratory, input.card, (input.count / 10).max(1_000))?.period_us;
    let (mut short, mut long) = (period_us * SEARCH.0, period_us * SEARCH.1);
    while long - short > PRECISION_US {
        let period_us = f64::midpoint(short, long);
        let input = Input { period_us, most_lost: MOST_LOST, ..input.clone() };
        if observe(laboratory, &input)?.loss < MOST_LOST {
            long = period_us
        } else {
            short = period_us
        }
    }
    Ok(long)
}

/// A card with more packets than it can take.
pub(super) fn saturated(
    laboratory: &Laboratory,
    card: Card,
    count: u64,
) -> Result<Observation, Failure> {
    let (part, whole) = card.processor;
    let period_us = 30.0 * f64::from(part) / f64::from(whole);
    observe(laboratory, &Input { jitter: 0.0, ..Input::new(card, count, period_us) })
}

/// The card in the ordering of Figure 6, which the paper calls the best case.
pub(super) fn best(card: Card) -> Card {
    Card { policy: schedule::PCI_FIRST, ..card }
}

fn best_case(laboratory: &Laboratory, count: u64, report: &mut Report) -> Result<(), Failure> {
    let card = best(Card::default());
    let period_us = saturated(laboratory, card, count)?.period_us;
    let paced = Input { jitter: 0.0, ..Input::new(card, count, period_us.ceil()) };
    let latency_us = observe(laboratory, &paced)?.latency.quantile_us(0.5);
    report.figure("best_period_us", "Figure 6: period, us", 55.0, period_us, Mark::Fitted);
    report.figure("latency_us", "Figure 6: latency, us", 100.0, latency_us, Mark::Predicted);
    Ok(())
}

fn hardware(
    laboratory: &Laboratory,
    count: u64,
    search: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    let base = Card::default();
    let fifo = Card { hardware_fifo: true, ..base };
    let chained = Card { chained_dma: true, ..base };
    let both = Card { chained_dma: true, ..fifo };
    let fast = both.with_fast_processor();
    let period = |card| saturated(laboratory, card, count).map(|seen| seen.period_us);

    let searched = shortest_period_us(laboratory, &Input::new(fifo, search, 0.0))?;
    let (fifo_pps, saving) = (1e6 / searched, period(best(base))? - period(best(chained))?);
    let mark = Mark::Fitted;
    report.figure("fifo_pps", "7.1: hardware FIFOs, packets/s", 14_100.0, fifo_pps, mark);
    report.figure("chained_saving_us", "7.2: chained DMA saves, us", 12.0, saving, mark);
    report.figure("both_period_us", "7.4: both, period, us", 33.0, period(best(both))?, mark);
    report.figure(
        "fast_period_us",
        "7.4: all three, us",
        10.0,
        period(best(fast))?,
        Mark::Predicted,
    );

    report.line("\nPeriod in us: the best case, and loaded under the paper's priority");
    for (name, card) in [
        ("this card", base),
        ("over the wire", Card { way: Way::Wire, ..base }),
        ("hardware FIFOs", fifo),
        ("chained DMA", chained),
        ("both", both),
        ("fast processor", base.with_fast_processor()),
        ("all three", fast),
    ] {
        let (best, loaded) = (period(best(card))?, period(card)?);
        report.line(&format!("  {name:<16} {best:>6.2} {loaded:>6.2}"));
    }
    Ok(())
}

/// What the router's handler takes, and what its fuel is worth.
fn handler(laboratory: &Laboratory, count: u64, report: &mut Report) -> Result<(), Failure> {
    let card = Card::default();
    let seen = observe(laboratory, &Input::new(card, count, 200.0))?;
    let ns_per_fuel = card.picoseconds_per_fuel as f64 / 1_000.0;
    let handler_us = seen.fuel * ns_per_fuel / 1_000.0;
    report.figure(
        "handler_us",
        "Figure 6: the router's handler, us",
        4.0,
        handler_us,
        Mark::Fitted,
    );
    report.figure("ns_per_fuel", "time of a unit of fuel, ns", None, ns_per_fuel, Mark::Fitted);
    let (fuel, bytes) = (seen.fuel, laboratory.table_bytes()?);
    report.figure(
        "table_bytes",
        "5: bytes of 1000 routes (at most)",
        20_000.0,
        bytes as f64,
        Mark::Predicted,
    );
    let bytes = MESSAGE_BYTES as f64;
    report.figure("message_bytes", "3.2: bytes of a message", 256.0, bytes, Mark::Published);
    report.line(&format!(
        "\nThe router used {fuel:.1} units of fuel a packet, with {ROUTES} routes in an LC-trie."
    ));
    Ok(())
}
