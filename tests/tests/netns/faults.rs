//! What is wrong with a host is said where, what and what to do; and nothing is half done.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use overlayd_tests::dhcp_load::{Client, Load, run};
use overlayd_tests::wait::{throughout, until, wait_for};
use overlayd_tests::wiring::SERVER;
use overlayd_tests::world::{BLUE, Underlay, tell};
use overlayd_tests::{Host, Plan};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

const ONE: Plan = Plan {
    hosts: 1,
    underlay: Underlay::V4,
};

/// The agent ends by itself; its exit status.
fn ends(host: &Host) -> Result<Option<i32>> {
    let (status, _) = wait_for("the agent ends", SOON, || host.agent_ended().context("it runs"))?;
    Ok(status.code())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_bad_configuration_ends_with_2_and_names_every_fault() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        hv1.configure(&json!({ "host": { "name": "h v 1" }, "segments": [
            { "name": "blue", "vni": 0, "ipv4": { "subnet": "192.168.124.0/24", "gateway": "10.0.0.1" } }
        ] }))?;
        hv1.launch_agent()?;
        assert_eq!(ends(hv1)?, Some(2), "{}", hv1.log());
        let log = hv1.log();
        for key in [
            "host.name",
            "segments[0].vni",
            "segments[0].ipv4.gateway",
            "overlayd.yaml:",
        ] {
            assert!(log.contains(key), "{key} in {log}");
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn without_insecure_it_refuses_to_start_and_says_why() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        hv1.configure(&json!({ "cluster": { "insecure": false } }))?;
        hv1.launch_agent()?;
        assert_ne!(ends(hv1)?, Some(0));
        assert!(hv1.log().contains("insecure"), "{}", hv1.log());
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_taken_port_is_named_and_the_agent_may_be_started_again() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        let listener = hv1
            .namespace()
            .within(|| Ok(std::net::TcpListener::bind(("0.0.0.0", 7480))?))?;
        hv1.configure(&json!({}))?;
        hv1.launch_agent()?;
        until("it names the port", SOON, || Ok(hv1.log().contains("7480")))?;
        drop(listener);
        // It has ended, and is started again as its unit would.
        assert_eq!(ends(hv1)?, Some(1));
        hv1.launch_agent()?;
        until("it listens", SOON, || {
            Ok(hv1.namespace().sh("ss -Hltn")?.contains(":7480"))
        })?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_state_directory_that_cannot_be_written_is_named() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        // Root may write anything; a file in the way stops even root, as a read-only disk does.
        std::fs::write(hv1.folder().join("file"), "")?;
        hv1.configure(&json!({ "state_dir": hv1.folder().join("file/state") }))?;
        hv1.launch_agent()?;
        assert_eq!(ends(hv1)?, Some(1));
        assert!(hv1.log().contains("file/state"), "{}", hv1.log());
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_read_only_disk_is_named() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        hv1.configure(&json!({}))?;
        let state = hv1.state();
        std::fs::create_dir_all(&state)?;
        // `ip netns exec` gives each command mounts of its own.
        let agent = &world.programs().agent;
        let script = format!(
            "mount -t tmpfs -o ro none {}; exec {} --config {}",
            state.display(),
            agent.display(),
            hv1.file().display()
        );
        let output = hv1
            .namespace()
            .command("timeout")
            .args(["10", "sh", "-ec", &script])
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&state.display().to_string()), "{stderr}");
        assert!(stderr.to_lowercase().contains("read-only"), "{stderr}");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_disk_that_is_full_at_the_start_is_named() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        hv1.configure(&json!({}))?;
        let state = hv1.state();
        std::fs::create_dir_all(&state)?;
        let script = format!(
            "mount -t tmpfs -o size=64k none {state}; head -c 1M /dev/zero > {state}/filling || true; exec {} --config {}",
            world.programs().agent.display(),
            hv1.file().display(),
            state = state.display(),
        );
        let output = hv1
            .namespace()
            .command("timeout")
            .args(["10", "sh", "-ec", &script])
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let named = format!("cannot write {}; is the disk full", state.join("identity").display());
        assert!(stderr.contains(&named), "{stderr}");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn on_a_full_disk_it_goes_on_says_so_promises_nothing_and_is_whole_again_after_leave_and_join() {
    let two = Plan { hosts: 2, ..ONE };
    tell(&two, |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        hv1.configure(&json!({}))?;
        hv1.launch_agent()?;
        hv2.configure(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        std::fs::create_dir_all(hv2.state())?;
        // Mounts of its own, which go with the agent.
        let mount = format!(
            "mount -t tmpfs -o size=256k none {}; exec \"$@\"",
            hv2.state().display()
        );
        hv2.launch_agent_by(&["sh", "-ec", &mount, "sh"])?;
        world.all_know_each_other(SOON)?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let [near, far] = [world.guest("hv2", "br-blue")?, world.guest("hv1", "br-blue")?];
        near.dhcp()?;
        let there = far.dhcp()?.address;
        near.ping(SERVER)?;
        assert_eq!(hv2.json(&["status"])?["problems"], json!([]));

        let pid = hv2.agent_pid().context("it runs")?;
        let filling = std::path::PathBuf::from(format!("/proc/{pid}/root{}/filling", hv2.state().display()));
        let full = std::fs::write(&filling, vec![0; 1 << 20]);
        assert_eq!(full.map_err(|error| error.kind()), Err(std::io::ErrorKind::StorageFull));
        // What has to be written: a new generation, and leases that this host would keep, more than fit what is left of
        // the journal's last page.
        world.apply("hv1", &BLUE.replace("blue.internal", "blue.example"))?;
        let late = world.guest("hv2", "br-blue")?;
        let load = Load {
            interface: "eth0".to_owned(),
            tag: None,
            clients: Client::fresh(1, 60),
            spacing: Duration::from_millis(40),
            at_once: 60,
            retry: Duration::from_millis(250),
            patience: Duration::from_secs(15),
        };
        let report = late.namespace().within(|| run(&load))?;
        assert_eq!(report.duplicates().len(), 0, "{report:?}");
        // Whoever had an offer of this host when its disk refused begins anew, as real clients do after a few tries.
        let unserved = report.exchanges.iter().filter(|exchange| exchange.address.is_none());
        let again = Load {
            clients: unserved.map(|exchange| exchange.client).collect(),
            ..load
        };
        assert!(again.clients.len() < 5, "the other host has addresses: {report:?}");
        let report = late.namespace().within(|| run(&again))?;
        assert_eq!(report.failed(), 0, "{report:?}");
        let lease = late.dhcp()?;
        until("it says so", SOON, || {
            let problems = hv2.json(&["status"])?["problems"].to_string();
            Ok(problems.contains("this host owns and keeps no addresses") && problems.contains("state/cluster"))
        })?;
        assert!(hv2.log().contains("cannot write the journal"), "{}", hv2.log());
        let leases = hv1.list(&["lease", "list"])?;
        let of_it = leases.iter().find(|row| row["address"] == lease.address.to_string());
        let of_it = of_it.with_context(|| format!("{leases:?}"))?;
        // Nobody else is there to keep it, and that is flagged.
        assert_eq!(
            (&of_it["owner"], &of_it["copies"]),
            (&json!("hv1"), &json!(1)),
            "{of_it}"
        );
        for guest in [&near, &late] {
            guest.ping(SERVER)?;
            guest.ping(there)?;
        }
        throughout("it runs, and is a member", Duration::from_secs(2), || {
            assert_eq!(hv1.alive()?, ["hv1", "hv2"]);
            Ok(())
        })?;

        // As the manual says.
        std::fs::remove_file(&filling)?;
        hv2.ctl(&["leave", "--force"])?;
        hv2.ctl(&["join", &hv1.listen()])?;
        world.all_know_each_other(SOON)?;
        until("it is well again", SOON, || {
            Ok(hv2.json(&["status"])?["problems"] == json!([]))
        })?;
        let newcomer = world.guest("hv2", "br-blue")?;
        newcomer.dhcp()?;
        newcomer.ping(SERVER)?;
        far.ping(SERVER)
    });
}

/// A segment whose addresses rest for 20 s where nobody knows who holds them.
fn short_leases() -> String {
    BLUE.replace(".254 }", ".254, lease_time: 10s }")
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_whose_disk_was_full_is_well_again_after_a_restart() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        hv1.configure(&json!({}))?;
        std::fs::create_dir_all(hv1.state())?;
        // A small disk in a mount namespace that outlives the agent.
        let mount = format!(
            "mount -t tmpfs -o size=256k none {}; exec sleep 300",
            hv1.state().display()
        );
        let mut holder = hv1.namespace().command("sh").args(["-ec", &mount]).spawn()?;
        let pid = holder.id().to_string();
        let within = ["nsenter", "--target", &pid, "--mount"];
        let state = std::path::PathBuf::from(format!("/proc/{pid}/root{}", hv1.state().display()));
        until("it is mounted", SOON, || {
            let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts"))?;
            Ok(mounts.contains(&hv1.state().display().to_string()))
        })?;
        hv1.launch_agent_by(&within)?;
        world.all_know_each_other(SOON)?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let [guest, late] = [world.guest("hv1", "br-blue")?, world.guest("hv1", "br-blue")?];
        let address = guest.dhcp()?.address;
        let filling = state.join("filling");
        let full = std::fs::write(&filling, vec![0; 1 << 20]);
        assert_eq!(full.map_err(|error| error.kind()), Err(std::io::ErrorKind::StorageFull));
        let mut minutes = 30;
        // The page that the journal has begun takes dozens of records more.
        until("it says so", Duration::from_secs(60), || {
            // What has to be written: a new generation.
            minutes += 1;
            world.apply(
                "hv1",
                &BLUE.replace(".254 }", &format!(".254, lease_time: {minutes}m }}")),
            )?;
            let problems = hv1.json(&["status"])?["problems"].to_string();
            Ok(problems.contains("free or repair the disk"))
        })?;
        std::fs::remove_file(&filling)?;
        hv1.kill_agent();
        hv1.launch_agent_by(&within)?;
        world.all_know_each_other(SOON)?;
        world.gateway("blue", SOON)?;
        // What was applied meanwhile could not be written either.
        until("it says that the segment is an old one", SOON, || {
            let problems = hv1.json(&["status"])?["problems"].to_string();
            Ok(problems.contains("is lost on this host"))
        })?;
        world.apply("hv1", BLUE)?;
        assert_ne!(late.dhcp()?.address, address);
        assert_eq!(guest.dhcp()?.address, address, "nothing was lost");
        assert_eq!(hv1.json(&["status"])?["problems"], json!([]));
        hv1.kill_agent();
        holder.kill()?;
        holder.wait()?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn the_only_host_recovers_its_pool_after_its_journal_was_damaged_and_gives_no_address_twice() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        world.form()?;
        world.apply("hv1", &short_leases())?;
        world.gateway("blue", SOON)?;
        let [guest, other] = [world.guest("hv1", "br-blue")?, world.guest("hv1", "br-blue")?];
        guest.dhcp()?;
        let leased = Instant::now();
        let refused = hv1.ctl(&["pool", "recover"]).unwrap_err().to_string();
        assert!(refused.contains("nothing to recover"), "{refused}");

        hv1.kill_agent();
        let journal = hv1.state().join("journal");
        let mut bytes = std::fs::read(&journal)?;
        bytes[20] ^= 1;
        std::fs::write(&journal, bytes)?;
        hv1.restart_agent()?;
        until("it names the way out", SOON, || {
            let problems = hv1.json(&["status"])?["problems"].to_string();
            Ok(problems.contains("overlayctl pool recover"))
        })?;
        let recovered = hv1.json(&["pool", "recover"])?;
        assert_eq!(recovered["recovered"], true);
        // 1.03 times 10 s, and 10.
        assert_eq!(recovered["quarantine_seconds"], 20.3);
        let pool = hv1.list(&["pool", "show"])?;
        let sum = |key: &str| pool.iter().filter_map(|row| row[key].as_u64()).sum::<u64>();
        assert_eq!((sum("free"), sum("held")), (0, 0), "{pool:?}");
        assert_eq!(hv1.json(&["status"])?["problems"], json!([]));
        world.gateway("blue", SOON)?;
        wait_for("addresses are given again", Duration::from_secs(60), || other.dhcp())?;
        assert!(
            leased.elapsed() >= Duration::from_secs(10),
            "the other guest's lease is over"
        );
        // And it is on disk.
        hv1.kill_agent();
        hv1.restart_agent()?;
        world.gateway("blue", SOON)?;
        guest.dhcp()?;
        other.ping(SERVER)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn without_cap_net_admin_it_says_so() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        hv1.configure(&json!({}))?;
        let output = hv1
            .namespace()
            .command("timeout")
            .args(["3", "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])
            .arg(&world.programs().agent)
            .arg("--config")
            .arg(hv1.file())
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains("CAP_NET_ADMIN") && stderr.contains("run as root"),
            "{stderr}"
        );
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn what_the_kernel_refuses_is_said_once_and_keeps_nobody_waiting_until_it_is_mended() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        // The kernel takes no second VXLAN with other flags on a port.
        hv1.namespace()
            .ip_batch("link add foreign type vxlan dstport 4789 external gpe\nlink set foreign up\n")?;
        hv1.configure(&json!({ "segments": [
            { "name": "blue", "vni": 10, "ipv4": { "subnet": "192.168.124.0/24" } }
        ] }))?;
        hv1.launch_managed(&[], SOON)?;
        assert!(hv1.link("br-blue").is_some(), "all else is there");

        let refusal = "another VXLAN device uses this port";
        until("status tells it", SOON, || {
            let problems = hv1.json(&["status"])?["problems"].to_string();
            Ok(problems.contains(refusal))
        })?;
        throughout("it is logged once", Duration::from_secs(4), || {
            assert_eq!(hv1.log().matches(refusal).count(), 1, "{}", hv1.log());
            Ok(())
        })?;
        hv1.namespace().ip("link del foreign")?;
        until("nothing is due any more", SOON, || Ok(hv1.plan()?.is_empty()))?;
        until("and nothing is wrong", SOON, || {
            Ok(!hv1.json(&["status"])?["problems"].to_string().contains(refusal))
        })?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn without_nft_it_is_ready_all_the_same_names_what_is_missing_and_bridges_are_there() {
    let two = Plan { hosts: 2, ..ONE };
    tell(&two, |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        hv1.configure(&json!({}))?;
        hv2.configure(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        hv1.launch_agent()?;
        hv2.launch_agent()?;
        world.all_know_each_other(SOON)?;
        world.apply("hv1", BLUE)?;
        // It comes back on a host that is bare, with a manager that waits for it and without the program.
        hv2.kill_agent();
        hv2.namespace()
            .sh("ip link del br-blue; ip link del vx-blue; nft flush ruleset")?;
        let hidden = "mount -t tmpfs none /usr/sbin; PATH=/nowhere exec \"$0\" \"$@\"";
        hv2.launch_managed(&["sh", "-c", hidden], SOON)?;
        until("bridge and VXLAN are there", SOON, || {
            Ok(hv2.link("br-blue").is_some() && hv2.flood_list("vx-blue").is_ok_and(|to| to == ["172.31.0.11"]))
        })?;
        let problems = hv2.json(&["status"])?["problems"].to_string();
        assert!(
            problems.contains("nft not found; install the package nftables"),
            "{problems}"
        );
        assert!(hv2.log().contains("nft not found"), "{}", hv2.log());
        // It could lead nobody out.
        until("the other host is the gateway", Duration::from_secs(30), || {
            Ok(world.gateway("blue", SOON)? == "hv1")
        })?;
        Ok(())
    });
}

/// A program `nft` that is refused what a kernel without NAT for nftables refuses.
fn without_nat(host: &Host) -> Result<String> {
    let folder = host.folder().join("bin");
    std::fs::create_dir_all(&folder)?;
    let path = std::env::var("PATH")?;
    let wrapper = format!(
        "#!/bin/sh\nPATH='{path}'\n[ \"$1\" = -f ] || exec nft \"$@\"\nscript=$(cat)\n\
         case $script in *masquerade*) echo '/dev/stdin:1:1-2: Error: Could not process rule: No such file or directory' >&2; exit 1;; esac\n\
         printf '%s\\n' \"$script\" | exec nft -f -\n"
    );
    let program = folder.join("nft");
    std::fs::write(&program, wrapper)?;
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(format!("PATH={}:{path}", folder.display()))
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_host_whose_kernel_refuses_nat_is_no_successor_and_does_not_stay_gateway() {
    let two = Plan { hosts: 2, ..ONE };
    tell(&two, |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        hv1.start_agent(&json!({}))?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        hv2.configure(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        hv2.launch_managed(&[&without_nat(hv2)?], SOON)?;
        world.all_know_each_other(SOON)?;
        let guest = world.guest("hv1", "br-blue")?;
        guest.dhcp()?;
        let said = hv1.refused(&["gateway", "move", "blue", "hv2"])?;
        assert!(
            said.contains("did not move") && said.contains("on the host that it was to move to"),
            "{said}"
        );
        assert_eq!(world.gateway("blue", SOON)?, "hv1");
        guest.ping(SERVER)?;
        // It finds out when it has to serve.
        hv1.kill_agent();
        until("hv2 takes over", SOON, || Ok(hv2.gateway_of("blue")? == "hv2"))?;
        until("and says what is wrong", SOON, || {
            let problems = hv2.json(&["status"])?["problems"].to_string();
            Ok(problems.contains("nft refused") && problems.contains("counts as one without an uplink"))
        })?;
        hv1.launch_agent()?;
        until("hv1 is the gateway again", Duration::from_secs(30), || {
            Ok(hv1.gateway_of("blue")? == "hv1")
        })?;
        guest.ping(SERVER)
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_second_agent_on_the_same_state_is_refused() {
    tell(&ONE, |world| {
        let hv1 = world.host("hv1");
        hv1.start_agent(&json!({}))?;
        let second = hv1
            .namespace()
            .command("timeout")
            .arg("10")
            .arg(&world.programs().agent)
            .arg("--config")
            .arg(hv1.file())
            .output()?;
        let stderr = String::from_utf8_lossy(&second.stderr);
        assert_eq!(second.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&hv1.state().display().to_string()), "{stderr}");
        hv1.ctl(&["status"])?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_state_file_that_was_cut_short_loses_nothing_that_others_keep() {
    let two = Plan { hosts: 2, ..ONE };
    tell(&two, |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let hv2 = world.host("hv2");
        let cluster = hv2.json(&["status"])?["cluster"]["id"].clone();
        let state = hv2.state();
        let mut files: Vec<_> = std::fs::read_dir(&state)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.retain(|file| file.is_file() && !file.ends_with("lock"));
        assert!(files.len() >= 2, "{files:?}");
        for file in files {
            hv2.kill_agent();
            let whole = std::fs::read(&file)?;
            std::fs::write(&file, &whole[..whole.len() / 2])?;
            hv2.restart_agent()?;
            if file.ends_with("identity") {
                // It is a new host, with a name that is taken until the operator says that the old one is off; that word
                // is taken only when nothing answers there. Then its file leads it in again.
                world.switch.unplug("hv2")?;
                until("the old one is removed", Duration::from_secs(30), || {
                    Ok(world.host("hv1").ctl(&["peer", "remove", "hv2"]).is_ok())
                })?;
                world.switch.replug("hv2")?;
            }
            world.all_know_each_other(Duration::from_secs(30))?;
            assert_eq!(hv2.json(&["status"])?["cluster"]["id"], cluster, "{}", file.display());
            until("it knows blue", SOON, || Ok(hv2.list(&["segment", "list"])?.len() == 1))?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn the_units_capabilities_are_enough_for_the_main_job() {
    let unit = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/overlayd.service")).unwrap();
    let given = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .unwrap();
    let set: Vec<String> = given
        .split(' ')
        .map(|name| name.to_lowercase().replace("cap_", "+"))
        .collect();
    let bounded = format!("--bounding-set=-all,{}", set.join(","));
    let two = Plan { hosts: 2, ..ONE };
    tell(&two, |world| {
        let [hv1, hv2] = ["hv1", "hv2"].map(|name| world.host(name));
        hv1.configure(&json!({}))?;
        hv2.configure(&json!({ "cluster": { "join": [hv1.listen()] } }))?;
        for host in [hv1, hv2] {
            host.launch_agent_by(&["setpriv", "--no-new-privs", "--inh-caps=-all", &bounded])?;
        }
        world.all_know_each_other(SOON)?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let guest = world.guest("hv2", "br-blue")?;
        guest.dhcp()?;
        guest.ping(SERVER)?;
        for host in [hv1, hv2] {
            assert!(!host.log().contains("ERROR"), "{}", host.log());
            assert_eq!(host.json(&["status"])?["problems"], json!([]));
        }
        // Forwarding, a sysctl that was changed, is put back.
        guest.unplug()?;
        hv2.ctl(&["leave"])?;
        assert_eq!(hv2.link("br-blue"), None);
        Ok(())
    });
}
