#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use chrono_tz::Tz;
use millrace_config::{Layers, MinFree, load};
use millrace_intake::{
    Parser,
    parse::{Csv, Format, GrokPattern, KeyValue, Pattern, Times},
    redact::{Action, Kind, Rule, Search},
    spool::{Bounds, Overflow},
};

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
    assert_eq!(file.parse, parse::of_this_host());
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
    let parsers: Parsers = [Parser::Json, Parser::Plain].into_iter().collect();
    assert_eq!(file.parse, parsers.with_times(times()));
    assert_eq!((file.max_line, file.rotate_wait), (64 << 10, Duration::from_secs(30)));
}

fn times() -> Times {
    Times { host_zone: parse::host_zone(), ..Times::default() }
}

/// The parsers of a source that says this of them.
fn parsers(text: &str) -> Result<Parsers, String> {
    let settings = read(&format!("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\n{text}\n"))?;
    match settings.sources.into_iter().next().unwrap().kind {
        SourceKind::File(file) => Ok(file.parse),
        _ => panic!("another kind"),
    }
}

#[test]
fn parsers_can_be_spelled_out() {
    let read = parsers(
        "parse = [\"syslog\", { regex = '^(?<a>x)' }, { grok = '%{WORD:b}' }, { csv = [\"a\", \"\"], delimiter = \"\\t\" }, \
         { key_value = { pair = \";\" } }]\ntimezone = \"Europe/Berlin\"\ntimestamp = { field = \"t\", format = \"%s\" }\n",
    );
    let expected: Parsers = [
        Parser::Syslog,
        Parser::Regex(Pattern::new("^(?<a>x)").unwrap()),
        Parser::Grok(GrokPattern::new("%{WORD:b}").unwrap()),
        Parser::Csv(Csv { columns: vec!["a".to_owned(), String::new()], delimiter: b'\t' }),
        Parser::KeyValue(KeyValue { pair: ";".to_owned(), separator: "=".to_owned() }),
    ]
    .into_iter()
    .collect();
    let field = Some("t".to_owned());
    let times =
        Times { zone: Some(Tz::Europe__Berlin), field, format: Some(Format::new("%s").unwrap()), ..times() };
    assert_eq!(read.unwrap(), expected.with_times(times));
    for (text, expected) in [
        ("parse = [{ regex = '(' }]", "unclosed group"),
        ("parse = [{ regex = 'a' }]", "no group has a name"),
        ("parse = [{ grok = '%{NOTHING:x}' }]", "no pattern has the name NOTHING"),
        ("parse = [{ grok = 1 }]", "grok needs a text"),
        ("parse = [{ csv = 'a' }]", "names of the columns"),
        ("parse = [{ csv = ['a'], delimiter = 'ab' }]", "one character"),
        ("parse = [{ csv = ['a'], quote = 'a' }]", "csv has no setting quote"),
        ("parse = [{ key_value = { separator = ' ' } }]", "blanks alone"),
        ("parse = [{ key_value = { sep = ' ' } }]", "pair and separator"),
        ("parse = [{}]", "exactly one of regex, grok, csv, key_value"),
        ("timezone = \"Mars/Base\"", "no time zone has the name \"Mars/Base\""),
        ("timestamp = { format = \"%Q\" }", "not a format of times"),
        ("timestamp = { formt = \"%s\" }", "format"),
    ] {
        let error = parsers(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn lines_can_be_said_to_belong_together() {
    let read = |text: &str| {
        let settings = read(&format!("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\n{text}\n"))?;
        match settings.sources.into_iter().next().unwrap().kind {
            SourceKind::File(file) => Ok((file.multiline, file.multiline_wait, file.line_wait)),
            _ => panic!("another kind"),
        }
    };
    let (second, five) = (Duration::from_secs(1), Duration::from_secs(5));
    assert_eq!(read("").unwrap(), (None, second, five));
    let java = read("multiline = \"java\"\nmultiline_wait = \"2s\"\nline_wait = \"0s\"").unwrap();
    assert_eq!(java, (Multiline::preset("java"), Duration::from_secs(2), Duration::ZERO));
    let own = read("multiline = { start = '^\\d' }").unwrap().0;
    assert_eq!(own, Some(Multiline::start(r"^\d").unwrap()));
    for (text, expected) in [
        ("multiline = { start = '(' }", "unclosed group"),
        ("multiline = { begin = 'a' }", "a table needs start"),
        ("multiline = \"pyton\"", "did you mean \"python\"?"),
        ("multiline_wait = \"0s\"", "longer than nothing"),
    ] {
        let error: String = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn a_files_lines_may_be_a_containers_or_of_another_encoding() {
    let read = |text: &str| {
        let settings =
            read(&format!("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\n{text}\n")).unwrap();
        match settings.sources.into_iter().next().unwrap().kind {
            SourceKind::File(file) => (file.containers, file.parse, file.charset),
            _ => panic!("another kind"),
        }
    };
    let list = |parsers: &[Parser]| parsers.iter().cloned().collect::<Parsers>().with_times(times());
    assert_eq!(read(""), (None, list(&[Parser::Auto]), None));
    assert_eq!(read("parse = [\"auto\"]").0, None);
    assert_eq!(read("parse = [\"json\"]"), (Some(false), list(&[Parser::Json]), None));
    assert_eq!(read("parse = [\"cri\"]"), (Some(true), list(&[Parser::Auto]), None));
    let docker = read("parse = [\"docker\", \"json\"]\nencoding = \"utf-16\"");
    assert_eq!(docker, (Some(true), list(&[Parser::Json]), Charset::named("utf-16le")));
}

#[test]
fn what_is_taken_out_can_be_said_of_each_kind() {
    let settings = read(
        "[agent.redact]\nkinds = [\"email\", \"ipv4\"]\naction = \"hash\"\nhash_key = \"0123456789abcdef\"\n\
         [agent.redact.patterns]\nstaff = 'E-[0-9]{6}'\n[agent.redact.actions]\nipv4 = \"drop\"\n",
    );
    let rule = |name: &str, search, action| Rule { name: name.to_owned(), search, action };
    let rules = vec![
        rule("staff", Search::Pattern("E-[0-9]{6}".to_owned()), Action::Hash),
        rule("email", Search::Kind(Kind::Email), Action::Hash),
        rule("ipv4", Search::Kind(Kind::Ipv4), Action::Drop),
    ];
    assert_eq!(settings.unwrap().redact, Policy::new(rules, b"0123456789abcdef").unwrap());
    assert_eq!(read("[agent.redact]\nkinds = []\n").unwrap().redact, Policy::nothing());
}

#[test]
fn what_is_wrong_is_told_with_what_is_understood() {
    for (toml, expected) in [
        ("[agent.sources.a]\ntype = \"sislog\"\n", "did you mean \"syslog\"?"),
        ("[agent.sources.a]\ntype = \"syslog\"\n", "listen is missing"),
        ("[agent.sources.a]\ntype = \"syslog\"\nlisten = [\"127.0.0.1:1\"]\n", "does not begin with udp://"),
        ("[agent.sources.a]\ntype = \"syslog\"\nlisten = [\"udp://here\"]\n", "no address with a port"),
        ("[agent.sources.a]\ntype = \"syslog\"\nlisten = [\"tls://127.0.0.1:1\"]\n", "[agent.sources.a.tls]"),
        ("[agent.sources.a]\ntype = \"syslog\"\nlisten = [\"udp://0.0.0.0:514\"]\n", "allow_unauthenticated"),
        (
            "[agent.sources.a]\ntype = \"syslog\"\nlisten = [\"udp://127.0.0.1:1\"]\nspool_bytes = \"1MiB\"\nmax_line = \"1MiB\"\n",
            "16 times",
        ),
        (
            "[agent.sources.a]\ntype = \"syslog\"\nlisten = [\"udp://127.0.0.1:1\"]\noverflow = \"drop_oldst\"\n",
            "did you mean \"drop_oldest\"?",
        ),
        ("[agent.sources.a]\ntype = \"file\"\n", "include is missing"),
        ("[agent.sources.a]\ntype = \"file\"\ninclude = []\n", "names no files"),
        ("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a[\"]\n", "agent.sources.a.include"),
        (
            "[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nparse = [\"grok\"]\n",
            "\"cri\" (first), \"none\", or { regex",
        ),
        (
            "[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nparse = [\"json\", \"cri\"]\n",
            "a container runtime's format comes first",
        ),
        (
            "[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nencoding = \"utf-17\"\n",
            "no encoding has the name \"utf-17\"",
        ),
        (
            "[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nmultiline = \"cobol\"\n",
            "\"ruby\", \"node\"",
        ),
        ("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nstream = \"A B\"\n", "stream name"),
        ("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\nmax_line = \"1GiB\"\n", "64MiB"),
        ("[agent.redact]\nkinds = [\"emails\"]\n", "did you mean \"email\"?"),
        ("[agent.redact]\nkinds = [\"email\"]\naction = \"encrypt\"\n", "encrypt_key: is missing"),
        (
            "[agent.redact]\nkinds = [\"email\"]\naction = \"encrypt\"\nencrypt_key = \"x\"\n",
            "no public key in PEM",
        ),
        ("[agent.redact]\nkinds = [\"email\"]\naction = \"encypt\"\n", "did you mean \"encrypt\"?"),
        ("[agent.redact]\nkinds = [\"email\"]\naction = \"hash\"\n", "hash_key: is missing"),
        ("[agent.redact]\nkinds = [\"email\"]\naction = \"hash\"\nhash_key = \"short\"\n", "16 characters"),
        ("[agent.redact]\npatterns = { mine = 'a(' }\n", "unclosed group"),
        ("[agent.redact]\npatterns = { mine = 'a*' }\n", "empty text"),
        ("[agent.redact]\nactions = { email = \"drop\" }\n", "neither among the kinds"),
        ("[agent]\nstat_dir = \"/x\"\n", "state_dir"),
    ] {
        let error = read(toml).unwrap_err();
        assert!(error.contains(expected), "{toml}\n{error}");
    }
}

#[test]
fn steps_are_read_in_order_and_mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("hosts.csv");
    std::fs::write(&table, "name,team\nweb1,shop\n").unwrap();
    let read_steps = |steps: &str| {
        let text = format!("[agent.sources.a]\ntype = \"file\"\ninclude = [\"/a\"]\n{steps}\n");
        read(&text.replace("TABLE", &table.display().to_string()))
            .map(|settings| settings.sources.into_iter().next().unwrap().process)
    };
    let process = read_steps(
        "[[agent.sources.a.process]]\ndrop = 'level:debug'\nwhen = 'service:x'\n\
         [[agent.sources.a.process]]\nsample = 0.25\nkey = 'trace_id'\n\
         [[agent.sources.a.process]]\nrate_limit = '30/m'\nburst = 5\n\
         [[agent.sources.a.process]]\nrename = { a = 'b' }\n\
         [[agent.sources.a.process]]\nadd = { team = 'shop', tier = 1, live = true }\n\
         [[agent.sources.a.process]]\nenrich = { csv = 'TABLE', by = 'host', column = 'name' }\n",
    )
    .unwrap();
    let names: Vec<&str> = process.steps().map(|step| step.action.name()).collect();
    assert_eq!(names, ["drop", "sample", "rate_limit", "rename", "add", "enrich"]);
    let first = process.steps().next().unwrap();
    assert_eq!(first.when, Some(millrace_filter::parse("service:x AND level:debug").unwrap()));
    let limit = process.steps().nth(2).unwrap();
    let rate = millrace_intake::process::Rate { per_second: 0.5, burst: 5.0 };
    assert_eq!(limit.action, millrace_intake::process::Action::RateLimit { rate, key: None });
    for (step, expected) in [
        ("{}", "exactly one of drop, keep"),
        ("{ drop = 'a', keep = 'b' }", "exactly one of drop, keep"),
        ("{ drop = 'a:[1 TO' }", "drop: "),
        ("{ drop = 'a', wen = 'b' }", "drop has no setting wen"),
        ("{ sample = 10 }", "a tenth is 0.1"),
        ("{ rate_limit = '5' }", "\"100/s\""),
        ("{ rate_limit = '5/d' }", "\"100/s\""),
        ("{ rate_limit = '5/s', burst = 0 }", "at least 1"),
        ("{ rename = { level = 'x' } }", "\"level\" is no attribute"),
        ("{ add = { x = [1] } }", "x needs a text, a number or a boolean"),
        ("{ enrich = { csv = 'TABLE', by = 'host' } }", "no column \"host\"; it has name, team"),
        ("{ enrich = { csv = '/nowhere.csv', by = 'host' } }", "/nowhere.csv cannot be read"),
        ("{ enrich = { mmdb = 'TABLE', by = 'ip' } }", "hosts.csv: "),
        ("{ enrich = { by = 'ip' } }", "the path of a table"),
    ] {
        let error = read_steps(&format!("process = [{step}]")).unwrap_err();
        assert!(error.contains(expected), "{step}\n{error}");
    }
}

#[test]
fn syslog_is_listened_for_where_it_is_said() {
    let read = |text: &str| {
        let settings = read(&format!("[agent.sources.net]\ntype = \"syslog\"\n{text}\n"))?;
        match settings.sources.into_iter().next().unwrap().kind {
            SourceKind::Syslog(syslog) => Ok::<_, String>(*syslog),
            _ => panic!("another kind"),
        }
    };
    let plain = read("listen = [\"udp://127.0.0.1:514\", \"tcp://[::1]:514\"]").unwrap();
    let told: Vec<String> = plain.listen.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["udp://127.0.0.1:514", "tcp://[::1]:514"]);
    assert_eq!(plain.parse, of_this_host_as(Parser::Syslog));
    assert_eq!((plain.spool, plain.max_line), (SpoolSettings::default(), 64 << 10));

    let own = read(
        "listen = [\"tls://0.0.0.0:6514\"]\nparse = [\"none\"]\nspool_bytes = \"2GiB\"\noverflow = \"drop_newest\"\n\
         min_free = \"1GiB\"\nmax_connections = 7\n\
         [agent.sources.net.tls]\ncertificate = \"/c\"\nkey = \"/k\"\nclient_ca = \"/a\"\n",
    );
    let own = own.unwrap();
    let bounds = Bounds { bytes: 2 << 30, overflow: Overflow::DropNewest };
    assert_eq!(own.spool, SpoolSettings { bounds, min_free: MinFree::bytes(1 << 30) });
    assert_eq!(own.tls.unwrap().client_ca, Some("/a".into()));
    // Without certificates of senders it must be said that anybody may write.
    let open = "listen = [\"tls://0.0.0.0:6514\"]\ntls = { certificate = \"/c\", key = \"/k\" }\n";
    assert!(read(open).unwrap_err().contains("client_ca, or on 127.0.0.1, or say"));
    assert!(read(&format!("{open}allow_unauthenticated = true\n")).is_ok());
}

#[test]
fn what_is_pushed_over_http_is_guarded() {
    let read = |text: &str| {
        let settings = read(&format!("[agent.sources.web]\n{text}\n"))?;
        Ok::<_, String>(settings.sources.into_iter().next().unwrap().kind)
    };
    assert_eq!(read("type = \"otlp\"").unwrap(), SourceKind::Otlp(OtlpSettings::default()));
    let SourceKind::Otlp(otlp) = read("type = \"otlp\"\nhttp = \"127.0.0.1:1\"").unwrap() else { panic!() };
    assert_eq!((otlp.grpc, otlp.http.map(|address| address.port())), (None, Some(1)));
    assert_eq!(read("type = \"http\"").unwrap(), SourceKind::Http(Box::default()));
    assert_eq!(read("type = \"stdin\"").unwrap(), SourceKind::Stdin(StdinSettings::default()));

    for open in ["type = \"otlp\"\ngrpc = \"0.0.0.0:4317\"", "type = \"http\"\nlisten = \"[::]:7702\""] {
        assert!(read(open).unwrap_err().contains("ask for a token"));
        let certificates = "tls = { certificate = \"/c\", key = \"/k\", client_ca = \"/a\" }";
        for proof in ["token = \"let me in\"", certificates, "allow_unauthenticated = true"] {
            assert!(read(&format!("{open}\n{proof}")).is_ok(), "{proof}");
        }
    }
    for (text, expected) in [
        ("type = \"otlp\"\ntoken = \" \"", "blanks around it"),
        ("type = \"http\"\nmax_body = \"1GiB\"", "256MiB"),
        ("type = \"http\"\nmax_connections = 0", "from 1 to"),
        ("type = \"otlp\"\nparse = [\"json\"]", "parse"),
        ("type = \"stdin\"\n[agent.sources.more]\ntype = \"stdin\"", "one standard input"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}\n{error}");
    }
}
