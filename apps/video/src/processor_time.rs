//! Processor time of this process, by thread: the adapters' and everybody else's.
//!
//! The adapters' threads are known by their names (`spine-cpu0`, ...). Times are the scheduler's own, in
//! nanoseconds; where the kernel keeps none, clock ticks of 10 ms.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// How the adapters' threads are named.
const ADAPTER: &str = "spine-cpu";

/// Processor time used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessorTime {
    /// By the adapters' threads.
    pub adapter: Duration,
    /// By all others.
    pub host: Duration,
}

impl ProcessorTime {
    /// That of this process's living threads.
    pub fn now() -> Self {
        Self::of(Path::new("/proc/self/task"))
    }

    fn of(tasks: &Path) -> Self {
        let mut total = Self::default();
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            let folder = task.path();
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            let time = scheduled(&folder).or_else(|| ticks(&folder)).unwrap_or_default();
            if name.starts_with(ADAPTER) {
                total.adapter += time;
            } else {
                total.host += time;
            }
        }
        total
    }

    /// What was used since an earlier moment. A thread that ended took its time with it, which counts as none.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            adapter: self.adapter.saturating_sub(earlier.adapter),
            host: self.host.saturating_sub(earlier.host),
        }
    }
}

/// The first number of `schedstat`: nanoseconds on a processor.
fn scheduled(task: &Path) -> Option<Duration> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// User and system time of `stat`.
fn ticks(task: &Path) -> Option<Duration> {
    let text = fs::read_to_string(task.join("stat")).ok()?;
    // The name, in parentheses, may hold spaces: fields are counted after it, from the state on.
    let (_, after) = text.rsplit_once(')')?;
    let fields = after.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}

/// A part of a time, in percent.
pub fn percent(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { 100.0 * part.as_secs_f64() / whole.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_adapters_threads_are_told_from_the_others() {
        let before = ProcessorTime::now();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (done, measured) = std::sync::mpsc::channel();
        let busy = move || {
            let start = Instant::now();
            while ProcessorTime::now().since(before).adapter < Duration::from_millis(20)
                && start.elapsed() < Duration::from_secs(10)
            {}
            done.send(()).unwrap();
            let _ = wait.recv();
        };
        let thread = std::thread::Builder::new().name("spine-cpu7".into()).spawn(busy).unwrap();
        measured.recv().unwrap();
        let used = ProcessorTime::now().since(before);
        assert!(used.adapter >= Duration::from_millis(20), "{used:?}");
        drop(go);
        thread.join().unwrap();
    }

    #[test]
    fn without_the_schedulers_times_ticks_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let task = folder.path().join("7");
        fs::create_dir(&task).unwrap();
        fs::write(task.join("comm"), "spine-cpu0\n").unwrap();
        fs::write(task.join("stat"), "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0").unwrap();
        let found = ProcessorTime::of(folder.path());
        assert_eq!(found, ProcessorTime { adapter: Duration::from_millis(420), ..found });
        assert_eq!(found.host, Duration::ZERO);
        assert!((percent(found.adapter, Duration::from_secs(1)) - 42.0).abs() < 1e-9);
    }
}
