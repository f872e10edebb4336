//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;

/// One thing that is wrong with a file; nothing of the file has been taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The path of the key (`segments[1].ipv4.gateway`); empty if it is about the file as a whole.
    pub key: String,
    /// What is wrong, with the value.
    pub message: String,
    /// How to fix it, as an imperative sentence.
    pub hint: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}\nhint: {}", self.message, self.hint)
    }
}

impl std::error::Error for Error {}

/// Everything that is wrong with a file, in the order of its lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

impl Errors {
    /// In the order of their places in the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }
}

impl<'e> IntoIterator for &'e Errors {
    type Item = &'e Error;
    type IntoIter = std::slice::Iter<'e, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Gathers what is wrong with one file while it is read to its end.
pub(super) struct Report {
    file: String,
    errors: Vec<Error>,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            errors: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        (line, column): (usize, usize),
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.errors.push(Error {
            file: self.file.clone(),
            line,
            column,
            key: key.to_owned(),
            message: message.into(),
            hint: hint.into(),
        });
    }

    /// The value if nothing was wrong with the file.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, Errors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => {
                self.errors
                    .sort_by(|a, b| (a.line, a.column, &a.key).cmp(&(b.line, b.column, &b.key)));
                // One bridge that two other segments have is one fault.
                self.errors.dedup();
                Err(Errors(self.errors))
            }
        }
    }
}
