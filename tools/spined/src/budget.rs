//! What one budget of fuel takes on this machine, ordinarily and at worst: said when the daemon starts.
//!
//! Fuel bounds work, and time only within a factor. Whoever writes the policy's limits can see here what that
//! factor is. As everybody's module, ours is linked by the process without privileges.
//!
//! Left out: counting the turns that take longer. Extensions here have budgets of their own, each as large
//! as its user was allowed.

use spine_abi::interface::{Domain, Domains};
use spine_io::{Budget, RegionSource};
use spine_os::domain::Exports;
use spine_os::probe::{self, BudgetTimes};

use crate::job::{self, Tools};
use crate::mail::Bell;

/// Times the probes on the first adapter's processor; `None` where time is not measured.
///
/// # Errors
/// A sentence: the daemon works without.
pub(crate) fn time(tools: &Tools) -> Result<Option<BudgetTimes>, String> {
    let Some(adapter) = tools.machine.adapters().first() else { return Ok(None) };
    let granted = Domains::CORE.with(Domain::Buffer);
    let nobody = Bell::new().map_err(|error| error.to_string())?;
    let image = job::image(&probe::module(), granted, &Exports::none(), tools, &nobody)?;
    let region = probe::region().map_err(|error| error.to_string())?;
    let file = region.file().try_clone().map_err(|error| error.to_string())?;
    let regions = vec![RegionSource { file: file.into(), bytes: region.len() }];
    let nanos = adapter.probe(&image, regions, Budget::default());
    Ok(BudgetTimes::from_nanos(&nanos.map_err(|error| error.to_string())?))
}
