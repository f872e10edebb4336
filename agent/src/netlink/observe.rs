//! What there is: links, addresses, forwarding entries, sysctls and tables, read anew each time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoData, InfoKind, InfoMacVlan, InfoVxlan,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode, VxlanDf,
};
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use overlayd_core::id::{IfName, Mac, Vni};
use overlayd_core::kernel::device::{AddrGen, Admin, Bridge, Df, LinkKind, Macvlan, MacvlanMode, Switch, Vxlan};
use overlayd_core::kernel::mark::PROTOCOL;
use overlayd_core::kernel::observed::{
    Address, Fdb, FdbOrigin, Flood, Lifetime, Link, Mark, MulticastGroup, Observed, Remote,
};

use super::address::{FOR_EVER, read_address};
use super::connection::Connection;
use super::encode::LOCAL_TABLE;
use super::error::Error;
use super::fdb::{Entry, list_fdb};

/// Names by index, for what refers to an interface by number.
pub(super) type Names = BTreeMap<u32, IfName>;

/// Everything that rtnetlink tells of [`Observed`]; sysctls and tables are not among it.
pub(super) fn host(connection: &mut Connection) -> Result<Observed, Error> {
    let messages = links(connection)?;
    let names = names(&messages);
    let mut host = Observed {
        links: messages.iter().filter_map(|message| link(message, &names)).collect(),
        indexes: names.iter().map(|(index, name)| (name.clone(), *index)).collect(),
        ..Observed::default()
    };
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = AddressMessage::default();
        question.header.family = family;
        for answer in connection.dump(&RouteNetlinkMessage::GetAddress(question))? {
            let RouteNetlinkMessage::NewAddress(message) = answer else {
                continue;
            };
            let Some((key, found)) = address(&message, &names) else {
                continue;
            };
            let on_our_link = host.links.get(&key.0).is_some_and(|link| link.is_ours(&key.0));
            if on_our_link || found.mark == Mark::Ours || found.group != MulticastGroup::No {
                host.addresses.insert(key, found);
            }
        }
    }
    if host
        .addresses
        .values()
        .any(|address| address.group != MulticastGroup::No)
    {
        let shadows = local_routes(connection, &names)?;
        for ((name, address), found) in &mut host.addresses {
            if found.group == MulticastGroup::Joined && shadows.contains(&(name.clone(), address.addr())) {
                found.group = MulticastGroup::Shadowed;
            }
        }
    }
    forwarding(connection, &names, &mut host)?;
    Ok(host)
}

/// The tables of our devices and what bridges have learnt, all in one dump: the kernel walks a bridge's whole table for
/// each of its ports that is asked for by itself.
fn forwarding(connection: &mut Connection, names: &Names, host: &mut Observed) -> Result<(), Error> {
    let mut kinds: BTreeMap<u32, bool> = BTreeMap::new();
    for (index, name) in names {
        let Some(link) = host.links.get(name).filter(|link| link.is_ours(name)) else {
            continue;
        };
        match link.kind {
            LinkKind::Bridge(_) => kinds.insert(*index, true),
            LinkKind::Vxlan(_) => kinds.insert(*index, false),
            LinkKind::Macvlan(_) | LinkKind::Other => continue,
        };
    }
    let mut tables: BTreeMap<u32, Fdb> = kinds.keys().map(|index| (*index, Fdb::default())).collect();
    let mut guests: BTreeMap<u32, BTreeMap<Mac, u32>> = BTreeMap::new();
    for answer in connection.dump(&list_fdb())? {
        let RouteNetlinkMessage::NewNeighbour(message) = answer else {
            continue;
        };
        let index = message.header.ifindex;
        let entry = Entry::read(&message);
        if let (Some(fdb), Some(is_bridge)) = (tables.get_mut(&index), kinds.get(&index)) {
            add_entry(fdb, &message, &entry, *is_bridge, names);
        }
        let learned = origin(&message) == FdbOrigin::Learned && !message.header.flags.contains(NeighbourFlags::Own);
        if let (true, Some(mac), Some(bridge)) = (learned, entry.mac, entry.bridge) {
            guests.entry(bridge).or_default().insert(mac, index);
        }
    }
    host.fdb = tables
        .into_iter()
        .filter_map(|(index, fdb)| Some((names.get(&index)?.clone(), fdb)))
        .collect();
    let named = |(mac, port): (Mac, u32)| Some((mac, names.get(&port)?.clone()));
    host.guests = guests
        .into_iter()
        .filter_map(|(bridge, macs)| {
            Some((
                names.get(&bridge)?.clone(),
                macs.into_iter().filter_map(named).collect(),
            ))
        })
        .collect();
    Ok(())
}

/// The addresses that the routing tables take for the host's own.
fn local_routes(connection: &mut Connection, names: &Names) -> Result<BTreeSet<(IfName, IpAddr)>, Error> {
    let mut found = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        question.header.table = LOCAL_TABLE;
        let answers = match connection.dump(&RouteNetlinkMessage::GetRoute(question)) {
            // A table that nothing was ever put in is not there.
            Err(Error::Refused(refusal)) if refusal.errno == Errno::ENOENT => continue,
            answers => answers?,
        };
        for answer in answers {
            let RouteNetlinkMessage::NewRoute(route) = answer else {
                continue;
            };
            let (mut link, mut to) = (None, None);
            for attribute in &route.attributes {
                match attribute {
                    RouteAttribute::Oif(index) => link = names.get(index),
                    RouteAttribute::Destination(RouteAddress::Inet(address)) => to = Some(IpAddr::from(*address)),
                    RouteAttribute::Destination(RouteAddress::Inet6(address)) => to = Some(IpAddr::from(*address)),
                    _ => {}
                }
            }
            if let (RouteType::Local, Some(link), Some(to)) = (route.header.kind, link, to) {
                found.insert((link.clone(), to));
            }
        }
    }
    Ok(found)
}

/// Every link of the namespace.
pub(super) fn links(connection: &mut Connection) -> Result<Vec<LinkMessage>, Error> {
    let answers = connection.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Some(message),
            _ => None,
        })
        .collect())
}

/// The names of links by their index.
pub(super) fn names<'a>(links: impl IntoIterator<Item = &'a LinkMessage>) -> Names {
    let name = |message: &LinkMessage| {
        message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => IfName::new(name.as_str()).ok(),
            _ => None,
        })
    };
    links
        .into_iter()
        .filter_map(|message| Some((message.header.index, name(message)?)))
        .collect()
}

/// A link by its name.
pub(super) fn link(message: &LinkMessage, names: &Names) -> Option<(IfName, Link)> {
    let name = names.get(&message.header.index)?.clone();
    let up = message.header.flags.contains(LinkFlags::Up);
    let mut link = Link {
        kind: LinkKind::Other,
        mac: Mac::ZERO,
        mtu: 0,
        admin: if up { Admin::Up } else { Admin::Down },
        master: None,
        alias: String::new(),
        addr_gen: AddrGen::None,
    };
    let (mut info, mut lower, mut elsewhere) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().map_or(Mac::ZERO, Mac),
            LinkAttribute::Mtu(bytes) => link.mtu = *bytes,
            LinkAttribute::Controller(index) => link.master = names.get(index).cloned(),
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(found) => info = Some(found),
            LinkAttribute::AfSpecUnspec(families) => link.addr_gen = addr_gen(families),
            _ => {}
        }
    }
    let lower = lower.filter(|_| !elsewhere).and_then(|index| names.get(&index));
    link.kind = info.map_or(LinkKind::Other, |info| kind(info, lower, names));
    Some((name, link))
}

fn addr_gen(families: &[AfSpecUnspec]) -> AddrGen {
    let inet6 = families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(settings) => Some(settings),
        _ => None,
    });
    let mode = inet6.and_then(|settings| {
        settings.iter().find_map(|setting| match setting {
            AfSpecInet6::AddrGenMode(mode) => Some(*mode),
            _ => None,
        })
    });
    match mode {
        None | Some(In6AddrGenMode::None) => AddrGen::None,
        Some(_) => AddrGen::Some,
    }
}

fn kind(info: &[LinkInfo], lower: Option<&IfName>, names: &Names) -> LinkKind {
    let data = info.iter().find_map(|part| match part {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    let is_macvlan = info.contains(&LinkInfo::Kind(InfoKind::MacVlan));
    match data {
        Some(InfoData::Bridge(settings)) => LinkKind::Bridge(bridge(settings)),
        Some(InfoData::Vxlan(settings)) => LinkKind::Vxlan(vxlan(settings, names)),
        Some(InfoData::MacVlan(settings)) if is_macvlan => match lower {
            Some(lower) => {
                let ours = settings.contains(&InfoMacVlan::Mode(MacVlanMode::Bridge));
                let mode = if ours { MacvlanMode::Bridge } else { MacvlanMode::Other };
                LinkKind::Macvlan(Macvlan {
                    lower: lower.clone(),
                    mode,
                })
            }
            None => LinkKind::Other,
        },
        _ => LinkKind::Other,
    }
}

fn switch(on: bool) -> Switch {
    if on { Switch::On } else { Switch::Off }
}

fn bridge(settings: &[InfoBridge]) -> Bridge {
    let mut bridge = Bridge {
        stp: Switch::Off,
        forward_delay: 0,
        multicast_snooping: Switch::Off,
    };
    for setting in settings {
        match setting {
            InfoBridge::StpState(state) => bridge.stp = switch(*state != BridgeStpState::Disabled),
            InfoBridge::ForwardDelay(delay) => bridge.forward_delay = *delay,
            InfoBridge::MulticastSnooping(on) => bridge.multicast_snooping = switch(*on),
            _ => {}
        }
    }
    bridge
}

fn vxlan(settings: &[InfoVxlan], names: &Names) -> Vxlan {
    let mut vxlan = Vxlan {
        vni: None,
        local: None,
        port: 0,
        df: Df::Unset,
        learning: Switch::Off,
        lower: None,
        group: None,
    };
    for setting in settings {
        match setting {
            InfoVxlan::Id(id) => vxlan.vni = Vni::new(*id).ok(),
            InfoVxlan::Local(address) => vxlan.local = Some((*address).into()),
            InfoVxlan::Local6(address) => vxlan.local = Some((*address).into()),
            InfoVxlan::Group(address) => vxlan.group = Some((*address).into()),
            InfoVxlan::Group6(address) => vxlan.group = Some((*address).into()),
            InfoVxlan::Port(port) => vxlan.port = *port,
            InfoVxlan::Df(VxlanDf::Set) => vxlan.df = Df::Set,
            InfoVxlan::Df(VxlanDf::Inherit) => vxlan.df = Df::Inherit,
            InfoVxlan::Learning(on) => vxlan.learning = switch(*on),
            InfoVxlan::Link(index) => vxlan.lower = names.get(index).cloned(),
            _ => {}
        }
    }
    vxlan
}

fn address(message: &AddressMessage, names: &Names) -> Option<((IfName, IpNet), Address)> {
    let name = names.get(&message.header.index)?.clone();
    let (address, _) = read_address(message)?;
    let mut found = Address {
        lifetime: Lifetime::Forever,
        mark: Mark::Foreign,
        group: MulticastGroup::No,
    };
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::CacheInfo(cache) if cache.ifa_valid != FOR_EVER => {
                found.lifetime = Lifetime::Seconds(cache.ifa_valid);
            }
            AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)) => found.mark = Mark::Ours,
            AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Mcautojoin) => {
                found.group = MulticastGroup::Joined
            }
            _ => {}
        }
    }
    Some(((name, address), found))
}

/// On a bridge, entries with `NTF_SELF` are the device's own receive filter and no forwarding entries.
fn add_entry(fdb: &mut Fdb, message: &NeighbourMessage, entry: &Entry, is_bridge: bool, names: &Names) {
    let Some(mac) = entry.mac else { return };
    let origin = origin(message);
    if !message.header.flags.contains(NeighbourFlags::Own) {
        fdb.bridge.insert(mac, origin);
    } else if let Some(destination) = entry.destination.filter(|_| !is_bridge) {
        if mac == Mac::ZERO {
            let via = entry.via.and_then(|index| names.get(&index)).cloned();
            fdb.flood.insert(Flood { to: destination, via });
        } else {
            fdb.remote.insert(
                mac,
                Remote {
                    vtep: destination,
                    origin,
                },
            );
        }
    }
}

fn origin(message: &NeighbourMessage) -> FdbOrigin {
    match message.header.state {
        // Before the flag: an entry that was a remote MAC and became the bridge's own keeps the flag, and it is the
        // state that makes it local.
        NeighbourState::Permanent => FdbOrigin::Permanent,
        _ if message.header.flags.contains(NeighbourFlags::ExtLearned) => FdbOrigin::External,
        NeighbourState::Noarp => FdbOrigin::Static,
        _ => FdbOrigin::Learned,
    }
}
