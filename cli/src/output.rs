//! How answers look: data on stdout as text, JSON or YAML; everything else on stderr.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color};
use jiff::{Timestamp, Unit};
use serde::Serialize;

use crate::args::{Colour, Format, Global};
use crate::failure::Failure;
use crate::loss::LossRow;

/// After so long an operator wants to know what is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a piece of text means; decides its colour and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// No colour.
    Plain,
    /// Green: as it should be.
    Good,
    /// Yellow: an operator should look.
    Warn,
    /// Red: broken.
    Bad,
    /// Bold: a heading.
    Heading,
}

/// A piece of text with its meaning.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    text: String,
    tone: Tone,
}

impl Text {
    /// `text`, which means `tone`.
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

/// Plain text; an empty one shows as `-`.
pub(crate) fn plain(text: impl ToString) -> Text {
    let text = text.to_string();
    Text::new(if text.is_empty() { "-".to_owned() } else { text }, Tone::Plain)
}

/// Plain text of what may be absent, then `-`.
pub(crate) fn optional(value: Option<impl ToString>) -> Text {
    plain(value.map(|value| value.to_string()).unwrap_or_default())
}

/// A point in time, for display: RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(Timestamp);

impl Moment {
    /// From milliseconds since 1970-01-01T00:00Z.
    ///
    /// A number that is no point in time (beyond the year 9999) is the agent's fault and shows as none.
    pub(crate) fn from_unix_ms(ms: i64) -> Option<Self> {
        Timestamp::from_millisecond(ms).ok().map(Self)
    }
}

/// For people: to the second.
impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.round(Unit::Second).unwrap_or(self.0).fmt(f)
    }
}

/// For machines: as exact as the agent told it.
impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Where and how to print.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    colour_out: bool,
    colour_err: bool,
    notes: bool,
    details: bool,
}

impl Output {
    /// As the global options say.
    pub(crate) fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloured = |terminal: bool| match global.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !no_color,
        };
        Self {
            format: global.output,
            colour_out: coloured(std::io::stdout().is_terminal()),
            colour_err: coloured(std::io::stderr().is_terminal()),
            notes: !global.quiet,
            details: global.verbose,
        }
    }

    /// Prints data: `value` as JSON or YAML, or what `text` makes of it.
    ///
    /// # Errors
    /// Standard output cannot be written. One that nobody reads any more is no error.
    pub(crate) fn data<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let rendered = match self.format {
            Format::Table => text(value),
            Format::Json => serde_json::to_string_pretty(value).context("cannot render JSON")? + "\n",
            Format::Yaml => serde_yaml::to_string(value).context("cannot render YAML")?,
        };
        self.raw(rendered.as_bytes())
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// As [`Output::data`].
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written.context("cannot write to standard output")?),
        }
    }

    /// Data that a person sees as a sentence: with a table on stderr, otherwise `value` on stdout.
    ///
    /// # Errors
    /// As [`Output::data`].
    pub(crate) fn outcome<T: Serialize>(&self, value: &T, sentence: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.note(sentence),
            Format::Json | Format::Yaml => self.data(value, |_| String::new())?,
        }
        Ok(())
    }

    /// Prints a list: as a table with `header`, or, where it is empty, as the sentence `nothing` on stderr.
    ///
    /// # Errors
    /// As [`Output::data`].
    pub(crate) fn list<T: Serialize>(
        &self,
        rows: &[T],
        header: &[&str],
        nothing: &str,
        row: impl Fn(&T) -> Vec<Text>,
    ) -> Result<(), Failure> {
        if rows.is_empty() && self.format == Format::Table {
            self.note(nothing);
            return Ok(());
        }
        self.data(&rows, |rows| self.table(header, rows.iter().map(row)))
    }

    /// Columns without borders; each line ends with a newline.
    pub(crate) fn table(&self, header: &[&str], rows: impl Iterator<Item = Vec<Text>>) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).force_no_tty();
        if self.colour_out {
            table.enforce_styling();
        }
        table.set_header(header.iter().map(|name| self.cell(&Text::new(*name, Tone::Heading))));
        for row in rows {
            table.add_row(row.iter().map(|text| self.cell(text)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn cell(&self, text: &Text) -> Cell {
        let cell = Cell::new(&text.text);
        match text.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Warn => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Heading => cell.add_attribute(Attribute::Bold),
        }
    }

    /// `text` for stdout, coloured where stdout is.
    pub(crate) fn styled(&self, text: &str, tone: Tone) -> String {
        styled(text, tone, self.colour_out)
    }

    /// Whether data is printed for people.
    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// A sentence beside the data, on stderr; nothing with `--quiet`.
    pub(crate) fn note(&self, sentence: &str) {
        if self.notes && !sentence.is_empty() {
            to_stderr(&format!("{sentence}\n"));
        }
    }

    /// A sentence that an operator should heed, on stderr, also with `--quiet`.
    pub(crate) fn warning(&self, sentence: &str) {
        to_stderr(&format!(
            "{} {sentence}\n",
            styled("warning:", Tone::Warn, self.colour_err)
        ));
    }

    /// What a command that was forced did to guests: what is `lost`, or would be.
    pub(crate) fn losses(&self, lost: &str, losses: &[LossRow]) {
        for loss in losses {
            self.warning(&format!("{lost}: {}", loss.text));
        }
    }

    /// A sentence about what happens inside, on stderr; only with `--verbose`.
    pub(crate) fn detail(&self, sentence: &str) {
        if self.details {
            to_stderr(&format!("{sentence}\n"));
        }
    }

    /// An error and what to do about it, on stderr.
    pub(crate) fn error(&self, message: &str, hint: Option<&str>) {
        let mut text = format!("{} {message}\n", styled("error:", Tone::Bad, self.colour_err));
        if let Some(hint) = hint {
            let _ = writeln!(text, "{} {hint}", styled("hint:", Tone::Good, self.colour_err));
        }
        to_stderr(&text);
    }

    /// An error that ends the command, for people or as `{ "error": … }`.
    fn refused(&self, message: &str, hint: Option<&str>, losses: &[LossRow], more: u32) {
        let as_value = || {
            let mut error = serde_json::json!({ "message": message, "hint": hint });
            if !losses.is_empty() {
                error["losses"] = serde_json::json!(losses);
                error["more_losses"] = more.into();
            }
            serde_json::json!({ "error": error })
        };
        match self.format {
            Format::Json => to_stderr(&format!("{:#}\n", as_value())),
            Format::Yaml => to_stderr(&serde_yaml::to_string(&as_value()).unwrap_or_default()),
            Format::Table => {
                let mut message = message.to_owned();
                for loss in losses {
                    let _ = write!(message, "\n  {}", loss.text);
                }
                if more > 0 {
                    let _ = write!(message, "\n  and {more} more");
                }
                self.error(&message, hint);
            }
        }
    }

    /// Tells why the command failed; the exit status of the process.
    pub(crate) fn failed(&self, failure: &Failure) -> ExitCode {
        match failure {
            Failure::Refused {
                message,
                hint,
                losses,
                more,
            } => self.refused(message, hint.as_deref(), losses, *more),
            Failure::Unreachable { message, hint } => self.refused(message, Some(hint), &[], 0),
            Failure::Local(error) => self.refused(&format!("{error:#}"), None, &[], 0),
            Failure::Interrupted(message) => self.note(message),
            Failure::Reported | Failure::Unhealthy(_) => {}
        }
        ExitCode::from(failure.exit_status())
    }

    /// Waits for `work`; after a second a line says what is waited for, on a terminal also how long already.
    pub(crate) async fn progress<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        // Whoever reads JSON reads the errors as well.
        if !self.notes || !self.is_table() {
            return work.await;
        }
        let begun = Instant::now();
        let mut line = ProgressLine::NotYet;
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(PATIENCE) => line.show(what, begun.elapsed()),
            }
        }
    }
}

/// The line that says what is waited for: whether it is there.
enum ProgressLine {
    NotYet,
    /// It is written anew again and again.
    OnTerminal,
    /// It is written once.
    Elsewhere,
}

impl ProgressLine {
    fn show(&mut self, what: &str, waited: Duration) {
        match self {
            Self::NotYet if !std::io::stderr().is_terminal() => {
                to_stderr(&format!("{what} …\n"));
                *self = Self::Elsewhere;
            }
            Self::NotYet | Self::OnTerminal => {
                to_stderr(&format!("\r\x1b[K{what} … {} s", waited.as_secs()));
                *self = Self::OnTerminal;
            }
            Self::Elsewhere => {}
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        match self {
            // Back to the first column, and the line is empty again.
            Self::OnTerminal => to_stderr("\r\x1b[K"),
            Self::NotYet | Self::Elsewhere => {}
        }
    }
}

fn styled(text: &str, tone: Tone, coloured: bool) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31;1",
        Tone::Heading => "1",
    };
    if coloured {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// A closed stderr leaves nobody to tell.
fn to_stderr(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
