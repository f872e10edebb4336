//! Leases over time: segments that are deleted and come back, reservations that take hold, leases that operators end.

use std::time::Duration;

use anyhow::{Context as _, Result};
use overlayd_tests::wait::until;
use overlayd_tests::world::BLUE;
use overlayd_tests::{Guest, Host};
use serde_json::{Value, json};

use crate::guests::with_a_guest_on_each_host;

const SOON: Duration = Duration::from_secs(10);

/// The row of an address in a host's `lease list`, with those that no guest has.
fn row(host: &Host, address: &str) -> Result<Option<Value>> {
    let rows = host.list(&["lease", "list", "--all"])?;
    Ok(rows.into_iter().find(|row| row["address"] == address))
}

fn address(guest: &Guest) -> Result<String> {
    Ok(guest.configured()?.address.to_string())
}

/// The guest asks for more time until it has another address than this, which it does within some tries.
fn is_moved(guest: &Guest, from: &str) -> Result<String> {
    until("the guest gets another address", Duration::from_secs(30), || {
        guest.renew()?;
        Ok(address(guest).is_ok_and(|now| now != from))
    })?;
    address(guest)
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_segment_that_was_deleted_by_mistake_goes_on_with_its_guests_leases() {
    with_a_guest_on_each_host(|world, guests| {
        let before = guests
            .iter()
            .map(|guest| Ok(guest.dhcp()?.address.to_string()))
            .collect::<Result<Vec<_>>>()?;
        let [hv1, hv2, hv3] = world.hosts() else {
            anyhow::bail!("three hosts");
        };
        hv3.kill_agent();
        hv1.ctl(&["segment", "delete", "blue", "--force"])?;
        for host in [hv1, hv2] {
            until("blue is gone", SOON, || Ok(host.link("vx-blue").is_none()))?;
        }
        // What it knew is in its journal.
        hv1.kill_agent();
        hv1.restart_agent()?;
        until("it is back", SOON, || Ok(hv1.alive()?.len() >= 2))?;
        hv2.apply(BLUE)?;
        world.gateway("blue", SOON)?;
        for (guest, had) in guests.iter().zip(&before).take(2) {
            guest.renew()?;
            assert_eq!(&address(guest)?, had);
        }
        let newcomer = world.guest("hv2", "br-blue")?;
        let new = newcomer.dhcp()?.address.to_string();
        assert!(!before.contains(&new), "{new} is one of {before:?}");
        hv3.launch_agent()?;
        until("hv3 is back", SOON, || Ok(hv3.alive()?.len() == 3))?;
        until("its guest is reached", SOON, || {
            Ok(newcomer.ping_once(&before[2])?.status.success())
        })?;
        guests[2].renew()?;
        assert_eq!(address(&guests[2])?, before[2]);
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_reservation_takes_hold_when_the_guest_renews_and_a_guest_outside_a_shrunk_range_is_told() {
    with_a_guest_on_each_host(|world, guests| {
        let (reserved, shrunk) = (&guests[0], &guests[1]);
        let had = reserved.dhcp()?.address.to_string();
        shrunk.dhcp()?;
        let reservation = format!(
            "reservations: [{{ mac: \"{}\", address: 192.168.124.77 }}]",
            reserved.mac()
        );
        world
            .host("hv2")
            .apply(&BLUE.replace(".254 }", &format!(".254, {reservation} }}")))?;
        assert_eq!(is_moved(reserved, &had)?, "192.168.124.77");
        for host in world.hosts() {
            until("the reserved guest is listed", SOON, || {
                let rows = host.list(&["lease", "list"])?;
                Ok(rows
                    .iter()
                    .any(|row| row["address"] == "192.168.124.77" && !row["expires"].is_null()))
            })?;
        }
        let had = address(shrunk)?;
        let last: u8 = had
            .rsplit('.')
            .next()
            .and_then(|last| last.parse().ok())
            .context("an address")?;
        let range = if last < 128 {
            "192.168.124.128-192.168.124.254"
        } else {
            "192.168.124.16-192.168.124.127"
        };
        let smaller = BLUE.replace("192.168.124.16-192.168.124.254", range);
        std::fs::write(world.folder().join("smaller.yaml"), &smaller)?;
        let file = world.folder().join("smaller.yaml").display().to_string();
        world.host("hv1").ctl(&["apply", "-f", &file, "--force"])?;
        is_moved(shrunk, &had)?;
        Ok(())
    });
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_lease_that_an_operator_ends_is_refused_and_its_address_waits_for_its_guest() {
    with_a_guest_on_each_host(|world, guests| {
        let guest = &guests[1];
        let had = guest.dhcp()?.address.to_string();
        let hv1 = world.host("hv1");
        until("it is listed", SOON, || Ok(row(hv1, &had)?.is_some()))?;
        let refused = hv1.refused(&["lease", "release", &had])?;
        assert!(refused.contains(guest.mac()), "{refused}");
        hv1.ctl(&["lease", "release", &had, "--force"])?;
        let ending = row(hv1, &had)?.context("it is listed yet")?;
        assert_eq!(ending["state"], json!("ending"), "{ending}");
        let now = is_moved(guest, &had)?;
        assert_ne!(now, had);
        // Nobody else gets it meanwhile.
        let other = world.guest("hv3", "br-blue")?;
        assert_ne!(other.dhcp()?.address.to_string(), had);
        Ok(())
    });
}
