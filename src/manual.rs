//! `millrace completion` and `millrace man`: what shells and readers of manuals want of the command line, made of it.

use crate::cli::{Cli, Code, written};
use anyhow::Context as _;
use clap::CommandFactory;
use clap_complete::Shell;
use std::{fs, io, path::Path};

/// Writes a completion script to standard output.
pub(crate) fn completion(shell: Shell) -> anyhow::Result<Code> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "millrace", &mut script);
    written(io::Write::write_all(&mut io::stdout().lock(), &script))?;
    Ok(Code::Ok)
}

/// Writes a page for the program and for each of its commands into a folder.
pub(crate) fn man(directory: &Path) -> anyhow::Result<Code> {
    let writing = || format!("cannot write {}", directory.display());
    fs::create_dir_all(directory).with_context(writing)?;
    clap_mangen::generate_to(Cli::command(), directory).with_context(writing)?;
    Ok(Code::Ok)
}
