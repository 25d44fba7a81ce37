#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use proptest::prelude::*;

const TYPES: [FieldType; 4] = [FieldType::Ip, FieldType::Keyword, FieldType::Number, FieldType::Text];

/// What becomes of a value, and whether it is one of the type.
fn coerced(kind: FieldType, value: impl Into<Value>) -> (Value, bool) {
    let mut value = value.into();
    let kept = kind.coerce(&mut value);
    (value, kept)
}

fn whole(number: i64) -> Value {
    Value::Int(number)
}

#[test]
fn numbers_are_read_out_of_texts_where_nothing_is_lost() {
    let number = |text: &str| coerced(FieldType::Number, text);
    assert_eq!(number("200"), (whole(200), true));
    assert_eq!(number(" -7 "), (whole(-7), true));
    assert_eq!(number("0200"), (whole(200), true));
    assert_eq!(number("1.50"), (Value::Double(1.5), true));
    assert_eq!(number("2e3"), (Value::Double(2000.0), true));
    assert_eq!(number("9223372036854775807"), (whole(i64::MAX), true));
    for other in
        ["9223372036854775808", "-99999999999999999999", "200ms", "NaN", "inf", "", "-", "0x10", "1 2"]
    {
        assert_eq!(number(other), (Value::from(other), false), "{other:?}");
    }
    assert_eq!(coerced(FieldType::Number, true), (Value::Bool(true), false));
    assert_eq!(coerced(FieldType::Number, 1.5), (Value::Double(1.5), true));
}

#[test]
fn addresses_are_spelled_in_one_way() {
    let ip = |text: &str| coerced(FieldType::Ip, text);
    for (spelled, canonical) in [
        ("10.0.0.1", "10.0.0.1"),
        (" 10.0.0.1\t", "10.0.0.1"),
        ("2001:0DB8:0:0::0001", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
    ] {
        assert_eq!(ip(spelled), (Value::from(canonical), true));
    }
    for other in ["10.0.0.1:80", "10.0.0", "010.0.0.1", "fe80::1%eth0", "web1", "", "-", "10.0.0.0/8"] {
        assert_eq!(ip(other), (Value::from(other), false), "{other:?}");
    }
    assert_eq!(coerced(FieldType::Ip, 167_772_161_i64), (whole(167_772_161), false));
}

#[test]
fn keywords_and_texts_take_whatever_has_a_spelling() {
    for (value, spelled) in [
        (whole(7), "7"),
        (Value::Double(7.0), "7"),
        (Value::Bool(false), "false"),
        (Value::from(" Ann "), " Ann "),
    ] {
        assert_eq!(coerced(FieldType::Keyword, value.clone()), (Value::from(spelled), true));
        assert_eq!(coerced(FieldType::Text, value), (Value::Text(spelled.to_owned()), true));
    }
    let map: Value = serde_json::from_str(r#"{"a":1}"#).unwrap();
    for value in [Value::Bytes(vec![0xff]), map] {
        for kind in TYPES {
            assert_eq!(coerced(kind, value.clone()), (value.clone(), false));
        }
    }
}

#[test]
fn of_an_array_each_element_is_coerced_and_nothing_is_no_conflict() {
    let mixed = Value::Array(vec!["1".into(), "x".into(), Value::Null, Value::Array(vec!["2".into()])]);
    let expected = Value::Array(vec![whole(1), "x".into(), Value::Null, Value::Array(vec![whole(2)])]);
    assert_eq!(coerced(FieldType::Number, mixed), (expected, false));
    assert_eq!(coerced(FieldType::Ip, Value::Null), (Value::Null, true));
    assert_eq!(coerced(FieldType::Ip, Value::Array(Vec::new())), (Value::Array(Vec::new()), true));
}

#[test]
fn declared_paths_are_found_as_queries_find_them() {
    let json =
        r#"{"status":"500","http":{"status":"404","method":"GET"},"http.bytes":"x","untouched":"200"}"#;
    let mut attributes: Attributes = serde_json::from_str(json).unwrap();
    let declarations: Declarations = ["status", "http.status", "http.bytes", "absent", "http.method.x"]
        .map(|path| (path.to_owned(), FieldType::Number))
        .into_iter()
        .collect();
    let mut conflicts = Vec::new();
    declarations.coerce(&mut attributes, |path| conflicts.push(path.to_owned()));
    assert_eq!(
        serde_json::to_string(&attributes).unwrap(),
        r#"{"status":500,"http":{"status":404,"method":"GET"},"http.bytes":"x","untouched":"200"}"#
    );
    assert_eq!(conflicts, ["http.bytes"]);
}

#[test]
fn declarations_that_say_the_same_have_the_same_version() {
    let of = |fields: &[(&str, FieldType)]| -> Declarations {
        fields.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect()
    };
    let one = of(&[("a", FieldType::Ip), ("b", FieldType::Text)]);
    assert_eq!(one.version(), of(&[("b", FieldType::Text), ("a", FieldType::Ip)]).version());
    let others = [of(&[]), of(&[("a", FieldType::Ip)]), of(&[("a", FieldType::Text), ("b", FieldType::Ip)])];
    for other in others {
        assert_ne!(one.version(), other.version(), "{other:?}");
    }
    // Written down in the footers of shards, in the catalogue and in what people note: it stays as it is.
    assert_eq!(one.version().to_string(), "e59c9c30a4332afd");
    let json = serde_json::to_string(&one).unwrap();
    assert_eq!(json, r#"{"a":"ip","b":"text"}"#);
    assert_eq!(serde_json::from_str::<Declarations>(&json).unwrap(), one);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => "[0-9+.e:a-f -]{0,12}".prop_map(Value::String),
        1 => ".{0,8}".prop_map(Value::String),
        1 => ".{0,8}".prop_map(Value::Text),
        1 => any::<i64>().prop_map(Value::Int),
        1 => any::<f64>().prop_map(Value::Double),
        1 => any::<u32>().prop_map(|bits| Value::String(std::net::Ipv4Addr::from(bits).to_string())),
        1 => any::<u128>().prop_map(|bits| Value::String(std::net::Ipv6Addr::from(bits).to_string())),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<Vec<u8>>().prop_map(Value::Bytes),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec(("[ab]", inner), 0..3)
                .prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Twice is once; what is no conflict is of its type; a conflict outside of an array leaves everything as it was.
    #[test]
    fn coercion_settles_at_once(value in value(), kind in prop::sample::select(&TYPES[..])) {
        let (once, kept) = coerced(kind, value.clone());
        let (twice, kept_again) = coerced(kind, once.clone());
        prop_assert_eq!(format!("{twice:?}"), format!("{once:?}"));
        prop_assert_eq!(kept, kept_again);
        match (&once, kept) {
            (Value::Array(_) | Value::Null, _) => {}
            (_, false) => prop_assert_eq!(format!("{once:?}"), format!("{value:?}")),
            (once, true) => prop_assert!(matches!(
                (kind, once),
                (FieldType::Number, Value::Int(_) | Value::Double(_))
                    | (FieldType::Ip | FieldType::Keyword, Value::String(_))
                    | (FieldType::Text, Value::Text(_))
            ), "{:?}", once),
        }
    }

    /// A number that was coerced from a text spells back to one that is equal.
    #[test]
    fn a_number_is_the_one_that_was_spelled(text in "[+-]?[0-9]{1,20}(\\.[0-9]{1,4})?(e[0-9])?") {
        let (number, kept) = coerced(FieldType::Number, text.as_str());
        match (number, Number::parse(&text)) {
            (Value::Int(number), parsed) => prop_assert_eq!(parsed, Some(Number::Int(number))),
            (Value::Double(number), parsed) => prop_assert_eq!(parsed, Some(Number::Double(number))),
            _ => prop_assert!(!kept && text.trim_start_matches(['+', '-']).len() > 18),
        }
    }
}

#[test]
fn which_texts_are_searched_by_words_travels_with_the_record() {
    let mut attributes = Attributes::new();
    attributes.set("plain", "a b");
    attributes.set("title", Value::Text("c d".to_owned()));
    let inner = [("x".to_owned(), Value::Array(vec![Value::Text("e".to_owned())]))];
    attributes.set("nested", Value::Map(inner.into_iter().collect()));
    let before = attributes.clone();
    say_words(&mut attributes);
    // What messages make of it.
    let record = crate::LogRecord { attributes, ..crate::LogRecord::default() };
    let mut read = crate::wire::decode_record(&crate::wire::encode_record(&record)).unwrap().attributes;
    assert_eq!(read.get("title"), Some(&Value::from("c d")));
    take_words(&mut read);
    assert_eq!(read, before);
    // Where nothing is to be said, nothing is; and what somebody else means by the name stays.
    let mut plain: Attributes = [("a".to_owned(), Value::from("b"))].into_iter().collect();
    say_words(&mut plain);
    assert_eq!(plain.len(), 1);
    plain.set(WORDS, "theirs");
    take_words(&mut plain);
    assert_eq!(plain.get(WORDS), Some(&Value::from("theirs")));
}
