//! How many templates a file has, before and after merging, and which: `templates FILE [LINES] [SHOWN]`.
#![expect(clippy::print_stdout, reason = "a measurement")]

use millrace_template::{Canonical, Miner, Scan, TemplateId, variables_under};
use std::{
    collections::HashMap,
    error::Error,
    time::{Duration, Instant},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which file?")?;
    let most = arguments.next().map_or(Ok(2_000_000), |count| count.parse())?;
    let shown = arguments.next().map_or(Ok(0), |count| count.parse())?;
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    let mut scan = Scan::default();
    let mut miner = Miner::new();
    let mut masks: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut spent = Duration::ZERO;
    let mut longest = Duration::ZERO;
    for line in text.lines().take(most) {
        scan.line(line);
        if let Some(count) = masks.get_mut(scan.mask()) {
            *count += 1;
            continue;
        }
        masks.insert(scan.mask().to_vec(), 1);
        let started = Instant::now();
        miner.learn(scan.mask());
        spent += started.elapsed();
        longest = longest.max(started.elapsed());
    }
    let mut merged: HashMap<TemplateId, (usize, usize, &[u8])> = HashMap::new();
    let mut under = Vec::new();
    for (mask, count) in &masks {
        let (id, canonical) = match miner.canonical(mask) {
            Canonical::Itself => (TemplateId::of(mask), mask.as_slice()),
            Canonical::Merged(merge) => (merge.id, &*merge.mask),
        };
        let variables = vec![0..1; mask.split(|byte| *byte == 0).count() - 1];
        if canonical != mask && !variables_under(canonical, mask, &variables, &mut under) {
            return Err(format!("{id} does not cover a mask that stands for it").into());
        }
        let entry = merged.entry(id).or_insert((0, 0, canonical));
        *entry = (entry.0 + count, entry.1 + 1, canonical);
    }
    println!(
        "{} masks, {} templates, {} merges; learning {:.0} ns a new mask, at most {} us",
        masks.len(),
        merged.len(),
        miner.merges().count(),
        spent.as_nanos() as f64 / masks.len() as f64,
        longest.as_micros()
    );
    let mut merged: Vec<_> = merged.into_values().filter(|(_, variants, _)| *variants > 1).collect();
    merged.sort_by_key(|(lines, variants, mask)| (std::cmp::Reverse(*variants), *lines, *mask));
    for (lines, variants, mask) in merged.into_iter().take(shown) {
        let mask = String::from_utf8_lossy(mask).replace('\0', "\u{2022}");
        println!("{lines:>8} lines {variants:>6} masks  {mask:.240}");
    }
    Ok(())
}
