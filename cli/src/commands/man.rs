//! `man`: the manual. overlayctl(1) comes from the definition of the command line, overlayd.yaml(5) from the reference of all
//! keys, overlayd(8) is written by hand.

use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::args::{Arguments, Page};
use crate::failure::Failure;
use crate::output::Output;

const OVERLAYD: &str = include_str!("../../../docs/overlayd.8");
const REFERENCE: &str = include_str!("../../../examples/every-key.yaml");

/// Prints a page, this tool's as one; or writes all of them, one per command, into folders of `dir`.
///
/// # Errors
/// `dir` cannot be made or written.
pub(super) fn run(page: Page, dir: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let Some(dir) = dir else {
        return match page {
            Page::Overlayctl => output.raw(&whole().context("cannot render the manual page")?),
            Page::Overlayd => output.raw(OVERLAYD.as_bytes()),
            Page::OverlaydYaml => output.raw(configuration().as_bytes()),
        };
    };
    write(dir).with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
    output.note(&format!("manual pages written to {}", dir.display()));
    Ok(())
}

fn write(dir: &Path) -> std::io::Result<()> {
    let [commands, files, daemons] = ["man1", "man5", "man8"].map(|section| dir.join(section));
    for section in [&commands, &files, &daemons] {
        std::fs::create_dir_all(section)?;
    }
    clap_mangen::generate_to(Arguments::command(), commands)?;
    std::fs::write(files.join("overlayd.yaml.5"), configuration())?;
    std::fs::write(daemons.join("overlayd.8"), OVERLAYD)
}

/// overlayd.yaml(5): what is common, and the reference as it is.
fn configuration() -> String {
    let mut page = format!(
        "\
.TH overlayd.yaml 5 \"\" \"overlayd {}\"
.SH NAME
overlayd.yaml \\- configuration of overlayd: a host and its segments
.SH SYNOPSIS
/etc/overlayd/overlayd.yaml
.SH DESCRIPTION
The file of one host, in YAML. Every key has a default; a file that is missing or empty is one of defaults alone. A list of
segments may also stand in a file of its own, which \\fBoverlayctl apply \\-f\\fR FILE gives to the whole cluster.
.PP
\\fBoverlayd \\-\\-check\\fR reads the file, prints every error with its place, and what a start would change.
\\fBsystemctl reload overlayd\\fR (SIGHUP) reads it again; the log names each key that has changed and what became of it.
\\fIstate_dir\\fR, \\fIcontrol_socket\\fR and \\fImetrics\\fR need a restart.
.SH KEYS
This is the reference with every key: not a configuration to be used as it is.
.PP
.nf
",
        env!("CARGO_PKG_VERSION")
    );
    for line in REFERENCE.lines() {
        // What begins with a dot or a quote would be a request.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        page.push_str(&format!("{guard}{}\n", line.replace('\\', "\\e")));
    }
    page.push_str(".fi\n.SH SEE ALSO\n.BR overlayd (8),\n.BR overlayctl (1)\n");
    page
}

fn whole() -> std::io::Result<Vec<u8>> {
    let mut tool = Arguments::command();
    tool.build();
    let page = Man::new(tool.clone());
    let mut roff = Vec::new();
    page.render_title(&mut roff)?;
    page.render_name_section(&mut roff)?;
    page.render_synopsis_section(&mut roff)?;
    page.render_description_section(&mut roff)?;
    page.render_options_section(&mut roff)?;
    for command in acting(&tool) {
        chapter(&command, &mut roff)?;
    }
    examples(&tool, &mut roff)?;
    page.render_version_section(&mut roff)?;
    Ok(roff)
}

/// The commands that do something: those below `peer`, not `peer` itself; `apply`, and what is below it.
fn acting(command: &Command) -> Vec<Command> {
    let mut found = Vec::new();
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        if !below.is_subcommand_required_set() {
            found.push(below.clone());
        }
        found.extend(acting(below));
    }
    found
}

/// One command as a chapter of the page; what every command takes, told once for all, is left out.
fn chapter(command: &Command, roff: &mut Vec<u8>) -> std::io::Result<()> {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let own = command.clone().mut_args(|arg| {
        let everywhere = arg.is_global_set() || arg.get_id() == "help";
        arg.hide(everywhere)
    });
    let has_arguments = own.get_arguments().any(|arg| !arg.is_hide_set());
    let page = Man::new(own);
    let mut text = Vec::new();
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    if has_arguments {
        page.render_options_section(&mut text)?;
    }
    examples(command, &mut text)?;
    roff.extend_from_slice(format!(".SH \"{}\"\n", name.to_uppercase()).as_bytes());
    // Sections of a page of its own are subsections here.
    roff.extend_from_slice(String::from_utf8_lossy(&text).replace(".SH ", ".SS ").as_bytes());
    Ok(())
}

/// What stands below a command's help, as a section.
fn examples(command: &Command, roff: &mut Vec<u8>) -> std::io::Result<()> {
    if command.get_after_help().is_none() {
        return Ok(());
    }
    let mut text = Vec::new();
    Man::new(command.clone()).render_extra_section(&mut text)?;
    for line in String::from_utf8_lossy(&text).lines() {
        match line {
            ".SH EXTRA" => roff.extend_from_slice(b".SH EXAMPLES\n"),
            "Example:" | "Examples:" => {}
            line => roff.extend_from_slice(format!("{line}\n").as_bytes()),
        }
    }
    Ok(())
}
