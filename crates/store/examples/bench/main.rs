//! Measures the store: what shards take on disk, what it costs to write them and to ask them, and whether what comes
//! out is what went in. Prints markdown; ends with 1 if something came out wrong.
//!
//! ```text
//! bench large FILE [LINES]           JSON lines as bench/corpus.py writes them: sizes, rates, queries, reading
//! bench texts (--name NAME [--ask QUERY]… FILE…)…    other text, beside zstd and a plain tantivy index
//! bench random N SEED                N random records with awkward values, read back and compared
//! ```
//! `bench/store` runs all of it. Rates are per CPU-second, MB are 10^6 bytes.
#![expect(clippy::print_stdout, reason = "a program that reports")]

mod ask;
mod chance;
mod child;
mod corpus;
mod exact;
mod ingest;
mod large;
mod meter;
mod naive;
mod parts;
mod plain;
mod questions;
mod random;
mod reading;
mod table;
mod texts;

use meter::Outcome;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::{path::Path, process::ExitCode};
use texts::Text;

const USAGE: &str =
    "usage: bench large FILE [LINES] | texts (--name NAME [--ask QUERY]... FILE...)... | random N SEED";

fn main() -> Outcome<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [child::CHILD, task @ ..] = arguments.as_slice() {
        child::run(task)?;
        return Ok(ExitCode::SUCCESS);
    }
    let right = match arguments.as_slice() {
        ["large", file] => large::measure(Path::new(file), usize::MAX)?,
        ["large", file, lines] => large::measure(Path::new(file), lines.parse()?)?,
        ["texts", arguments @ ..] => texts::measure(&texts(arguments)?)?,
        ["random", records, seed] => random::measure(records.parse()?, seed.parse()?)?,
        _ => return Err(USAGE.into()),
    };
    if !right {
        eprintln!("bench: something came out wrong; see the tables");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn texts(arguments: &[&str]) -> Outcome<Vec<Text>> {
    let mut texts: Vec<Text> = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if *argument == "--name" {
            let name = arguments.next().ok_or(USAGE)?;
            texts.push(Text { name: (*name).to_owned(), ..Text::default() });
            continue;
        }
        let text = texts.last_mut().ok_or(USAGE)?;
        if *argument == "--ask" {
            text.asks.push((*arguments.next().ok_or(USAGE)?).to_owned());
        } else {
            text.files.push(argument.into());
        }
    }
    if texts.is_empty() || texts.iter().any(|text| text.files.is_empty()) {
        return Err(USAGE.into());
    }
    Ok(texts)
}
