//! What is measured with: CPU time, memory, and the middle of several runs.
//!
//! The kernel brings the account of a running thread up to date when it schedules it, so a thread yields before its
//! account is read: without that, a reading is as old as the last timer tick, 4 ms at worst. What a reading itself costs
//! is measured once and taken off.

use std::{error::Error, fs, sync::OnceLock};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// How many runs a median is of.
pub(crate) const RUNS: usize = 11;
/// … and where one takes longer than [`SLOW`].
pub(crate) const SLOW_RUNS: usize = 3;
/// In seconds.
const SLOW: f64 = 1.0;
/// A run shorter than this, in seconds, is repeated until it is about as long; the mean of the repetitions counts.
const SHORTEST: f64 = 0.002;

/// Ticks of the kernel's coarse account a second, and how many of them it may be off.
const TICKS: f64 = 100.0;
const COARSE: f64 = 3.0 / TICKS;

/// How long the process has run, in seconds.
#[derive(Clone, Copy)]
struct Account {
    /// Its threads that are alive: exact.
    alive: f64,
    /// All threads that it ever had: in ticks.
    all: f64,
}

impl Account {
    fn now() -> Outcome<Self> {
        std::thread::yield_now();
        let mut nanoseconds = 0.0;
        for task in fs::read_dir("/proc/self/task")? {
            let account = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += account.split(' ').next().unwrap_or_default().parse::<f64>()?;
        }
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (_, fields) = stat.rsplit_once(')').ok_or("a stat without a name")?;
        // User and system time are the 14th and 15th field; the second one ended with the parenthesis.
        let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(Self { alive: nanoseconds / 1e9, all: ticks.sum::<Result<f64, _>>()? / TICKS })
    }

    /// What was spent between two readings: that of the living threads, unless some that have ended since account for more.
    fn since(self, earlier: Self) -> f64 {
        let (alive, all) = (self.alive - earlier.alive, self.all - earlier.all);
        if all > alive + COARSE { all } else { alive }
    }
}

/// What it costs to read the account, in seconds.
fn overhead() -> f64 {
    static OVERHEAD: OnceLock<f64> = OnceLock::new();
    *OVERHEAD.get_or_init(|| {
        let mut readings: Vec<f64> = (0..101)
            .filter_map(|_| {
                let before = Account::now().ok()?;
                Some(Account::now().ok()?.since(before))
            })
            .collect();
        median(&mut readings)
    })
}

/// CPU seconds of all threads while `work` runs, and what it gives.
pub(crate) fn cpu<T>(work: impl FnOnce() -> T) -> Outcome<(f64, T)> {
    let overhead = overhead();
    let before = Account::now()?;
    let result = work();
    let spent = Account::now()?.since(before) - overhead;
    Ok((spent.max(0.0), result))
}

/// The median of [`RUNS`] runs in CPU milliseconds, after some that are not counted.
pub(crate) fn median_cpu<E: Error + 'static>(mut work: impl FnMut() -> Result<(), E>) -> Outcome<f64> {
    work()?;
    let (once, result) = cpu(&mut work)?;
    result?;
    let repetitions = (SHORTEST / once.max(1e-7)).ceil().clamp(1.0, 2_000.0);
    let mut runs = Vec::with_capacity(RUNS);
    for _ in 0..if once > SLOW { SLOW_RUNS } else { RUNS } {
        let (spent, result) = cpu(|| (0..repetitions as usize).try_for_each(|_| work()))?;
        result?;
        runs.push(spent / repetitions * 1e3);
    }
    Ok(median(&mut runs))
}

/// The middle one; 0 of none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Bytes of this process that lie in memory now.
pub(crate) fn resident() -> Outcome<u64> {
    status("VmRSS:")
}

/// From here on [`peak`] counts anew.
pub(crate) fn reset_peak() -> Outcome<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// The most bytes in memory since [`reset_peak`].
pub(crate) fn peak() -> Outcome<u64> {
    status("VmHWM:")
}

fn status(name: &str) -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("a status without memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// The machine and how busy it is: look at this first.
pub(crate) fn machine() -> Outcome<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism()?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{cores} cores ({model}), Linux {}", release.trim()))
}

/// The load average of the last minute.
pub(crate) fn load() -> Outcome<String> {
    Ok(fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned())
}
