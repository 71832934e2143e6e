//! How much the results owe to what was assumed.

use spine_io::lanai::costs::IDLE_POLL_NS;
use spine_io::lanai::{Card, Way};

use super::Failure;
use super::figures::{best, saturated, shortest_period_us};
use super::report::Report;
use super::station::{Input, Laboratory};

/// Adds the sweeps; each point is searched with so many packets.
pub(super) fn run(laboratory: &Laboratory, count: u64, report: &mut Report) -> Result<(), Failure> {
    let count = count.max(1_000);
    jitter(laboratory, count, report)?;
    sizes(laboratory, count, report)?;
    costs(laboratory, count, report)
}

fn jitter(laboratory: &Laboratory, count: u64, report: &mut Report) -> Result<(), Failure> {
    report.line("\nJitter of arrivals: us between packets with < 0.5 % lost, PCI and Wire");
    let mut closest = (f64::INFINITY, 0.0);
    for jitter in [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 1.0] {
        let search = |way| {
            let card = Card { way, ..Card::default() };
            shortest_period_us(laboratory, &Input { jitter, ..Input::new(card, count, 0.0) })
        };
        let (pci, wire) = (search(Way::Pci)?, search(Way::Wire)?);
        report.line(&format!("  {jitter:<4} {pci:>6.2} {wire:>6.2}"));
        if (pci - 95.0_f64).abs() < closest.0 {
            closest = ((pci - 95.0_f64).abs(), jitter);
        }
    }
    let at = closest.1;
    report.line(&format!(
        "  The 95 us of section 6, beside Figure 5's 88.5, are closest at a jitter of {at}."
    ));
    Ok(())
}

fn sizes(laboratory: &Laboratory, count: u64, report: &mut Report) -> Result<(), Failure> {
    report.line("\nBytes of a packet: saturated period in us; this card loaded, its best case, all of section 7");
    let all = Card { hardware_fifo: true, chained_dma: true, ..Card::default() };
    for bytes in [64, 256, 576, 800, 1_024, 1_500] {
        let period = |card: Card, period_us| {
            let input = Input { bytes, jitter: 0.0, ..Input::new(card, count, period_us) };
            super::observation::observe(laboratory, &input).map(|seen| seen.period_us)
        };
        let loaded = period(Card::default(), 30.0)?;
        let best_us = period(best(Card::default()), 30.0)?;
        let fast = period(best(all.with_fast_processor()), 5.0)?;
        report.line(&format!("  {bytes:>4} {loaded:>6.2} {best_us:>6.2} {fast:>6.2}"));
    }
    Ok(())
}

fn costs(laboratory: &Laboratory, count: u64, report: &mut Report) -> Result<(), Failure> {
    report
        .line("\nAll event costs and the idle poll, by 10 %: saturated period in us, PCI and Wire");
    for (name, processor, poll) in [
        ("as they are", (10, 10), 10),
        ("poll -10 %", (10, 10), 9),
        ("poll +10 %", (10, 10), 11),
        ("events -10 %", (9, 10), 10),
        ("events +10 %", (11, 10), 10),
    ] {
        // The processor's factor applies to the poll as well: it is taken out again.
        let idle_poll_ns = IDLE_POLL_NS * poll / 10 * processor.1 / processor.0;
        let period = |way| {
            let card = Card { way, processor, idle_poll_ns, ..Card::default() };
            saturated(laboratory, card, count).map(|seen| seen.period_us)
        };
        let (pci, wire) = (period(Way::Pci)?, period(Way::Wire)?);
        report.line(&format!("  {name:<13} {pci:>6.2} {wire:>6.2}"));
    }
    Ok(())
}
