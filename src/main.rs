//! `millrace`: agents, indexers and a query service for logs, in one binary.
//!
//! The only place that names concrete parts: [`roles`] wires them, everything else here reads what the user wants.

mod admin;
mod catalogue;
mod chart;
mod cli;
mod client;
mod dead_letters;
mod decrypt;
mod doctor;
mod explain;
mod hosts;
mod import;
mod ingest;
mod lines;
mod manual;
mod memory;
mod pager;
mod receive;
mod rehearse;
mod reload;
mod reprocess;
mod roles;
mod rules;
mod search;
mod settings;
mod stats;
mod streams;
mod systemd;
mod table;
mod tail;
mod telemetry;
mod token;
mod trail;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    memory::give_back_soon();
    let cli = cli::Cli::parse();
    match cli::run(cli) {
        Ok(code) => code.into(),
        Err(error) => {
            let code = cli::Code::of(&error);
            cli::complain(&error);
            code.into()
        }
    }
}
