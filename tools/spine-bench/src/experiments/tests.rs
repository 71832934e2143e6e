//! The bars: what the model must show, with fewer packets than the command uses.
//!
//! Figures are computed once and looked at by several tests; each policy's bars have their own.

use std::sync::OnceLock;

use spine_io::lanai::Card;
use spine_nic::schedule;

use super::figures::cpu_seconds;
use super::observation::observe;
use super::policies::{at_the_goal, guests, spread};
use super::report::Report;
use super::station::{Input, Laboratory};
use super::{Arguments, figures, policies, report};

/// Packets of a search, and of a confirmation: enough for the bars, few enough for a debug build.
const SEARCH: u64 = 20_000;
const CONFIRM: u64 = 100_000;

fn laboratory() -> Laboratory {
    Laboratory::new().unwrap_or_else(|failure| panic!("{failure}"))
}

fn found() -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| {
        let mut report = Report::default();
        figures::run(&laboratory(), SEARCH, CONFIRM, &mut report).expect("figures");
        policies::tuned(&laboratory(), SEARCH, &mut report).expect("figures");
        report
    })
}

#[track_caller]
fn near(key: &str, published: f64, tolerance: f64) {
    let model = found().get(key).unwrap_or_else(|| panic!("no {key}"));
    assert!((model - published).abs() <= tolerance, "{key}: {model}, published {published}");
}

#[test]
fn the_rates_of_figure_5_come_out_within_3_per_cent() {
    near("pci_pps", 11_300.0, 0.03 * 11_300.0);
    near("wire_pps", 14_100.0, 0.03 * 14_100.0);
}

#[test]
fn the_best_case_of_figure_6_comes_out_within_5_per_cent() {
    near("best_period_us", 55.0, 0.05 * 55.0);
    near("latency_us", 100.0, 5.0);
    near("handler_us", 4.0, 0.04);
}

#[test]
fn the_hardware_of_section_7_gives_what_the_paper_estimates() {
    near("chained_saving_us", 12.0, 1.0);
    near("both_period_us", 33.0, 0.02 * 33.0);
    near("fast_period_us", 10.0, 0.03 * 10.0);
}

#[test]
fn a_thousand_routes_take_less_than_20_kilobytes() {
    assert!(found().get("table_bytes").expect("a figure") < 20_000.0);
}

#[test]
fn departures_oscillate_under_strict_priority_and_not_in_order_of_readiness() {
    let laboratory = laboratory();
    let paper = spread(&laboratory, schedule::PAPER, SEARCH).expect("a run");
    assert!(paper >= 3.0, "{paper}");
    let readiness = spread(&laboratory, schedule::READINESS, SEARCH).expect("a run");
    assert!(readiness <= 1.5, "{readiness}");
}

#[test]
fn oldest_first_carries_17500_packets_with_bounded_latency_whatever_the_buffers() {
    assert!(found().get("tuned_pci_pps").expect("a figure") >= 17_500.0);
    let laboratory = laboratory();
    for buffers in [2, 3, 4, 8, 16] {
        for jitter in [0.0, 0.1, 0.5] {
            let seen = at_the_goal(&laboratory, schedule::OLDEST_FIRST, buffers, jitter, SEARCH)
                .expect("a run");
            let case = format!("{buffers} buffers, jitter {jitter}");
            assert!(seen.loss < 0.005, "{case}: {} lost", seen.loss);
            assert!(seen.latency_us <= 130.0, "{case}: latency {} us", seen.latency_us);
            assert!(seen.starved_us <= 200.0, "{case}: starved {} us", seen.starved_us);
        }
    }
}

#[test]
fn guests_cost_oldest_first_no_more_than_their_own_time() {
    let seen = guests(&laboratory(), schedule::OLDEST_FIRST, SEARCH).expect("a run");
    assert!(seen.period_us <= seen.fair_us * 1.005, "{} of {} us", seen.period_us, seen.fair_us);
    assert!(seen.host_share < 0.05, "the host has {} of the time", seen.host_share);
}

#[test]
fn two_million_packets_take_less_than_4_seconds_of_processor_time() {
    if cfg!(debug_assertions) {
        println!("skipped: the processor time of a build without optimisation says nothing");
        return;
    }
    let input = Input::new(Card::default(), 2_000_000, 88.7);
    // The lesser of two: time that a neighbour on the same core takes from the caches is not ours.
    let seconds = [(); 2].map(|()| {
        let before = cpu_seconds().expect("a clock");
        let seen = observe(&laboratory(), &input).expect("a run");
        assert!(seen.loss < 0.01, "{} lost", seen.loss);
        cpu_seconds().expect("a clock") - before
    });
    println!("two million packets: {seconds:.2?} s of CPU");
    assert!(seconds.iter().any(|took| *took < 4.0), "{seconds:?} s");
}

#[test]
fn a_report_repeats_to_the_byte() {
    let few = Arguments { json: true, figures: true, search: 2_000, confirm: 4_000, trace: None };
    let text = || report(&laboratory(), &few).and_then(|report| report.json()).expect("a report");
    assert_eq!(text(), text());
}
