//! What the authors were still looking for: another rule for which of the ready events runs next.

use spine_abi::event::Policy;
use spine_io::lanai::Card;
use spine_nic::schedule;

use super::Failure;
use super::figures::{saturated, shortest_period_us};
use super::observation::observe;
use super::report::{Mark, Report};
use super::station::{Input, Laboratory};

/// The rate that the chosen policy has to carry, in microseconds between packets: 17,500 packets/s.
pub(super) const GOAL_US: f64 = 1e6 / 17_500.0;
/// The spacing of the test for oscillation, in microseconds.
const OSCILLATION_US: f64 = 90.0;

fn card(policy: Policy) -> Card {
    Card { policy, ..Card::default() }
}

/// Adds the chosen policy's rate on Figure 5's input.
pub(super) fn tuned(
    laboratory: &Laboratory,
    search: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    let input = Input::new(card(schedule::OLDEST_FIRST), search, 0.0);
    let pps = 1e6 / shortest_period_us(laboratory, &input)?;
    let what = "another policy (oldest first): PCI, packets/s";
    report.figure("tuned_pci_pps", what, None, pps, Mark::Predicted);
    Ok(())
}

/// How much more departures spread than arrivals: (p98 - p2) of the gaps of both, under arrivals of
/// 90 us (1 +- 0.1).
pub(super) fn spread(laboratory: &Laboratory, policy: Policy, count: u64) -> Result<f64, Failure> {
    let seen = observe(laboratory, &Input::new(card(policy), count, OSCILLATION_US))?;
    let departures = seen.gaps.quantile_us(0.98) - seen.gaps.quantile_us(0.02);
    // Of gaps drawn evenly from 90 (1 +- 0.1), 96 % lie within 0.96 of the range.
    Ok(departures / (0.96 * 0.2 * OSCILLATION_US))
}

/// What a policy makes of the goal's rate.
pub(super) struct Verdict {
    pub(super) loss: f64,
    pub(super) latency_us: f64,
    pub(super) starved_us: f64,
}

/// The goal's rate with so many buffers and so much jitter.
pub(super) fn at_the_goal(
    laboratory: &Laboratory,
    policy: Policy,
    buffers: usize,
    jitter: f64,
    count: u64,
) -> Result<Verdict, Failure> {
    let input = Input { buffers, jitter, ..Input::new(card(policy), count, GOAL_US) };
    let seen = observe(laboratory, &input)?;
    let latency_us = seen.latency.quantile_us(0.99);
    Ok(Verdict { loss: seen.loss, latency_us, starved_us: seen.starved_us })
}

/// What guests cost the packets.
pub(super) struct Guests {
    /// The saturated period with them.
    pub(super) period_us: f64,
    /// What it would be if they cost nothing but the processor time that they had.
    pub(super) fair_us: f64,
    /// The part of all time that the host's messages had.
    pub(super) host_share: f64,
}

/// A second extension with 10 us for every fifth packet, and a host that floods the card with messages.
pub(super) fn guests(
    laboratory: &Laboratory,
    policy: Policy,
    count: u64,
) -> Result<Guests, Failure> {
    let alone = saturated(laboratory, card(policy), count)?;
    let input = Input::new(card(policy), count, 30.0);
    let seen = observe(laboratory, &Input { neighbour: true, flood: true, jitter: 0.0, ..input })?;
    // A fifth of the packets takes 10 us in place of the router's 4.
    let neighbour_us = (10.0 - 4.0) / 5.0;
    let fair_us = (alone.period_us + neighbour_us) / (1.0 - seen.host_share);
    Ok(Guests { period_us: seen.period_us, fair_us, host_share: seen.host_share })
}

/// Adds the comparison of all policies.
pub(super) fn run(
    laboratory: &Laboratory,
    search: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    let few = (search / 5).max(1_000);
    report
        .line("\nPolicies: spread of departures over arrivals (90 us +- 10 %), saturated period,");
    report.line("rate with < 0.5 % lost at jitter 0.1 and 0.5 (4 buffers)");
    for policy in schedule::COMPARED {
        let spread = spread(laboratory, policy, few)?;
        let period_us = saturated(laboratory, card(policy), few)?.period_us;
        let rate = |jitter| {
            let input = Input { jitter, ..Input::new(card(policy), few, 0.0) };
            shortest_period_us(laboratory, &input).map(|period_us| 1e6 / period_us)
        };
        let (some, much) = (rate(0.1)?, rate(0.5)?);
        let name = policy.name;
        report.line(&format!(
            "  {name:<13} {spread:>5.2} {period_us:>7.2} us {some:>7.0} {much:>7.0}"
        ));
    }

    report.line("\nAt 17,500 packets/s, jitter 0.5: lost, latency p99, receiving starved at most; by buffers");
    for policy in schedule::COMPARED {
        let name = policy.name;
        for buffers in [2, 4, 16] {
            let Verdict { loss, latency_us, starved_us } =
                at_the_goal(laboratory, policy, buffers, 0.5, few)?;
            let loss = loss * 100.0;
            report.line(&format!(
                "  {name:<13} {buffers:>2}: {loss:>6.2} % {latency_us:>7.1} us {starved_us:>6.1} us"
            ));
        }
    }

    report.line(
        "\nWith a second extension (10 us for every fifth packet) and a flood from the host:",
    );
    report.line(
        "saturated period, what it would be at their own processor time, the host's part of it",
    );
    for policy in schedule::COMPARED {
        let Guests { period_us, fair_us, host_share } = guests(laboratory, policy, few)?;
        let (name, share) = (policy.name, host_share * 100.0);
        report.line(&format!("  {name:<13} {period_us:>7.2} us {fair_us:>7.2} us {share:>5.1} %"));
    }
    explain(report);
    Ok(())
}

fn explain(report: &mut Report) {
    for line in [
        "",
        "Under saturation the paper's strict priority is not erratic but steadily slow: the bus is served",
        "only when nothing of the network is ready, so each of its four waits is spent polling. The two",
        "states of section 6 appear when packets come at about its own pace: then departures spread several",
        "times as far as arrivals. The best case of Figure 6 is another ordering, not luck.",
        "\"Oldest first\" wins because a packet on the bus is older than any being received: its next transfer",
        "starts as soon as the last one is noticed, and each wait is filled by the one packet behind it. More",
        "buffers add no latency, since no third packet is begun, and the host's messages take the place of",
        "idle polls.",
    ] {
        report.line(line);
    }
}
