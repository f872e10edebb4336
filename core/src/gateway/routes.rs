//! Which interfaces lead guests outside, by what the host's routing rules and routes would do with their packets.
//!
//! A way out is a route to the whole world (a default route, or halves of one, as a VPN sets them), or one by a router.
//! What is merely connected to the host, such as storage and management, is not meant for guests, unless its interface
//! also leads to the whole world, or is named in `host.gateway.uplink`. Which of its ways a packet takes is for the
//! kernel to say: here is only said which it may take, and which of them count.

use crate::config::UplinkSetting;
use crate::id::IfName;
use ipnet::Ipv4Net;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// A route of fewer bits leads to the whole world: no network is that large, and VPNs cut the default route up.
const WORLD: u8 = 8;

/// The table that routes are put in by default (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;

/// One address of each half of the world: whatever leads to both leads outside.
const OUTSIDE: [Ipv4Addr; 2] = [Ipv4Addr::new(1, 0, 0, 1), Ipv4Addr::new(129, 0, 0, 1)];

/// A host's IPv4 routing, as far as it may concern forwarded packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The rules that look into a table, in the kernel's order.
    pub rules: Vec<Rule>,
    /// The unicast routes of these tables.
    pub routes: Vec<Route>,
}

impl Routing {
    /// The interface of the default route of the main table that counts most.
    pub fn default_link(&self) -> Option<&IfName> {
        let default = |route: &&Route| route.table == MAIN && route.to.prefix_len() == 0;
        let best = self.routes.iter().filter(default).min_by_key(|route| route.metric);
        best.and_then(|route| route.hops.first()).map(|hop| &hop.link)
    }
}

/// A rule (`ip rule`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The table that it looks into.
    pub table: u32,
    /// What a packet must have; with none, all have it.
    pub selectors: BTreeSet<Selector>,
    /// Whether a packet must have all of these, or must not.
    pub sense: Sense,
    /// Routes of at most so many bits do not count (`suppress_prefixlength`).
    pub suppress: Option<u8>,
}

/// Which packets a rule is for: those that have all that it selects, or the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// Those that have all of it.
    Matching,
    /// `not`
    Inverted,
}

/// What a rule goes by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// `from`
    Source(Ipv4Net),
    /// `iif`
    Incoming(IfName),
    /// `fwmark`
    Mark,
    /// `oif`, `uidrange`: only what the host itself sends has one.
    Own,
    /// Anything else of a packet.
    Other,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The table that it is in.
    pub table: u32,
    /// Where it leads.
    pub to: Ipv4Net,
    /// The lower one counts.
    pub metric: u32,
    /// By these, to share.
    pub hops: Vec<Hop>,
}

/// A hop of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The interface that it leaves by.
    pub link: IfName,
    /// The router, unless what is there is connected.
    pub via: Option<IpAddr>,
}

/// The guests' side of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The subnet that they send from.
    pub subnet: Ipv4Net,
    /// The interface that they come in by.
    pub link: IfName,
}

/// The ways out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// The interfaces that guests may leave by, each with the networks connected there that are not for them.
    pub uplinks: BTreeMap<IfName, BTreeSet<Ipv4Net>>,
    /// The hops that packets to the outside take at present, first those that count most.
    pub hops: Vec<Hop>,
}

/// Whether a rule is for what guests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concerns {
    All,
    Some,
    None,
}

/// The ways out that `routing` has for guests, as far as the operator lets them be used. What leads to one of
/// `own` interfaces stays on the host.
pub fn ways(routing: &Routing, inside: &[Inside], own: &BTreeSet<IfName>, setting: &UplinkSetting) -> Ways {
    let rules: Vec<(&Rule, Concerns)> = routing
        .rules
        .iter()
        .map(|rule| (rule, rule.concerns(inside)))
        .filter(|(_, concerns)| *concerns != Concerns::None)
        .collect();
    let tables: BTreeSet<u32> = rules.iter().map(|(rule, _)| rule.table).collect();
    let routes: Vec<&Route> = routing.routes.iter().filter(|it| tables.contains(&it.table)).collect();
    let allowed = |link: &IfName| match setting {
        UplinkSetting::Auto => !own.contains(link),
        UplinkSetting::Only(named) => named.contains(link),
    };
    let mut hops = Vec::new();
    for hop in OUTSIDE.into_iter().flat_map(|to| chosen(&rules, &routes, to)) {
        if allowed(&hop.link) && !hops.contains(hop) {
            hops.push(hop.clone());
        }
    }
    let uplinks = match setting {
        UplinkSetting::Auto => uplinks(&routes, own),
        UplinkSetting::Only(named) => named.iter().map(|link| (link.clone(), BTreeSet::new())).collect(),
    };
    Ways { uplinks, hops }
}

fn uplinks(routes: &[&Route], own: &BTreeSet<IfName>) -> BTreeMap<IfName, BTreeSet<Ipv4Net>> {
    let mut everywhere = BTreeSet::new();
    let mut by_router = BTreeSet::new();
    let mut connected: BTreeMap<&IfName, BTreeSet<Ipv4Net>> = BTreeMap::new();
    for route in routes {
        for hop in route.hops.iter().filter(|hop| !own.contains(&hop.link)) {
            if route.to.prefix_len() < WORLD {
                everywhere.insert(&hop.link);
            } else if hop.via.is_some() {
                by_router.insert(&hop.link);
            } else {
                connected.entry(&hop.link).or_default().insert(route.to.trunc());
            }
        }
    }
    let with_networks = |link: &IfName| {
        let networks = connected.get(link).filter(|_| !everywhere.contains(link));
        (link.clone(), networks.cloned().unwrap_or_default())
    };
    everywhere.union(&by_router).map(|link| with_networks(link)).collect()
}

/// The hops by which a packet of a guest's to the outside leaves: all that it may take, where that depends on the packet.
fn chosen<'a>(rules: &[(&Rule, Concerns)], routes: &[&'a Route], to: Ipv4Addr) -> Vec<&'a Hop> {
    let mut found = Vec::new();
    for (rule, concerns) in rules {
        let leads = |route: &&&Route| {
            let bits = route.to.prefix_len();
            let counts = rule.suppress.is_none_or(|suppressed| bits > suppressed);
            route.table == rule.table && bits < WORLD && route.to.contains(&to) && counts
        };
        let rank = |route: &Route| (std::cmp::Reverse(route.to.prefix_len()), route.metric);
        let Some(best) = routes.iter().filter(leads).map(|route| rank(route)).min() else {
            continue;
        };
        // Several of one rank: the kernel takes another when the router of one is known to be silent.
        let equal = routes.iter().filter(leads).filter(|route| rank(route) == best);
        found.extend(equal.flat_map(|route| &route.hops));
        if *concerns == Concerns::All {
            break;
        }
    }
    found
}

impl Rule {
    fn concerns(&self, inside: &[Inside]) -> Concerns {
        if self.sense == Sense::Inverted {
            // A guest's packet has no mark unless somebody gives it one.
            let unmarked = self.selectors.iter().all(|selector| *selector == Selector::Mark);
            return if unmarked { Concerns::All } else { Concerns::Some };
        }
        let possible = |selector: &Selector| match selector {
            Selector::Source(net) => inside
                .iter()
                .any(|it| it.subnet.contains(net) || net.contains(&it.subnet)),
            Selector::Incoming(link) => inside.iter().any(|it| it.link == *link),
            Selector::Own => false,
            Selector::Mark | Selector::Other => true,
        };
        if !self.selectors.iter().all(possible) {
            Concerns::None
        } else if self.selectors.is_empty() {
            Concerns::All
        } else {
            Concerns::Some
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> IfName {
        IfName::new(name).unwrap()
    }

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn route(table: u32, to: &str, metric: u32, hops: &[(&str, Option<&str>)]) -> Route {
        let hop = |(name, via): &(&str, Option<&str>)| Hop {
            link: link(name),
            via: via.map(|via| via.parse().unwrap()),
        };
        Route {
            table,
            to: net(to),
            metric,
            hops: hops.iter().map(hop).collect(),
        }
    }

    fn rule(table: u32, selectors: &[Selector]) -> Rule {
        Rule {
            table,
            selectors: selectors.iter().cloned().collect(),
            sense: Sense::Matching,
            suppress: None,
        }
    }

    fn guests() -> [Inside; 1] {
        [Inside {
            subnet: net("192.168.124.0/24"),
            link: link("gw-blue"),
        }]
    }

    /// The interfaces, `eth1!10.0.0.0/24` where a network there is not for guests; and the hops.
    fn told(rules: Vec<Rule>, routes: Vec<Route>, setting: &UplinkSetting) -> (String, String) {
        let own = BTreeSet::from([link("gw-blue"), link("br-blue")]);
        let ways = ways(&Routing { rules, routes }, &guests(), &own, setting);
        let uplink = |(link, nets): (&IfName, &BTreeSet<Ipv4Net>)| {
            let nets: String = nets.iter().map(|net| format!("!{net}")).collect();
            format!("{link}{nets}")
        };
        let hop = |hop: &Hop| match hop.via {
            Some(via) => format!("{via}@{}", hop.link),
            None => hop.link.to_string(),
        };
        (
            ways.uplinks.iter().map(uplink).collect::<Vec<_>>().join(" "),
            ways.hops.iter().map(hop).collect::<Vec<_>>().join(" "),
        )
    }

    fn by_main(routes: Vec<Route>) -> (String, String) {
        told(vec![rule(MAIN, &[])], routes, &UplinkSetting::Auto)
    }

    fn pair(uplinks: &str, hops: &str) -> (String, String) {
        (uplinks.to_owned(), hops.to_owned())
    }

    fn default(metric: u32, name: &str, via: &str) -> Route {
        route(MAIN, "0.0.0.0/0", metric, &[(name, Some(via))])
    }

    #[test]
    fn all_default_routes_are_ways_and_those_of_the_best_metric_count() {
        let lan = route(MAIN, "10.0.0.0/24", 0, &[("eth0", None)]);
        let one = default(0, "eth0", "10.0.0.1");
        assert_eq!(by_main(vec![]), pair("", ""));
        assert_eq!(by_main(vec![lan.clone(), one.clone()]), pair("eth0", "10.0.0.1@eth0"));
        let equal = vec![one.clone(), default(0, "eth1", "10.1.0.1")];
        assert_eq!(by_main(equal), pair("eth0 eth1", "10.0.0.1@eth0 10.1.0.1@eth1"));
        let hops = [("eth0", Some("10.0.0.1")), ("eth1", Some("10.1.0.1"))];
        let shared = vec![route(MAIN, "0.0.0.0/0", 0, &hops)];
        assert_eq!(by_main(shared), pair("eth0 eth1", "10.0.0.1@eth0 10.1.0.1@eth1"));
        let spare = vec![default(200, "eth1", "10.1.0.1"), one];
        assert_eq!(by_main(spare), pair("eth0 eth1", "10.0.0.1@eth0"));
    }

    #[test]
    fn the_default_route_that_counts_most_is_the_main_tables_with_the_least_metric() {
        let routes = vec![
            route(100, "0.0.0.0/0", 0, &[("tun0", None)]),
            route(MAIN, "0.0.0.0/1", 0, &[("tun0", None)]),
            default(200, "eth1", "10.1.0.1"),
            default(100, "eth0", "10.0.0.1"),
        ];
        let routing = Routing { rules: vec![], routes };
        assert_eq!(routing.default_link(), Some(&link("eth0")));
        assert_eq!(Routing::default().default_link(), None);
    }

    #[test]
    fn the_halves_of_a_vpn_take_all_and_leave_the_default_route_without_traffic() {
        let eth0 = default(100, "eth0", "10.0.0.1");
        let half = |to: &str| route(MAIN, to, 50, &[("tun0", Some("10.8.0.1"))]);
        let one = vec![eth0.clone(), half("0.0.0.0/1")];
        assert_eq!(by_main(one), pair("eth0 tun0", "10.8.0.1@tun0 10.0.0.1@eth0"));
        let both = vec![eth0.clone(), half("0.0.0.0/1"), half("128.0.0.0/1")];
        assert_eq!(by_main(both), pair("eth0 tun0", "10.8.0.1@tun0"));
        // As a calculator of AllowedIPs cuts it up.
        let pieces = ["0.0.0.0/5", "128.0.0.0/3"].map(|to| route(MAIN, to, 0, &[("wg0", None)]));
        let all = pieces.into_iter().chain([eth0]).collect();
        assert_eq!(by_main(all), pair("eth0 wg0", "wg0"));
    }

    #[test]
    fn what_is_behind_a_router_is_for_guests_and_what_is_connected_there_is_not() {
        let routes = vec![
            default(0, "eth0", "10.0.0.1"),
            route(MAIN, "10.0.0.0/24", 0, &[("eth0", None)]),
            route(MAIN, "10.1.0.0/24", 0, &[("eth1", None)]),
            route(MAIN, "10.9.0.0/16", 0, &[("eth1", Some("10.1.0.1"))]),
            route(MAIN, "10.2.0.0/24", 0, &[("eth2", None)]),
            route(MAIN, "172.17.0.0/16", 0, &[("docker0", None)]),
            route(MAIN, "10.66.0.0/16", 0, &[("gw-blue", Some("192.168.124.9"))]),
        ];
        assert_eq!(by_main(routes.clone()), pair("eth0 eth1!10.1.0.0/24", "10.0.0.1@eth0"));
        let only = UplinkSetting::Only(vec![link("eth0"), link("eth2")]);
        let told = told(vec![rule(MAIN, &[])], routes, &only);
        assert_eq!(told, pair("eth0 eth2", "10.0.0.1@eth0"));
    }

    #[test]
    fn rules_count_as_far_as_they_concern_guests() {
        let vpn = route(100, "0.0.0.0/0", 0, &[("tun0", None)]);
        let main = default(0, "eth0", "10.0.0.1");
        let with = |first: Rule| {
            let rules = vec![first, rule(MAIN, &[])];
            told(rules, vec![vpn.clone(), main.clone()], &UplinkSetting::Auto)
        };
        let source = |text: &str| Selector::Source(net(text));
        let all = pair("eth0 tun0", "tun0");
        let some = pair("eth0 tun0", "tun0 10.0.0.1@eth0");
        let none = pair("eth0", "10.0.0.1@eth0");
        assert_eq!(with(rule(100, &[])), all);
        for selectors in [
            vec![Selector::Mark],
            vec![Selector::Other],
            vec![source("192.168.124.7/32")],
            vec![source("192.168.0.0/16")],
            vec![Selector::Incoming(link("gw-blue"))],
        ] {
            assert_eq!(with(rule(100, &selectors)), some, "{selectors:?}");
        }
        // A second NIC's own table, as multi-homed hosts have it, is not for guests.
        for selectors in [
            vec![source("10.2.0.5/32")],
            vec![Selector::Incoming(link("eth1"))],
            vec![Selector::Own],
            vec![Selector::Mark, Selector::Own],
        ] {
            assert_eq!(with(rule(100, &selectors)), none, "{selectors:?}");
        }
    }

    #[test]
    fn a_vpn_as_wg_quick_sets_it_up_takes_all() {
        let unmarked = Rule {
            sense: Sense::Inverted,
            ..rule(51820, &[Selector::Mark])
        };
        let specific = Rule {
            suppress: Some(0),
            ..rule(MAIN, &[])
        };
        let rules = vec![specific, unmarked, rule(MAIN, &[])];
        let routes = vec![
            default(0, "eth0", "10.0.0.1"),
            route(51820, "0.0.0.0/0", 0, &[("wg0", None)]),
        ];
        let told = told(rules, routes, &UplinkSetting::Auto);
        assert_eq!(told, pair("eth0 wg0", "wg0"));
    }
}
