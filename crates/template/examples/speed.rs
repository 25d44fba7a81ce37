//! How long a line takes, and how many templates there are: `speed FILE [LINES]`.
#![expect(clippy::print_stdout, reason = "a measurement")]

use millrace_model::text::token_ranges;
use millrace_template::{Scan, rebuild};
use std::{collections::HashSet, error::Error, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which file?")?;
    let most = arguments.next().map_or(Ok(2_000_000), |count| count.parse())?;
    let text = std::fs::read_to_string(path)?;
    let lines: Vec<&str> = text.lines().take(most).collect();
    let bytes: usize = lines.iter().map(|line| line.len()).sum();

    // The least of several passes; what else runs on the machine only adds to it.
    let least = |pass: &mut dyn FnMut() -> usize| {
        let timed = (0..7).map(|_| {
            let started = Instant::now();
            let count = pass();
            (started.elapsed().as_nanos() as f64 / lines.len() as f64, count as f64 / lines.len() as f64)
        });
        timed.fold((f64::MAX, 0.0), |least, (each, count)| (each.min(least.0), count))
    };
    let mut scan = Scan::default();
    let (each, variables) = least(&mut || {
        let scanned = lines.iter().map(|line| {
            scan.line(line);
            scan.variables().len()
        });
        scanned.sum()
    });
    let (words_each, words) = least(&mut || lines.iter().map(|line| token_ranges(line).count()).sum());
    println!("{} bytes a line; {each:.0} ns to scan, {variables:.1} variables", bytes / lines.len());
    println!("a yardstick: {words_each:.0} ns to tell its {words:.1} words");

    let (mut masks, mut line_again) = (HashSet::new(), Vec::new());
    for line in &lines {
        scan.line(line);
        if !masks.contains(scan.mask()) {
            masks.insert(scan.mask().to_vec());
        }
        line_again.clear();
        let variables = scan.variables().iter();
        rebuild(
            scan.mask(),
            variables.map(|range| &line.as_bytes()[range.start as usize..range.end as usize]),
            &mut line_again,
        );
        if line_again != line.as_bytes() {
            return Err(format!("not rebuilt: {line}").into());
        }
    }
    println!("{} lines rebuilt, {} templates", lines.len(), masks.len());
    Ok(())
}
