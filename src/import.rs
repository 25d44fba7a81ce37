//! `millrace config import` and `import-positions`: from another shipper to an agent.

use crate::{
    cli::{Code, Failure, ImportArgs, ImportPositionsArgs, Shipper, written},
    settings,
};
use millrace_agent::ReadPosition;
use millrace_import::{FLUENT_BIT_QUERY, Imported, LeftOut, Positions, Tool, from_rows, import, positions};
use millrace_transport::LIBRDKAFKA_OURS;
use std::{
    fs,
    io::{self, Write},
    path::Path,
};

fn tool(shipper: Shipper) -> Tool {
    match shipper {
        Shipper::Filebeat => Tool::Filebeat,
        Shipper::Promtail => Tool::Promtail,
        Shipper::FluentBit => Tool::FluentBit,
        Shipper::Vector => Tool::Vector,
    }
}

/// Writes the configuration, and tells what it lacks.
pub(crate) fn configuration(args: &ImportArgs) -> anyhow::Result<Code> {
    let ImportArgs { shipper, file } = args;
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::with(Code::Usage, format!("{}: {error}", file.display())))?;
    let tool = tool(*shipper);
    let imported = import(tool, &text, file, LIBRDKAFKA_OURS)
        .map_err(|error| Failure::with(Code::Invalid, error.to_string()))?;
    let Imported { toml, left_out, registry, more_registries } = imported;
    written(io::stdout().lock().write_all(toml.as_bytes()))?;
    tell(&left_out);
    let registries: Vec<String> =
        registry.into_iter().chain(more_registries).map(|path| path.display().to_string()).collect();
    if !registries.is_empty() {
        let (name, registries) = (tool.name(), registries.join(" "));
        eprintln!("read positions: millrace config import-positions {name} {registries} --config FILE");
    }
    Ok(Code::Ok)
}

fn tell(left_out: &[LeftOut]) {
    for LeftOut { at, why } in left_out {
        eprintln!("not taken over, or not quite: {at}: {why}");
    }
}

/// Puts the positions into the agent's checkpoint.
pub(crate) async fn read_positions(args: &ImportPositionsArgs) -> anyhow::Result<Code> {
    let ImportPositionsArgs { shipper, registries, config } = args;
    let settings = settings::agent(config)?;
    let mut all = Positions::default();
    for registry in registries {
        let Positions { kept, left_out } = read(tool(*shipper), registry).await?;
        all.kept.extend(kept);
        all.left_out.extend(left_out);
    }
    let kept: Vec<ReadPosition> = all
        .kept
        .into_iter()
        .map(|kept| ReadPosition {
            path: kept.path,
            device: kept.device,
            inode: kept.inode,
            position: kept.position,
        })
        .collect();
    let adopted =
        tokio::task::spawn_blocking(move || millrace_agent::adopt(&settings.agent, &kept)).await??;
    tell(&all.left_out);
    for (position, why) in &adopted.left {
        eprintln!("not taken over: {}: {why}", name(position));
    }
    let mut out = io::stdout().lock();
    for (path, source, position) in &adopted.files {
        written(writeln!(out, "{}  {source}  from byte {position}", path.display()))?;
    }
    let left = all.left_out.len() + adopted.left.len();
    eprintln!(
        "{} files are read on from where they were, {left} positions are not taken over",
        adopted.files.len()
    );
    Ok(if left == 0 { Code::Ok } else { Code::Findings })
}

async fn read(tool: Tool, registry: &Path) -> anyhow::Result<Positions> {
    if tool == Tool::FluentBit {
        let rows = millrace_catalogue::foreign::rows(registry, FLUENT_BIT_QUERY).await;
        return rows
            .map(from_rows)
            .map_err(|error| Failure::with(Code::Usage, format!("{}: {error}", registry.display())));
    }
    positions(tool, registry).map_err(|error| Failure::with(Code::Usage, error.to_string()))
}

fn name(position: &ReadPosition) -> String {
    match (&position.path, position.inode) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(inode)) => format!("inode {inode}"),
        (None, None) => "a file without a name".to_owned(),
    }
}
