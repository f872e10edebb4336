//! The gateway addresses: taken, kept and given up on a socket of their own, so that no long plan delays them.
//!
//! `gw-<segment>` is made with the rest of the plan and stays down while another host is the gateway: a macvlan that
//! is up takes the frames for the shared MAC. Its alias `overlayd:<segment>:<term>` says under which term it was taken,
//! and the addresses carry the lifetime after which the kernel removes them by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use overlayd_core::id::{IfName, Mac, SegmentName, Term};
use overlayd_core::kernel::mark::Alias;
use rtnetlink::{AddressMessageBuilder, LinkUnspec};

use super::connection::Connection;
use super::error::Error;
use super::fdb;

/// `INFINITY_LIFE_TIME` (`linux/if_addr.h`).
pub(super) const FOR_EVER: u32 = u32::MAX;

/// The socket for gateway addresses. Every call is one or two exchanges with the kernel and takes well under a
/// millisecond unless something else on the host holds the kernel's configuration lock.
pub struct GatewayAddress {
    connection: Connection,
}

/// Whether there was still an address whose life could be prolonged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It lives on.
    Renewed,
    /// It had run out or was taken away: this host is no gateway any more until it asks again.
    Gone,
}

/// A gateway address that an earlier run of the agent left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The segment.
    pub segment: SegmentName,
    /// The term it was taken under.
    pub term: Term,
    /// The address with the subnet's prefix length.
    pub address: IpNet,
    /// How long the kernel keeps it, at least; nothing means for ever.
    pub remaining: Option<Duration>,
}

/// What `gw-<segment>` is, as far as it matters here.
struct Device {
    index: u32,
    bridge: u32,
    mac: Mac,
    up: bool,
}

impl GatewayAddress {
    /// A socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::open()?,
        })
    }

    /// Takes an address under a term: alias, address, interface up, and the bridge's local entry for its MAC.
    ///
    /// `lifetime` is rounded up to whole seconds; nothing means for ever. Taking it again is fine.
    ///
    /// # Errors
    /// `gw-<segment>` is missing or not ours, or the kernel refuses; some of the parts may then be there, and
    /// [`Self::remove`] takes them away.
    pub fn set(
        &mut self,
        segment: &SegmentName,
        address: IpNet,
        term: Term,
        lifetime: Option<Duration>,
    ) -> Result<(), Error> {
        let device = self.device(segment)?;
        // The term first: an address is never there under another term's name. The interface last: it answers only
        // once all is there.
        self.connection.push(
            &rename(
                device.index,
                Alias {
                    segment: segment.clone(),
                    term: Some(term),
                },
            ),
            0,
        );
        self.connection
            .push(&taken(device.index, address, lifetime), NLM_F_CREATE | NLM_F_REPLACE);
        let (local, flags) = fdb::add_local(device.bridge, device.mac);
        self.connection.push(&local, flags);
        self.connection.push(&set_up(device.index), 0);
        first_refusal(self.connection.flush()?, &[])
    }

    /// Prolongs the life of an address that is there.
    ///
    /// The kernel would make an address anew that has run out meanwhile, so this looks first: an agent that was
    /// frozen must not come back as a second gateway.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn renew(
        &mut self,
        segment: &SegmentName,
        address: IpNet,
        lifetime: Option<Duration>,
    ) -> Result<Renewal, Error> {
        let device = match self.device(segment) {
            Ok(device) if device.up => device,
            Ok(_) | Err(Error::NoInterface(_)) => return Ok(Renewal::Gone),
            Err(error) => return Err(error),
        };
        let there = self
            .addresses(device.index, family(address))?
            .iter()
            .any(|(found, _)| *found == address);
        if !there {
            return Ok(Renewal::Gone);
        }
        self.connection
            .request(&taken(device.index, address, lifetime), NLM_F_CREATE | NLM_F_REPLACE)?;
        Ok(Renewal::Renewed)
    }

    /// Gives an address up: it is gone, and the bridge's local entry and the term with it, when this returns.
    ///
    /// Setting the interface down takes the kernel more than ten milliseconds and is left to the plan: without address
    /// and entry it answers nobody.
    ///
    /// # Errors
    /// The kernel refuses; what is not there any more is no error.
    pub fn remove(&mut self, segment: &SegmentName, address: IpNet) -> Result<(), Error> {
        let device = match self.device(segment) {
            Ok(device) => device,
            Err(Error::NoInterface(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.connection.push(
            &RouteNetlinkMessage::DelAddress(address_message(device.index, address)),
            0,
        );
        self.connection.push(
            &rename(
                device.index,
                Alias {
                    segment: segment.clone(),
                    term: None,
                },
            ),
            0,
        );
        let (local, flags) = fdb::remove_local(device.bridge, device.mac);
        self.connection.push(&local, flags);
        first_refusal(
            self.connection.flush()?,
            &[Errno::EADDRNOTAVAIL, Errno::ENOENT, Errno::ENODEV],
        )
    }

    /// The gateway addresses that are there, by interface name and alias: what an earlier run left.
    ///
    /// # Errors
    /// Kernel state cannot be read.
    pub fn found(&mut self) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for message in self
            .connection
            .dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?
        {
            let RouteNetlinkMessage::NewLink(link) = message else {
                continue;
            };
            let Some((segment, term)) = mark(&link) else { continue };
            if !link.header.flags.contains(LinkFlags::Up) {
                continue;
            }
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                found.extend(
                    self.addresses(link.header.index, family)?
                        .into_iter()
                        .map(|(address, remaining)| Found {
                            segment: segment.clone(),
                            term,
                            address,
                            remaining,
                        }),
                );
            }
        }
        Ok(found)
    }

    /// A link of that name without our mark is none: it is foreign, or the plan has not come to marking it yet.
    fn device(&mut self, segment: &SegmentName) -> Result<Device, Error> {
        let name = segment.gateway();
        let link = link_by_name(&mut self.connection, &name)?
            .filter(|link| alias(link).is_some_and(|alias| alias.segment == *segment))
            .ok_or_else(|| Error::NoInterface(name.clone()))?;
        let (mut bridge, mut mac) = (None, None);
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::Link(index) => bridge = Some(*index),
                LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().ok().map(Mac),
                _ => {}
            }
        }
        match (bridge, mac) {
            (Some(bridge), Some(mac)) => Ok(Device {
                index: link.header.index,
                bridge,
                mac,
                up: link.header.flags.contains(LinkFlags::Up),
            }),
            _ => Err(Error::NoInterface(name)),
        }
    }

    /// Global addresses of one interface and how long they live.
    fn addresses(&mut self, index: u32, family: AddressFamily) -> Result<Vec<(IpNet, Option<Duration>)>, Error> {
        let mut question = AddressMessage::default();
        question.header.family = family;
        question.header.index = index;
        let answers = self.connection.dump(&RouteNetlinkMessage::GetAddress(question))?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(message) if message.header.scope == AddressScope::Universe => {
                    read_address(message)
                }
                _ => None,
            })
            .collect())
    }
}

/// One link by its name, or nothing where there is none.
pub(super) fn link_by_name(connection: &mut Connection, name: &IfName) -> Result<Option<LinkMessage>, Error> {
    let question = LinkUnspec::new_with_name(name.as_str()).build();
    match connection.ask(&RouteNetlinkMessage::GetLink(question)) {
        Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link)),
        Ok(_) => Ok(None),
        Err(Error::Refused(refusal)) if refusal.errno == Errno::ENODEV => Ok(None),
        Err(error) => Err(error),
    }
}

/// An address and the time it has left; nothing for one that lives for ever.
pub(super) fn read_address(message: &AddressMessage) -> Option<(IpNet, Option<Duration>)> {
    let (mut address, mut local, mut cache) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(found) => address = Some(*found),
            AddressAttribute::Local(found) => local = Some(*found),
            AddressAttribute::CacheInfo(found) => cache = Some(*found),
            _ => {}
        }
    }
    let address = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    let remaining = cache
        .filter(|cache| cache.ifa_valid != FOR_EVER)
        .map(|cache| left(&cache));
    Some((address, remaining))
}

/// The kernel tells whole seconds, rounded up; when it last set them it tells in hundredths of the monotonic clock.
fn left(cache: &CacheInfo) -> Duration {
    let whole = Duration::from_secs(cache.ifa_valid.into());
    let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) else {
        return whole;
    };
    let now = Duration::from(now);
    let set = Duration::from_millis(u64::from(cache.tstamp) * 10);
    let begun = Duration::from_nanos(now.saturating_sub(set).subsec_nanos().into());
    whole.saturating_sub(begun)
}

/// An address with a lifetime, rounded up to the kernel's seconds.
pub(super) fn new_address(index: u32, address: IpNet, lifetime: Option<Duration>) -> AddressMessage {
    let mut message = address_message(index, address);
    let mut cache = CacheInfo::default();
    let seconds = lifetime.map_or(FOR_EVER, |lifetime| {
        u32::try_from(lifetime.as_millis().div_ceil(1000)).unwrap_or(FOR_EVER)
    });
    (cache.ifa_valid, cache.ifa_preferred) = (seconds, seconds);
    // The builder knows no lifetimes.
    message.attributes.push(AddressAttribute::CacheInfo(cache));
    message
}

pub(super) fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let bits = address.prefix_len();
    let mut message = match address.addr() {
        IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new().address(address, bits).build(),
        IpAddr::V6(address) => AddressMessageBuilder::<Ipv6Addr>::new().address(address, bits).build(),
    };
    message.header.index = index;
    // As `ip address add` without `brd`.
    let brd = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Broadcast(_));
    message.attributes.retain(|attribute| !brd(attribute));
    if address.addr().is_multicast() {
        // The builder puts no group on an interface; the kernel takes it, and joins it.
        message.attributes = vec![
            AddressAttribute::Local(address.addr()),
            AddressAttribute::Address(address.addr()),
        ];
    }
    if address.addr().is_ipv6() {
        // The address was another host's a moment ago: nobody is to be asked for it first.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

fn family(address: IpNet) -> AddressFamily {
    match address {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    }
}

fn taken(index: u32, address: IpNet, lifetime: Option<Duration>) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewAddress(new_address(index, address, lifetime))
}

fn rename(index: u32, alias: Alias) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).alias(alias.to_string()).build())
}

fn set_up(index: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).up().build())
}

/// Our mark on a link, if it has one.
fn alias(link: &LinkMessage) -> Option<Alias> {
    let text = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfAlias(text) => Some(text),
        _ => None,
    });
    text?.parse().ok()
}

/// Segment and term of a link that is a gateway interface of ours by name and mark.
fn mark(link: &LinkMessage) -> Option<(SegmentName, Term)> {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    });
    let Alias { segment, term } = alias(link)?;
    (segment.gateway().as_str() == name?).then_some((segment, term?))
}

fn first_refusal(refused: Vec<(usize, super::error::Refusal)>, harmless: &[Errno]) -> Result<(), Error> {
    match refused
        .into_iter()
        .find(|(_, refusal)| !harmless.contains(&refusal.errno))
    {
        Some((_, refusal)) => Err(Error::Refused(refusal)),
        None => Ok(()),
    }
}
