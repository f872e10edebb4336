//! Rust sources as the checkers see them: without tests, comments and what stands in quotes; as lines and as tokens.

use std::iter::Peekable;
use std::str::Chars;

/// One production file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the tree.
    pub(crate) name: String,
    /// Without tests and comments, with empty quotes; lines are where they were.
    pub(crate) code: String,
    /// How many lines the file has before its tests.
    pub(crate) lines: usize,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let text = without_tests(text);
        Self {
            name: name.to_owned(),
            code: blank(&text),
            lines: text.lines().count(),
        }
    }
}

/// Cut before a module of tests; one that lies in a file of its own is only a line.
fn without_tests(text: &str) -> String {
    let mut kept = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            match lines.peek() {
                Some(next) if next.ends_with(';') => {
                    lines.next();
                    continue;
                }
                _ => break,
            }
        }
        kept.push(line);
    }
    kept.join("\n")
}

/// Takes out comments and what stands in quotes.
fn blank(text: &str) -> String {
    let mut kept = String::new();
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('/', Some('/')) => while letters.next_if(|next| *next != '\n').is_some() {},
            ('/', Some('*')) => comment(&mut letters, &mut kept),
            ('"', _) => string(&mut letters, &mut kept),
            ('r', Some('"' | '#')) if !is_word(before) => raw(&mut letters, &mut kept),
            ('\'', Some(_)) => quote(&mut letters, &mut kept),
            _ => kept.push(letter),
        }
        before = letter;
    }
    kept
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn comment(letters: &mut Peekable<Chars<'_>>, kept: &mut String) {
    let mut last = ' ';
    for letter in letters.by_ref() {
        kept.extend((letter == '\n').then_some(letter));
        if (last, letter) == ('*', '/') {
            return;
        }
        last = letter;
    }
}

fn string(letters: &mut Peekable<Chars<'_>>, kept: &mut String) {
    kept.push_str("\"\"");
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return,
            '\\' => {
                let escaped = letters.next();
                kept.extend(escaped.filter(|escaped| *escaped == '\n'));
            }
            '\n' => kept.push('\n'),
            _ => {}
        }
    }
}

/// Behind an `r`: a raw string, or a raw identifier.
fn raw(letters: &mut Peekable<Chars<'_>>, kept: &mut String) {
    let mut hashes = 0;
    while letters.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    if letters.next_if_eq(&'"').is_none() {
        kept.push('r');
        return;
    }
    kept.push_str("\"\"");
    while let Some(letter) = letters.next() {
        kept.extend((letter == '\n').then_some(letter));
        if letter == '"' && (0..hashes).all(|_| letters.next_if_eq(&'#').is_some()) {
            return;
        }
    }
}

/// Behind a `'`: a character, or a lifetime.
fn quote(letters: &mut Peekable<Chars<'_>>, kept: &mut String) {
    let Some(letter) = letters.next() else { return };
    if letter == '\\' {
        letters.next();
        while letters.next().is_some_and(|next| next != '\'') {}
    } else if letters.next_if_eq(&'\'').is_none() {
        kept.push('\'');
        kept.push(letter);
    }
}

/// A word, a `::`, or any other sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(String),
    Path,
    Sign(char),
}

impl Token {
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            Self::Path | Self::Sign(_) => None,
        }
    }

    pub(crate) fn is(&self, word: &str) -> bool {
        self.word() == Some(word)
    }
}

/// The tokens of a [`Source::code`].
pub(crate) fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut letters = code.chars().peekable();
    while let Some(letter) = letters.next() {
        if is_word(letter) {
            let mut word = String::from(letter);
            while let Some(next) = letters.next_if(|next| is_word(*next)) {
                word.push(next);
            }
            found.push(Token::Word(word));
        } else if letter == ':' && letters.next_if_eq(&':').is_some() {
            found.push(Token::Path);
        } else if !letter.is_whitespace() {
            found.push(Token::Sign(letter));
        }
    }
    found
}

#[test]
fn tests_comments_and_quotes_are_not_seen() {
    let text = "//! Doc.\n#[cfg(test)]\nmod tests;\nfn a<'a>() -> &'a str { \"crate::x \\\" \" } // crate::y\n\
                let c = '\"'; let r = r#\"crate::z \"# ; /* crate::w\n */ b();\n#[cfg(test)]\nmod more {\n}\n";
    let source = Source::new("a.rs", text);
    assert_eq!(source.lines, 4);
    assert_eq!(
        source.code,
        "\nfn a<'a>() -> &'a str { \"\" } \nlet c = ; let r = \"\" ; \n b();"
    );
}
