//! Lines of containers: parts are joined, outputs are kept apart, and every byte has its run.

use super::*;

/// What came out, in order: the text of a record with its output, or why bytes are none; and the bytes of each.
fn read(text: &str, multiline: Option<&str>, max_line: usize) -> Vec<(String, u64)> {
    let multiline = multiline.and_then(Multiline::preset);
    let mut framer = Framer::new(0, &Framing { containers: true, multiline, ..Framing::lines(max_line) });
    let (mut found, mut at) = (Vec::new(), 0_usize);
    let mut take = |piece: Piece<'_>| {
        let (what, raw, length) = match piece {
            Piece::Line { text, raw, length, envelope, .. } => {
                let output = envelope.map_or("none", |envelope| envelope.output.name());
                (format!("{output} {}", String::from_utf8_lossy(text)), raw, length)
            }
            Piece::Skipped { reason, raw, length, .. } => (format!("<{}>", reason.name()), raw, length),
            Piece::OverLong { .. } => panic!("{piece:?}"),
        };
        let bytes = &text.as_bytes()[at..at + length as usize];
        assert_eq!(crc_of(raw), crc32c::crc32c(bytes));
        at += length as usize;
        found.push((what, length));
    };
    framer.push(text.as_bytes(), &mut take);
    framer.finish(&mut take);
    assert_eq!((at, framer.at()), (text.len(), text.len() as u64));
    found
}

const TIME: &str = "2026-01-02T03:04:05.000000001Z";

fn cri(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [TIME, " ", line, "\n"]).collect()
}

fn told(found: &[(String, u64)]) -> Vec<&str> {
    found.iter().map(|(what, _)| what.as_str()).collect()
}

#[test]
fn parts_become_one_line_for_each_output_by_itself() {
    let text =
        cri(&["stdout F one", "stdout P a", "stderr F other", "stdout P b", "stdout F c", "stderr F last"]);
    let found = read(&text, None, 1 << 20);
    assert_eq!(told(&found), ["stdout one", "stdout abc", "stderr other", "<merged>", "stderr last"]);
    // Its two last parts are one run.
    assert_eq!(found[3].1, 2 * (TIME.len() as u64 + 12));
    // Of parts side by side there is one run.
    assert_eq!(told(&read(&cri(&["stdout P a", "stdout F b"]), None, 99)), ["stdout ab"]);
    let docker = [("a", "stdout"), ("x\\n", "stderr"), ("b\\n", "stdout"), ("\\n", "stdout")]
        .map(|(log, stream)| format!("{{\"log\":\"{log}\",\"stream\":\"{stream}\",\"time\":\"{TIME}\"}}\n"));
    assert_eq!(told(&read(&docker.concat(), None, 1000)), ["stdout ab", "stderr x", "<merged>", "<blank>"]);
}

#[test]
fn traces_of_both_outputs_are_gathered_side_by_side() {
    let text = cri(&[
        "stderr F it failed",
        "stdout F going on",
        "stderr F java.lang.Exception: x",
        "stdout F java.lang.Error: y",
        "stderr F \tat a.B.c(B.java:1)",
        "stdout F \tat d.E.f(E.java:1)",
        "stderr F next",
    ]);
    let found = read(&text, Some("java"), 1 << 20);
    let expected = [
        "stderr it failed\njava.lang.Exception: x\n\tat a.B.c(B.java:1)",
        "stdout going on\njava.lang.Error: y\n\tat d.E.f(E.java:1)",
        "<merged>",
        "<merged>",
        "<merged>",
        "<merged>",
        "stderr next",
    ];
    assert_eq!(told(&found), expected);
}

#[test]
fn what_is_in_no_envelope_is_a_record_and_what_waits_is_bounded() {
    let text = format!("{}no envelope\n\n{}", cri(&["stdout P a"]), cri(&["stdout F b"]));
    assert_eq!(told(&read(&text, None, 1 << 20)), ["stdout a", "none no envelope", "<blank>", "stdout b"]);
    // A part that never goes on does not hold the other output for ever.
    let mut lines = vec!["stdout P begun"];
    lines.extend(["stderr F other"; 40]);
    lines.push("stdout F late");
    let found = read(&cri(&lines), None, 500);
    assert_eq!((found[0].0.as_str(), found[41].0.as_str(), found.len()), ("stdout begun", "stdout late", 42));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// However lines of two outputs are woven into one another, and however the bytes are cut: what each output wrote comes out once, in
    /// its order, and a cut that is repeated gives the same.
    #[test]
    fn each_output_comes_out_as_it_went_in(
        lines in prop::collection::vec((any::<bool>(), any::<bool>(), "[a-c ]{0,6}"), 0..30),
        traces in any::<bool>(), max_line in 60..400_usize, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let text = cri(&lines.iter().map(|(stdout, goes_on, text)| {
            let indented = if traces && !text.is_empty() { format!("\tat {text}") } else { text.clone() };
            format!("{} {} {indented}", if *stdout { "stdout" } else { "stderr" }, if *goes_on { "P" } else { "F" })
        }).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>());
        let framing = Framing { containers: true, multiline: traces.then(|| Multiline::preset("java")).flatten(), ..Framing::lines(max_line) };
        let run = |blocks: &[&[u8]], cut: &dyn Fn(u64) -> bool| {
            let mut framer = Framer::new(0, &framing);
            let (mut out, mut runs, mut cuts, mut seen) = ([String::new(), String::new()], Vec::new(), Vec::new(), 0);
            let mut take = |piece: Piece<'_>| match piece {
                Piece::Line { text, raw, length, envelope, joined, .. } => {
                    let output = usize::from(envelope.unwrap().output == Output::Stderr);
                    out[output].extend(std::str::from_utf8(text).unwrap().chars().filter(|c| !c.is_whitespace()));
                    runs.push((length, crc_of(raw), None, joined));
                }
                Piece::Skipped { raw, length, reason, joined } => runs.push((length, crc_of(raw), Some(reason), joined)),
                Piece::OverLong { .. } => panic!("{piece:?}"),
            };
            for block in blocks {
                framer.push(block, &mut take);
                seen += block.len() as u64;
                if cut(seen) && let Some(at) = framer.cut_at() {
                    cuts.push(at);
                    framer.cut(&mut take);
                }
                assert_eq!(framer.at() + framer.pending(), seen);
            }
            framer.finish(&mut take);
            (out, runs, cuts)
        };
        let bytes = text.as_bytes();
        // Whole lines alone: a cut within an envelope is an envelope no more.
        let ends: Vec<usize> = [0].into_iter().chain(bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1)).collect();
        let mut places: Vec<usize> = cuts.iter().map(|cut| ends[cut.index(ends.len())]).chain([0, bytes.len()]).collect();
        places.sort_unstable();
        let blocks: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let (out, runs, at) = run(&blocks, &|_| true);
        for (output, name) in out.iter().zip([true, false]) {
            let wrote: String = lines.iter().filter(|(stdout, ..)| *stdout == name)
                .map(|(_, _, text)| if traces && !text.is_empty() { format!("\tat {text}") } else { text.clone() })
                .collect::<String>().chars().filter(|c| !c.is_whitespace()).collect();
            prop_assert_eq!(output, &wrote);
        }
        let mut places: Vec<usize> = at.iter().map(|at| *at as usize).chain([0, bytes.len()]).chain((0..bytes.len()).step_by(11)).collect();
        places.sort_unstable();
        let blocks: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let again = run(&blocks, &|seen| at.contains(&seen));
        prop_assert_eq!((out, runs), (again.0, again.1));
    }
}
