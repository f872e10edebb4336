//! `lab up`, `status`, `shell`, `down`: a laboratory to play in.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use overlayd_tests::install::{LABORATORY, Programs};
use overlayd_tests::ledger::{self, BASE, Entries};
use overlayd_tests::story::Story;
use overlayd_tests::wait::wait_for;
use overlayd_tests::world::{BLUE, BLUE_MULTICAST, Underlay};
use overlayd_tests::{Guest, Plan, World};

/// Which laboratory; several stand side by side.
#[derive(Clone, Debug)]
pub(crate) struct Laboratory(String);

impl FromStr for Laboratory {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        ensure!(
            (1..=12).contains(&name.len()) && name.bytes().all(fits),
            "up to 12 lower-case letters and digits"
        );
        Ok(Self(name.to_owned()))
    }
}

impl Laboratory {
    /// What its namespaces begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("ov-{}-", self.0)
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> PathBuf {
        Path::new(BASE).join(&self.0)
    }

    /// Wires it.
    ///
    /// # Errors
    /// As [`World::named`].
    pub(crate) fn wire(&self, plan: &Plan, programs: &Programs) -> Result<World> {
        World::named(&self.0, &self.prefix(), plan, programs)
    }

    /// `./lab`, with the option that means this one.
    pub(crate) fn call(&self) -> String {
        match self.0.as_str() {
            "lab" => "./lab".to_owned(),
            name => format!("./lab --name {name}"),
        }
    }

    /// What a crashed laboratory left is cleaned up; one that is up stays.
    ///
    /// # Errors
    /// It is up.
    pub(crate) fn is_not_up(&self) -> Result<()> {
        let lab = self.call();
        ensure!(
            !Entries::read(&self.folder()).is_some_and(|entries| entries.stays),
            "this laboratory is up already\nhint: `{lab} shell hv1` goes in, `{lab} down` takes it down; `--name NAME` makes \
             another one beside it"
        );
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// How many hosts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    hosts: u8,
    /// The segment's traffic between the hosts goes to a multicast group on their second NIC
    #[arg(long)]
    multicast: bool,
    /// The hosts reach each other over IPv6
    #[arg(long, conflicts_with = "multicast")]
    ipv6_underlay: bool,
}

/// Builds the laboratory and leaves it up.
pub(crate) fn up(laboratory: &Laboratory, up: &Up) -> Result<()> {
    laboratory.is_not_up()?;
    let mut story = Story::begin("overlayd: a laboratory to play in", 5);
    super::packages(&mut story, LABORATORY)?;
    let programs = story.step("overlayd and overlayctl, built from this source", |_| Programs::built())?;
    let plan = Plan {
        hosts: up.hosts,
        underlay: match up.ipv6_underlay {
            true => Underlay::V6,
            false => Underlay::V4,
        },
    };
    let world = laboratory.wire(&plan, &programs)?;
    let built = furnish(&world, up, &mut story);
    if let Err(error) = built {
        story.fail(&error, &world.report(20));
        return Err(error);
    }
    for guest in built? {
        guest.release();
    }
    world.leave_up()?;
    story.end("It is up.");
    let lab = laboratory.call();
    super::println(&format!(
        "\n{lab} status                  what every host says\n\
         {lab} shell hv1               a shell on a host: try overlayctl status, ip -d link, nft list ruleset\n\
         {lab} shell guest1 -- ping 203.0.113.1\n\
         {lab} down                    takes it down"
    ));
    Ok(())
}

fn furnish(world: &World, up: &Up, story: &mut Story) -> Result<Vec<Guest>> {
    story.step("the hosts' agents form a cluster", |shown| {
        world.form()?;
        for host in world.hosts() {
            shown.line(format!("{} {}", host.name(), host.address()));
        }
        Ok(())
    })?;
    story.step("the segment blue, and a gateway for it", |shown| {
        world.apply("hv1", if up.multicast { BLUE_MULTICAST } else { BLUE })?;
        world.gateway("blue", Duration::from_secs(10))?;
        shown.line(world.host("hv1").ctl(&["gateway", "list"])?);
        Ok(())
    })?;
    story.step("a guest on each host, with a lease", |shown| {
        let mut guests = Vec::new();
        for host in world.hosts() {
            let guest = world.guest(host.name(), "br-blue")?;
            let has = guest.dhcp()?;
            shown.line(format!("{} on {}: {}", guest.name(), guest.host(), has.address));
            guests.push(guest);
        }
        Ok(guests)
    })
}

/// What every host says.
pub(crate) fn status(laboratory: &Laboratory) -> Result<()> {
    let (folder, places) = places(laboratory)?;
    let programs = Programs::as_built()?;
    for host in places.iter().filter(|place| place.starts_with("hv")) {
        super::println(&format!("=== {host}"));
        let socket = folder.join(host).join("control.sock");
        let mut command = Command::new(&programs.operator);
        // An agent that does not run says so itself.
        command.arg("--socket").arg(socket).arg("status").status()?;
    }
    Ok(())
}

/// The folder of the laboratory, which is up, and its places by name.
fn places(laboratory: &Laboratory) -> Result<(PathBuf, Vec<String>)> {
    let folder = laboratory.folder();
    let entries = Entries::read(&folder)
        .with_context(|| format!("this laboratory is not up: `{} up` builds one", laboratory.call()))?;
    let prefix = laboratory.prefix();
    let places = entries
        .namespaces
        .iter()
        .filter_map(|namespace| namespace.name().strip_prefix(&prefix))
        .map(str::to_owned)
        .collect();
    Ok((folder, places))
}

/// A shell, or a command, in one place of the laboratory; its exit status.
pub(crate) fn shell(laboratory: &Laboratory, place: &str, command: &[String]) -> ExitCode {
    let error = match enter(laboratory, place, command) {
        Ok(error) => anyhow::Error::from(error).context("cannot enter"),
        Err(error) => error,
    };
    super::eprintln(&format!("error: {error:#}"));
    ExitCode::FAILURE
}

/// Becomes the shell or command; returns only if that fails.
fn enter(laboratory: &Laboratory, place: &str, command: &[String]) -> Result<std::io::Error> {
    let (folder, places) = places(laboratory)?;
    ensure!(
        places.iter().any(|known| known == place),
        "no {place} here; there are {}",
        places.join(", ")
    );
    let programs = Programs::as_built()?;
    let bin = programs
        .agent
        .parent()
        .unwrap_or(Path::new("/usr/bin"))
        .display()
        .to_string();
    let path = env::var("PATH").unwrap_or_default();
    let shell = env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let mut entered = Command::new("ip");
    entered.args(["netns", "exec", &format!("{}{place}", laboratory.prefix())]);
    match command {
        [] => entered.arg(&shell),
        [program, arguments @ ..] => entered.arg(program).args(arguments),
    };
    entered
        .env("PATH", format!("{bin}:{path}:/usr/sbin:/sbin"))
        .env("OVERLAYD_SOCKET", folder.join(place).join("control.sock"))
        .env("PS1", format!("{place}# "));
    Ok(entered.exec())
}

/// Takes the laboratory down, and what crashed ones left.
pub(crate) fn down(laboratory: &Laboratory) -> Result<()> {
    let folder = laboratory.folder();
    let was_up = folder.exists();
    // A namespace may be busy for a moment while its processes end.
    wait_for("the laboratory is down", Duration::from_secs(5), || {
        ledger::clean(&folder)
    })?;
    for left in ledger::sweep() {
        super::println(&format!("removed what the laboratory {left} left"));
    }
    super::println(match was_up {
        true => "down: its processes, namespaces and files are gone",
        false => "no laboratory was up",
    });
    Ok(())
}
