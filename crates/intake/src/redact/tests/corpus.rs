//! Recall and precision on 200,000 lines with 10,000 secrets, and as many look-alikes, made from a seed.

use super::*;
use std::collections::BTreeMap;

struct Random(u64);

impl Random {
    /// Xorshift, 64 bits.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet = alphabet.as_bytes();
        (0..length).map(|_| char::from(alphabet[self.below(alphabet.len() as u64) as usize])).collect()
    }

    fn choose<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const DIGITS: &str = "0123456789";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const WORD: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn check_digit(number: &str) -> char {
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte - b'0') * if at % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    char::from(b'0' + ((10 - sum % 10) % 10) as u8)
}

fn remainder(text: &str) -> u32 {
    text.bytes().fold(0, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}

fn grouped(text: &str, separator: &str) -> String {
    let groups: Vec<&str> = (0..text.len()).step_by(4).map(|at| &text[at..text.len().min(at + 4)]).collect();
    groups.join(separator)
}

fn secret(kind: Kind, random: &mut Random) -> String {
    match kind {
        Kind::CreditCard => {
            let prefix = random.choose(&["4", "51", "2221", "6011", "35", "62"]);
            let prefix = if prefix == "35" { "3530" } else { prefix };
            let number = format!("{prefix}{}", random.of(DIGITS, 15 - prefix.len()));
            let number = format!("{number}{}", check_digit(&number));
            match random.below(3) {
                0 => grouped(&number, " "),
                1 => grouped(&number, "-"),
                _ => number,
            }
        }
        Kind::Email => format!(
            "{}.{}@{}.{}",
            random.of(WORD, 5),
            random.of(WORD, 4),
            random.of(WORD, 8),
            random.choose(&["com", "co.uk", "example"])
        ),
        Kind::Ipv4 => {
            format!("{}.{}.{}.{}", random.below(256), random.below(256), random.below(256), random.below(256))
        }
        Kind::Ipv6 => match random.below(2) {
            0 => format!("2001:db8::{:x}:{}", random.below(65536), random.below(9)),
            _ => (0..8).map(|_| format!("{:x}", 4096 + random.below(4096))).collect::<Vec<_>>().join(":"),
        },
        Kind::Jwt => {
            format!("eyJ{}.eyJ{}.{}", random.of(BASE64, 33), random.of(BASE64, 60), random.of(BASE64, 43))
        }
        Kind::Secret => match random.below(5) {
            0 => format!("AKIA{}", random.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)),
            1 => format!("ghp_{}", random.of(WORD, 36)),
            2 => format!("xoxb-{}-{}", random.of(DIGITS, 12), random.of(WORD, 24)),
            3 => format!("AIza{}", random.of(BASE64, 35)),
            _ => format!("sk_live_{}", random.of(WORD, 24)),
        },
        Kind::Iban => {
            let (country, account) = match random.below(2) {
                0 => ("DE", random.of(DIGITS, 18)),
                _ => ("GB", format!("{}{}", random.of(UPPER, 4), random.of(DIGITS, 14))),
            };
            let iban = format!("{country}{:02}{account}", 98 - remainder(&format!("{account}{country}00")));
            if random.below(2) == 0 { grouped(&iban, " ") } else { iban }
        }
        Kind::UsSsn => {
            format!("{:03}-{:02}-{:04}", 1 + random.below(665), 1 + random.below(99), 1 + random.below(9999))
        }
    }
}

/// What stands in logs and is none.
fn look_alike(random: &mut Random) -> String {
    match random.below(10) {
        0 => random.of(DIGITS, 22),
        1 => format!("17{}", random.of(DIGITS, 17)),
        2 => format!(
            "{}-{}-{}-{}-{}",
            random.of("0123456789abcdef", 8),
            random.of("0123456789abcdef", 4),
            random.of("0123456789abcdef", 4),
            random.of("0123456789abcdef", 4),
            random.of("0123456789abcdef", 12)
        ),
        3 => random.of("0123456789abcdef", 40),
        4 => format!("{:02}:{:02}:{:02}", random.below(24), random.below(60), random.below(60)),
        5 => format!("{}.{}.{}", random.below(20), random.below(20), random.below(20)),
        6 => format!("git@{}", random.of(WORD, 6)),
        7 => format!("core::{}::run", random.of("ghijkl", 4)),
        8 => format!("2026-{:02}-{:02}", 1 + random.below(12), 1 + random.below(28)),
        _ => format!("{}{}", random.of(UPPER, 2), random.of(DIGITS, 12)),
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures")]
fn all_that_was_put_in_is_found_and_hardly_anything_else() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let policy = policy(&ALL, Action::Mask);
    let mut seen: BTreeMap<&str, (u32, u32, u32)> = BTreeMap::new();
    let mut left = Vec::new();
    for number in 0..200_000_u32 {
        let planted = (number % 20 == 0).then(|| ALL[(number / 20) as usize % ALL.len()]);
        let value = match planted {
            Some(kind) => secret(kind, &mut random),
            None => look_alike(&mut random),
        };
        let line = match random.below(3) {
            0 => format!("request {number} of {value} took {} ms", random.below(900)),
            1 => format!(r#"{{"n":{number},"subject":"{value}","ok":true}}"#),
            _ => format!("n={number} subject=\"{value}\" ok=true"),
        };
        let (record, found) = redact(&policy, line.as_bytes());
        if let Some(kind) = planted {
            let (planted, recalled, _) = seen.entry(kind.name()).or_default();
            *planted += 1;
            *recalled += u32::from(found.iter().any(|name| name == kind.name()));
        }
        if let Some(wrong) = found.iter().find(|name| planted.is_none_or(|kind| kind.name() != **name)) {
            let kind = Kind::NAMES.iter().find(|(name, _)| name == wrong).unwrap().0;
            seen.entry(kind).or_default().2 += 1;
        }
        // Whatever was masked is nowhere in the record.
        if planted.is_some() && format!("{record:?}").contains(&value) {
            left.push(line);
        }
    }
    for (kind, (planted, recalled, wrong)) in &seen {
        let percent = |part: u32, whole: u32| 100.0 * f64::from(part) / f64::from(whole);
        println!(
            "{kind}: {planted} planted, recall {:.2} %, precision {:.2} %",
            percent(*recalled, *planted),
            percent(*recalled, recalled + wrong)
        );
        assert_eq!(recalled, planted, "{kind}");
        assert!(*wrong * 100 <= *planted, "{kind}: {wrong} that are none");
    }
    assert_eq!(seen.values().map(|(planted, ..)| planted).sum::<u32>(), 10_000);
    assert_eq!(left, Vec::<String>::new());
}
