//! Directed histories of the whole world: what operators plan, and what only some clusters have.

use super::core::election::{ElectionCandidacy, ElectionUplink, GroupId};
use super::stage::must;
use super::{GroupTruth, MS, Weather, What, World};
use crate::report::Violation;

/// A quick network without losses, with all hosts up and one group settled.
pub(super) fn settled(hosts: usize, before: impl FnOnce(&mut World)) -> Result<(World, GroupId), Violation> {
    let weather = Weather {
        loss_per_mille: 0,
        delay: (200, 600),
        duplicates_per_mille: 0,
    };
    let mut world = World::new(1, hosts, weather);
    let group = world.add_group(7, 0..hosts);
    before(&mut world);
    for index in 0..hosts {
        world.machines[index].known = true;
    }
    for index in 0..hosts {
        world.machines[index].boot(0);
        world.start_agent(index);
    }
    if hosts > 7 {
        world.at(1000 * MS, What::Membership);
    }
    world.run(11_000 * MS)?;
    // What a story plans is no fault of the gateway's.
    world.predicates.upheaval(world.now);
    Ok((world, group))
}

pub(super) fn holder(world: &World, group: GroupId) -> Option<usize> {
    (0..world.machines.len()).find(|index| world.machines[*index].holds(group))
}

/// Runs on, and says for how long no kernel had the address.
pub(super) fn silence(world: &mut World, group: GroupId, millis: u64) -> Result<u64, Violation> {
    let mut silent = 0;
    for _ in 0..millis {
        world.run(world.now + MS)?;
        let served = (0..world.machines.len()).any(|index| world.has_address(index, group, world.now));
        silent += u64::from(!served);
    }
    Ok(silent)
}

/// Tells every host what has changed.
pub(super) fn tell(world: &mut World) {
    for host in 0..world.machines.len() {
        world.at(world.now + 5 * MS, What::View { host });
    }
}

pub(super) fn hand_over() -> Result<(), Violation> {
    let (world, group) = settled(3, |_| {})?;
    moved(world, group)
}

/// A host that does not hear the holder claims again and again, and is refused: its term grows and grows.
pub(super) fn hand_over_after_a_cut() -> Result<(), Violation> {
    let (mut world, group) = settled(3, |_| {})?;
    let Some(before) = holder(&world, group) else {
        return must(false, "a settled group has a gateway", ());
    };
    let third = (before + 2) % 3;
    for up in [false, true] {
        world.up[before][third] = up;
        world.links_changed();
        world.run(world.now + 8_000 * MS)?;
    }
    must(holder(&world, group) == Some(before), "nobody is deposed", ())?;
    moved(world, group)
}

fn moved(mut world: World, group: GroupId) -> Result<(), Violation> {
    let Some(before) = holder(&world, group) else {
        return must(false, "a settled group has a gateway", ());
    };
    let (to, asked) = ((before + 1) % 3, (before + 2) % 3);
    let (id, now) = (world.machines[to].id, world.machines[asked].clock(world.now));
    let moving = world.machines[asked]
        .election
        .as_mut()
        .map(|election| election.move_gateway(group, Some(id), now));
    must(matches!(moving, Some(Ok(_))), "any host may ask for a move", &moving)?;
    world.drain(asked);
    let silent = silence(&mut world, group, 1000)?;
    must(
        holder(&world, group) == Some(to),
        "the gateway is where it was moved to",
        holder(&world, group),
    )?;
    must(silent <= 50, "a planned hand-over is silent for 50 ms at most", silent)?;
    // It stays: the former holder does not take it back.
    world.run(world.now + 10_000 * MS)?;
    must(
        holder(&world, group) == Some(to),
        "a moved gateway stays",
        holder(&world, group),
    )
}

/// An operator drains a host, or its agent is about to end.
pub(super) fn gives_way(world: &mut World, host: usize, candidacy: ElectionCandidacy) {
    world.predicates.upheaval(world.now);
    let now = world.machines[host].clock(world.now);
    world.machines[host].candidacy = candidacy;
    if let Some(election) = &mut world.machines[host].election {
        election.set_candidacy(candidacy, now);
    }
    world.drain(host);
    tell(world);
}

pub(super) fn drain() -> Result<(), Violation> {
    let (mut world, group) = settled(3, |_| {})?;
    let Some(before) = holder(&world, group) else {
        return must(false, "a settled group has a gateway", ());
    };
    gives_way(&mut world, before, ElectionCandidacy::Drained);
    let silent = silence(&mut world, group, 1000)?;
    let Some(after) = holder(&world, group) else {
        return must(false, "a drained gateway is handed over", ());
    };
    must(
        after != before && silent <= 50,
        "a drained gateway is handed over without silence",
        (after, silent),
    )?;
    // With all others dead the drained host takes it back.
    for index in (0..3).filter(|index| *index != before) {
        world.predicates.upheaval(world.now);
        world.power_off(index);
    }
    world.run(world.now + 10_000 * MS)?;
    must(
        holder(&world, group) == Some(before),
        "a drained host takes the gateway where there is no other",
        holder(&world, group),
    )
}

/// Whichever of the two others does not get ready, the one that does has the gateway before a reboot stops waiting.
pub(super) fn unready() -> Result<(), Violation> {
    for step in [1, 2] {
        let (mut world, group) = settled(3, |_| {})?;
        let Some(before) = holder(&world, group) else {
            return must(false, "a settled group has a gateway", ());
        };
        let (never, ready) = ((before + step) % 3, (before + 3 - step) % 3);
        world.machines[never].prepares = false;
        gives_way(&mut world, before, ElectionCandidacy::Drained);
        let silent = silence(&mut world, group, 9_000)?;
        must(
            holder(&world, group) == Some(ready) && silent <= 50,
            "a drained gateway goes to the host that gets ready, within 9 s",
            (holder(&world, group), silent),
        )?;
    }
    Ok(())
}

pub(super) fn uplink() -> Result<(), Violation> {
    let (mut world, group) = settled(3, |_| {})?;
    let Some(before) = holder(&world, group) else {
        return must(false, "a settled group has a gateway", ());
    };
    world.predicates.upheaval(world.now);
    let now = world.machines[before].clock(world.now);
    world.machines[before].uplink = ElectionUplink::Down;
    if let Some(election) = &mut world.machines[before].election {
        election.set_uplink(ElectionUplink::Down, now);
    }
    world.drain(before);
    tell(&mut world);
    let silent = silence(&mut world, group, 1500)?;
    let still = holder(&world, group);
    must(
        still == Some(before) && silent == 0,
        "the gateway stays for two seconds: the others' uplinks may be gone, too",
        (still, silent),
    )?;
    let silent = silence(&mut world, group, 1500)?;
    let after = holder(&world, group);
    must(
        after.is_some_and(|after| after != before) && silent <= 50,
        "the gateway goes where an uplink works",
        (after, silent),
    )
}

pub(super) fn endless() -> Result<(), Violation> {
    let (mut world, group) = settled(3, |world| {
        world.machines[1].candidacy = ElectionCandidacy::Never;
        world.machines[2].candidacy = ElectionCandidacy::Never;
    })?;
    must(
        holder(&world, group) == Some(0),
        "the only candidate is gateway",
        holder(&world, group),
    )?;
    must(
        world.lifetime(0, group).is_none(),
        "an uncontested address has no lifetime",
        world.lifetime(0, group),
    )?;
    // Its agent is gone for long: the kernel serves on, and nobody takes over.
    world.kill_agent_for_good(0);
    let silent = silence(&mut world, group, 20_000)?;
    must(
        silent == 0 && holder(&world, group).is_none(),
        "it lives on without its agent",
        silent,
    )?;
    world.revive(0);
    world.run(world.now + 1000 * MS)?;
    must(
        holder(&world, group) == Some(0),
        "a restarted agent finds it",
        holder(&world, group),
    )?;
    world.machines[1].candidacy = ElectionCandidacy::Candidate;
    world.predicates.upheaval(world.now);
    tell(&mut world);
    world.run(world.now + 2000 * MS)?;
    must(
        world.lifetime(0, group).is_some(),
        "a contested address has a lifetime",
        (),
    )?;
    world.kill_agent_for_good(0);
    world.run(world.now + 10_000 * MS)?;
    must(
        holder(&world, group) == Some(1),
        "once the address is gone the new candidate takes over",
        holder(&world, group),
    )
}

pub(super) fn removal() -> Result<(), Violation> {
    let (mut world, group) = settled(4, |_| {})?;
    let Some(before) = holder(&world, group) else {
        return must(false, "a settled group has a gateway", ());
    };
    world.predicates.upheaval(world.now);
    world.machines[before].removed = true;
    world.act(before, What::View { host: before });
    must(
        !world.machines[before].holds(group),
        "a removed gateway stops at once",
        (),
    )?;
    tell(&mut world);
    world.run(world.now + 1500 * MS)?;
    let after = holder(&world, group);
    must(
        after.is_some_and(|after| after != before),
        "a removed gateway is replaced",
        after,
    )
}

pub(super) fn nine() -> Result<(), Violation> {
    let (mut world, group) = settled(9, |_| {})?;
    let Some(before) = holder(&world, group) else {
        return must(false, "a settled group has a gateway", ());
    };
    let known = (0..9).filter(|index| {
        let holder = world.machines[*index]
            .election
            .as_ref()
            .and_then(|election| election.holder(group));
        holder.is_some_and(|(host, _)| host == world.machines[before].id)
    });
    must(known.count() == 9, "those that do not vote know the gateway, too", ())?;
    // Four die, one after the other; the last hosts become voters and take the gateway in the end.
    for _ in 0..6 {
        if let Some(next) = holder(&world, group) {
            world.predicates.upheaval(world.now);
            world.power_off(next);
            world.run(world.now + 12_000 * MS)?;
        }
    }
    must(
        holder(&world, group).is_some(),
        "of nine hosts the last three still elect",
        (),
    )
}

pub(super) fn merge() -> Result<(), Violation> {
    let (mut world, first) = settled(3, |world| {
        world.add_group(8, 0..3);
        world.add_group(9, 0..3);
    })?;
    let mut segments = std::collections::BTreeSet::new();
    for truth in std::mem::take(&mut world.groups).into_values() {
        segments.extend(truth.segments);
    }
    world.predicates.upheaval(world.now);
    world.groups.insert(
        first,
        GroupTruth {
            segments,
            hosts: (0..3).collect(),
        },
    );
    tell(&mut world);
    world.run(world.now + 10_000 * MS)?;
    let holding = (0..3).filter(|index| world.machines[*index].holds(first)).count();
    must(holding == 1, "merged groups have one gateway", holding)?;
    let serving = (0..3)
        .filter(|index| world.has_address(*index, first, world.now))
        .count();
    must(serving == 1, "merged groups have their addresses on one host", serving)
}

pub(super) fn nobody() -> Result<(), Violation> {
    let (world, group) = settled(3, |world| {
        for machine in &mut world.machines {
            machine.candidacy = ElectionCandidacy::Never;
        }
    })?;
    must(
        holder(&world, group).is_none(),
        "a part without a candidate has no gateway",
        holder(&world, group),
    )
}
