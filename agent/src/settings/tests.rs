#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use millrace_config::{Layers, load};

/// The settings, or all that is wrong with them.
fn read(toml: &str) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, toml).unwrap();
    let layers = Layers { file: Some(file), ..Layers::default() };
    let document = load(&layers).map_err(|report| report.to_string())?;
    let mut root = document.root();
    let settings = Settings::read(&mut root.section_or_empty("agent"));
    document.finish().map_err(|report| report.to_string())?;
    Ok(settings)
}

#[test]
fn everything_has_a_default_but_what_to_read() {
    let settings = read("[agent.sources.app]\ntype = \"file\"\ninclude = [\"/var/log/*.log\"]\n").unwrap();
    assert_eq!(settings.state_dir, PathBuf::from("/var/lib/millrace/agent"));
    assert!(!settings.host.is_empty());
    let SourceKind::File(file) = &settings.sources[0].kind else { panic!() };
    assert_eq!((settings.sources[0].stream.as_str(), file.max_line), ("logs", 1 << 20));
    assert_eq!(file.parse, Parsers::default());
}

#[test]
fn what_is_set_is_taken() {
    let settings = read(
        "[agent]\nstate_dir = \"/x\"\nhost = \"h\"\nin_flight = \"1MiB\"\nlisten = \"127.0.0.1:9\"\n\
         [agent.sources.b]\ntype = \"file\"\ninclude = [\"/a\"]\nexclude = [\"*.gz\"]\nstream = \"b\"\n\
         parse = [\"json\", \"none\"]\nmax_line = \"64KiB\"\nrotate_wait = \"30s\"\nrescan = \"2s\"\n\
         [agent.sources.a]\ntype = \"journald\"\ndirectory = \"/j\"\n[agent.redact]\nkinds = []\n",
    )
    .unwrap();
    assert_eq!((settings.host.as_str(), settings.in_flight), ("h", 1 << 20));
    let SourceKind::Journald(journal) = &settings.sources[0].kind else { panic!() };
    assert_eq!(journal.directory, Some("/j".into()));
    let SourceKind::File(file) = &settings.sources[1].kind else { panic!() };
    assert_eq!(file.parse, [Parser::Json, Parser::Plain].into_iter().collect());
    assert_eq!((file.max_line, file.rotate_wait), (64 << 10, Duration::from_secs(30)));
}

#[test]
fn what_is_wrong_is_told_with_what_is_understood() {
    for (toml, expected) in [
        ("[agent.sources.a]\ntype = \"syslog\"\n", "\"journald\""),
        ("[agent.sources.a]\ntype = \"file\"\n", "include is missing"),
        ("[agent.sources.a]\ntype = \"file\"\ninclude = []\n", "names no files"),
        ("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a[\"]\n", "agent.sources.a.include"),
        (
            "[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nparse = [\"grok\"]\n",
            "\"auto\", \"json\" or \"none\"",
        ),
        ("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nmultiline = \"java\"\n", "multiline"),
        ("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nstream = \"A B\"\n", "stream name"),
        ("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nmax_line = \"1GiB\"\n", "64MiB"),
        ("[agent.redact]\nkinds = [\"email\"]\naction = \"mask\"\n", "refuses to start"),
        ("[agent]\nstat_dir = \"/x\"\n", "state_dir"),
    ] {
        let error = read(toml).unwrap_err();
        assert!(error.contains(expected), "{toml}\n{error}");
    }
}
