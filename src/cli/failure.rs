//! What ends the program early, with the exit status that it means.

use super::files::FileError;
use crate::error::Error;

/// Why nothing could be done.
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    /// The command line itself is wrong.
    Usage(String),
    /// The command line is sound, but the work cannot be done.
    Work(String),
}

impl Failure {
    pub(super) fn usage(message: impl ToString) -> Self {
        Failure::Usage(message.to_string())
    }

    pub(super) fn work(message: impl ToString) -> Self {
        Failure::Work(message.to_string())
    }

    pub(super) fn message(&self) -> &str {
        match self {
            Failure::Usage(message) | Failure::Work(message) => message,
        }
    }

    pub(super) fn status(&self) -> u8 {
        match self {
            Failure::Work(_) => 1,
            Failure::Usage(_) => 2,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::work(error)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Failure::work(error)
    }
}

/// The text as one line: names from the command line may hold line breaks and terminal escapes.
pub(super) fn one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m é"), "a\\nb\\u{1b}[31m é");
    }
}
