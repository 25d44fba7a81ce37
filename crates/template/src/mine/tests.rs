//! What is merged and what is not, and that miners agree.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{Scan, json_leaves, rebuild, variables_under};
use millrace_model::text::tokens;
use proptest::prelude::*;
use std::{collections::BTreeSet, ops::Range};

fn mask(line: &str) -> Vec<u8> {
    let mut scan = Scan::default();
    scan.line(line);
    scan.mask().to_vec()
}

fn learn(miner: &mut Miner, lines: &[&str]) {
    for line in lines {
        miner.learn(&mask(line));
    }
}

/// The canonical mask, with `*` for each variable.
fn canonical(miner: &Miner, line: &str) -> String {
    let mask = mask(line);
    let canonical = match miner.canonical(&mask) {
        Canonical::Itself => mask,
        Canonical::Merged(merge) => merge.mask.to_vec(),
    };
    String::from_utf8(canonical).unwrap().replace('\0', "*")
}

#[test]
fn four_names_are_a_variable() {
    let mut miner = Miner::new();
    learn(
        &mut miner,
        &["session opened for user root", "session opened for user ann", "session opened for user bob"],
    );
    assert_eq!(miner.learn(&mask("session opened for user ann")), Canonical::Itself);
    assert_eq!(canonical(&miner, "session opened for user root"), "session opened for user root");
    assert!(matches!(miner.learn(&mask("session opened for user eve")), Canonical::Merged(_)));
    for name in ["root", "eve", "nobody", "x1", "ns.example.com"] {
        assert_eq!(
            canonical(&miner, &format!("session opened for user {name}")),
            "session opened for user *"
        );
    }
    assert_eq!(canonical(&miner, "session closed for user root"), "session closed for user root");
    assert_eq!(canonical(&miner, "session opened for user  root!"), "session opened for user  root!");
}

#[test]
fn two_contents_with_variables_are_one() {
    let mut miner = Miner::new();
    learn(&mut miner, &["deleting /data/1/x.tmp now", "deleting /data/tmp/2 now"]);
    assert_eq!(canonical(&miner, "deleting anything now"), "deleting * now");
    learn(&mut miner, &["took 5 KB of memory", "took 7 B of memory"]);
    assert_eq!(canonical(&miner, "took 1 MB of memory"), "took * * of memory");
    learn(&mut miner, &["connection from 1.2.3.4 () up", "connection from 1.2.3.4 (a1.example.com) up"]);
    learn(&mut miner, &["connection from 1.2.3.4 (b-1) up"]);
    assert_eq!(canonical(&miner, "connection from 1.2.3.4 () up"), "connection from * (*) up");
}

#[test]
fn slots_that_vary_together_need_more_evidence() {
    let mut miner = Miner::new();
    let states = ["NEW to READY", "READY to RUNNING", "RUNNING to DONE", "DONE to NEW"];
    for states in states {
        learn(&mut miner, &[&format!("task_1 went from state {states}")]);
    }
    assert_eq!(miner.merges().count(), 0);
    for at in 0..8 {
        let name = char::from(b'a' + at);
        learn(&mut miner, &[&format!("user {name}{name} came in at door {name}{name}{name}")]);
    }
    assert_eq!(canonical(&miner, "user zoe came in at door front"), "user * came in at door *");
}

#[test]
fn merges_that_overlap_are_joined() {
    let (one, two) = (b"a \0 c d".as_slice(), b"a b \0 d".as_slice());
    for order in [[one, two], [two, one]] {
        let mut miner = Miner::new();
        for merge in order {
            miner.absorb(merge);
        }
        let merges: Vec<_> = miner.merges().map(|merge| merge.mask.clone()).collect();
        assert_eq!(merges, [b"a \0 \0 d".as_slice().into()]);
        miner.absorb(one);
        assert_eq!(miner.merges().count(), 1);
    }
}

#[test]
fn free_text_and_what_merges_nothing_is_not_taken_over() {
    let mut miner = Miner::new();
    for merge in [b"\0".as_slice(), b"", b"a b", b"a {\"host\":\"b\"}"] {
        miner.absorb(merge);
    }
    assert_eq!(miner.merges().count(), 0);
}

#[test]
fn json_is_merged_in_its_texts_alone() {
    let mut miner = Miner::new();
    let line = |user: &str| format!(r#"{{"host":"{user}","msg":"hello, \"{user}\""}}"#);
    for user in ["ann", "bob", "eve", "joe"] {
        miner.learn(&mask(&line(user)));
    }
    let mask = mask(&line("zoe"));
    let Canonical::Merged(merge) = miner.canonical(&mask) else { panic!("not merged") };
    assert_eq!(json_leaves(&merge.mask).unwrap().len(), 2);
    assert_eq!(canonical(&miner, &line("zoe")), r#"{"host":"*","msg":"hello, \"*\""}"#);
    // This would read as a JSON object's mask.
    for value in ["a", "b", "c", "d", "e"] {
        miner.learn(format!("{{\"x y\": {value}}}").as_bytes());
    }
    assert!(miner.merges().all(|merge| !merge.mask.starts_with(b"{\"x")));
}

#[test]
fn hostile_lines_cost_bounded_memory() {
    let limits = Limits {
        skeletons: 10,
        contents: 100,
        variants: 5,
        merges: 7,
        merge_bytes: 100,
        mask_bytes: 200,
        slots: 20,
    };
    let mut miner = Miner::with_limits(limits);
    let word = |number: u32| -> String {
        (0..6)
            .map(|at| char::from(b'g' + (number.wrapping_mul(2_654_435_761) >> (4 * at) & 15) as u8))
            .collect()
    };
    for number in 0..3000_u32 {
        let words: Vec<_> = (0..=number % 7).map(|at| word(number * 7 + at)).collect();
        miner.learn(words.join(" ").as_bytes());
        miner.learn(format!("{}(x)", "[".repeat(number as usize % 300)).as_bytes());
        miner.learn(format!("user {} of {}", word(number), word(number % 50)).as_bytes());
        miner.absorb(format!("{} \0", word(number)).as_bytes());
        assert!(miner.merges.len() <= 4 * limits.merges);
        assert!(miner.of_skeleton.values().all(|ids| ids.len() <= 4 * limits.variants));
        assert!(miner.young.len() <= limits.skeletons && miner.old.len() <= limits.skeletons);
        let contents = miner.young.values().flatten().map(|variant| variant.len()).sum::<usize>();
        assert!(contents <= miner.young_contents && miner.young_contents <= limits.contents + 6 * 20);
        let bytes = miner.merges().map(|merge| merge.mask.len()).sum::<usize>();
        assert!(bytes == miner.merge_bytes && bytes < 4 * limits.merge_bytes + 200);
        assert!(miner.young.values().chain(miner.old.values()).all(|seen| seen.len() <= limits.variants));
    }
}

#[test]
fn names_are_merged_however_many_there_are() {
    let mut miner = Miner::new();
    let letters = |number: u32| -> String {
        (0..4).map(|at| char::from(b'g' + (number >> (4 * at) & 15) as u8)).collect()
    };
    for number in 0..5000_u32 {
        let (one, two) = (letters(number), letters(number.wrapping_mul(40_503) >> 3));
        miner.learn(format!("user {one} logged in from {two}.example.com as {one}").as_bytes());
    }
    assert_eq!(miner.merges().count(), 1);
    assert_eq!(miner.young.values().flatten().count(), 0);
}

/// Lines of a few shapes with names, so that there is something to merge.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let name = || prop_oneof!["[g-k]{1,2}", "[g-j]/[0-9]", "[0-9]{1,3}", Just("()".to_owned()), "é{1,2}"];
    let words = prop::collection::vec(name(), 1..4).prop_map(|names| names.join(" "));
    let line = (prop_oneof![Just("login"), Just("logout of"), Just("x")], words, name(), 0..5).prop_map(
        |(verb, words, name, shape)| match shape {
            0 => format!("{verb} {words} from {name}"),
            1 => format!("{verb} {words} took 5 ms, {name}."),
            2 => format!("{{\"host\":\"{name}\",\"msg\":\"{verb} {words} from \\\"{name}\\\"\\n\"}}"),
            3 => format!("{verb}= {name}  {words}"),
            _ => format!("{{ {verb} {words} }}"),
        },
    );
    prop::collection::vec(line, 0..120)
}

/// Lets miners tell one another their merges until nothing changes.
fn exchange(miners: &mut [Miner]) {
    loop {
        let all: BTreeSet<Vec<u8>> =
            miners.iter().flat_map(|miner| miner.merges().map(|merge| merge.mask.to_vec())).collect();
        for miner in &mut *miners {
            for merge in &all {
                miner.absorb(merge);
            }
        }
        let sets: BTreeSet<Vec<TemplateId>> =
            miners.iter().map(|miner| miner.merges().map(|merge| merge.id).collect()).collect();
        if sets.len() <= 1 {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_merge_covers_what_stands_for_it(lines in lines()) {
        let mut miner = Miner::new();
        let mut scan = Scan::default();
        for line in &lines {
            scan.line(line);
            miner.learn(scan.mask());
        }
        for line in &lines {
            scan.line(line);
            let Canonical::Merged(merge) = miner.canonical(scan.mask()) else { continue };
            prop_assert_eq!(miner.canonical(&merge.mask), Canonical::Merged(merge));
            prop_assert_eq!(merge.id, TemplateId::of(&merge.mask));
            prop_assert_eq!(json_leaves(&merge.mask).is_some(), scan.is_json());
            let mut under = Vec::new();
            prop_assert!(variables_under(&merge.mask, scan.mask(), scan.variables(), &mut under));
            let variables: Vec<_> = under.iter().map(|range| &line[range.start as usize..range.end as usize]).collect();
            let mut rebuilt = Vec::new();
            rebuild(&merge.mask, variables.iter().map(|variable| variable.as_bytes()), &mut rebuilt);
            prop_assert_eq!(std::str::from_utf8(&rebuilt).unwrap(), line);
            prop_assert_eq!(under.len(), merge.mask.iter().map(|byte| usize::from(*byte == 0)).sum::<usize>());
            if !scan.is_json() {
                let constant = std::str::from_utf8(&merge.mask).unwrap().split('\0');
                let mut words: Vec<_> = constant.chain(variables).flat_map(tokens).collect();
                let mut expected = tokens(line);
                words.sort();
                expected.sort();
                prop_assert_eq!(words, expected);
            }
        }
    }

    #[test]
    fn miners_agree_whatever_they_learn_in_which_order(lines in lines(), other in any::<u64>()) {
        let masks: Vec<_> = lines.iter().map(|line| mask(line)).collect();
        let mut miners = [Miner::new(), Miner::new(), Miner::new()];
        for (at, mask) in masks.iter().enumerate() {
            miners[0].learn(mask);
            miners[1].learn(&masks[masks.len() - 1 - at]);
            if other >> (at % 64) & 1 == 1 {
                miners[2].learn(mask);
            }
        }
        exchange(&mut miners);
        for mask in &masks {
            let ids: BTreeSet<_> = miners.iter().map(|miner| match miner.canonical(mask) {
                Canonical::Itself => TemplateId::of(mask),
                Canonical::Merged(merge) => merge.id,
            }).collect();
            prop_assert_eq!(ids.len(), 1);
        }
    }

    #[test]
    fn the_order_of_merges_does_not_matter(
        merges in prop::collection::vec(prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("\0")], 4), 0..12),
        keys in prop::collection::vec(any::<u8>(), 12),
    ) {
        let merges: Vec<String> = merges.iter().map(|words| words.join(" ")).collect();
        let mut shuffled: Vec<_> = merges.iter().zip(keys).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let mut miners = [Miner::new(), Miner::new()];
        for merge in &merges {
            miners[0].absorb(merge.as_bytes());
        }
        for (merge, _) in &shuffled {
            miners[1].absorb(merge.as_bytes());
        }
        let [one, two] = miners.each_ref().map(|miner| miner.merges().map(|merge| merge.id).collect::<Vec<_>>());
        prop_assert_eq!(&one, &two);
        // Each is covered by exactly one.
        for merge in &merges {
            let mut under = Vec::new();
            let variables = vec![0..1; merge.matches('\0').count()];
            let covering = miners[0].merges().filter(|by| variables_under(&by.mask, merge.as_bytes(), &variables, &mut under));
            prop_assert!((usize::from(merge.contains('\0'))..=1).contains(&covering.count()));
        }
    }

    #[test]
    fn any_bytes(masks in prop::collection::vec(prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(b' '), Just(b'a')], 0..30), 0..20)) {
        let mut miner = Miner::with_limits(Limits { skeletons: 3, variants: 2, merges: 2, mask_bytes: 25, slots: 500, ..Limits::default() });
        let mut under = Vec::new();
        let backwards = Range { start: u32::MAX, end: 7 };
        for (mask, other) in masks.iter().zip(masks.iter().skip(1)) {
            miner.learn(mask);
            miner.absorb(other);
            miner.canonical(other);
            let covers = variables_under(mask, other, &[0..3, 5..u32::MAX, backwards.clone()], &mut under);
            prop_assert!(covers || under.is_empty());
        }
    }
}
