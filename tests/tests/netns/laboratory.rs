//! The laboratory itself: what it wires, cuts and takes down.

use std::time::Duration;

use anyhow::Result;
use overlayd_tests::ledger::{Entries, sweep};
use overlayd_tests::wait::until;
use overlayd_tests::wiring::{SERVER, SERVER6};
use overlayd_tests::world::tell;
use overlayd_tests::{Plan, World};

const SOON: Duration = Duration::from_secs(3);

fn reaches(world: &World, from: &str, to: impl ToString) -> Result<bool> {
    let ping = format!("ping -n -c 1 -W 1 {} >/dev/null && echo yes || :", to.to_string());
    Ok(world.host(from).namespace().sh(&ping)? == "yes\n")
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn hosts_reach_each_other_and_the_internet_until_they_are_cut() {
    tell(&Plan::default(), |world| {
        let hv2 = world.host("hv2").address();
        until("hv1 reaches hv2", SOON, || reaches(world, "hv1", hv2))?;
        until("hv3 reaches the internet", SOON, || reaches(world, "hv3", SERVER))?;
        until("hv3 reaches it by IPv6", SOON, || reaches(world, "hv3", SERVER6))?;

        world.switch.cut("hv1", "hv2")?;
        assert!(!reaches(world, "hv1", hv2)?, "cut");
        assert!(reaches(world, "hv3", hv2)?, "not cut");
        world.switch.heal()?;
        assert!(reaches(world, "hv1", hv2)?, "healed");

        world.switch.unplug("hv2")?;
        assert!(!reaches(world, "hv1", hv2)?, "unplugged");
        world.switch.replug("hv2")?;
        until("hv1 reaches hv2 again", SOON, || reaches(world, "hv1", hv2))?;

        world.switch.drop_where("oifname hv2 ip protocol icmp")?;
        assert!(!reaches(world, "hv1", hv2)?, "dropped");
        world.switch.heal()?;
        world.switch.lose("hv2", 50)?;
        let count = format!("ping -n -q -i 0.01 -c 200 {hv2} | grep -o '[0-9]* received' || :");
        let told = world.host("hv1").namespace().sh(&count)?;
        let answered: u32 = told.split_whitespace().next().unwrap_or("200").parse()?;
        assert!((40..160).contains(&answered), "half of 200 pings: {told}");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_laboratory_leaves_nothing_behind() {
    let world = World::new(&Plan::default()).unwrap();
    let folder = world.host("hv1").folder().parent().unwrap().to_owned();
    let entries = Entries::read(&folder).unwrap();
    assert_eq!(entries.namespaces.len(), 5, "three hosts, a switch, an internet");
    assert!(
        entries
            .namespaces
            .iter()
            .all(overlayd_tests::namespace::Namespace::exists)
    );
    assert!(
        !sweep().contains(&folder.file_name().unwrap().to_string_lossy().into_owned()),
        "in use"
    );
    drop(world);
    assert!(
        !entries
            .namespaces
            .iter()
            .any(overlayd_tests::namespace::Namespace::exists)
    );
    assert!(!folder.exists());
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn what_a_crashed_laboratory_left_is_swept() {
    use overlayd_tests::ledger::BASE;
    use overlayd_tests::namespace::{Namespace, make};
    use overlayd_tests::process::Identity;
    use std::process::Command;

    let instance = format!("t{}-crashed", std::process::id());
    let folder = std::path::Path::new(BASE).join(&instance);
    std::fs::create_dir_all(&folder).unwrap();
    let namespace = Namespace::named(format!("ov-{instance}"));
    make(&[&namespace]).unwrap();
    let mut left = Command::new("sleep").arg("60").spawn().unwrap();
    let left_id = Identity::of(left.id() as i32).unwrap();
    // Its owner ended: no process has this start time any more.
    let ledger = format!(
        "owner 1 0\nnamespace {}\nprocess {} {} sleep\nprocess 1 0 somebody else now\nnames",
        namespace.name(),
        left_id.pid,
        left_id.started
    );
    std::fs::write(folder.join("ledger"), ledger).unwrap();
    // Another laboratory of this run may be the one that sweeps.
    let reaper = std::thread::spawn(move || left.wait());
    let _ = sweep();
    until("it is swept", SOON, || Ok(!folder.exists())).unwrap();
    assert!(!namespace.exists());
    assert!(!left_id.is_alive());
    reaper.join().unwrap().unwrap();
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_laboratory_by_name_stands_beside_others_and_its_agents_hear_every_signal() {
    use overlayd_tests::install::Programs;
    use overlayd_tests::ledger::BASE;

    let programs = Programs::built().unwrap();
    let name = format!("n{}", std::process::id() % 1_000_000);
    let lab = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lab"));
        command.args(["--name", &name]).args(arguments);
        let output = command.env("OVERLAYD_PROGRAMS", programs.agent.parent().unwrap());
        let output = output.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "lab {arguments:?}: {said}");
    };
    lab(&["up", "--hosts", "1"]);
    let folder = std::path::Path::new(BASE).join(&name);
    let entries = Entries::read(&folder).unwrap();
    for (process, what) in &entries.processes {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        assert_eq!(blocked.trim(), "0000000000000000", "{what}");
    }
    lab(&["shell", "hv1", "--", "overlayctl", "status"]);
    lab(&["down"]);
    assert!(!folder.exists());
    assert!(entries.namespaces.iter().all(|namespace| !namespace.exists()));
}
