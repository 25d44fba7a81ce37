//! Everything that is wrong with the configuration, in one report: file, line, column, what was expected, the repair.

use crate::value::Place;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};
use std::{fmt, ops::Range};

/// One thing that is wrong.
pub struct Problem {
    pub(crate) message: String,
    /// What was expected at the place; empty if the message says it.
    pub(crate) expected: String,
    /// How to repair it.
    pub(crate) help: Option<String>,
    pub(crate) place: Option<Place>,
    source: Option<Lines>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, place: Option<&Place>) -> Self {
        // An empty text has no line to show; its name is said in the message then.
        let (place, message) = match place {
            Some(place) if place.text.content.is_empty() => {
                (None, format!("{}: {}", place.file(), message.into()))
            }
            other => (other.cloned(), message.into()),
        };
        let source = place
            .as_ref()
            .map(|place| Lines { name: place.file().to_owned(), text: place.text.content.clone() });
        Self { message, expected: String::new(), help: None, place, source }
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into()).filter(|help| !help.is_empty());
        self
    }

    /// Shows stars for what stands there: it may be a secret.
    pub(crate) fn hiding(mut self, place: &Place) -> Self {
        if let Some(source) = &mut self.source {
            source.hide(place.span.clone());
        }
        self
    }

    /// What is wrong, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where; `None` for what stands nowhere (a file that is absent).
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    fn order(&self) -> (usize, usize) {
        self.place.as_ref().map_or((0, 0), |place| (place.text.layer, place.span.start))
    }
}

/// A text that is shown by whole lines: asked for any context, it gives the lines of the span and no others.
struct Lines {
    name: String,
    text: String,
}

impl Lines {
    fn hide(&mut self, span: Range<usize>) {
        if let Some(hidden) = self.text.get(span.clone()) {
            let stars: String = hidden.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
            self.text.replace_range(span, &stars);
        }
    }
}

impl SourceCode for Lines {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (mut start, mut end) = (span.offset(), span.offset() + span.len());
        let (Some(head), Some(inside), Some(tail)) =
            (self.text.get(..start), self.text.get(start..end), self.text.get(end..))
        else {
            return Err(MietteError::OutOfBounds);
        };
        let line_start = head.rfind('\n').map_or(0, |at| at + 1);
        let mut column = head[line_start..].chars().count();
        if before > 0 {
            (start, column) = (line_start, 0);
            end += if inside.ends_with('\n') { 0 } else { tail.find('\n').unwrap_or(tail.len()) };
        }
        let shown = &self.text[start..end];
        let contents = MietteSpanContents::new_named(
            self.name.clone(),
            shown.as_bytes(),
            (start, shown.len()).into(),
            head.matches('\n').count(),
            column,
            shown.lines().count().max(1),
        );
        Ok(Box::new(contents))
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        let label = if self.expected.is_empty() { "here" } else { &self.expected };
        let span = LabeledSpan::new_with_span(Some(label.to_owned()), place.span.clone());
        Some(Box::new(std::iter::once(span)))
    }
}

/// All that is wrong with the configuration. `Display` and `Debug` print each problem with its line underlined,
/// without colours; it is a [`miette::Diagnostic`] as well.
pub struct Report {
    problems: Vec<Problem>,
}

impl Report {
    /// Problems in the order in which they stand: lower layers first, from top to bottom.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(Problem::order);
        Self { problems }
    }

    /// Each problem, in the order in which they stand.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
            .with_context_lines(1)
            .with_width(160)
            .with_links(false);
        for problem in &self.problems {
            handler.render_report(f, problem)?;
            f.write_str("\n")?;
        }
        match self.problems.len() {
            1 => f.write_str("1 problem in the configuration"),
            count => write!(f, "{count} problems in the configuration"),
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}
