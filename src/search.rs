//! `millrace search`: hits as lines, tables in columns.

use crate::{
    cli::{Code, SearchArgs, SearchOutput, written},
    client::{Request, printable},
    table,
};
use serde_json::{Map, Value, json};
use std::io::{self, BufWriter, IsTerminal, Write};

/// The most records that one request returns; more are asked for with cursors.
const PAGE: usize = 1000;
/// The most rows of a table: there are no cursors in one.
const MOST_ROWS: usize = 10_000;
/// The columns of hits as CSV; what is no text is JSON in it.
const HIT: [&str; 14] = [
    "_id",
    "timestamp",
    "observed_timestamp",
    "severity_text",
    "severity_number",
    "body",
    "resource",
    "attributes",
    "trace_id",
    "span_id",
    "_stream",
    "_source",
    "_position",
    "_template",
];

/// Asks, page by page, and writes what comes.
pub(crate) async fn run(args: &SearchArgs) -> anyhow::Result<Code> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found: Vec<Value> = Vec::new();
    let mut left = args.limit;
    let mut cursor: Option<String> = None;
    let mut is_first = true;
    let most = match millrace_pipes::parse(&args.query) {
        Ok(query) if !query.pipes.is_empty() => MOST_ROWS,
        // What is wrong is the server's to say.
        _ => PAGE,
    };
    let mut answer;
    loop {
        let body = parameters(args, left.min(most), cursor.as_deref());
        answer = Request::post(&args.server.server, "api/v1/search", body).about(&args.query).send().await?;
        if answer["table"].is_object() {
            break;
        }
        let hits = answer["hits"].as_array().cloned().unwrap_or_default();
        left -= hits.len().min(left);
        match args.output {
            SearchOutput::Json => found.extend(hits),
            SearchOutput::Ndjson => written(hits.iter().try_for_each(|hit| writeln!(out, "{hit}")))?,
            SearchOutput::Csv => {
                let header = is_first.then(|| HIT.map(str::to_owned).to_vec());
                let rows = hits.iter().map(|hit| HIT.iter().map(|name| csv_cell(&hit[*name])).collect());
                written(write_csv(&mut out, header.into_iter().chain(rows)))?;
            }
            SearchOutput::Text => written(
                hits.iter().try_for_each(|hit| writeln!(out, "{}", line(hit, io::stdout().is_terminal()))),
            )?,
        }
        is_first = false;
        cursor = answer["cursor"].as_str().map(str::to_owned);
        if left == 0 || cursor.is_none() {
            break;
        }
    }
    if answer["table"].is_object() {
        written(write_table(&mut out, args.output, &answer))?;
    } else if args.output == SearchOutput::Json {
        answer["hits"] = json!(found);
        written(writeln!(out, "{answer:#}"))?;
    }
    written(out.flush())?;
    if args.output == SearchOutput::Text {
        tell(&answer);
    }
    if answer["partial"] == json!(true) {
        for missing in answer["missing"].as_array().into_iter().flatten() {
            eprintln!("partial: {}", missing["reason"].as_str().unwrap_or_default());
        }
        return Ok(Code::Partial);
    }
    Ok(Code::Ok)
}

fn parameters(args: &SearchArgs, limit: usize, cursor: Option<&str>) -> Value {
    let mut body = json!({ "q": args.query, "from": args.since, "limit": limit });
    let optional = [("to", args.until.as_deref()), ("stream", args.stream.as_deref()), ("cursor", cursor)];
    for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        body[name] = json!(value);
    }
    body
}

/// What people should know of an answer.
fn tell(answer: &Value) {
    let (total, took) = (&answer["total"], &answer["took_ms"]);
    let Some(rows) = answer["table"]["rows"].as_array() else {
        eprintln!("{total} records in {took} ms");
        return;
    };
    let all = answer["table"]["total_rows"].as_u64().unwrap_or(0);
    let shown = if all > rows.len() as u64 { format!("{} of {all}", rows.len()) } else { all.to_string() };
    eprintln!("{shown} rows of {total} records in {took} ms");
    let names: Vec<&str> =
        answer["table"]["estimates"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !names.is_empty() {
        eprintln!("estimated: {}", names.join(", "));
    }
}

fn write_table(out: &mut impl Write, output: SearchOutput, answer: &Value) -> io::Result<()> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let names: Vec<String> = list(&answer["table"]["columns"])
        .iter()
        .map(|name| name.as_str().unwrap_or_default().to_owned())
        .collect();
    let rows: Vec<Vec<Value>> = list(&answer["table"]["rows"]).iter().map(list).collect();
    match output {
        SearchOutput::Json => writeln!(out, "{answer:#}"),
        SearchOutput::Ndjson => rows.into_iter().try_for_each(|row| {
            let row: Map<String, Value> = names.iter().cloned().zip(row).collect();
            writeln!(out, "{}", Value::Object(row))
        }),
        SearchOutput::Csv => {
            let cells = rows.iter().map(|row| row.iter().map(csv_cell).collect());
            write_csv(out, std::iter::once(names).chain(cells))
        }
        SearchOutput::Text => {
            let is_number = |at: usize| {
                let mut values = rows.iter().filter_map(|row| row.get(at)).filter(|value| !value.is_null());
                values.clone().next().is_some() && values.all(Value::is_number)
            };
            let right: Vec<bool> = (0..names.len()).map(is_number).collect();
            let header = names.iter().map(|name| printable(name)).collect();
            let cells = rows.iter().map(|row| row.iter().map(text_cell).collect());
            let lines: Vec<Vec<String>> = std::iter::once(header).chain(cells).collect();
            table::lines(&lines, &right).iter().try_for_each(|line| writeln!(out, "{line}"))
        }
    }
}

fn text_cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(short_time(text)),
        Value::Number(number) => match number.as_f64() {
            // As many digits as people read.
            Some(float) if number.is_f64() => {
                let zeros = if float == 0.0 { 0.0 } else { -float.abs().log10().floor() };
                let text = format!("{float:.digits$}", digits = 3 + zeros.clamp(0.0, 12.0) as usize);
                let text = text.trim_end_matches('0').trim_end_matches('.');
                if text.is_empty() { "0".to_owned() } else { text.to_owned() }
            }
            _ => number.to_string(),
        },
        other => printable(&other.to_string()),
    }
}

/// A time without the zeros at its end.
fn short_time(text: &str) -> &str {
    let is_time =
        text.len() == 30 && text.ends_with('Z') && text.as_bytes()[19] == b'.' && text.as_bytes()[10] == b'T';
    if is_time { text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn csv_cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// As RFC 4180 has it, but for line ends.
fn write_csv(out: &mut impl Write, rows: impl Iterator<Item = Vec<String>>) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for row in rows {
        writer.write_record(&row).map_err(io::Error::other)?;
    }
    writer.flush()
}

/// A hit as one line: time, host, level, body.
fn line(hit: &Value, coloured: bool) -> String {
    let time: String = hit["timestamp"].as_str().unwrap_or_default().chars().take(23).collect();
    let host = hit["resource"]["host.name"].as_str().unwrap_or("-");
    let level = hit["severity_text"].as_str().filter(|level| !level.is_empty()).unwrap_or("-");
    let body = hit["body"].as_str().map_or_else(|| hit["body"].to_string(), printable);
    if !coloured {
        return format!("{time} {host} {level} {body}");
    }
    let colour = match hit["severity_number"].as_u64().unwrap_or(0) {
        17.. => "31",
        13..=16 => "33",
        _ => "36",
    };
    format!("\x1b[2m{time}\x1b[0m {host} \x1b[{colour}m{level}\x1b[0m {body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_as_people_read_them() {
        for (value, text) in [
            (json!(null), "-"),
            (json!("a\u{1b}[2J"), "a\u{fffd}[2J"),
            (json!("2026-01-15T10:00:00.000000000Z"), "2026-01-15T10:00:00"),
            (json!("2026-01-15T10:00:00.120000000Z"), "2026-01-15T10:00:00.12"),
            (json!("2026-01-15T10:00:00Z"), "2026-01-15T10:00:00Z"),
            (json!(1_000_000), "1000000"),
            (json!(0.0), "0"),
            (json!(20.0), "20"),
            (json!(1234.56789), "1234.568"),
            (json!(0.000_277_777), "0.0002778"),
            (json!(-0.5), "-0.5"),
            (json!([1, "x"]), "[1,\"x\"]"),
        ] {
            assert_eq!(text_cell(&value), text, "{value}");
        }
    }

    #[test]
    fn a_table_is_written_in_each_form() {
        let answer = json!({ "table": { "columns": ["host", "n"], "rows": [["a,b", 1], [null, 22]] } });
        let written = |output| {
            let mut out = Vec::new();
            write_table(&mut out, output, &answer).map(|()| String::from_utf8_lossy(&out).into_owned())
        };
        assert_eq!(written(SearchOutput::Text).ok().as_deref(), Some("host   n\na,b    1\n-     22\n"));
        assert_eq!(written(SearchOutput::Csv).ok().as_deref(), Some("host,n\n\"a,b\",1\n,22\n"));
        let lines = "{\"host\":\"a,b\",\"n\":1}\n{\"host\":null,\"n\":22}\n";
        assert_eq!(written(SearchOutput::Ndjson).ok().as_deref(), Some(lines));
    }
}
