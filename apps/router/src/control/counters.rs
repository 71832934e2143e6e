//! The report, at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use spine_abi::Reason;

use super::facts::Facts;
use crate::adapters::{AdapterError, AdapterStatistics};
use crate::path::PathError;
use crate::report::Report;

/// Who did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unheard {
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The report of those who still answer, and why others do not.
pub(crate) fn report(
    statistics: Vec<(String, Result<AdapterStatistics, AdapterError>)>,
    facts: &dyn Facts,
    reasons: &BTreeSet<String>,
    unrepresented: usize,
    duration: Duration,
) -> (Report, Option<Unheard>) {
    let mut unheard = None;
    let mut adapters = Vec::new();
    for (name, counted) in statistics {
        match counted {
            Ok(counted) => adapters.push((name, counted)),
            Err(error) => unheard = Some(error.into()),
        }
    }
    let mut kept: BTreeMap<String, u64> = reasons.iter().map(|why| (why.clone(), 0)).collect();
    match facts.kept() {
        Ok(counted) => kept.extend(counted),
        Err(error) => unheard = Some(error.into()),
    }
    let mut report = Report::new(&adapters, facts.syscalls(), duration, kept);
    report.unrepresented = unrepresented;
    match facts.classified() {
        Ok(classified) => report.classifier = classified,
        Err(error) => unheard = Some(error.into()),
    }
    let refused = facts.refused();
    if refused > 0 {
        *report.dropped.entry(Reason::KernelRefused.name().to_owned()).or_default() += refused;
    }
    (report, unheard)
}
