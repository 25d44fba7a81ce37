//! Numbers of which small ones are frequent, as tokens: a byte that says the number, or how many bits it has and the
//! highest two, with the rest of its bits apart. Compressed, the tokens come close to the entropy of the numbers; the
//! rest is nearly evenly distributed and stays as it is.

use super::pack::width_of;

/// Numbers below are tokens themselves.
const DIRECT: u32 = 16;
/// How many bits the first number has that is not.
const DIRECT_WIDTH: u32 = 5;
/// So many tokens there are for numbers of 32 bits.
pub(super) const TOKENS: usize = 72;

/// The token of a number, and how many low bits of the number go with it.
#[inline]
pub(super) fn token(number: u32) -> (u8, u32) {
    if number < DIRECT {
        return (number as u8, 0);
    }
    let width = width_of(number.into());
    let rest = width - 2;
    let top = (number >> rest) & 1;
    ((DIRECT + (width - DIRECT_WIDTH) * 2 + top) as u8, rest)
}

/// Writes tokens and the bits that go with them.
pub(super) fn encode(numbers: impl Iterator<Item = u32>, tokens: &mut Vec<u8>, bits: &mut Vec<u8>) {
    let (mut word, mut used) = (0u64, 0u32);
    for number in numbers {
        let (token, rest) = token(number);
        tokens.push(token);
        word |= (u64::from(number) & ((1 << rest) - 1)) << used;
        used += rest;
        if used >= 32 {
            bits.extend_from_slice(&(word as u32).to_le_bytes());
            word >>= 32;
            used -= 32;
        }
    }
    bits.extend_from_slice(&word.to_le_bytes()[..used.div_ceil(8) as usize]);
}

/// Of each token the least number that has it, and how many low bits go with it.
const MEANINGS: [(u32, u32); 256] = {
    let mut meanings = [(0, 0); 256];
    let mut token = 0;
    while token < TOKENS {
        let number = token as u32;
        meanings[token] = if number < DIRECT {
            (number, 0)
        } else {
            let rest = (number - DIRECT) / 2 + DIRECT_WIDTH - 2;
            ((2 | (number & 1)) << rest, rest)
        };
        token += 1;
    }
    meanings
};

/// The codes that tokens say. With `recurring`, number 0 stands for the next of the codes from there on, and the others
/// are one less than they are.
pub(super) fn decode(tokens: &[u8], bits: &[u8], recurring: Option<u32>) -> Vec<u32> {
    let mut at = 0;
    let mut number = |token: &u8| {
        let (least, rest) = MEANINGS[usize::from(*token)];
        let low = (load(bits, at / 8) >> (at % 8)) & ((1 << rest) - 1);
        at += rest as usize;
        least | low as u32
    };
    let Some(mut next) = recurring else { return tokens.iter().map(number).collect() };
    let code = |token: &u8| {
        let number = number(token);
        let single = u32::from(number == 0);
        let code = if single == 1 { next } else { number - 1 };
        next = next.saturating_add(single);
        code
    };
    tokens.iter().map(code).collect()
}

/// Eight bytes from `at`, zeros beyond the end.
#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or(&[]);
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec((any::<u32>(), 0u32..32), 0..200), recurring in 0u32..9) {
            let numbers: Vec<u32> = numbers.into_iter().map(|(number, shift)| number >> shift).collect();
            let (mut tokens, mut bits) = (Vec::new(), Vec::new());
            encode(numbers.iter().copied(), &mut tokens, &mut bits);
            prop_assert!(tokens.iter().all(|token| usize::from(*token) < TOKENS));
            prop_assert_eq!(&decode(&tokens, &bits, None), &numbers);
            let mut singles = recurring;
            let expected: Vec<u32> = numbers.iter().map(|number| match number {
                0 => {
                    singles += 1;
                    singles - 1
                }
                number => number - 1,
            }).collect();
            prop_assert_eq!(decode(&tokens, &bits, Some(recurring)), expected);
        }

        #[test]
        fn any_bytes_are_decoded(tokens in prop::collection::vec(any::<u8>(), 0..100), bits in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(decode(&tokens, &bits, Some(7)).len(), tokens.len());
        }
    }
}
