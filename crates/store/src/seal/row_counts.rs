//! In how many rows of a chunk each word of their lines stands. A row that has a word twice counts once.

use crate::{
    column::Coded,
    index::TermSet,
    time_text::{TimeFormat, TimeParts},
};
use millrace_model::{Timestamp, text};

/// See the module. Words are known by the numbers that a [`TermSet`] gives them. Keeps its memory between chunks.
#[derive(Default)]
pub(super) struct RowCounts {
    /// Words that every row has.
    everywhere: Vec<u32>,
    slots: Vec<SlotWords>,
    /// How many of them the chunk uses.
    used: usize,
    times: TimeWords,
    /// For each word, the last row that has it, and how many do.
    seen: Vec<u32>,
    counts: Vec<u32>,
}

/// The words of a slot's values, one value after the other.
#[derive(Default)]
struct SlotWords {
    column: usize,
    words: Vec<u32>,
    ends: Vec<u32>,
}

const NO_ROW: u32 = u32::MAX;

impl RowCounts {
    /// A chunk comes.
    pub(super) fn begin(&mut self) {
        self.everywhere.clear();
        self.used = 0;
    }

    /// Every row has this word.
    pub(super) fn add_everywhere(&mut self, word: u32) {
        self.everywhere.push(word);
    }

    /// The values of a slot come.
    pub(super) fn begin_slot(&mut self, column: usize) {
        if self.used == self.slots.len() {
            self.slots.push(SlotWords::default());
        }
        let slot = &mut self.slots[self.used];
        slot.column = column;
        slot.words.clear();
        slot.ends.clear();
        self.used += 1;
    }

    /// The slot's next value has this word.
    pub(super) fn add(&mut self, word: u32) {
        if let Some(slot) = self.slots[..self.used].last_mut() {
            slot.words.push(word);
        }
    }

    /// The slot's next value has no more.
    pub(super) fn end_value(&mut self) {
        if let Some(slot) = self.slots[..self.used].last_mut() {
            slot.ends.push(slot.words.len() as u32);
        }
    }

    /// Tells the set what was counted. `times` are those of the rows, where their lines spell them.
    pub(super) fn finish(
        &mut self,
        columns: &[Coded],
        rows: usize,
        times: Option<(TimeFormat, &[Timestamp])>,
        words: &mut TermSet,
    ) {
        // A slot with one value, or without words, is the same in all rows.
        let mut kept = 0;
        for number in 0..self.used {
            let slot = &self.slots[number];
            if slot.ends.len() == 1 {
                self.everywhere.extend_from_slice(&slot.words);
            } else if !slot.words.is_empty() {
                self.slots.swap(kept, number);
                kept += 1;
            }
        }
        self.used = kept;
        self.seen.clear();
        self.counts.clear();
        self.times.begin();
        for row in 0..rows {
            for SlotWords { column, words, ends } in &self.slots[..self.used] {
                let value = columns[*column].codes[row] as usize;
                let start = value.checked_sub(1).map_or(0, |before| ends[before] as usize);
                for word in &words[start..ends[value] as usize] {
                    count(&mut self.seen, &mut self.counts, *word, row);
                }
            }
            if let Some((format, times)) = times
                && let Some(parts) = format.parts(times[row])
            {
                let (seen, counts) = (&mut self.seen, &mut self.counts);
                self.times.each(format, parts, words, &mut |word| count(seen, counts, word, row));
            }
        }
        for word in &self.everywhere {
            let word = *word as usize;
            self.counts.resize(self.counts.len().max(word + 1), 0);
            self.counts[word] = rows as u32;
        }
        for (word, count) in self.counts.iter().enumerate() {
            words.add_rows(word as u32, *count);
        }
    }
}

#[inline]
fn count(seen: &mut Vec<u32>, counts: &mut Vec<u32>, word: u32, row: usize) {
    let word = word as usize;
    if word >= seen.len() {
        seen.resize(word + 1, NO_ROW);
        counts.resize(word + 1, 0);
    }
    if seen[word] != row as u32 {
        seen[word] = row as u32;
        counts[word] += 1;
    }
}

/// The words of times. They are looked up once for each part that times share.
#[derive(Default)]
struct TimeWords {
    hour: Option<i64>,
    of_hour: Vec<u32>,
    minutes: Vec<Option<u32>>,
    seconds: Vec<Option<u32>>,
    fractions: Vec<Option<u32>>,
}

impl TimeWords {
    fn begin(&mut self) {
        self.hour = None;
        self.minutes.clear();
        self.seconds.clear();
        self.fractions.clear();
    }

    fn each(
        &mut self,
        format: TimeFormat,
        parts: TimeParts,
        words: &mut TermSet,
        visit: &mut dyn FnMut(u32),
    ) {
        if self.hour != Some(parts.hour) {
            self.hour = Some(parts.hour);
            self.of_hour.clear();
            let text = format.hour_text(parts.hour);
            for range in text::token_ranges(&text) {
                self.of_hour.push(words.add_of_time(&text[range].to_ascii_lowercase()));
            }
        }
        self.of_hour.iter().for_each(|word| visit(*word));
        let mut part = |known: &mut Vec<Option<u32>>, at: usize, text: &dyn Fn() -> String| {
            if known.len() <= at {
                known.resize(at + 1, None);
            }
            visit(*known[at].get_or_insert_with(|| words.add_of_time(&text().to_ascii_lowercase())));
        };
        part(&mut self.minutes, parts.minute.into(), &|| format!("{:02}", parts.minute));
        part(&mut self.seconds, parts.second.into(), &|| format.second_text(parts.second));
        if let Some(fraction) = parts.fraction {
            part(&mut self.fractions, fraction.into(), &|| format.fraction_text(fraction));
        }
    }
}
