//! Grouping accuracy on the samples of `LogHub`: `grouping FOLDER [--wrong]`, where FOLDER holds
//! `SYSTEM/SYSTEM_2k.log_structured.csv`. The share of lines whose group, by the template that they have once the whole
//! file was learned, is exactly the set of lines of their true event. One setting for all systems.
#![expect(clippy::print_stdout, reason = "a measurement")]

use millrace_template::{Canonical, Miner, Scan, TemplateId};
use std::{
    collections::{BTreeSet, HashMap},
    error::Error,
    path::Path,
};

/// What Drain reaches, as published with the samples.
const DRAIN: [(&str, f64); 10] = [
    ("HDFS", 0.998),
    ("Hadoop", 0.948),
    ("Spark", 0.920),
    ("Zookeeper", 0.967),
    ("BGL", 0.963),
    ("Windows", 0.997),
    ("Linux", 0.690),
    ("Android", 0.911),
    ("Apache", 1.0),
    ("OpenSSH", 0.788),
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    let wrong = std::env::args().any(|argument| argument == "--wrong");
    println!("system     accuracy  masks  merged  events  Drain");
    let (mut sum, mut drain) = (0.0, 0.0);
    for (system, published) in DRAIN {
        let path = Path::new(&folder).join(system).join(format!("{system}_2k.log_structured.csv"));
        let (contents, events) = read(&std::fs::read_to_string(path)?)?;
        let mut scan = Scan::default();
        let mut miner = Miner::new();
        let mut masks: Vec<Vec<u8>> = Vec::new();
        for line in &contents {
            scan.line(line);
            miner.learn(scan.mask());
            masks.push(scan.mask().to_vec());
        }
        let canonical: Vec<TemplateId> = masks.iter().map(|mask| id(&miner, mask)).collect();
        let accuracy = accuracy(&canonical, &events);
        println!(
            "{system:<10} {accuracy:>8.3} {:>6} {:>7} {:>7} {published:>6.3}",
            masks.iter().collect::<BTreeSet<_>>().len(),
            canonical.iter().collect::<BTreeSet<_>>().len(),
            events.iter().collect::<BTreeSet<_>>().len(),
        );
        if wrong {
            print_wrong(&miner, &masks, &canonical, &events);
        }
        sum += accuracy;
        drain += published;
    }
    println!("mean       {:>8.3} {:>31.3} (of all 16: 0.865)", sum / 10.0, drain / 10.0);
    Ok(())
}

fn id(miner: &Miner, mask: &[u8]) -> TemplateId {
    match miner.canonical(mask) {
        Canonical::Itself => TemplateId::of(mask),
        Canonical::Merged(merge) => merge.id,
    }
}

fn members<T: std::hash::Hash + Eq + Copy>(names: &[T]) -> HashMap<T, Vec<usize>> {
    let mut members: HashMap<T, Vec<usize>> = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        members.entry(*name).or_default().push(at);
    }
    members
}

fn accuracy(groups: &[TemplateId], events: &[String]) -> f64 {
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let of_event = members(&events);
    let right = members(groups).into_values().filter(|lines| of_event[events[lines[0]]] == *lines);
    right.map(|lines| lines.len()).sum::<usize>() as f64 / groups.len() as f64
}

fn print_wrong(miner: &Miner, masks: &[Vec<u8>], groups: &[TemplateId], events: &[String]) {
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let (of_event, of_group) = (members(&events), members(groups));
    let mut wrong: Vec<_> = of_group.values().filter(|lines| of_event[events[lines[0]]] != **lines).collect();
    wrong.sort_by_key(|lines| {
        (std::cmp::Reverse(of_event[events[lines[0]]].len()), events[lines[0]], lines[0])
    });
    for lines in wrong.iter().take(25) {
        let of: BTreeSet<&str> = lines.iter().map(|line| events[*line]).collect();
        let mask = match miner.canonical(&masks[lines[0]]) {
            Canonical::Itself => &masks[lines[0]],
            Canonical::Merged(merge) => &*merge.mask,
        };
        let mask = String::from_utf8_lossy(mask).replace('\0', "\u{2022}");
        println!("    {:>4} {of:?} {:.140}", lines.len(), mask);
    }
}

/// The columns `Content` and `EventId`.
fn read(csv: &str) -> Result<(Vec<String>, Vec<String>), Box<dyn Error>> {
    let mut rows = rows(csv).into_iter();
    let header = rows.next().ok_or("an empty file")?;
    let column =
        |name: &str| header.iter().position(|field| field == name).ok_or(format!("no column {name}"));
    let (content, event) = (column("Content")?, column("EventId")?);
    let (mut contents, mut events) = (Vec::new(), Vec::new());
    for row in rows {
        contents.push(row.get(content).ok_or("a short row")?.clone());
        events.push(row.get(event).ok_or("a short row")?.clone());
    }
    Ok((contents, events))
}

fn rows(csv: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut field) = (Vec::new(), String::new());
    let mut quoted = false;
    let mut characters = csv.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            _ => field.push(c),
        }
    }
    if !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}
