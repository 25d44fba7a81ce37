//! `millrace catalogue reprocess`: shards are made again of what the topic says.

use crate::{
    cli::{Code, ReprocessArgs, ServerArgs},
    client::Request,
    table::{show, text, time},
};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "api/v1/catalogue/reprocess";
const COLUMNS: [&str; 9] =
    ["NUMBER", "STATE", "STREAM", "ASKED", "MADE", "RECORDS", "WAITING", "REFUSED", "REQUESTED"];

/// How often one that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Does what was asked.
pub(crate) async fn run(args: &ReprocessArgs) -> anyhow::Result<Code> {
    let server = &args.server;
    if args.list {
        return show(args.output, &list(server).await?, "reprocessings", &COLUMNS, row);
    }
    let mut body = json!({ "shards": args.shards });
    for (key, value) in [("stream", &args.stream), ("from", &args.from), ("to", &args.to)] {
        if let Some(value) = value {
            body[key] = json!(value);
        }
    }
    let mut receipt = Request::post(server, PATH, body).send().await?;
    eprintln!("{} shards are to be made again", receipt["asked"]);
    if args.wait {
        let number = receipt["number"].clone();
        while receipt["state"] != "finished" {
            tokio::time::sleep(LOOK).await;
            let all = list(server).await?;
            let of_it =
                all["reprocessings"].as_array().into_iter().flatten().find(|one| one["number"] == number);
            receipt = of_it.cloned().unwrap_or_default();
        }
    }
    for refusal in receipt["refusals"].as_array().into_iter().flatten() {
        eprintln!("shard {} stays as it is: {}", text(&refusal["shard"]), text(&refusal["problem"]));
    }
    let code = if receipt["refused"] == 0 { Code::Ok } else { Code::Findings };
    show(args.output, &json!({ "reprocessings": [receipt] }), "reprocessings", &COLUMNS, row)?;
    Ok(code)
}

async fn list(server: &ServerArgs) -> anyhow::Result<Value> {
    Request::get(server, PATH).send().await
}

fn row(receipt: &Value) -> Vec<String> {
    let number = |name: &str| receipt[name].to_string();
    vec![
        number("number"),
        text(&receipt["state"]),
        text(&receipt["stream"]),
        number("asked"),
        number("shards"),
        number("records"),
        number("waiting"),
        number("refused"),
        time(&receipt["requested"]),
    ]
}
