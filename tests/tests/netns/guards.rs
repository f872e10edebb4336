//! What costs guests something is refused with its list, from whichever host; published ports.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use overlayd_tests::wait::until;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Plan, World};

const SOON: Duration = Duration::from_secs(10);

fn with_guest(story: impl FnOnce(&World, &overlayd_tests::Guest) -> Result<()>) {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let guest = world.guest("hv2", "br-blue")?;
        guest.dhcp()?;
        until("hv3 knows the guest", SOON, || {
            Ok(world.host("hv3").ctl(&["endpoint", "list"])?.contains(guest.mac()))
        })?;
        story(world, &guest)
    });
}

fn published(port: u16) -> String {
    format!("{BLUE}    ports: [ {{ protocol: tcp, listen: {port}, to: \"192.168.124.21:80\" }} ]\n")
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_segment_with_a_guest_on_another_host_is_deleted_by_force_alone() {
    with_guest(|world, guest| {
        let hv3 = world.host("hv3");
        let said = hv3.refused(&["segment", "delete", "blue"])?;
        for part in [guest.port(), guest.mac(), "hv2", "192.168.124.1/24", "--force"] {
            ensure!(said.contains(part), "{part} is not in {said}");
        }
        guest.ping("192.168.124.1")?;
        let deleted = hv3.json(&["segment", "delete", "blue", "--force"])?;
        assert_eq!(deleted["losses"][0]["mac"], guest.mac());
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn another_gateway_address_needs_force_and_a_renewal_brings_it_to_the_guest() {
    with_guest(|world, guest| {
        let hv1 = world.host("hv1");
        let other = BLUE.replace(
            "subnet: 192.168.124.0/24",
            "subnet: 192.168.124.0/24\n      gateway: 192.168.124.2",
        );
        ensure!(other != BLUE, "the segment is written in another way now");
        let file = hv1.folder().join("other.yaml");
        std::fs::write(&file, &other)?;
        let file = file.to_string_lossy();
        let said = hv1.refused(&["apply", "-f", &file])?;
        ensure!(said.contains("192.168.124.1/24") && said.contains("renew"), "{said}");
        hv1.ctl(&["apply", "-f", &file, "--force"])?;
        until("the guest has the new gateway", SOON, || {
            let lease = guest.renew()?;
            Ok(lease.values().any(|value| value == "192.168.124.2"))
        })?;
        guest.ping("192.168.124.2")
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_published_port_works_from_the_gateway_host_itself() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", &published(8080))?;
        let gateway = world.gateway("blue", SOON)?;
        let guest = world.guest("hv2", "br-blue")?;
        guest.by_hand(21)?;
        guest.ping("192.168.124.1")?;
        let listener = guest.namespace().within(|| Ok(TcpListener::bind("0.0.0.0:80")?))?;
        let host = world.host(&gateway);
        let at = SocketAddr::new(host.address(), 8080);
        let mut stream = host
            .namespace()
            .within(|| TcpStream::connect_timeout(&at, SOON).context("no way in"))?;
        stream.write_all(b"hello")?;
        let (_, from) = listener.accept()?;
        assert_eq!(from.ip(), host.address(), "the guest sees who calls");
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_port_that_a_program_listens_on_at_another_candidate_is_refused_by_name() {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        let listener = world
            .host("hv3")
            .namespace()
            .within(|| Ok(TcpListener::bind("0.0.0.0:2222")?))?;
        let hv1 = world.host("hv1");
        let file = hv1.folder().join("published.yaml");
        std::fs::write(&file, published(2222))?;
        let file = file.to_string_lossy();
        let said = hv1.refused(&["apply", "-f", &file])?;
        let name = std::fs::read_to_string("/proc/self/comm")?;
        ensure!(
            said.contains("tcp/2222") && said.contains(&format!("{} on hv3", name.trim())),
            "{said}"
        );
        drop(listener);
        hv1.ctl(&["apply", "-f", &file])?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn what_does_not_exist_or_is_not_applied_is_said() {
    tell(&Plan::default(), |world| {
        world.form()?;
        let hv1 = world.host("hv1");
        for list in [["lease", "list"], ["pool", "show"], ["endpoint", "list"]] {
            let said = hv1.refused(&[list[0], list[1], "nosuch"])?;
            ensure!(said.contains("segment nosuch not found"), "{said}");
        }
        let file = hv1.folder().join("host.yaml");
        std::fs::write(&file, "cluster: { insecure: true }\nsegments: []\n")?;
        let applied = hv1.json(&["apply", "-f", &file.to_string_lossy()])?;
        let notes = applied["notes"].to_string();
        ensure!(
            notes.contains("nothing to apply") && notes.contains("cluster"),
            "{notes}"
        );
        Ok(())
    });
}
