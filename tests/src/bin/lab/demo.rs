//! `lab demo`: the main job as a story, on real agents, a real kernel and a real DHCP client.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use overlayd_tests::install::{LABORATORY, Programs};
use overlayd_tests::story::Story;
use overlayd_tests::wait::{until, wait_for};
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::BLUE;
use overlayd_tests::{Guest, Plan, World};
use serde_json::json;

use super::play::Laboratory;

/// How many steps are told.
const STEPS: usize = 15;

/// How long hosts may take to know each other.
const FORMS: Duration = Duration::from_secs(10);

/// How long the gateway may take to move; a dead host's kernel is silent, so a second is expected.
const MOVES: Duration = Duration::from_secs(15);

/// Underlay 1500 bytes less the 50 of VXLAN over IPv4.
const MTU: u64 = 1450;

/// Tells it; the exit status is 0 only if every step held.
pub(crate) fn run(laboratory: &Laboratory, keep: bool) -> ExitCode {
    let mut story = Story::begin(
        "overlayd: three hosts, one segment; guests get a lease, reach each other and the outside; the gateway dies",
        STEPS,
    );
    let mut world = None;
    let told = tell(laboratory, &mut story, &mut world);
    match told {
        Ok(()) => {
            story.end("Every step held.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let report = world.as_ref().map(|world| world.report(20)).unwrap_or_default();
            story.fail(&error, &report);
            if let Some(world) = world.filter(|_| keep) {
                match world.leave_up() {
                    Ok(()) => {
                        let lab = laboratory.call();
                        super::println(&format!(
                            "The laboratory is still up: `{lab} shell hv1` goes in, `{lab} down` takes it down."
                        ));
                    }
                    Err(error) => super::eprintln(&format!("error: {error:#}")),
                }
            }
            ExitCode::FAILURE
        }
    }
}

/// `held` keeps the laboratory for whoever looks for a fault; after the last step it is gone.
fn tell(laboratory: &Laboratory, story: &mut Story, held: &mut Option<World>) -> Result<()> {
    super::packages(story, LABORATORY)?;
    let programs = story.step("overlayd and overlayctl, built from this source", |_| Programs::built())?;
    let world = story.step("three hosts, a switch and an internet, in namespaces", |shown| {
        let world = laboratory.wire(&Plan::default(), &programs)?;
        for host in world.hosts() {
            shown.line(format!(
                "{} {} on eth0, MTU {}",
                host.name(),
                host.address(),
                host.mtu_of("eth0")?
            ));
        }
        Ok(world)
    })?;
    let world = held.insert(world);
    form(story, world)?;
    segment(story, world)?;
    let guests = guests(story, world)?;
    reach(story, world, &guests)?;
    gateway_dies(story, world, &guests)?;
    let world = held.take().context("the laboratory was built")?;
    story.step("everything is taken down, nothing is left", |_| {
        drop(guests);
        drop(world);
        let prefix = laboratory.prefix();
        let left = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let left: Vec<_> = left
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with(&prefix))
            .collect();
        ensure!(left.is_empty(), "left behind: {}", left.join(" "));
        Ok(())
    })
}

fn form(story: &mut Story, world: &World) -> Result<()> {
    let [hv1, hv2, hv3] = ["hv1", "hv2", "hv3"].map(|name| world.host(name));
    story.step("hv1 forms a cluster; hv2 finds it by its `join:` list", |shown| {
        hv1.start_agent(&json!({}))?;
        shown.line(format!("hv1# overlayctl init\n{}", hv1.ctl(&["init"])?));
        hv2.start_agent(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        world.all_know_each_other(FORMS).map(|_| ())
    })?;
    story.step("hv3, alone so far, joins through hv2", |shown| {
        hv3.start_agent(&json!({}))?;
        hv3.ctl(&["join", &hv2.address().to_string()])?;
        let took = world.all_know_each_other(FORMS)?;
        shown.line(format!("hv3# overlayctl join {}", hv2.address()));
        shown.line(format!("all three know each other {} ms later", took.as_millis()));
        shown.line(hv1.ctl(&["peer", "list"])?);
        Ok(())
    })
}

fn segment(story: &mut Story, world: &World) -> Result<()> {
    story.step("a segment, applied once on hv2, is on every host", |shown| {
        world.apply("hv2", BLUE)?;
        shown.line(BLUE);
        shown.line("hv2# overlayctl apply -f blue.yaml");
        for host in world.hosts() {
            let (floods, _) = wait_for("every host floods to the others", FORMS, || {
                let floods = host.flood_list("vx-blue")?;
                ensure!(
                    floods.len() == world.hosts().len() - 1,
                    "{} floods to {floods:?}",
                    host.name()
                );
                Ok(floods)
            })?;
            shown.line(format!("{}: br-blue, vx-blue to {}", host.name(), floods.join(" and ")));
        }
        Ok(())
    })?;
    story.step("one host is elected gateway", |shown| {
        world.gateway("blue", FORMS)?;
        shown.line(world.host("hv1").ctl(&["gateway", "list"])?);
        Ok(())
    })
}

fn guests(story: &mut Story, world: &World) -> Result<Vec<Guest>> {
    story.step("a guest on each host gets a lease by udhcpc", |shown| {
        let mut guests = Vec::new();
        for host in world.hosts() {
            let guest = world.guest(host.name(), "br-blue")?;
            let begun = std::time::Instant::now();
            let has = guest.dhcp()?;
            let told = guest.lease()?.remove("mtu").unwrap_or_default();
            ensure!(
                has.mtu == MTU && told == MTU.to_string(),
                "{} was told an MTU of {told:?} and uses {}, not {MTU}",
                guest.name(),
                has.mtu
            );
            shown.line(format!(
                "{} on {}: {}/{}, told an MTU of {told}, in {} ms",
                guest.name(),
                guest.host(),
                has.address,
                has.prefix,
                begun.elapsed().as_millis()
            ));
            guests.push(guest);
        }
        shown.line(world.host("hv3").ctl(&["lease", "list"])?);
        Ok(guests)
    })
}

fn reach(story: &mut Story, world: &World, guests: &[Guest]) -> Result<()> {
    story.step(
        "guests reach each other across hosts, with packets of full size",
        |shown| {
            for from in guests {
                for to in guests.iter().filter(|to| to.name() != from.name()) {
                    let address = to.configured()?.address;
                    from.ping(address)?;
                    from.ping_whole(address, MTU as usize)?;
                    shown.line(format!(
                        "{} → {} {address}: {MTU} bytes, in one piece",
                        from.name(),
                        to.name()
                    ));
                }
            }
            Ok(())
        },
    )?;
    story.step("and the outside, behind the gateway host's address", |shown| {
        let gateway = world.gateway("blue", FORMS)?;
        for guest in guests {
            guest.ping(SERVER)?;
            let seen = guest.address_outside()?;
            let expected: IpAddr = world.host(&gateway).address();
            ensure!(seen == expected, "{SERVER} sees {seen}, not {expected}: no NAT");
            shown.line(format!(
                "{} → {SERVER}: ping and TCP; the server sees {seen}, {gateway}",
                guest.name()
            ));
        }
        Ok(())
    })?;
    story.step(
        "an agent is killed and started again: not one packet is lost",
        |shown| {
            let gateway = world.gateway("blue", FORMS)?;
            let host = world.host(&gateway);
            let guest = guests
                .iter()
                .find(|guest| guest.host() != gateway)
                .context("a guest elsewhere")?;
            let ping = guest.keep_pinging(SERVER)?;
            until("pings are answered", FORMS, || Ok(ping.answers() > 20))?;
            host.kill_agent();
            host.restart_agent()?;
            world.all_know_each_other(FORMS)?;
            let told = ping.finish()?;
            shown.line(format!(
                "{gateway}, the gateway's: kill -9; {} pings from {} every 10 ms, {} lost",
                told.sent,
                guest.name(),
                told.lost()
            ));
            ensure!(told.lost() == 0, "{} of {} pings were lost", told.lost(), told.sent);
            Ok(())
        },
    )
}

fn gateway_dies(story: &mut Story, world: &World, guests: &[Guest]) -> Result<()> {
    let dead = world.gateway("blue", FORMS)?;
    let survivors: Vec<&Guest> = guests.iter().filter(|guest| guest.host() != dead).collect();
    let guest = *survivors.first().context("a guest on another host")?;
    let had = guest.configured()?;
    story.step(&format!("{dead}, the gateway host, dies: power and cable"), |shown| {
        let ping = guest.keep_pinging(SERVER)?;
        until("pings are answered", FORMS, || Ok(ping.answers() > 20))?;
        let before = ping.answers();
        world.switch.unplug(&dead)?;
        world.host(&dead).kill_agent();
        let (gateway, _) = wait_for("another host is the gateway", MOVES, || {
            let gateway = world.gateway("blue", MOVES)?;
            ensure!(gateway != dead, "the hosts still name {dead}");
            Ok(gateway)
        })?;
        until("pings are answered again", MOVES, || Ok(ping.answers() > before + 100))?;
        let told = ping.finish()?;
        let (name, lost, pause) = (guest.name(), told.lost(), told.pause.as_millis());
        shown.line(format!(
            "{name} on {} pings {SERVER} every 10 ms all the while",
            guest.host()
        ));
        shown.line(format!(
            "pause: {pause} ms, {lost} pings lost; the gateway is {gateway} now"
        ));
        Ok(())
    })?;
    story.step("the guests go on and keep their leases", |shown| {
        for guest in &survivors {
            let before = guest.configured()?.address;
            let lease = guest.renew()?;
            let address = lease.get("address").map(String::as_str).unwrap_or_default();
            ensure!(
                address == before.to_string(),
                "{} had {before} and now has {address}",
                guest.name()
            );
            shown.line(format!("{} renews {address} at the new gateway", guest.name()));
        }
        ensure!(
            guest.configured()?.address == had.address,
            "{} lost its address",
            guest.name()
        );
        let gateway = world.gateway("blue", FORMS)?;
        let seen = guest.address_outside()?;
        ensure!(
            seen == world.host(&gateway).address(),
            "{SERVER} sees {seen}, not {gateway}"
        );
        shown.line(format!(
            "{} → {SERVER} by TCP; the server sees {seen}, {gateway}",
            guest.name()
        ));
        Ok(())
    })?;
    story.step(&format!("{dead} comes back by itself"), |shown| {
        world.switch.replug(&dead)?;
        world.host(&dead).restart_agent()?;
        let took = world.all_know_each_other(FORMS)?;
        let back = guests
            .iter()
            .find(|guest| guest.host() == dead)
            .context("it has a guest")?;
        back.ping(SERVER)?;
        shown.line(format!(
            "known to all {:.1} s after its start; {} is online again",
            took.as_secs_f64(),
            back.name()
        ));
        // It served when it died, and learns first that it does no more, then who does.
        world.gateway("blue", FORMS)?;
        shown.line(world.host("hv1").ctl(&["status"])?);
        Ok(())
    })
}
