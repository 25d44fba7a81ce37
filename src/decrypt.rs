//! `millrace decrypt`: for who holds the key, what agents encrypted is clear text again.

use crate::cli::{Code, DecryptArgs, written};
use anyhow::Context;
use millrace_intake::redact::{Opener, Opening};
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::Path,
};

/// Copies files (or standard input) to standard output, line by line, with all values opened that are for this key. In a line of JSON
/// what is opened is escaped as JSON has it.
pub(crate) fn decrypt(args: &DecryptArgs) -> anyhow::Result<Code> {
    let mut opener = Opener::new(private_key(&args.key)?).map_err(anyhow::Error::msg)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut opening = Opening::default();
    let standard_input = [Path::new("-").to_owned()];
    let files = if args.files.is_empty() { &standard_input[..] } else { &args.files };
    for file in files {
        let input: Box<dyn Read> = if file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(file).with_context(|| file.display().to_string())?)
        };
        let copied = copy(BufReader::new(input), &mut out, &mut opener, &mut opening);
        written(copied)?;
    }
    written(out.flush())?;
    let Opening { opened, foreign, damaged } = opening;
    eprintln!(
        "{opened} values opened, {foreign} are for other keys, {damaged} for this key cannot be opened"
    );
    Ok(if damaged > 0 { Code::Findings } else { Code::Ok })
}

fn copy(
    mut input: impl BufRead,
    out: &mut impl Write,
    opener: &mut Opener,
    opening: &mut Opening,
) -> io::Result<()> {
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        match std::str::from_utf8(&line) {
            Ok(text) if text.trim_start().starts_with(['{', '[']) => {
                out.write_all(opener.open_all(text, opening, &escaped).as_bytes())?;
            }
            Ok(text) => out.write_all(opener.open_all(text, opening, &str::to_owned).as_bytes())?,
            Err(_) => {
                // Bytes that are no text: each stretch of text in them.
                for chunk in line.utf8_chunks() {
                    out.write_all(opener.open_all(chunk.valid(), opening, &str::to_owned).as_bytes())?;
                    out.write_all(chunk.invalid())?;
                }
            }
        }
        line.clear();
    }
    Ok(())
}

/// As it stands within a text of JSON.
fn escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn private_key(path: &Path) -> anyhow::Result<[u8; 32]> {
    let pem = fs::read(path).with_context(|| path.display().to_string())?;
    let key = openssl::pkey::PKey::private_key_from_pem(&pem)
        .with_context(|| format!("{}: it is no private key in PEM", path.display()))?;
    let raw = key.raw_private_key().ok().and_then(|raw| <[u8; 32]>::try_from(raw).ok());
    let raw = raw.filter(|_| key.id() == openssl::pkey::Id::X25519);
    raw.with_context(|| format!("{}: it is a key, but not of X25519", path.display()))
}
