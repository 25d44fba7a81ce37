//! `millrace search`: hits as lines, tables in columns.

use crate::{
    cli::{Code, Failure, SearchArgs, SearchOutput, written},
    client::{Request, partial, printable},
    explain,
    lines::{is_coloured, line},
    pager::Screen,
    table,
};
use millrace_query::http::csv;
use serde_json::{Map, Value, json};
use std::{
    collections::HashSet,
    io::{self, Write},
};

/// The most records that one request returns; more are asked for with cursors.
const PAGE: usize = 1000;
/// The most rows of a table: there are no cursors in one. More records than these are exported.
const MANY: usize = 10_000;
/// Asks, page by page, and writes what comes.
pub(crate) async fn run(args: &SearchArgs) -> anyhow::Result<Code> {
    if args.context.is_some() && args.output != SearchOutput::Text {
        return Err(Failure::with(
            Code::Usage,
            "-C shows records to people: it goes with --output text alone",
        ));
    }
    let is_text = args.output == SearchOutput::Text;
    if args.explain {
        return explain(args).await;
    }
    let mut out = if is_text && !args.no_pager { Screen::paged() } else { Screen::plain() };
    let is_table = match millrace_pipes::parse(&args.query) {
        Ok(query) => !query.pipes.is_empty(),
        // What is wrong is the server's to say.
        Err(_) => false,
    };
    if !is_table && args.limit > MANY && args.context.is_none() && args.output != SearchOutput::Json {
        return export(args, &mut out).await;
    }
    let mut found: Vec<Value> = Vec::new();
    let mut left = args.limit;
    let mut cursor: Option<String> = None;
    let mut hits = HitWriter::new(args);
    let most = if is_table { MANY } else { PAGE };
    let mut answer;
    loop {
        let body = parameters(args, left.min(most), cursor.as_deref());
        answer = Request::post(&args.server, "api/v1/search", body).about(&args.query).send().await?;
        if answer["table"].is_object() {
            break;
        }
        let page = answer["hits"].as_array().cloned().unwrap_or_default();
        left -= page.len().min(left);
        match (args.output, args.context) {
            (SearchOutput::Json, _) => found.extend(page),
            (_, Some(lines)) => hits.write_with_context(&mut out, page, lines).await?,
            (_, None) => written(page.iter().try_for_each(|hit| hits.write(&mut out, hit)))?,
        }
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
    drop(out);
    if is_text {
        tell(&answer);
    }
    Ok(partial(&answer))
}

/// Searches once, and writes what was done for it.
async fn explain(args: &SearchArgs) -> anyhow::Result<Code> {
    if args.output == SearchOutput::Csv {
        return Err(Failure::with(Code::Usage, "--explain goes with --output text, json or ndjson"));
    }
    let is_text = args.output == SearchOutput::Text;
    let mut out = if is_text && !args.no_pager { Screen::paged() } else { Screen::plain() };
    let mut body = parameters(args, args.limit.min(MANY), None);
    body["explain"] = json!(true);
    let answer = Request::post(&args.server, "api/v1/search", body).about(&args.query).send().await?;
    written(match args.output {
        SearchOutput::Text => explain::write(&mut out, &answer),
        SearchOutput::Ndjson => writeln!(out, "{answer}"),
        _ => writeln!(out, "{answer:#}"),
    })?;
    written(out.flush())?;
    drop(out);
    if is_text {
        tell(&answer);
    }
    Ok(partial(&answer))
}

/// Many records: as the server finds them, without a page after the other.
async fn export(args: &SearchArgs, out: &mut Screen) -> anyhow::Result<Code> {
    let mut parameters = json!({ "q": args.query, "from": args.since, "format": "ndjson" });
    let optional = [("to", args.until.as_deref()), ("stream", args.stream.as_deref())];
    for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        parameters[name] = json!(value);
    }
    let request = Request::get(&args.server, "api/v1/export").with(&parameters).about(&args.query);
    let mut response = request.open().await?;
    let mut code = Code::Ok;
    if let Some(reason) = response.headers().get("x-millrace-partial") {
        eprintln!("partial: {}", reason.to_str().unwrap_or_default());
        code = Code::Partial;
    }
    let mut hits = HitWriter::new(args);
    let (mut left, mut rest) = (args.limit, Vec::new());
    while left > 0
        && let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))?
    {
        rest.extend_from_slice(&chunk);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(left) {
            let hit: Value = serde_json::from_slice(line)?;
            if let Some(reason) = hit["error"]["message"].as_str() {
                eprintln!("partial: {reason}");
                code = Code::Partial;
                continue;
            }
            written(hits.write(out, &hit))?;
            left -= 1;
        }
    }
    written(out.flush())?;
    Ok(code)
}

fn broken(error: &reqwest::Error) -> anyhow::Error {
    let problem = millrace_model::chain(error);
    Failure::with(Code::Partial, format!("the answer broke off, and is not whole: {problem}"))
}

/// Writes hits, one after the other.
struct HitWriter<'a> {
    args: &'a SearchArgs,
    coloured: bool,
    is_first: bool,
    /// By their ids, where records are shown with others around them.
    shown: HashSet<String>,
}

impl<'a> HitWriter<'a> {
    fn new(args: &'a SearchArgs) -> Self {
        Self { args, coloured: is_coloured(args.colour), is_first: true, shown: HashSet::new() }
    }

    fn write(&mut self, out: &mut impl Write, hit: &Value) -> io::Result<()> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        match self.args.output {
            SearchOutput::Csv => {
                let header = is_first.then(|| csv::HIT.map(str::to_owned).to_vec());
                let row = csv::HIT.iter().map(|name| csv::cell(&hit[*name])).collect();
                csv::write(out, header.into_iter().chain([row]))
            }
            SearchOutput::Text => writeln!(out, "{}", line(hit, self.coloured)),
            SearchOutput::Json | SearchOutput::Ndjson => writeln!(out, "{hit}"),
        }
    }

    /// Each with so many records around it in its source, marked by `>`, as `grep -C` does.
    async fn write_with_context(
        &mut self,
        out: &mut impl Write,
        hits: Vec<Value>,
        lines: usize,
    ) -> anyhow::Result<()> {
        let id = |hit: &Value| hit["_id"].as_str().unwrap_or_default().to_owned();
        let found: HashSet<String> = hits.iter().map(id).collect();
        for hit in hits.iter().map(id) {
            if self.shown.contains(&hit) {
                continue;
            }
            let parameters = json!({ "id": hit, "before": lines, "after": lines });
            let request = Request::get(&self.args.server, "api/v1/context").with(&parameters);
            let around = request.send().await?;
            if !std::mem::replace(&mut self.is_first, false) {
                written(writeln!(out, "--"))?;
            }
            let list = |name: &str| around[name].as_array().cloned().unwrap_or_default();
            for record in list("before").into_iter().chain([around["hit"].clone()]).chain(list("after")) {
                let mark = if found.contains(&id(&record)) { '>' } else { ' ' };
                if self.shown.insert(id(&record)) {
                    written(writeln!(out, "{mark} {}", line(&record, self.coloured)))?;
                }
            }
        }
        Ok(())
    }
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
    if answer["table"]["chosen_by_estimate"] == true {
        eprintln!("which rows these are was decided by an estimate");
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
            let cells = rows.iter().map(|row| row.iter().map(csv::cell).collect());
            csv::write(out, std::iter::once(names).chain(cells))
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
