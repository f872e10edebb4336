//! The host's IPv4 routing, as far as it may concern what it forwards.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use overlayd_core::gateway::routes::{Hop, Route, Routing, Rule, Selector, Sense};
use overlayd_core::id::IfName;

use super::connection::Connection;
use super::encode::LOCAL_TABLE;
use super::error::Error;
use super::observe::{Names, links, names};

/// The rules that look into a table, and the routes of these tables.
pub(super) fn routing(connection: &mut Connection) -> Result<Routing, Error> {
    let mut question = RuleMessage::default();
    question.header.family = AddressFamily::Inet;
    let rules: Vec<Rule> = connection
        .dump(&RouteNetlinkMessage::GetRule(question))?
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRule(message) => rule(&message),
            _ => None,
        })
        .collect();
    let names = names(&links(connection)?);
    let tables: BTreeSet<u32> = rules.iter().map(|rule| rule.table).collect();
    let mut routes = Vec::new();
    for table in tables {
        let mut question = RouteMessage::default();
        question.header.address_family = AddressFamily::Inet;
        question.attributes.push(RouteAttribute::Table(table));
        let answers = match connection.dump(&RouteNetlinkMessage::GetRoute(question)) {
            // A table that nothing was ever put in is not there.
            Err(Error::Refused(refusal)) if refusal.errno == Errno::ENOENT => continue,
            answers => answers?,
        };
        routes.extend(answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(message) => route(message, table, &names),
            _ => None,
        }));
    }
    Ok(Routing { rules, routes })
}

/// What leads to the host itself is no way out.
fn rule(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let mut selectors = BTreeSet::new();
    let mut suppress = None;
    if header.tos != 0 {
        selectors.insert(Selector::Other);
    }
    for attribute in &message.attributes {
        let selector = match attribute {
            RuleAttribute::Table(number) => {
                table = *number;
                continue;
            }
            RuleAttribute::SuppressPrefixLen(bits) => {
                suppress = u8::try_from(*bits).ok();
                continue;
            }
            RuleAttribute::Source(IpAddr::V4(address)) => Selector::Source(network(*address, header.src_len)?),
            RuleAttribute::Iifname(name) if name == "lo" => Selector::Own,
            RuleAttribute::Iifname(name) => Selector::Incoming(IfName::new(name.as_str()).ok()?),
            RuleAttribute::FwMark(_) => Selector::Mark,
            // What belongs to another routing domain is no guest's.
            RuleAttribute::Oifname(_) | RuleAttribute::UidRange(_) | RuleAttribute::L3MDev(true) => Selector::Own,
            RuleAttribute::Destination(_)
            | RuleAttribute::IpProtocol(_)
            | RuleAttribute::SourcePortRange(_)
            | RuleAttribute::DestinationPortRange(_)
            | RuleAttribute::TunId(_) => Selector::Other,
            _ => continue,
        };
        selectors.insert(selector);
    }
    (header.action == RuleAction::ToTable && table != u32::from(LOCAL_TABLE)).then_some(Rule {
        table,
        selectors,
        sense: if header.flags.contains(RuleFlags::Invert) {
            Sense::Inverted
        } else {
            Sense::Matching
        },
        suppress,
    })
}

fn route(message: &RouteMessage, table: u32, names: &Names) -> Option<Route> {
    let header: &RouteHeader = &message.header;
    let (mut to, mut metric) = (Ipv4Addr::UNSPECIFIED, 0);
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = *address,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(index) => hops.extend(hop(*index, &message.attributes, names)),
            RouteAttribute::MultiPath(several) => {
                hops.extend(
                    several
                        .iter()
                        .filter_map(|it| hop(it.interface_index, &it.attributes, names)),
                );
            }
            _ => {}
        }
    }
    (header.kind == RouteType::Unicast).then_some(Route {
        table,
        to: network(to, header.destination_prefix_length)?,
        metric,
        hops,
    })
}

fn hop(index: u32, attributes: &[RouteAttribute], names: &Names) -> Option<Hop> {
    let via = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let link = names.get(&index)?.clone();
    Some(Hop { link, via })
}

fn network(address: Ipv4Addr, bits: u8) -> Option<Ipv4Net> {
    Ipv4Net::new(address, bits).ok()
}
