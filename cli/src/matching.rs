//! Checks of matches when they are written, with the place marked where they are wrong.

use std::io::IsTerminal as _;
use std::ops::Range;

use ariadne::{Color, Label, Report, ReportKind, Source};

use crate::error::Error;

/// Refuses a match that does not parse, or whose types do not fit.
pub fn check_match(text: &str) -> Result<(), Error> {
    let refused = |message: String, span: Option<Range<usize>>, suggestion: Option<String>| {
        let error = Error::new(format!("{text}: {message}"));
        let mut help = span.map(|span| mark(text, span)).unwrap_or_default();
        if let Some(suggestion) = suggestion {
            help.push_str(&format!("\n  did you mean \"{suggestion}\"?"));
        }
        Err(if help.is_empty() {
            error
        } else {
            error.help(help.trim_start_matches('\n'))
        })
    };
    match weft_lang::parse_match(text) {
        Err(error) => refused(error.message, Some(error.span), error.suggestion),
        Ok(expr) => match weft_lang::check(&expr) {
            Err(error) => refused(error.to_string(), None, None),
            Ok(()) => Ok(()),
        },
    }
}

/// The text with a mark below the part that is wrong: in colour for people, plain for files.
fn mark(text: &str, span: Range<usize>) -> String {
    if std::io::stderr().is_terminal() {
        let span = span.start..span.end.max(span.start + 1);
        let label = Label::new(span.clone())
            .with_color(Color::Red)
            .with_message("here");
        let report = Report::build(ReportKind::Error, span)
            .with_label(label)
            .finish();
        let mut out = Vec::new();
        if report.write(Source::from(text), &mut out).is_ok() {
            return String::from_utf8_lossy(&out).trim_end().to_string();
        }
    }
    plain_mark(text, span)
}

fn plain_mark(text: &str, span: Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or(text).chars().count();
    let width = text.get(span).map_or(1, |part| part.chars().count().max(1));
    format!("  {text}\n  {:before$}{}", "", "^".repeat(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_marked() {
        assert_eq!(check_match("ip4.src == 10.0.0.1 && tcp"), Ok(()));
        let error = check_match("ip4 && tcp.dts == 80").unwrap_err();
        let help = error.help.unwrap_or_default();
        assert!(
            help.starts_with("  ip4 && tcp.dts == 80\n         ^^^^^^^"),
            "{help}"
        );
        assert!(help.contains("tcp.dst"), "{help}");
    }
}
