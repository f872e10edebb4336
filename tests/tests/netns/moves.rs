//! Guests that move from host to host: whatever they say of it, and whatever becomes of the port that they had.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use overlayd_tests::namespace::Namespace;
use overlayd_tests::ping::Pinger;
use overlayd_tests::wait::until;
use overlayd_tests::world::{BLUE, tell};
use overlayd_tests::{Guest, Plan, World};

const SOON: Duration = Duration::from_secs(10);
/// What plain bridges need is 0.03 s; a slow machine under load gets a generous limit. The figure is in docs/kernel.md.
const PAUSE: Duration = Duration::from_millis(600);

/// What a guest says on its new port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// One gratuitous ARP request.
    Arp,
    /// One RARP request, as QEMU sends it.
    Rarp,
    /// Nothing to all, but it goes on talking to somebody.
    Unicast,
    /// Nothing before it is asked.
    Nothing,
}

/// What becomes of its old port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OldPort {
    /// It stays up, as that of a paused virtual machine.
    Up,
    Gone,
}

/// Whatever comes in there is lost, as in a paused virtual machine.
fn paused(interface: &str) -> String {
    format!(
        "table netdev paused {{ chain ingress0 {{ type filter hook ingress device {interface} priority 0; policy drop; }}; }}"
    )
}

fn broadcast(guest: &Guest, interface: &str, says: Says) -> Result<()> {
    let mac: Vec<u8> = guest
        .mac()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()?;
    let address = [192, 168, 124, 21];
    let (ethertype, operation): ([u8; 2], u8) = match says {
        Says::Rarp => ([0x80, 0x35], 3),
        Says::Arp | Says::Unicast | Says::Nothing => ([0x08, 0x06], 1),
    };
    let packet = [
        [0, 1, 8, 0, 6, 4, 0, operation].as_slice(),
        &mac,
        &address,
        &[0; 6],
        &address,
    ]
    .concat();
    let frame = [[0xff; 6].as_slice(), &mac, &ethertype, &packet].concat();
    guest.send_frame(interface, &frame)
}

/// A guest moves from hv1 to hv2 while guests on hv1 and hv3 ping it, and it pings one on hv3 where it only talks.
fn moves(says: Says, old_port: OldPort) {
    tell(&Plan::default(), |world| {
        world.form()?;
        world.apply("hv1", BLUE)?;
        world.gateway("blue", SOON)?;
        let guest = world.guest("hv1", "br-blue")?;
        let [near, far] = [world.guest("hv1", "br-blue")?, world.guest("hv3", "br-blue")?];
        let address = guest.by_hand(21)?;
        near.by_hand(22)?;
        let far_address = far.by_hand(23)?;
        near.ping(address)?;
        far.ping(address)?;
        is_listed(world, &guest, "hv1")?;

        // Ready there before it runs there, and silent.
        let inside = guest.namespace();
        inside.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")?;
        guest.plug_again(world.host("hv2"), "br-blue", "eth1")?;
        knows_neighbour(inside, &far, "eth1", far_address)?;
        knows_neighbour(inside, &near, "eth1", "192.168.124.22".parse()?)?;

        let pingers = [near.keep_pinging(address)?, far.keep_pinging(address)?];
        until("answers come", SOON, || Ok(pingers.iter().all(|it| it.answers() > 10)))?;
        inside.nft(&paused("eth0"))?;
        inside.sh("ip addr flush dev eth0; ip addr add 192.168.124.21/24 dev eth1 noprefixroute; ip route replace 192.168.124.0/24 dev eth1")?;
        match old_port {
            OldPort::Up => {}
            OldPort::Gone => guest.unplug()?,
        }
        let talk = match says {
            Says::Arp | Says::Rarp => {
                broadcast(&guest, "eth1", says)?;
                None
            }
            Says::Unicast => Some(guest.keep_pinging(far_address)?),
            Says::Nothing => None,
        };
        if says != Says::Nothing {
            is_listed(world, &guest, "hv2")?;
        }
        let before: Vec<usize> = pingers.iter().map(Pinger::answers).collect();
        until("it is reached again", SOON, || {
            Ok(pingers
                .iter()
                .zip(&before)
                .all(|(it, before)| it.answers() > before + 100))
        })?;
        is_listed(world, &guest, "hv2")?;
        for pinger in pingers {
            let told = pinger.finish()?;
            ensure!(told.pause < PAUSE, "{says:?}, old port {old_port:?}: {told:?}");
        }
        if let Some(talk) = talk {
            let told = talk.finish()?;
            ensure!(told.pause < PAUSE, "{told:?}");
        }
        Ok(())
    });
}

/// Every host lists the guest, on this host.
fn is_listed(world: &World, guest: &Guest, on: &str) -> Result<()> {
    for host in world.hosts() {
        until(&format!("{} lists it on {on}", host.name()), SOON, || {
            let rows = host.list(&["endpoint", "list"])?;
            Ok(rows.iter().any(|row| row["mac"] == guest.mac() && row["host"] == on))
        })?;
    }
    Ok(())
}

/// So that it need not ask for it by broadcast.
fn knows_neighbour(inside: &Namespace, of: &Guest, interface: &str, address: std::net::IpAddr) -> Result<()> {
    let line = format!(
        "neigh replace {address} lladdr {} dev {interface} nud permanent",
        of.mac()
    );
    inside.ip(&line).context("a static neighbour").map(|_| ())
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_that_moves_and_says_so_by_arp_once_is_reached_though_its_old_port_is_up() {
    moves(Says::Arp, OldPort::Up);
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_that_moves_and_says_so_by_arp_once_is_reached() {
    moves(Says::Arp, OldPort::Gone);
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_that_moves_and_says_so_by_rarp_once_is_reached_though_its_old_port_is_up() {
    moves(Says::Rarp, OldPort::Up);
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_that_moves_and_says_so_by_rarp_once_is_reached() {
    moves(Says::Rarp, OldPort::Gone);
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_that_moves_and_goes_on_talking_to_one_other_is_reached_though_its_old_port_is_up() {
    moves(Says::Unicast, OldPort::Up);
}

#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_that_moves_and_goes_on_talking_to_one_other_is_reached() {
    moves(Says::Unicast, OldPort::Gone);
}

/// With its old port up nobody can know that a guest has moved before it says anything.
#[test]
#[ignore = "makes network namespaces: needs root"]
fn a_guest_that_moves_in_silence_is_reached_once_its_old_port_is_gone() {
    moves(Says::Nothing, OldPort::Gone);
}
