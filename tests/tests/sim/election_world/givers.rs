//! Directed histories of hosts that give way: drained, about to end, or lacking something.

use super::core::election::{ElectionCandidacy, ElectionUplink, Fitness, GroupId};
use super::plans::{gives_way, holder, settled, silence, tell};
use super::stage::must;
use super::{MS, World};
use crate::report::Violation;

/// A settled group of three, and its gateway.
fn three(before: impl FnOnce(&mut World)) -> Result<(World, GroupId, usize), Violation> {
    let (world, group) = settled(3, before)?;
    match holder(&world, group) {
        Some(gateway) => Ok((world, group, gateway)),
        None => Err(Violation {
            predicate: "a settled group has a gateway",
            detail: String::new(),
        }),
    }
}

/// What a host says of its segments changes.
fn becomes(world: &mut World, host: usize, fitness: Fitness) {
    world.predicates.upheaval(world.now);
    world.machines[host].fitness = fitness;
    tell(world);
}

pub(super) fn all_drained() -> Result<(), Violation> {
    let (mut world, group, _) = three(|world| {
        for machine in &mut world.machines {
            machine.candidacy = ElectionCandidacy::Drained;
        }
    })?;
    for index in 0..3 {
        world.power_off(index);
    }
    world.run(world.now + 1000 * MS)?;
    for index in 0..3 {
        world.revive(index);
    }
    world.predicates.upheaval(world.now);
    world.run(world.now + 9_000 * MS)?;
    must(
        holder(&world, group).is_some(),
        "of hosts that are all drained one is the gateway after a power cut",
        (),
    )
}

pub(super) fn drained_after_uplink() -> Result<(), Violation> {
    let (mut world, group, gateway) = three(|world| {
        world.machines[0].candidacy = ElectionCandidacy::Drained;
        world.machines[2].priority = 200;
    })?;
    must(gateway == 2, "the highest priority comes first", gateway)?;
    world.machines[1].uplink = ElectionUplink::Down;
    let now = world.machines[1].clock(world.now);
    if let Some(election) = &mut world.machines[1].election {
        election.set_uplink(ElectionUplink::Down, now);
    }
    world.drain(1);
    tell(&mut world);
    world.run(world.now + 1000 * MS)?;
    world.predicates.upheaval(world.now);
    world.power_off(2);
    for _ in 0..2000 {
        world.run(world.now + MS)?;
        if let Some(first) = holder(&world, group) {
            return must(first == 1, "a drained host comes after one without uplink", first);
        }
    }
    must(false, "a dead gateway is replaced", ())
}

pub(super) fn departing() -> Result<(), Violation> {
    let (mut world, group, before) = three(|_| {})?;
    let (drained, other) = ((before + 1) % 3, (before + 2) % 3);
    gives_way(&mut world, drained, ElectionCandidacy::Drained);
    gives_way(&mut world, other, ElectionCandidacy::Departing);
    world.run(world.now + 1000 * MS)?;
    gives_way(&mut world, before, ElectionCandidacy::Departing);
    let silent = silence(&mut world, group, 1000)?;
    must(
        holder(&world, group) == Some(drained) && silent <= 50,
        "an agent that is about to end hands over to a drained host",
        (holder(&world, group), silent),
    )?;
    gives_way(&mut world, drained, ElectionCandidacy::Departing);
    for _ in 0..100 {
        world.run(world.now + 100 * MS)?;
        must(
            holder(&world, group) == Some(drained),
            "agents that are about to end do not hand the gateway to each other",
            holder(&world, group),
        )?;
    }
    Ok(())
}

pub(super) fn lacking() -> Result<(), Violation> {
    let (mut world, group, before) = three(|_| {})?;
    let (flaky, whole) = ((before + 1) % 3, (before + 2) % 3);
    for fitness in [Fitness::Lacking, Fitness::Whole] {
        becomes(&mut world, flaky, fitness);
        world.run(world.now + 1000 * MS)?;
    }
    becomes(&mut world, before, Fitness::Lacking);
    let silent = silence(&mut world, group, 1500)?;
    must(
        holder(&world, group) == Some(before) && silent == 0,
        "the gateway stays for two seconds: the others may lack the same",
        (holder(&world, group), silent),
    )?;
    let silent = silence(&mut world, group, 2000)?;
    must(
        holder(&world, group) == Some(whole) && silent <= 50,
        "the gateway goes where its segments have been whole for 10 s",
        (holder(&world, group), silent),
    )?;
    // Whole again it does not take it back; and lacking anew, the host that was flaky is steady by now.
    becomes(&mut world, before, Fitness::Whole);
    world.run(world.now + 12_000 * MS)?;
    must(
        holder(&world, group) == Some(whole),
        "the gateway stays where it has gone",
        holder(&world, group),
    )
}

pub(super) fn lacking_last() -> Result<(), Violation> {
    let (mut world, group, gateway) = three(|world| {
        world.machines[0].fitness = Fitness::Lacking;
        world.machines[1].fitness = Fitness::Lacking;
        world.machines[2].candidacy = ElectionCandidacy::Drained;
    })?;
    must(
        gateway == 2,
        "a host that lacks something comes after all others",
        gateway,
    )?;
    world.predicates.upheaval(world.now);
    world.power_off(2);
    world.run(world.now + 4_000 * MS)?;
    let after = holder(&world, group);
    must(after.is_some(), "it is not barred", after)?;
    world.run(world.now + 15_000 * MS)?;
    must(
        holder(&world, group) == after,
        "where every host lacks something the gateway stays",
        holder(&world, group),
    )
}
