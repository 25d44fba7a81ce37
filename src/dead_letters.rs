//! `millrace dead-letters`: what could not be taken in, and sending it again.

use crate::{
    cli::{Code, DeadLettersCommand, Failure, ReplayArgs, ServerArgs, written},
    client::Request,
    table::{show, text, time},
};
use serde_json::{Value, json};
use std::{
    io::{self, Read, Write},
    path::Path,
};

/// How many letters are asked for at once.
const PAGE: usize = 1_000;

/// Does what was asked.
pub(crate) async fn run(command: &DeadLettersCommand) -> anyhow::Result<Code> {
    match command {
        DeadLettersCommand::List { waiting, output, server } => {
            let mut letters = all(server).await?;
            if *waiting {
                letters.retain(|letter| letter["state"] == "waiting");
            }
            let columns = ["NUMBER", "STATE", "AT", "FROM", "STREAM", "BYTES", "REASON"];
            show(*output, &json!({ "letters": letters }), "letters", &columns, row)
        }
        DeadLettersCommand::Show { number, server } => {
            let letter = Request::get(server, &format!("api/v1/dead-letters/{number}")).send().await?;
            written(writeln!(io::stdout().lock(), "{letter:#}"))?;
            Ok(Code::Ok)
        }
        DeadLettersCommand::Replay(args) => replay(args).await,
    }
}

async fn all(server: &ServerArgs) -> anyhow::Result<Vec<Value>> {
    let mut letters = Vec::new();
    let mut from = json!(0);
    while !from.is_null() {
        let path = format!("api/v1/dead-letters?limit={PAGE}&from={from}");
        let mut answer = Request::get(server, &path).send().await?;
        if let Value::Array(page) = answer["letters"].take() {
            letters.extend(page);
        }
        from = answer["next"].take();
    }
    Ok(letters)
}

async fn replay(args: &ReplayArgs) -> anyhow::Result<Code> {
    let ReplayArgs { numbers, all, text: file, parse, stream, server } = args;
    let mut body = if *all { json!({ "all": true }) } else { json!({ "letters": numbers }) };
    if let Some(file) = file {
        body["text"] = json!(read(file)?);
    }
    if let Some(parse) = parse {
        body["parse"] = json!(parse);
    }
    if let Some(stream) = stream {
        body["stream"] = json!(stream);
    }
    let answer = Request::post(server, "api/v1/dead-letters/replay", body).send().await?;
    let refused = answer["refused"].as_array().map_or(&[][..], Vec::as_slice);
    for one in refused {
        eprintln!("{}: {}", one["number"], text(&one["problem"]));
    }
    eprintln!("{} sent again, {} refused", answer["sent"].as_array().map_or(0, Vec::len), refused.len());
    Ok(if refused.is_empty() { Code::Ok } else { Code::Findings })
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let outcome = if file == Path::new("-") {
        io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    outcome.map_err(|error| Failure::with(Code::Usage, format!("{}: {error}", file.display())))?;
    Ok(text)
}

fn row(letter: &Value) -> Vec<String> {
    let cell = |value: &Value| if value.is_null() { "-".to_owned() } else { value.to_string() };
    vec![
        cell(&letter["number"]),
        text(&letter["state"]),
        time(&letter["at"]),
        format!("{}/{}", cell(&letter["partition"]), cell(&letter["offset"])),
        text(&letter["stream"]),
        cell(&letter["bytes"]),
        text(&letter["reason"]),
    ]
}
