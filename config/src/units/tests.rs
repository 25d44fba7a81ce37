use super::*;
use proptest::prelude::*;

fn size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>().map(|size| size.0).map_err(|error| error.to_string())
}

fn age(text: &str) -> Result<u128, String> {
    text.parse::<Age>().map(|age| age.0.as_nanos()).map_err(|error| error.to_string())
}

#[test]
fn sizes_are_read_as_people_write_them() {
    for (text, bytes) in [
        ("0", 0),
        ("1024", 1024),
        ("7B", 7),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("2MB", 2_000_000),
        ("1 MiB", 1 << 20),
        (" 50GiB ", 50 << 30),
        ("3GB", 3_000_000_000),
        ("1TB", 1_000_000_000_000),
        ("1TiB", 1 << 40),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_size_is_said() {
    for (text, message) in [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("GiB", "a whole number was expected before \"GiB\""),
        ("-1", "a whole number was expected before \"-1\""),
        ("1.5GiB", "a whole number was expected before \".5GiB\""),
        ("5gib", "\"gib\" is not a unit (did you mean \"GiB\"?)"),
        ("5M", "\"M\" is not a unit (did you mean \"MiB\"?)"),
        ("5 bananas", "\"bananas\" is not a unit"),
        ("1MiB 2KiB", "\"MiB 2KiB\" is not a unit"),
        ("99999999999999999999", "it is too large"),
        ("99999999TiB", "it is too large"),
    ] {
        assert_eq!(size(text), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn ages_are_read_as_people_write_them() {
    const SECOND: u128 = 1_000_000_000;
    for (text, nanos) in [
        ("0s", 0),
        ("250ms", SECOND / 4),
        ("30d", 30 * 86_400 * SECOND),
        ("1h30m", 5400 * SECOND),
        ("1h 30m", 5400 * SECOND),
        ("2w", 14 * 86_400 * SECOND),
        ("5us", 5000),
        ("5 ns", 5),
    ] {
        assert_eq!(age(text), Ok(nanos), "{text}");
    }
}

#[test]
fn what_is_wrong_with_an_age_is_said() {
    for (text, message) in [
        ("", "it is empty"),
        ("30", "30 has no unit"),
        ("1h30", "30 has no unit"),
        ("h", "a whole number was expected before \"h\""),
        ("-5s", "a whole number was expected before \"-5s\""),
        ("30min", "\"min\" is not a unit (did you mean \"m\"?)"),
        ("3D", "\"D\" is not a unit (did you mean \"d\"?)"),
        ("3y", "\"y\" is not a unit"),
        ("30m1h", "\"h\" must come before smaller units, and once"),
        ("1h1h", "\"h\" must come before smaller units, and once"),
        ("9999999999w", "it is too large"),
    ] {
        assert_eq!(age(text), Err(message.to_owned()), "{text}");
    }
}

proptest! {
    #[test]
    fn a_size_prints_and_parses_back(bytes in prop_oneof![any::<u64>(), 0u64..5000, (0u64..4096).prop_map(|n| n << 30), (0u64..90_000).prop_map(|n| n * 1_000_000)]) {
        prop_assert_eq!(ByteSize(bytes).to_string().parse::<ByteSize>(), Ok(ByteSize(bytes)));
    }

    #[test]
    fn an_age_prints_and_parses_back(nanos in prop_oneof![any::<u64>(), 0u64..5000, (0u64..100_000).prop_map(|n| n * 1_000_000_000)]) {
        let age = Age(Duration::from_nanos(nanos));
        prop_assert_eq!(age.to_string().parse::<Age>(), Ok(age));
    }

    #[test]
    fn a_number_and_a_unit_multiply(number in 0u64..1_000_000, unit in 0usize..SIZES.len()) {
        let (name, factor) = SIZES[unit];
        prop_assert_eq!(format!("{number}{name}").parse::<ByteSize>(), number.checked_mul(factor).map(ByteSize).ok_or(UnitError::TooLarge));
    }

    #[test]
    fn no_text_panics(text in ".{0,24}|[0-9a-zA-Z. ]{0,12}") {
        let (size, age) = (text.parse::<ByteSize>(), text.parse::<Age>());
        if let Ok(size) = size {
            prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }
        if let Ok(age) = age {
            prop_assert_eq!(age.to_string().parse::<Age>(), Ok(age));
        }
    }
}
