//! `man`: the manual, from the definition of the command line.

use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use crate::args::Arguments;
use crate::failure::Failure;
use crate::output::Output;

/// Prints the whole tool as one page, or writes one page per command into `dir`.
///
/// # Errors
/// `dir` cannot be made or written.
pub(super) fn run(dir: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let page = whole().context("cannot render the manual page")?;
        return output.raw(&page);
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), dir))
        .with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
    output.note(&format!("manual pages written to {}", dir.display()));
    Ok(())
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
    for command in leaves(&tool) {
        chapter(&command, &mut roff)?;
    }
    examples(&tool, &mut roff)?;
    page.render_version_section(&mut roff)?;
    Ok(roff)
}

/// The commands that do something: those below `peer`, not `peer` itself.
fn leaves(command: &Command) -> Vec<Command> {
    let mut found = Vec::new();
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let own = leaves(below);
        if own.is_empty() {
            found.push(below.clone())
        } else {
            found.extend(own)
        }
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
