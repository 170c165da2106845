//! What a command can say instead of doing something.

use std::fmt;

/// A refusal: one line for everybody, and help below it for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The line, as the stock tool words it where it has one.
    pub message: String,
    /// More lines: where exactly, and what may have been meant.
    pub help: Option<String>,
}

impl Error {
    /// Without help.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    /// With help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// An `Err` of that message.
pub fn fail<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(message))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "\n{help}"))
    }
}

impl std::error::Error for Error {}

impl From<weft_ovsdb::model::DatumError> for Error {
    fn from(error: weft_ovsdb::model::DatumError) -> Self {
        Self::new(error.to_string())
    }
}

/// The candidate that `word` was probably meant to be: the nearest, if it is near.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let scored = candidates.into_iter().map(|c| (distance(word, c), c));
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= word.chars().count().max(3) / 3).then_some(candidate)
}

/// Insertions, deletions and replacements between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested() {
        let commands = ["ls-add", "ls-del", "lsp-add", "show"];
        assert_eq!(nearest("lsadd", commands), Some("ls-add"));
        assert_eq!(nearest("shwo", commands), None);
        assert_eq!(nearest("sho", commands), Some("show"));
        assert_eq!(nearest("frobnicate", commands), None);
    }
}
