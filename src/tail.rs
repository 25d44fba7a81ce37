//! `millrace tail`: records as they come in, until interrupted. A connection that breaks is made again, where it was.

use crate::{
    cli::{Code, Failure, TailArgs, TailOutput, written},
    client::Request,
    lines,
};
use serde_json::{Value, json};
use std::{
    io::{self, BufWriter, Write},
    time::Duration,
};

/// Before a broken connection is made again.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows until it is interrupted.
pub(crate) async fn run(args: &TailArgs) -> anyhow::Result<Code> {
    let mut cursor: Option<String> = None;
    loop {
        let mut parameters = json!({ "q": args.query });
        let optional = [("stream", args.stream.as_deref()), ("cursor", cursor.as_deref())];
        for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            parameters[name] = json!(value);
        }
        let request = Request::get(&args.server, "api/v1/tail").with(&parameters).about(&args.query);
        match request.open().await {
            Ok(response) => {
                if let Err(error) = follow(args, response, &mut cursor).await? {
                    eprintln!("the connection broke: {}; going on", millrace_model::chain(&error));
                }
            }
            // Nothing has ever come: that is no broken connection.
            Err(error) if cursor.is_none() || !is_passing(&error) => return Err(error),
            Err(error) => eprintln!("{error:#}; trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn is_passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == Code::Unreachable)
}

/// Writes what comes, until nothing comes any more.
async fn follow(
    args: &TailArgs,
    mut response: reqwest::Response,
    cursor: &mut Option<String>,
) -> anyhow::Result<reqwest::Result<()>> {
    let mut events = Events::default();
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        };
        let mut out = BufWriter::new(io::stdout().lock());
        for event in events.push(&chunk) {
            if event.kind == "ended" {
                written(out.flush())?;
                let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let why = data["error"]["message"].as_str().unwrap_or_default();
                return Err(Failure::with(Code::Usage, why));
            }
            written(write(args, &mut out, &event))?;
            *cursor = event.id.or(cursor.take());
        }
        written(out.flush())?;
    }
}

fn write(args: &TailArgs, out: &mut impl Write, event: &Event) -> io::Result<()> {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    match (event.kind.as_str(), args.output) {
        ("record", TailOutput::Text) => {
            writeln!(out, "{}", lines::line(&data, lines::is_coloured(args.colour)))
        }
        ("record", TailOutput::Ndjson) => writeln!(out, "{}", event.data),
        ("dropped", _) => {
            let reason = data["reason"].as_str().unwrap_or_default();
            match (data["records"].as_u64(), data["messages"].as_u64()) {
                (Some(records), _) => eprintln!("{records} records were not shown: {reason}"),
                (None, Some(messages)) => eprintln!("{messages} messages were not shown: {reason}"),
                (None, None) => eprintln!("records were not shown: {reason}"),
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    kind: String,
    data: String,
    id: Option<String>,
}

/// Reads events out of bytes as they come. As the HTML standard has it (9.2.6), but for line ends, which are `\n` here.
#[derive(Debug, Default)]
struct Events {
    rest: Vec<u8>,
    event: Event,
}

impl Events {
    fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if !event.kind.is_empty() {
                    events.push(event);
                }
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "event" => value.clone_into(&mut self.event.kind),
                "data" => self.event.data.push_str(value),
                "id" => self.event.id = Some(value.to_owned()),
                _ => {}
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = ": hello\n\nevent: record\nid: 0.5\ndata: {\"a\":\"b: c\"}\n\nevent: heartbeat\ndata: {}\n\nevent: x";
        let record = Event {
            kind: "record".to_owned(),
            data: "{\"a\":\"b: c\"}".to_owned(),
            id: Some("0.5".to_owned()),
        };
        let heartbeat = Event { kind: "heartbeat".to_owned(), data: "{}".to_owned(), id: None };
        for size in 1..text.len() {
            let mut events = Events::default();
            let found: Vec<Event> =
                text.as_bytes().chunks(size).flat_map(|chunk| events.push(chunk)).collect();
            assert_eq!(
                found,
                [&record, &heartbeat].map(|event| Event {
                    kind: event.kind.clone(),
                    data: event.data.clone(),
                    id: event.id.clone()
                })
            );
        }
    }
}
