//! "Did you mean": the nearest of a few names.

/// Of longer names only so many characters are compared.
const LONGEST: usize = 64;

/// The candidate that is most likely meant by `name`, if any is near: at most a third of its characters differ
/// (a swap of neighbours counts as one), or only case and separators do.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&plain(name), &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= bound && *candidate != name)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn plain(name: &str) -> Vec<char> {
    name.chars()
        .take(LONGEST)
        .map(|c| if c == '-' || c == '.' { '_' } else { c.to_ascii_lowercase() })
        .collect()
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let names = ["brokers", "name", "partitions", "replication"];
        for (typed, meant) in [
            ("broker", Some("brokers")),
            ("borkers", Some("brokers")),
            ("Partitions", Some("partitions")),
            ("nmae", Some("name")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(closest(typed, names), meant, "{typed}");
        }
        let known = ["title", "threshold", "query", "id"];
        assert_eq!(closest("treshold", known), Some("threshold"));
        assert_eq!(closest("qurey", known), Some("query"));
        assert_eq!(closest("Title", known), Some("title"));
        assert_eq!(closest("banana", known), None);
        assert_eq!(closest("name", known), None);
        assert_eq!(closest("state-dir", ["state_dir"]), Some("state_dir"));
    }
}
