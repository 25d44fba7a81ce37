//! Both ways to cut agree.

use super::*;
use proptest::prelude::*;

fn both(line: &str) -> Result<(), TestCaseError> {
    let mut bits = Bits::default();
    bits.read(line.as_bytes());
    for start in 0..=line.len().min(3) {
        // A text begins at the border of a word.
        if start > 0 && CLASS[line.as_bytes()[start - 1] as usize] & WORD != 0 {
            continue;
        }
        let text = Text::<false> { line, bytes: line.as_bytes(), start };
        let (mut fast, mut slow) = (Seams::default(), Seams::default());
        if !bits.is_plain(&(0..line.len())) {
            return Ok(());
        }
        cut_plain(&text, &bits, &mut fast);
        cut_slowly(&text, &mut slow);
        prop_assert_eq!(format!("{:?}", fast), format!("{:?}", slow), "{:?} from {}", line, start);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn on_any_ascii(line in "[ -~\\t]{0,150}") {
        both(&line)?;
    }

    #[test]
    fn on_what_the_rules_look_at(line in "(Sun|Dec|10|abcdefab|ab|be|_|-|:|\\.|/|\"| |,|12:30:45|2026|x|1|Z|e|beef){0,40}") {
        both(&line)?;
    }

    #[test]
    fn on_dates(line in "((Sun|Mon),? ?)?(Dec|Jan) {1,3}[0-9]{1,2} ([0-9]{2}:[0-9]{2}:[0-9]{2})?[ a-zA-Z]{0,3}[0-9]{0,4}") {
        both(&line)?;
    }
}
