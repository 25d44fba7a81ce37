//! `millrace token`: makes a token, in a file or at a server. Its secret is shown once, and only what a hash makes of it is kept. Also
//! lists and revokes those that a server keeps.

use crate::{
    cli::{Code, Failure, RoleName, TokenArgs, written},
    client::Request,
    table::{show, text, time},
};
use millrace_config::Age;
use millrace_listen::{
    Role,
    access::{add, make},
};
use millrace_model::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Does what was asked.
pub(crate) async fn run(args: &TokenArgs) -> anyhow::Result<Code> {
    if args.list {
        return list(args).await;
    }
    if let Some(name) = &args.revoke {
        Request::delete(&args.server, &format!("api/v1/tokens/{name}")).send().await?;
        eprintln!("{name} is not known any more");
        return Ok(Code::Ok);
    }
    let name = args.name.as_deref().unwrap_or_default();
    let roles: Vec<Role> = args
        .role
        .iter()
        .map(|role| match role {
            RoleName::Read => Role::Read,
            RoleName::Write => Role::Write,
            RoleName::Admin => Role::Admin,
            RoleName::Unmask => Role::Unmask,
        })
        .collect();
    let age = args.expires.as_deref().map(str::parse::<Age>).transpose();
    let age = age.map_err(|error| Failure::with(Code::Usage, format!("--expires: {error}")))?;
    let expires = age.map(|age| SystemClock.now().plus(age.0));
    let token = match &args.file {
        Some(file) => {
            let made = make(name, &roles, &args.stream, expires);
            let made = made.map_err(|problem| Failure::with(Code::Usage, problem))?;
            add(file, &made).map_err(|error| Failure::with(Code::Invalid, error.to_string()))?;
            eprintln!("{} knows it from now on; it cannot be shown again", file.display());
            made.token
        }
        None => ask(args, name, &roles, expires).await?,
    };
    written(writeln!(io::stdout(), "{token}"))?;
    Ok(Code::Ok)
}

/// Has a server make one.
async fn ask(
    args: &TokenArgs,
    name: &str,
    roles: &[Role],
    expires: Option<Timestamp>,
) -> anyhow::Result<String> {
    let body = json!({ "name": name, "roles": roles, "streams": args.stream, "expires": expires });
    let answer = Request::post(&args.server, "api/v1/tokens", body).send().await?;
    eprintln!("{} knows it from now on; it cannot be shown again", args.server.server);
    Ok(text(&answer["token"]))
}

async fn list(args: &TokenArgs) -> anyhow::Result<Code> {
    let answer = Request::get(&args.server, "api/v1/tokens").send().await?;
    let columns = ["TOKEN", "ROLES", "STREAMS", "EXPIRES", "CREATED", "BY"];
    show(args.output, &answer, "tokens", &columns, |row| {
        let names = |list: &Value| {
            let names: Vec<String> = list.as_array().into_iter().flatten().map(text).collect();
            if names.is_empty() { "-".to_owned() } else { names.join(",") }
        };
        vec![
            text(&row["name"]),
            names(&row["roles"]),
            names(&row["streams"]),
            time(&row["expires"]),
            time(&row["created"]),
            text(&row["created_by"]),
        ]
    })
}
