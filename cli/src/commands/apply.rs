//! `apply`: sends a file of segments to the agent, which checks and writes it, and shows what that changes.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use overlayd_proto::control::{
    ApplyConfirmRequest, ApplyRequest, ApplyResponse, ChangeKind, ConfigError, FieldChange, SegmentChange,
};
use serde::Serialize;

use crate::args::Apply;
use crate::client::{Client, LONG, SHORT};
use crate::failure::Failure;
use crate::loss::{self, LossRow};
use crate::output::{Output, Tone};

/// What the file changes, as JSON has it.
#[derive(Serialize)]
struct Applied {
    file: String,
    applied: bool,
    errors: Vec<ErrorRow>,
    segments: Vec<ChangeRow>,
    pending: Vec<String>,
    notes: Vec<String>,
}

/// A confirmation, as JSON has it.
#[derive(Serialize)]
struct Confirmed {
    segments: Vec<String>,
}

#[derive(Serialize)]
struct ErrorRow {
    line: Option<u32>,
    column: Option<u32>,
    key: Option<String>,
    message: String,
    hint: Option<String>,
}

#[derive(Serialize)]
struct ChangeRow {
    name: String,
    change: &'static str,
    generation: u64,
    fields: Vec<FieldRow>,
    losses: Vec<LossRow>,
    unchecked: Vec<String>,
}

#[derive(Serialize)]
struct FieldRow {
    key: String,
    old: Option<String>,
    new: Option<String>,
}

impl From<ConfigError> for ErrorRow {
    fn from(error: ConfigError) -> Self {
        let ConfigError {
            line,
            column,
            key,
            message,
            hint,
        } = error;
        let place = |number: u32| (number > 0).then_some(number);
        let key = (!key.is_empty()).then_some(key);
        Self {
            line: place(line),
            column: place(column),
            key,
            message,
            hint,
        }
    }
}

impl From<SegmentChange> for ChangeRow {
    fn from(segment: SegmentChange) -> Self {
        let change = match segment.kind() {
            ChangeKind::Unspecified => "unknown",
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Unchanged => "unchanged",
        };
        let SegmentChange {
            name,
            kind: _,
            fields,
            generation,
            losses,
            unchecked,
        } = segment;
        Self {
            name,
            change,
            generation,
            fields: fields.into_iter().map(FieldRow::from).collect(),
            losses: loss::rows(losses),
            unchecked,
        }
    }
}

impl From<FieldChange> for FieldRow {
    fn from(field: FieldChange) -> Self {
        let FieldChange { key, old, new } = field;
        Self { key, old, new }
    }
}

impl ErrorRow {
    /// `file:line:col: key: message`, without what is not known.
    fn sentence(&self, file: &str) -> String {
        let mut text = file.to_owned();
        for number in [self.line, self.column].into_iter().flatten() {
            text.push_str(&format!(":{number}"));
        }
        for part in [self.key.as_deref(), Some(self.message.as_str())].into_iter().flatten() {
            text.push_str(": ");
            text.push_str(part);
        }
        text
    }
}

/// Reads the file; `-` is standard input.
///
/// # Errors
/// The file cannot be read, or is no UTF-8.
pub(super) fn request(apply: &Apply) -> Result<ApplyRequest, Failure> {
    let path = apply.file.as_deref().unwrap_or(Path::new("-"));
    let (file, text) = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        ("<stdin>".to_owned(), text)
    } else {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
        (file, text)
    };
    Ok(ApplyRequest {
        file,
        text,
        dry_run: apply.dry_run,
        force: apply.force,
        confirm_seconds: apply.confirm,
    })
}

pub(super) async fn run(request: ApplyRequest, client: &Client, output: &Output) -> Result<(), Failure> {
    let file = request.file.clone();
    let (dry_run, force) = (request.dry_run, request.force);
    let call = client.ask(output, LONG, |mut calls| async move { calls.apply(request).await });
    let answer = output.progress(&format!("applying {file}"), call).await?;
    let ApplyResponse {
        errors,
        segments,
        pending,
        notes,
    } = answer;
    let applied = Applied {
        applied: errors.is_empty() && !dry_run,
        errors: errors.into_iter().map(ErrorRow::from).collect(),
        segments: segments.into_iter().map(ChangeRow::from).collect(),
        pending,
        notes,
        file,
    };
    // JSON and YAML have them among the data.
    for error in applied.errors.iter().filter(|_| output.is_table()) {
        output.error(&error.sentence(&applied.file), error.hint.as_deref());
    }
    output.data(&applied, |applied| changes(applied, output))?;
    for note in &applied.notes {
        output.warning(note);
    }
    for waits in &applied.pending {
        output.warning(&format!("pending: {waits}"));
    }
    if !applied.errors.is_empty() {
        return Err(misconfigured(&applied, output));
    }
    let lost = if dry_run { "would be lost" } else { "lost" };
    for segment in &applied.segments {
        output.losses(lost, &segment.losses);
        if !segment.unchecked.is_empty() {
            output.warning(&format!(
                "segment {}: unknown whether its subnet overlaps a network of {}, out of reach",
                segment.name,
                segment.unchecked.join(", ")
            ));
        }
    }
    if dry_run {
        let costs = applied.segments.iter().any(|segment| !segment.losses.is_empty());
        output.note(match costs && !force {
            true => "dry run: nothing was changed; without --force it would be refused",
            false => "dry run: nothing was changed",
        });
    }
    Ok(())
}

/// What was wrong is printed; this is the sum of it.
fn misconfigured(applied: &Applied, output: &Output) -> Failure {
    let count = applied.errors.len();
    let sum = format!(
        "{count} error{}; nothing was applied",
        if count == 1 { "" } else { "s" }
    );
    if output.is_table() {
        output.note(&sum);
        return Failure::Reported;
    }
    Failure::Refused {
        message: format!("{}: {sum}", applied.file),
        hint: None,
        losses: Vec::new(),
        more: 0,
    }
}

/// What was applied on trial stays.
pub(super) async fn confirm(client: &Client, output: &Output) -> Result<(), Failure> {
    let request = ApplyConfirmRequest {};
    let answer = client
        .ask(
            output,
            SHORT,
            |mut calls| async move { calls.apply_confirm(request).await },
        )
        .await?;
    let confirmed = Confirmed {
        segments: answer.segments,
    };
    output.outcome(&confirmed, &format!("confirmed: {}", confirmed.segments.join(", ")))
}

fn changes(applied: &Applied, output: &Output) -> String {
    let mut text = String::new();
    for segment in &applied.segments {
        let tone = match segment.change {
            "added" => Tone::Good,
            "changed" => Tone::Warn,
            _ => Tone::Plain,
        };
        let change = output.styled(segment.change, tone);
        text.push_str(&format!(
            "{}: {change} (generation {})\n",
            segment.name, segment.generation
        ));
        for FieldRow { key, old, new } in &segment.fields {
            text.push_str(&match (old, new) {
                (None, None) => format!("  {key}\n"),
                (None, Some(new)) => format!("  {key}: {new}\n"),
                (Some(old), None) => format!("  {key}: {old} → (unset)\n"),
                (Some(old), Some(new)) => format!("  {key}: {old} → {new}\n"),
            });
        }
    }
    text
}
