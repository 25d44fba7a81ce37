//! Whole columns: whatever is written comes back, and every question is answered as looking at each value would.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Coded, Column, ColumnWriter, Head, Needle, Sections, digits::parse_integer};
use crate::{bits::Bits, bytes::Reader, strings::Strings};
use proptest::collection::vec;
use proptest::prelude::*;

/// Values of one kind, as slots have them.
fn values() -> BoxedStrategy<Vec<Vec<u8>>> {
    let text = |pattern: &'static str| {
        proptest::string::string_regex(pattern).unwrap().prop_map(String::into_bytes).boxed()
    };
    let two = |a: BoxedStrategy<Vec<u8>>, b: BoxedStrategy<Vec<u8>>| prop_oneof![9 => a, 1 => b].boxed();
    let kinds = vec![
        text("[1-9][0-9]{0,3}"),
        text("-?[1-9][0-9]{0,18}|0"),
        text("-?[89][0-9]{18}"),
        text("blk_-?[89][0-9]{15}000"),
        text("[0-9]{0,21}"),
        (any::<u64>(), 0u32..64)
            .prop_map(|(number, shift)| (number >> shift).to_string().into_bytes())
            .boxed(),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()).boxed(),
        any::<i8>().prop_map(|number| format!("blk_{number}").into_bytes()).boxed(),
        any::<i8>().prop_map(|number| format!("x{number}ms").into_bytes()).boxed(),
        text("0[0-9]{2}"),
        text("[0-9]{3}"),
        text("0{0,3}[0-9]{1,3}"),
        text("web-[0-9]{3}"),
        text("(10|192)\\.[0-9]{1,3}\\.0\\.[0-9]{1,2}"),
        text("v[0-9]\\.[0-9]{1,2}-rc[0-9]"),
        text("attempt_[0-9]{4}_00[0-9]{2}_m_00000[0-9]"),
        text("[0-9a-f]{8}"),
        text("0x[0-9A-F]{20}Z"),
        text("[0-9a-fA-F]{6}"),
        text("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        text("20[0-9]{2}-0[1-9]-[0-2][1-8][T]1[0-9]:[0-5][0-9]:[0-5][0-9]\\.[0-9]{3}Z"),
        text("[0-2][0-9]/(Jan|Feb|Dec)/20[0-9]{2}:1[0-9]:[0-5][0-9]:[0-5][0-9] \\+0200"),
        text("(Jan|Feb|Dec) [ 12][1-8] 1[0-9]:[0-5][0-9]:[0-5][0-9]"),
        text("[12][0-9]:[0-5][0-9]:[0-5][0-9](,[0-9]{3})?"),
        text("[a-z]{1,8}"),
        text("(GET|POST|Put) /[a-c]{1,3}/[0-9]?"),
        text("[a-zäÖKİß_0-9 -]{0,6}"),
        text("\\PC{0,6}"),
        vec(any::<u8>(), 0..6).boxed(),
        Just(Vec::new()).boxed(),
    ];
    let odd = kinds[25].clone();
    let kind = proptest::sample::select((0..kinds.len()).collect::<Vec<_>>());
    (kind, any::<bool>(), 1usize..40)
        .prop_flat_map(move |(kind, mixed, distinct)| {
            let value = if mixed { two(kinds[kind].clone(), odd.clone()) } else { kinds[kind].clone() };
            let fresh = vec(value.clone(), 1..150);
            let picked = (vec(value, 1..=distinct), vec(any::<prop::sample::Index>(), 1..700));
            let picked = picked.prop_map(|(pool, picks)| {
                picks
                    .into_iter()
                    .map(|pick| pool[pick.index(pool.len().min(pick.index(pool.len()) + 1))].clone())
                    .collect::<Vec<_>>()
            });
            let recurring = fresh.clone().prop_map(|values| {
                values
                    .iter()
                    .flat_map(|value| [value.clone(), values[0].clone(), value.clone()])
                    .collect::<Vec<_>>()
            });
            prop_oneof![2 => fresh.boxed(), 2 => picked.boxed(), 1 => recurring.boxed()]
        })
        .boxed()
}

fn words(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value);
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    let words = text.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    words.map(|word| word.chars().flat_map(char::to_lowercase).collect()).collect()
}

fn set(values: &[Vec<u8>], test: impl Fn(&[u8]) -> bool) -> Bits {
    let mut bits = Bits::none(values.len() as u32);
    for (row, value) in values.iter().enumerate() {
        if test(value) {
            bits.insert(row as u32);
        }
    }
    bits
}

/// Asks the column everything and compares.
fn check(column: &Column<'_>, head: &Head, values: &[Vec<u8>], tokens: &[String]) {
    let list: Strings = values.iter().collect();
    let mut decoded = Strings::new();
    column.decode(&mut decoded).unwrap();
    assert_eq!(decoded, list, "{head:?}");
    let mut coded = Coded::default();
    column.coded(&mut coded).unwrap();
    assert!(coded.iter().eq(list.iter()), "{head:?}");
    assert_eq!(column.rows(), values.len());
    let mut buffer = Vec::new();
    for (row, value) in values.iter().enumerate() {
        buffer.clear();
        column.get(row, &mut buffer).unwrap();
        assert_eq!(&buffer, value, "{row} {head:?}");
    }
    assert!(head.constant().is_none_or(|constant| values.iter().all(|value| value == constant)));
    let third = |value: &[u8]| value.len() % 3 == 1;
    assert_eq!(column.matching(None, &mut |value| third(value)).unwrap(), set(values, third));
    for token in tokens {
        let naive = |value: &[u8]| words(value).contains(token);
        assert_eq!(
            column.with_token(token, &mut |value| naive(value)).unwrap(),
            set(values, naive),
            "{token} {head:?}"
        );
        // Each part of a word, as values hold it.
        for part in [&token[..], token.char_indices().nth(1).map_or("", |(at, _)| &token[at..])] {
            let naive = |value: &[u8]| words(value).iter().any(|word| word.contains(part));
            let found = column.matching(Needle::new(part).as_ref(), &mut |value| naive(value)).unwrap();
            assert_eq!(found, set(values, naive), "{part} {head:?}");
            assert!(found.is_empty() || head.may_hold(part), "{part} {head:?}");
        }
    }
    let integers: Vec<i128> = values.iter().filter_map(|value| parse_integer(value)).collect();
    if let Some((low, high)) = head.integers() {
        assert!(
            integers.len() == values.len() && integers.iter().all(|integer| (low..=high).contains(integer))
        );
    }
    if let Some(numbers) = column.numbers() {
        let mut all = Vec::new();
        numbers.decode(&mut all);
        assert!(all.iter().zip(&integers).all(|(a, b)| i128::from(*a) == *b));
        assert_eq!(all.len(), values.len());
    }
}

fn round_trip(values: &[Vec<u8>], tokens: &[String]) {
    let mut out = Sections { head: vec![1], data: vec![2], pool: vec![3] };
    let mut writer = ColumnWriter::default();
    let list: Coded = values.iter().collect();
    writer.write(&list, &mut out);
    // What a writer did before makes no difference.
    let mut again = Sections::default();
    writer.write(&list, &mut again);
    assert!(out.head[1..] == again.head && out.data[1..] == again.data && out.pool[1..] == again.pool);
    let mut heads = Reader::new(&again.head);
    let head = Head::read(&mut heads, values.len()).unwrap();
    assert!(heads.is_empty());
    assert_eq!((head.data_length(), head.pool_length()), (again.data.len(), again.pool.len()));
    check(&Column::open(&head, &again.data, &again.pool).unwrap(), &head, values, tokens);
}

/// Opens bytes from anywhere and asks everything.
fn survive(head: &[u8], data: &[u8], pool: &[u8], rows: usize) {
    let Ok(head) = Head::read(&mut Reader::new(head), rows) else { return };
    head.integers();
    let Ok(column) = Column::open(&head, data, pool) else { return };
    let whole = column.decode(&mut Strings::new()).is_ok();
    let mut buffer = Vec::new();
    for row in [0, 1, rows / 2, rows - 1, rows, rows * 3] {
        assert_eq!(column.get(row, &mut buffer).is_ok(), whole || row >= rows);
    }
    // Where entries alone decide, codes are not looked at.
    assert!(column.matching(None, &mut |value| value.is_empty()).is_ok() || !whole);
    for token in ["1", "a"] {
        assert!(column.with_token(token, &mut |_| true).is_ok() || !whole);
    }
    if let Some(numbers) = column.numbers() {
        numbers.decode(&mut Vec::new());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn columns_answer_as_their_values_would(values in values(), picks in vec(any::<prop::sample::Index>(), 3), other in "[a-f0-9]{0,3}|\\PC{1,2}") {
        let all: Vec<String> = values.iter().flat_map(|value| words(value)).collect();
        let mut tokens = vec![other];
        for pick in picks {
            if !all.is_empty() {
                tokens.push(all[pick.index(all.len())].clone());
                // Near misses.
                tokens.push(format!("0{}", all[pick.index(all.len())]));
                tokens.push(all[pick.index(all.len())].chars().skip(1).collect());
            }
        }
        tokens.retain(|token| !token.is_empty());
        for token in &mut tokens {
            *token = token.chars().flat_map(char::to_lowercase).collect();
        }
        round_trip(&values, &tokens);
    }

    #[test]
    fn any_bytes_are_read_or_refused(head in vec(any::<u8>(), 0..60), data in vec(any::<u8>(), 0..300), pool in vec(any::<u8>(), 0..60), rows in 1usize..300) {
        survive(&head, &data, &pool, rows);
    }

    #[test]
    fn damaged_columns_are_read_or_refused(values in values(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), rows in 1usize..300, same in any::<bool>()) {
        let mut out = Sections::default();
        let list: Coded = values.iter().collect();
        ColumnWriter::default().write(&list, &mut out);
        for (at, byte) in damage {
            for part in [&mut out.head, &mut out.data, &mut out.pool] {
                if !part.is_empty() {
                    let at = at.index(part.len());
                    part[at] = byte;
                }
            }
        }
        survive(&out.head, &out.data, &out.pool, if same { values.len() } else { rows });
    }

    #[test]
    fn numbers_come_back(numbers in vec(any::<u64>(), 0..300), shift in 0u32..64, sorted in any::<bool>()) {
        let mut numbers: Vec<u64> = numbers.into_iter().map(|number| number >> shift).collect();
        if sorted {
            numbers.sort_unstable();
        }
        let mut out = Sections::default();
        ColumnWriter::default().write_numbers(&numbers, &mut out);
        let head = Head::read(&mut Reader::new(&out.head), numbers.len()).unwrap();
        let column = Column::open(&head, &out.data, &out.pool).unwrap();
        let mut all = Vec::new();
        column.numbers().unwrap().decode(&mut all);
        prop_assert_eq!(&all, &numbers);
        prop_assert!((0..all.len()).all(|index| column.numbers().unwrap().get(index) == numbers[index]));
    }
}

#[test]
fn large_and_odd_columns_come_back() {
    let long: Vec<Vec<u8>> = (0..3000).map(|row| format!("{row}{}", "x".repeat(1000)).into_bytes()).collect();
    round_trip(&long, &["17".to_owned()]);
    let growing: Vec<Vec<u8>> = (0..3000).map(|row| vec![b'a'; row]).collect();
    round_trip(&growing, &["aaa".to_owned()]);
    round_trip(&vec![vec![b'z'; 5000]; 40], &["z".to_owned()]);
    round_trip(&[vec![]], &[]);
    let skewed: Vec<Vec<u8>> =
        (0..2048u32).map(|row| format!("word{}", (row * row % 511).trailing_zeros()).into_bytes()).collect();
    round_trip(&skewed, &["word1".to_owned()]);
    let many: Vec<Vec<u8>> =
        (0..60_000u64).map(|row| (row * row % 7919 % 600).to_string().into_bytes()).collect();
    let mut out = Sections::default();
    ColumnWriter::default().write(&many.iter().collect(), &mut out);
    let head = Head::read(&mut Reader::new(&out.head), many.len()).unwrap();
    let mut decoded = Strings::new();
    Column::open(&head, &out.data, &out.pool).unwrap().decode(&mut decoded).unwrap();
    assert!(decoded.iter().eq(many.iter().map(Vec::as_slice)));
}
