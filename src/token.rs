//! `millrace token`: makes a token. Its secret is shown once, and only what a hash makes of it is kept.

use crate::cli::{Code, Failure, RoleName, TokenArgs, written};
use millrace_config::Age;
use millrace_listen::{
    Role,
    access::{add, make},
};
use millrace_model::{Clock, SystemClock};
use std::io::{self, Write};

/// Adds it to the file, and prints it.
pub(crate) fn run(args: &TokenArgs) -> anyhow::Result<Code> {
    let roles: Vec<Role> = args
        .role
        .iter()
        .map(|role| match role {
            RoleName::Read => Role::Read,
            RoleName::Write => Role::Write,
            RoleName::Admin => Role::Admin,
        })
        .collect();
    let wrong = |problem: String| Failure::with(Code::Usage, problem);
    let age = args.expires.as_deref().map(str::parse::<Age>).transpose();
    let age = age.map_err(|error| wrong(format!("--expires: {error}")))?;
    let expires = age.map(|age| SystemClock.now().plus(age.0));
    let made = make(&args.name, &roles, &args.stream, expires).map_err(wrong)?;
    add(&args.file, &made).map_err(|error| Failure::with(Code::Invalid, error.to_string()))?;
    written(writeln!(io::stdout(), "{}", made.token))?;
    eprintln!("{} knows it from now on; it cannot be shown again", args.file.display());
    Ok(Code::Ok)
}
