#![expect(clippy::unwrap_used, reason = "tests")]

mod corpus;

use super::*;
use crate::Parsers;
use millrace_model::Timestamp;
use proptest::prelude::*;

const ALL: [Kind; 8] =
    [Kind::CreditCard, Kind::Email, Kind::Ipv4, Kind::Ipv6, Kind::Jwt, Kind::Secret, Kind::Iban, Kind::UsSsn];

fn policy(kinds: &[Kind], action: Action) -> Policy {
    let rule = |kind: &Kind| Rule { name: kind.name().to_owned(), search: Search::Kind(*kind), action };
    Policy::new(kinds.iter().map(rule).collect(), b"a key").unwrap()
}

/// The record of a line, and the names of the rules that found something, in order.
fn redact(policy: &Policy, line: &[u8]) -> (LogRecord, Vec<String>) {
    let record = Parsers::default().parse(line, Timestamp(1), &Arc::new(Attributes::new()));
    let mut found = Vec::new();
    let redacted = policy.redact(record, &mut |name| found.push(name.to_owned()));
    (redacted.0, found)
}

/// The body of a line after masking all kinds.
fn masked(line: &str) -> String {
    redact(&policy(&ALL, Action::Mask), line.as_bytes()).0.body.to_string()
}

#[test]
fn what_is_one_is_found() {
    for (line, expected) in [
        ("card 4111111111111111.", "card [redacted:credit_card]."),
        ("card 4111 1111 1111 1111 25 EUR", "card [redacted:credit_card] 25 EUR"),
        ("amex 3782-822463-10005", "amex [redacted:credit_card]"),
        ("from anna.b+tag@mail.example.co.uk, to x", "from [redacted:email], to x"),
        ("peer 10.0.0.1:80 and 255.255.255.255", "peer [redacted:ipv4]:80 and [redacted:ipv4]"),
        (
            "peer [2001:db8::1]:443, ::1 and ::ffff:10.0.0.1",
            "peer [[redacted:ipv6]]:443, [redacted:ipv6] and [redacted:ipv6]",
        ),
        ("fe80::1%eth0", "[redacted:ipv6]%eth0"),
        (
            "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U!",
            "jwt [redacted:jwt]!",
        ),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [redacted:iban] please"),
        ("GB82WEST12345698765432", "[redacted:iban]"),
        ("ssn 212-12-1234 5678 9012", "ssn [redacted:us_ssn] 5678 9012"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key [redacted:secret] used"),
        ("Authorization: Bearer abcdefghijklmnop1234==", "Authorization: Bearer [redacted:secret]"),
        ("login password=hunter2, user=anna", "login password=[redacted:secret], user=anna"),
        (r#"{"db":{"Password":"hun ter2"}}"#, r#"{"db":{"Password":"[redacted:secret]"}}"#),
        (r#"{"msg":"{\"api_key\":\"abc\"}"}"#, r#"{"msg":"{\"api_key\":\"[redacted:secret]\"}"}"#),
        ("clone https://anna:s3cret@git.example.com/x", "clone https://[redacted:secret]@git.example.com/x"),
        ("-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY----- x", "[redacted:secret] x"),
        ("-----BEGIN PRIVATE KEY-----", "[redacted:secret]"),
        ("MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy0AHB7MaBcuPsvDkG5yGqk", "[redacted:secret]"),
        // JSON may spell it otherwise.
        (r#"{"mail":"anna\u0040example.com"}"#, r#"{"mail":"[redacted:email]"}"#),
        (r#"{"url":"http:\/\/a:b@c\/"}"#, r#"{"url":"http://[redacted:secret]@c/"}"#),
    ] {
        assert_eq!(masked(line), expected);
    }
}

#[test]
fn what_only_looks_like_one_stays() {
    for line in [
        "order 4111111111111112 and 1714557600123456 and 1234567890123456",
        "id 41111111111111111111111111111111",
        "version 1.2.3.4.5 of 300.1.1.1",
        "at 12:34:56 mac aa:bb:cc:dd:ee:ff in std::vec::Vec and abc::def",
        "git@host and @anna and a@b",
        "DE88 3704 0044 0532 0130 00",
        "000-12-3456 666-12-3456 900-12-3456 212-00-1234 212-12-0000 212-12-12345 1-212-12-1234",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "password: null, secret=false, token bucket, passwords are hashed",
        "eyJhbGciOiJIUzI1NiJ9",
        "http://example.com:8080/a@b",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        r#"{"path":"C:\\u0041\/x","n":1}"#,
    ] {
        assert_eq!(masked(line), line);
    }
}

#[test]
fn attributes_are_looked_at_as_well_and_may_be_dropped() {
    let line = br#"{"card":4111111111111111,"to":["a@example.com","b"],"deep":{"x":{"ip":"10.0.0.1","y":1}},"c@example.com":2,"level":"d@example.com","n":7}"#;
    let (record, found) = redact(&policy(&ALL, Action::Mask), line);
    assert_eq!(record.attributes.get("card"), Some(&Value::from("[redacted:credit_card]")));
    let to = vec![Value::from("[redacted:email]"), Value::from("b")];
    assert_eq!(record.attributes.get("to"), Some(&Value::Array(to)));
    assert_eq!(record.attributes.at("deep.x.ip"), Some(&Value::from("[redacted:ipv4]")));
    assert_eq!(record.attributes.at("deep.x.y"), Some(&Value::Int(1)));
    assert_eq!(record.attributes.get("[redacted:email]"), Some(&Value::Int(2)));
    assert_eq!(record.severity_text, "[redacted:email]");
    assert_eq!(found.len(), 10, "five in the line, five in what came of it");

    let (record, _) = redact(&policy(&ALL, Action::Drop), line);
    assert_eq!(record.attributes.get("card"), None);
    assert_eq!(record.attributes.get("to"), Some(&Value::Array(vec![Value::from("b")])));
    assert_eq!(record.attributes.at("deep.x.ip"), None);
    assert!(record.body.to_string().starts_with(r#"{"card":,"to":["","b"]"#));
}

#[test]
fn equal_values_have_equal_hashes_under_one_key_only() {
    let hash = |key: &[u8], line: &str| {
        let rule = Rule { name: "email".to_owned(), search: Search::Kind(Kind::Email), action: Action::Hash };
        redact(&Policy::new(vec![rule], key).unwrap(), line.as_bytes()).0.body.to_string()
    };
    let one = hash(b"k", "a@example.com");
    // `printf a@example.com | openssl dgst -sha256 -hmac k`
    assert_eq!(one, "[email:a05c70e82e831079]");
    assert_eq!(hash(b"k", "x a@example.com"), format!("x {one}"));
    assert_ne!(hash(b"k", "b@example.com"), one);
    assert_ne!(hash(b"l", "a@example.com"), one);
}

#[test]
fn patterns_of_ones_own_go_by_their_names_and_the_first_rule_wins() {
    let own = |name: &str, pattern: &str| Rule {
        name: name.to_owned(),
        search: Search::Pattern(pattern.to_owned()),
        action: Action::Mask,
    };
    let email = Rule { name: "email".to_owned(), search: Search::Kind(Kind::Email), action: Action::Mask };
    let policy =
        Policy::new(vec![own("staff", r"[a-z]+@corp\.example"), email, own("employee", r"E-\d{6}")], b"")
            .unwrap();
    let (record, found) = redact(&policy, "x@corp.example y@example.com E-123456 é".as_bytes());
    assert_eq!(record.body, Value::from("[redacted:staff] [redacted:email] [redacted:employee] é"));
    assert_eq!(found, ["staff", "email", "employee"]);
    for (pattern, reason) in
        [("(", "unclosed group"), ("a*", "empty text"), (r"\w{1000}{1000}{100}", "large")]
    {
        let error = Policy::new(vec![own("mine", pattern)], b"").unwrap_err();
        assert!(error.contains("mine") && error.contains(reason), "{pattern}: {error}");
    }
}

#[test]
fn bytes_that_are_no_text_are_looked_at_in_what_is() {
    let (record, _) = redact(&policy(&ALL, Action::Mask), b"\xff a@example.com \xfe 10.0.0.1");
    assert_eq!(record.body, Value::Bytes(b"\xff [redacted:email] \xfe [redacted:ipv4]".to_vec()));
}

#[test]
fn a_hostile_line_takes_no_longer_than_its_length() {
    let policy = policy(&ALL, Action::Mask);
    for piece in
        ["4", "4 ", "1.", "a@", "a:", "::", "DE00", "-----BEGIN ", "password", "eyJ", "\\u00", "://:"]
    {
        let line = piece.repeat(1 << 16);
        // Would take hours if it were not so.
        redact(&policy, line.as_bytes());
    }
}

const PIECES: [&str; 21] = [
    "4111111111111111",
    "a@example.com",
    "10.0.0.1",
    "2001:db8::1",
    "DE89370400440532013000",
    "212-12-1234",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.x",
    "-----BEGIN PRIVATE KEY-----",
    "password=",
    "\\u0040",
    "\\/",
    "\"",
    "\\",
    "=",
    "-",
    ":",
    "é",
    "\u{0}",
    "{",
    "}",
    " ",
];

fn pieces(separator: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..12)
        .prop_map(|pieces| pieces.join(separator))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn among_other_words_all_are_found(line in pieces(" ")) {
        let body = redact(&policy(&ALL, Action::Mask), line.as_bytes()).0.body.to_string();
        for piece in &PIECES[..7] {
            prop_assert!(!body.contains(piece), "{piece} in {body:?}");
        }
    }

    #[test]
    fn no_line_does_harm(line in pieces(""), action in prop::sample::select(vec![Action::Mask, Action::Hash, Action::Drop])) {
        let (record, _) = redact(&policy(&ALL, action), line.as_bytes());
        let bytes = millrace_model::wire::encode_record(&record);
        prop_assert_eq!(millrace_model::wire::decode_record(&bytes).unwrap(), record);
    }
}
