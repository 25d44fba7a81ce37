#![expect(clippy::unwrap_used, reason = "tests")]
use crate::{Age, ByteSize, Document, FromValue, Layers, Problem, Report, Secret, choices, load};
use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};
use tempfile::TempDir;

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    File,
    Journald,
}
choices!(Kind { "file" => Kind::File, "journald" => Kind::Journald });

/// A folder with files in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn layers(folder: &TempDir) -> Layers {
    let variables = [("HOME", "/root"), ("PORT", "9092")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    Layers { file: Some(folder.path().join("millrace.toml")), variables, ..Layers::default() }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Reads one value `x` of the root; the error is the first message.
fn one<T: FromValue>(text: &str) -> Result<T, String> {
    let folder = folder(&[("millrace.toml", text)]);
    let document = load(&layers(&folder)).map_err(|report| report.problems()[0].message().to_owned())?;
    let value = document.root().required::<T>("x");
    match document.finish() {
        Ok(()) => Ok(value.unwrap()),
        Err(report) => Err(report.problems()[0].message().to_owned()),
    }
}

/// A room's reading, with every kind of setting.
fn read(document: &Document) -> Result<(), Report> {
    let mut root = document.root();
    let mut agent = root.section_or_empty("agent");
    agent.required::<PathBuf>("state_dir");
    agent.or("max_line", ByteSize(1 << 20));
    agent.or("flush", Age(Duration::from_secs(1)));
    agent.optional::<SocketAddr>("listen");
    agent.optional::<Secret>("token");
    for (_, mut source) in agent.sections("sources") {
        if source.required::<Kind>("type").is_some() {
            source.required::<Vec<String>>("include");
        }
    }
    let mut topic = root.section_or_empty("topic");
    topic.required::<Vec<String>>("brokers");
    topic.or("partitions", 12u32);
    if let Some(mut pass_through) = topic.section("librdkafka") {
        pass_through.rest();
    }
    document.finish()
}

/// What the user sees, without the folder.
fn told(file: &str, change: impl FnOnce(&mut Layers)) -> String {
    let folder = folder(&[("millrace.toml", file)]);
    let mut layers = layers(&folder);
    change(&mut layers);
    let report = match load(&layers) {
        Ok(document) => read(&document).unwrap_err(),
        Err(report) => report,
    };
    report.to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn values_are_read_by_type() {
    assert_eq!(one("x = \"a\""), Ok("a".to_owned()));
    assert_eq!(one("x = true"), Ok(true));
    assert_eq!(one("x = 0x10"), Ok(16u16));
    assert_eq!(one("x = 1_000"), Ok(1000u32));
    assert_eq!(one("x = -5"), Ok(-5i64));
    assert_eq!(one("x = 3"), Ok(3.0));
    assert_eq!(one("x = \"/a\""), Ok(PathBuf::from("/a")));
    assert_eq!(one("x = \"[::1]:80\""), Ok("[::1]:80".parse::<SocketAddr>().unwrap()));
    assert_eq!(one("x = \"2MiB\""), Ok(ByteSize(2 << 20)));
    assert_eq!(one("x = 7"), Ok(ByteSize(7)));
    assert_eq!(one("x = \"1h30m\""), Ok(Age(Duration::from_mins(90))));
    assert_eq!(
        one("x = [\"1s\", \"2s\"]"),
        Ok(vec![Age(Duration::from_secs(1)), Age(Duration::from_secs(2))])
    );
    assert_eq!(one("x = \"journald\""), Ok(Kind::Journald));
    assert_eq!(one("x = \"${HOME}/a:${PORT} $${b}\""), Ok("/root/a:9092 ${b}".to_owned()));
}

#[test]
fn a_value_of_the_wrong_type_says_what_was_found() {
    assert_eq!(one::<String>("x = 5"), Err("x: found the number 5".to_owned()));
    assert_eq!(one::<bool>("x = \"yes\""), Err("x: found the text \"yes\"".to_owned()));
    assert_eq!(one::<u16>("x = 65536"), Err("x: found the number 65536".to_owned()));
    assert_eq!(one::<u64>("x = -1"), Err("x: found the number -1".to_owned()));
    assert_eq!(one::<f64>("x = nan"), Err("x: found the number NaN".to_owned()));
    assert_eq!(one::<PathBuf>("x = \"\""), Err("x: found an empty text".to_owned()));
    assert_eq!(one::<Secret>("x = 12345"), Err("x: found a number".to_owned()));
    assert_eq!(one::<Vec<u32>>("x = [1, -1]"), Err("x: found the number -1".to_owned()));
    assert_eq!(one::<Kind>("x = \"tcp\""), Err("x: \"tcp\" is not known here".to_owned()));
    assert_eq!(one::<Age>("x = 5"), Err("x: found the number 5".to_owned()));
    assert_eq!(one::<String>("x = { y = 1 }"), Err("x: found a table".to_owned()));
    assert_eq!(
        one::<u64>("x = 99999999999999999999999999999999999999999"),
        Err("the number is too large".to_owned())
    );
}

#[test]
fn every_problem_is_shown_with_its_line() {
    let shown = told(
        r#"
[agent]
stat_dir = "/var"
max_line = "3 bananas"
flush = 5
pasword_token = "hunter2"
token = 12345
[agent.sources.app]
type = "flie"
colour = "judged only when the type is known"
[agent.sources.b]
type = "file"
include = ["a", 5, "${NOPE}/x"]
brokers = ["x"]
[agent.sources.c]
type = "file"
include = "/var/log/*.log"
"#,
        |_| {},
    );
    let expected = include_str!("tests/report.txt");
    assert_eq!(shown.trim_end(), expected.trim_end(), "\n{shown}");
}

#[test]
fn syntax_errors_of_all_files_come_at_once() {
    let folder = folder(&[
        ("millrace.toml", "[agent\nx = 1\n"),
        ("conf.d/10.toml", "a = 1\na = 2\n"),
        ("conf.d/20.toml", "fine = true\n"),
        ("conf.d/note.txt", "not TOML"),
    ]);
    let report = load(&layers(&folder)).unwrap_err();
    let places: Vec<String> =
        report.problems().iter().map(|problem| problem.place().unwrap().to_string()).collect();
    let at = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(
        places,
        [format!("{}:1:7", at("millrace.toml")), format!("{}:2:1", at("conf.d/10.toml"))],
        "{report}"
    );
    let text = report.to_string();
    assert!(text.contains("1 │ [agent") && text.contains("2 │ a = 2"), "{text}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_its_path() {
    let folder = folder(&[]);
    let report = load(&layers(&folder)).unwrap_err();
    let path = folder.path().join("millrace.toml").display().to_string();
    assert!(report.problems()[0].message().starts_with(&format!("cannot read {path}: ")), "{report}");
    fs::write(folder.path().join("millrace.toml"), b"x = \"\xff\"").unwrap();
    let report = load(&layers(&folder)).unwrap_err();
    assert!(report.to_string().contains("valid UTF-8"), "{report}");
}

#[test]
fn the_later_layer_wins_key_by_key() {
    let folder = folder(&[
        ("millrace.toml", "[a]\none = 1\ntwo = 1\nthree = 1\nfour = 1\nlist = [1, 2]\n"),
        ("conf.d/10.toml", "[a]\ntwo = 2\nthree = 2\nfour = 2\nlist = [3]\n"),
        ("conf.d/20.toml", "a.three = 3\na.four = 3\n"),
    ]);
    let mut layers = layers(&folder);
    layers.env = pairs(&[("MILLRACE__A__FOUR", "4"), ("MILLRACE__A__FIVE", "4"), ("PATH", "/bin")]);
    layers.flags = pairs(&[("a.five", "5")]);
    let document = load(&layers).unwrap();
    let mut section = document.root().section("a").unwrap();
    for (key, value) in [("one", 1), ("two", 2), ("three", 3), ("four", 4), ("five", 5), ("six", 6)] {
        assert_eq!(section.or(key, 6u32), value, "{key}");
    }
    assert_eq!(section.required::<Vec<u32>>("list"), Some(vec![3]));
    document.finish().unwrap();

    let at = |name: &str, place: &str| format!("{}:{place}", folder.path().join(name).display());
    let origins = document.origins();
    let origin = |key: &str| {
        let origin = origins.iter().find(|origin| origin.key == key).unwrap();
        (origin.value.clone(), origin.from.clone())
    };
    assert_eq!(origin("a.one"), ("1".to_owned(), at("millrace.toml", "2:1")));
    assert_eq!(origin("a.three"), ("3".to_owned(), at("conf.d/20.toml", "1:3")));
    assert_eq!(origin("a.four"), ("4".to_owned(), "environment: MILLRACE__A__FOUR".to_owned()));
    assert_eq!(origin("a.five"), ("5".to_owned(), "flags: a.five".to_owned()));
    assert_eq!(origin("a.six"), ("6".to_owned(), "default".to_owned()));
}

#[test]
fn environment_and_flags_need_no_quotes() {
    let folder = folder(&[("millrace.toml", "[agent.sources.My-App]\ntype = \"file\"\n")]);
    let mut layers = layers(&folder);
    layers.env = pairs(&[
        ("MILLRACE__AGENT__SOURCES__MY_APP__INCLUDE", "/a,/b"),
        ("MILLRACE__TOPIC__BROKERS", "kafka:9092"),
        ("MILLRACE__TOPIC__NUMBERS", "1,2"),
        ("MILLRACE__TOPIC__PASSWORD", "007"),
        ("MILLRACE__TOPIC__DOLLAR", "${HOME}"),
        ("MILLRACE__TOPIC__LIBRDKAFKA__SASL__PASSWORD", "x"),
    ]);
    layers.flags = pairs(&[("topic.list", "[\"a,b\", \"c\"]"), ("topic.on", "true"), ("topic.wait", "5s")]);
    let document = load(&layers).unwrap();
    let mut root = document.root();
    let mut sources = root.section("agent").unwrap().sections("sources");
    assert_eq!(sources.len(), 1);
    let (name, source) = &mut sources[0];
    assert_eq!(name, "My-App");
    assert_eq!(source.required::<Kind>("type"), Some(Kind::File));
    assert_eq!(source.required::<Vec<String>>("include").unwrap(), ["/a", "/b"]);
    let mut topic = root.section("topic").unwrap();
    assert_eq!(topic.required::<Vec<String>>("brokers").unwrap(), ["kafka:9092"]);
    assert_eq!(topic.required::<Vec<u16>>("numbers").unwrap(), [1, 2]);
    assert_eq!(topic.required::<Secret>("password").unwrap().expose(), "007");
    assert_eq!(topic.required::<String>("dollar").unwrap(), "${HOME}");
    assert_eq!(topic.required::<Vec<String>>("list").unwrap(), ["a,b", "c"]);
    assert_eq!(topic.required::<bool>("on"), Some(true));
    assert_eq!(topic.required::<Age>("wait"), Some(Age(Duration::from_secs(5))));
    assert_eq!(topic.section("librdkafka").unwrap().rest(), pairs(&[("sasl.password", "x")]));
    document.finish().unwrap();
    assert!(
        document
            .origins()
            .iter()
            .all(|origin| !origin.key.contains("password") || origin.value == "[secret]")
    );
}

#[test]
fn an_environment_variable_is_told_by_name() {
    let shown = told("[agent]\nstate_dir = \"/a\"\n[topic]\nbrokers = []\n", |layers| {
        layers.env = pairs(&[("MILLRACE__TOPIC__PARTITIONS", "many"), ("MILLRACE__TOPICS__X", "1")]);
        layers.flags = pairs(&[("agent..x", "1")]);
    });
    for part in [
        "1 │ MILLRACE__TOPIC__PARTITIONS = many\n",
        "[environment:1:31]",
        "topics: unknown section",
        "did you mean `topic`?",
        "agent..x has an empty part",
        "3 problems",
    ] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
}

#[test]
fn a_value_may_lie_in_a_file() {
    let folder = folder(&[
        (
            "millrace.toml",
            "x = { file = \"secret\" }\ny = { file = \"absent\" }\nz = { file = 5 }\n[w]\nfile = \"a key\"\n",
        ),
        ("secret", "hunter2\r\n"),
    ]);
    let document = load(&layers(&folder)).unwrap();
    let mut root = document.root();
    assert_eq!(root.required::<Secret>("x").unwrap().expose(), "hunter2");
    assert_eq!(root.required::<Secret>("y"), None);
    assert_eq!(root.required::<String>("z"), None);
    assert_eq!(root.section("w").unwrap().required::<String>("file").unwrap(), "a key");
    let report = document.finish().unwrap_err();
    let messages: Vec<&str> = report.problems().iter().map(Problem::message).collect();
    assert_eq!(messages.len(), 2, "{report}");
    assert!(messages[0].starts_with("cannot read ") && messages[0].contains("absent"), "{report}");
    assert_eq!(messages[1], "a file's path is expected, found the number 5");
}

#[test]
fn free_form_tables_are_flattened() {
    let folder = folder(&[(
        "millrace.toml",
        "known = 1\nlinger.ms = 5\n\"linger.ms\" = 7\nsocket.keepalive.enable = true\nname = \"a\"\nratio = 0.5\nbad = [1]\n",
    )]);
    let mut layers = layers(&folder);
    layers.env = pairs(&[("MILLRACE__LINGER__MS", "9")]);
    let document = load(&layers).unwrap();
    let mut root = document.root();
    assert_eq!(root.required::<u32>("known"), Some(1));
    let mut rest = root.rest();
    rest.sort();
    let expected = [("linger.ms", "9"), ("name", "a"), ("ratio", "0.5"), ("socket.keepalive.enable", "true")];
    assert_eq!(rest, pairs(&expected));
    let report = document.finish().unwrap_err();
    assert_eq!(report.problems()[0].message(), "bad: found a list");
    assert_eq!(report.problems().len(), 1, "{report}");
}

#[test]
fn lists_of_tables_are_sections_in_order() {
    let folder = folder(&[("millrace.toml", "[[routes]]\nto = \"a\"\n[[routes]]\nto = \"b\"\nfro = 1\n")]);
    let document = load(&layers(&folder)).unwrap();
    let mut root = document.root();
    let to: Vec<_> =
        root.list("routes").iter_mut().map(|route| route.required::<String>("to").unwrap()).collect();
    assert_eq!(to, ["a", "b"]);
    let report = document.finish().unwrap_err();
    assert_eq!(report.problems()[0].message(), "routes[1].fro: unknown key");
    assert_eq!(report.problems()[0].place().unwrap().line_and_column(), (5, 1));
}

#[test]
fn rooms_add_their_own_checks() {
    let folder = folder(&[("millrace.toml", "[a]\nlow = 5\nhigh = 3\n[other]\nx = 1\n[wrong]\ny = 1\n")]);
    let document = load(&layers(&folder)).unwrap();
    let mut root = document.root();
    let mut section = root.section("a").unwrap();
    if section.or("low", 0u32) > section.or("high", 9u32) {
        section.error_with_help("high", "must not be below `low`", "raise it to 5 or more");
    }
    section.error("absent", "is needed beside `low`");
    root.ignore("other");
    assert!(root.section("wrong").unwrap().list("y").is_empty());
    let report = document.finish().unwrap_err();
    let told: Vec<_> =
        report.problems().iter().map(|p| (p.place().unwrap().line_and_column().0, p.message())).collect();
    assert_eq!(
        told,
        [
            (1, "a.absent: is needed beside `low`"),
            (3, "a.high: must not be below `low`"),
            (7, "wrong.y: found the number 1")
        ]
    );
    let text = report.to_string();
    assert!(
        text.contains("help: raise it to 5 or more")
            && text.contains("help: write it as a section: [wrong.y]"),
        "{text}"
    );
}

#[test]
fn an_empty_file_and_no_file_have_problems_too() {
    assert!(told("", |_| {}).contains("millrace.toml: agent.state_dir is missing"));
    let document = load(&Layers::default()).unwrap();
    assert!(read(&document).unwrap_err().to_string().contains("agent.state_dir is missing"));
}
