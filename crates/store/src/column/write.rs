//! Encoding columns: the cheapest of plain values, a dictionary, or references back is taken, and written.

use super::{
    ByteClasses, Sections,
    blob::put_blob,
    codes::{BYTES, REFERENCES, SINGLES, TOKENS},
    distinct::Coded,
    head::{CONSTANT, DICTIONARY, PLAIN},
    numbers::NumbersHead,
    pack::pack,
    piece::{Style, put_digits, put_literal, put_sign_and_digits, put_style, put_text},
    plan::{CodesFacts, CodesKind, CodesPlan, columns_bits, plan_columns, runs, text_bits},
    shape::{Part, Shape},
    tokens,
};
use crate::{
    bytes::{put_bytes, put_number},
    strings::Strings,
    zstd_frame::Compressor,
};

/// Longer constants are no matter for a head.
const LONGEST_CONSTANT: usize = 256;
/// Fewer numbers are not worth sorting.
const WORTH_SORTING: usize = 8;

/// Encodes columns. Keeps its working memory between them.
#[derive(Default)]
pub(crate) struct ColumnWriter {
    compressor: Compressor,
    shape: Shape,
    /// How the columns of the shape are packed, and how once they are arranged otherwise.
    heads: Vec<NumbersHead>,
    arranged_heads: Vec<NumbersHead>,
    arranged: Vec<Vec<u64>>,
    /// Which distinct value comes where, and where each went.
    order: Vec<u32>,
    ranks: Vec<u32>,
    codes: Vec<u32>,
    counts: Vec<u32>,
    bytes: Vec<u8>,
    rest: Vec<u8>,
    ends: Vec<u64>,
}

impl ColumnWriter {
    /// Appends one column of values (1..=65,536 of them) to the sections.
    pub(crate) fn write(&mut self, list: &Coded, out: &mut Sections) {
        let first = list.values.get(0);
        if list.values.len() == 1 && first.len() <= LONGEST_CONSTANT {
            out.head.push(CONSTANT);
            put_bytes(&mut out.head, first);
            return;
        }
        self.shape.find(&list.values);
        plan_columns(&self.shape, |index| self.shape.column(index), &mut self.heads);
        if list.values.len() == list.len() {
            self.put_plain(list, false, out);
        } else {
            self.write_repeating(list, out);
        }
    }

    /// Values of which some occur more than once.
    fn write_repeating(&mut self, list: &Coded, out: &mut Sections) {
        let Coded { values: distinct, codes } = list;
        let (rows, count) = (codes.len(), distinct.len());
        self.counts.clear();
        self.counts.resize(count, 0);
        for code in codes {
            self.counts[*code as usize] += 1;
        }
        let (text, distinct_text) = self.text_bits(distinct, rows);
        let values_bits = columns_bits(&self.heads) + distinct_text;
        let plan =
            self.plan_codes(codes, values_bits - (self.sorted_bits() + distinct_text).min(values_bits));
        let dictionary = values_bits + plan.bits;
        // Deltas may make a plain column cheaper than its frame of reference; that is seen once it is arranged.
        let frame = self.heads.iter().map(|head| head.frame_bits(rows)).sum::<u64>() + text;
        if frame <= dictionary || (text == 0 && self.shape.columns() == 1) {
            self.arrange(codes);
            if columns_bits(&self.arranged_heads) + text <= dictionary {
                self.put_plain(list, true, out);
                return;
            }
        }
        out.head.push(DICTIONARY | (self.shape.parts.len() as u8) << 3);
        put_number(&mut out.head, count as u64);
        if !self.order_dictionary(plan.kind) {
            self.put_values(&distinct.iter(), false, out);
            self.put_codes(codes, plan.kind, out);
            return;
        }
        let order = std::mem::take(&mut self.order);
        self.put_values(&order.iter().map(|index| distinct.get(*index as usize)), true, out);
        self.order = order;
        let mut ranked = std::mem::take(&mut self.codes);
        ranked.clear();
        ranked.extend(codes.iter().map(|code| self.ranks[*code as usize]));
        self.put_codes(&ranked, plan.kind, out);
        self.codes = ranked;
    }

    /// The cheapest way to write codes of the distinct values, whose counts are known. `sorting` is how many bits may be
    /// saved where any order of these will do.
    fn plan_codes(&mut self, codes: &[u32], sorting: u64) -> CodesPlan {
        let distinct = self.counts.len();
        let facts = CodesFacts { rows: codes.len(), distinct, runs: runs(codes) };
        let any_order = facts.packed().or(facts.bytes(self.counts.iter().copied()));
        let any_order = CodesPlan { bits: any_order.bits.saturating_sub(sorting), ..any_order };
        let singles = self.counts.iter().filter(|count| **count == 1).count() as u32;
        // Counts of the symbols: of all that occur once, then of the others, falling.
        self.ranks.clear();
        self.ranks.extend(self.counts.iter().copied().filter(|count| singles == 0 || *count > 1));
        self.ranks.sort_unstable_by(|a, b| b.cmp(a));
        let symbols = (singles > 0).then_some(singles).into_iter().chain(self.ranks.iter().copied());
        any_order
            .or(Some(CodesPlan::references(codes, distinct)))
            .or((singles > 0).then(|| CodesPlan::singles(codes.len(), distinct, singles)))
            .or(facts.tokens(symbols, singles))
    }

    /// Arranges the dictionary as a way to write codes wants it. False where it stays as it is.
    fn order_dictionary(&mut self, kind: CodesKind) -> bool {
        self.order.clear();
        self.order.extend(0..self.counts.len() as u32);
        match kind {
            CodesKind::References { .. } => return false,
            CodesKind::Packed { .. } | CodesKind::Bytes => {
                let widest = self.heads.iter().enumerate().max_by_key(|(_, head)| head.bits());
                let Some((widest, _)) = widest.filter(|(_, head)| head.len() >= WORTH_SORTING) else {
                    return false;
                };
                let column = self.shape.column(widest);
                self.order.sort_unstable_by_key(|index| column[*index as usize]);
            }
            CodesKind::Singles { .. } => self.order.sort_by_key(|index| self.counts[*index as usize] == 1),
            CodesKind::Tokens { .. } => {
                self.order.sort_by_key(|index| u32::MAX - self.counts[*index as usize]);
            }
        }
        let order = std::mem::take(&mut self.order);
        self.arrange(&order);
        self.ranks.clear();
        self.ranks.resize(order.len(), 0);
        order.iter().enumerate().for_each(|(rank, index)| self.ranks[*index as usize] = rank as u32);
        self.order = order;
        let sorted = matches!(kind, CodesKind::Packed { .. } | CodesKind::Bytes);
        !sorted || columns_bits(&self.arranged_heads) < columns_bits(&self.heads)
    }

    /// How many bits the text of all values and that of the distinct ones take.
    fn text_bits(&self, distinct: &Strings, rows: usize) -> (u64, u64) {
        let Some(around) = self.shape.parts.iter().find_map(|part| match part {
            Part::Text { before, after } => Some(before + after),
            _ => None,
        }) else {
            return (0, 0);
        };
        let counted = distinct.iter().zip(&self.counts);
        let all = counted.map(|(value, count)| value.len() * *count as usize).sum::<usize>();
        let text = |bytes: usize, count: usize| text_bits(bytes - around * count, count);
        (text(all, rows), text(distinct.byte_len(), distinct.len()))
    }

    /// How many bits the columns will take, roughly, if the widest is in order.
    fn sorted_bits(&self) -> u64 {
        let widest =
            self.heads.iter().max_by_key(|head| head.bits()).filter(|head| head.len() >= WORTH_SORTING);
        let saved = widest.map_or(0, |head| head.bits().saturating_sub(head.sorted_bits()));
        columns_bits(&self.heads) - saved
    }

    /// Arranges the columns by number of distinct value, and plans them again.
    fn arrange(&mut self, order: &[u32]) {
        self.arranged.resize_with(self.shape.columns().max(self.arranged.len()), Vec::new);
        for (index, arranged) in self.arranged.iter_mut().take(self.shape.columns()).enumerate() {
            let column = self.shape.column(index);
            arranged.clear();
            arranged.extend(order.iter().map(|code| column[*code as usize]));
        }
        plan_columns(&self.shape, |index| &self.arranged[index], &mut self.arranged_heads);
    }

    fn put_plain(&mut self, list: &Coded, arranged: bool, out: &mut Sections) {
        out.head.push(PLAIN | (self.shape.parts.len() as u8) << 3);
        self.put_values(&list.iter(), arranged, out);
    }

    /// Writes the pieces of values, in the order of the columns or as these were arranged.
    fn put_values<'v>(
        &mut self,
        values: &(impl Iterator<Item = &'v [u8]> + Clone),
        arranged: bool,
        out: &mut Sections,
    ) {
        let heads = if arranged { &self.arranged_heads } else { &self.heads };
        let put_column = |index: usize, compressor: &mut Compressor, out: &mut Sections| {
            let column = if arranged { &self.arranged[index] } else { self.shape.column(index) };
            heads[index].write(column, compressor, out);
        };
        for part in &self.shape.parts {
            match part {
                Part::Literal(text) => put_literal(text, &mut out.head),
                Part::Number { style, column } => {
                    put_style(*style, &mut out.head);
                    put_column(*column, &mut self.compressor, out);
                }
                Part::Digits { lengths, numbers } => {
                    put_digits(&mut out.head);
                    put_column(*lengths, &mut self.compressor, out);
                    put_column(*numbers, &mut self.compressor, out);
                }
                Part::SignAndDigits { signs, numbers } => {
                    put_sign_and_digits(&mut out.head);
                    put_column(*signs, &mut self.compressor, out);
                    put_column(*numbers, &mut self.compressor, out);
                }
                Part::Text { before, after } => {
                    self.bytes.clear();
                    self.ends.clear();
                    for value in values.clone() {
                        self.bytes.extend_from_slice(&value[*before..value.len() - after]);
                        self.ends.push(self.bytes.len() as u64);
                    }
                    put_text(ByteClasses::of(&self.bytes), &mut out.head);
                    put_blob(&self.bytes, &mut self.compressor, out);
                    let ends = NumbersHead::plan(&self.ends);
                    ends.write(&self.ends, &mut self.compressor, out);
                }
            }
        }
    }

    fn put_codes(&mut self, codes: &[u32], kind: CodesKind, out: &mut Sections) {
        match kind {
            CodesKind::Packed { width } => {
                out.head.push(width as u8);
                pack(&mut out.data, width, codes.iter().map(|code| u64::from(*code)));
            }
            CodesKind::Bytes => {
                out.head.push(BYTES);
                self.bytes.clear();
                self.bytes.extend(codes.iter().map(|code| *code as u8));
                put_blob(&self.bytes, &mut self.compressor, out);
            }
            CodesKind::Tokens { singles } => {
                out.head.push(TOKENS);
                put_number(&mut out.head, singles.into());
                let recurring = if singles > 0 { self.counts.len() as u32 - singles } else { u32::MAX };
                let symbol = |code: &u32| if *code >= recurring { 0 } else { code + u32::from(singles > 0) };
                self.bytes.clear();
                self.rest.clear();
                tokens::encode(codes.iter().map(symbol), &mut self.bytes, &mut self.rest);
                put_blob(&self.bytes, &mut self.compressor, out);
                put_number(&mut out.head, self.rest.len() as u64);
                out.data.extend_from_slice(&self.rest);
            }
            CodesKind::References { width } => {
                out.head.extend([REFERENCES, width as u8]);
                let mut seen = 0;
                let marks = codes.iter().map(|code| {
                    let fresh = *code == seen;
                    seen += u32::from(fresh);
                    u64::from(fresh)
                });
                pack(&mut out.data, 1, marks);
                let mut seen = 0;
                let back = codes.iter().filter_map(|code| {
                    if *code == seen {
                        seen += 1;
                        return None;
                    }
                    Some(u64::from(seen - 1 - code))
                });
                pack(&mut out.data, width, back);
            }
            CodesKind::Singles { singles, width } => {
                let recurring = self.counts.len() as u32 - singles;
                out.head.push(SINGLES);
                put_number(&mut out.head, singles.into());
                out.head.push(width as u8);
                pack(&mut out.data, 1, codes.iter().map(|code| u64::from(*code >= recurring)));
                let others = codes.iter().filter(|code| **code < recurring);
                pack(&mut out.data, width, others.map(|code| u64::from(*code)));
            }
        }
    }

    /// A column of plain numbers (frame of reference or monotone deltas, bit packed), for row columns outside of chunks.
    pub(crate) fn write_numbers(&mut self, values: &[u64], out: &mut Sections) {
        out.head.push(PLAIN | 1 << 3);
        put_style(Style::Decimal { width: 1 }, &mut out.head);
        NumbersHead::plan(values).write(values, &mut self.compressor, out);
    }
}
