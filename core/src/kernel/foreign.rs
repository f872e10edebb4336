//! Other people's firewall chains, as `nft list table` prints them: which of them drop what guests need, as far as that
//! shows.
//!
//! A rule may go by anything, so this names a likely cause, and rather too few than too many: a chain that lets something
//! of ours pass by name is taken to let it all pass.

use crate::id::IfName;
use std::collections::BTreeSet;

/// Where a base chain is hooked, as far as guests' packets pass it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// What comes in to the host: outer VXLAN.
    Input,
    /// What is forwarded: guests to the outside, and the answers.
    Forward,
}

/// A base chain that is not ours, and that drops what guests need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignChain {
    /// Its table with the family, as `ip filter`.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it is hooked.
    pub hook: Hook,
    /// What it does with a packet that no rule is about.
    pub otherwise: Otherwise,
}

/// What a chain does with a packet that no rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Otherwise {
    /// Its policy drops it.
    Policy,
    /// Its last rule drops or rejects it.
    LastRule,
}

/// What guests need, in the words of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The UDP ports of the segments' VXLAN.
    pub ports: BTreeSet<u16>,
    /// The interfaces that guests leave by.
    pub uplinks: BTreeSet<IfName>,
    /// What comes back to guests.
    pub inward: Inward,
}

/// What comes to guests from the outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inward {
    /// Answers.
    #[default]
    Answers,
    /// Those, and connections to published ports.
    Published,
}

/// The base chains of one table that drop what guests need; `listing` is what `nft list table` prints.
pub fn dropping(table: &str, listing: &str, needs: &Needs) -> Vec<ForeignChain> {
    let chains = chains(listing);
    let passes = |hook| {
        let rules = passed(&chains, hook, &needs.ports);
        match hook {
            Hook::Input => rules.iter().any(|rule| admits_vxlan(rule, &needs.ports)),
            Hook::Forward => {
                let out = |rule: &&str| lets_out(rule) || leads_to_uplink(rule, &needs.uplinks);
                rules.iter().any(out) && rules.iter().any(|rule| lets_back(rule, needs.inward))
            }
        }
    };
    let base = chains.iter().filter_map(|chain| {
        Some(ForeignChain {
            table: table.to_owned(),
            name: chain.name.to_owned(),
            hook: chain.hook?,
            otherwise: chain.otherwise()?,
        })
    });
    base.filter(|chain| !passes(chain.hook)).collect()
}

struct Chain<'a> {
    name: &'a str,
    hook: Option<Hook>,
    drops: bool,
    rules: Vec<&'a str>,
}

impl Chain<'_> {
    fn otherwise(&self) -> Option<Otherwise> {
        // With its counter, its log and its reason it is still a rule for everything.
        let all = |rule: &&str| {
            let rest = rule.strip_prefix("counter packets ").map_or(*rule, |rest| {
                let mut words = rest.splitn(4, ' ');
                words.nth(3).unwrap_or_default()
            });
            rest.starts_with("drop") || rest.starts_with("reject")
        };
        if self.drops {
            Some(Otherwise::Policy)
        } else {
            self.rules.last().filter(|rule| all(rule)).map(|_| Otherwise::LastRule)
        }
    }
}

fn chains(listing: &str) -> Vec<Chain<'_>> {
    let mut found: Vec<Chain<'_>> = Vec::new();
    let mut inside = false;
    for line in listing.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {")) {
            inside = true;
            found.push(Chain {
                name,
                hook: None,
                drops: false,
                rules: Vec::new(),
            });
        } else if line == "}" {
            inside = false;
        } else if let Some(chain) = found.last_mut().filter(|_| inside && !line.is_empty()) {
            match line.strip_prefix("type filter hook ") {
                Some(head) => {
                    chain.hook = hook(head);
                    chain.drops = head.contains("policy drop");
                }
                // Of another type, as nat: no rule, whatever its policy.
                None if line.starts_with("type ") => {}
                None => chain.rules.push(line),
            }
        }
    }
    found
}

fn hook(head: &str) -> Option<Hook> {
    match head.split(' ').next()? {
        "input" => Some(Hook::Input),
        "forward" => Some(Hook::Forward),
        _ => None,
    }
}

/// The rules that packets of a hook come to, as far as guests need them: in its base chains, and where these hand them on.
fn passed<'a>(chains: &[Chain<'a>], hook: Hook, ports: &BTreeSet<u16>) -> Vec<&'a str> {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut ahead: Vec<&Chain<'a>> = chains.iter().filter(|chain| chain.hook == Some(hook)).collect();
    let mut rules = Vec::new();
    while let Some(chain) = ahead.pop() {
        if !reached.insert(chain.name) {
            continue;
        }
        rules.extend(&chain.rules);
        let onward = chain.rules.iter().filter(|rule| !is_narrow(rule, hook, ports));
        let to: BTreeSet<&str> = onward.flat_map(|rule| handed_to(rule)).collect();
        ahead.extend(chains.iter().filter(|next| to.contains(next.name)));
    }
    rules
}

/// Whether a rule is about packets of some other kind.
fn is_narrow(rule: &str, hook: Hook, ports: &BTreeSet<u16>) -> bool {
    let elsewhere: &[&str] = match hook {
        Hook::Input => &["iifname \"lo\"", "iif \"lo\"", "oif"],
        Hook::Forward => &["iif", "oif", " daddr", " saddr"],
    };
    let other_port = rule.contains("dport") && !ports.iter().any(|port| has_number(rule, *port));
    other_port || is_about(rule, &["icmp", "tcp ", "xt match"]) || is_about(rule, elsewhere)
}

/// The chains that a rule hands packets to; with a map it may be several.
fn handed_to(rule: &str) -> impl Iterator<Item = &str> {
    let mut words = rule.split([' ', ',']);
    std::iter::from_fn(move || {
        words.find(|word| matches!(*word, "jump" | "goto"))?;
        words.next()
    })
}

/// Whether a rule lets packets pass, or has another chain say so.
fn passes_on(rule: &str) -> bool {
    [" accept", " jump ", " goto ", ": accept", ": jump ", ": goto "]
        .iter()
        .any(|verdict| rule.contains(verdict))
        || rule == "accept"
}

/// Only for packets of this kind.
fn is_about(rule: &str, words: &[&str]) -> bool {
    words.iter().any(|word| rule.contains(word))
}

fn admits_vxlan(rule: &str, ports: &BTreeSet<u16>) -> bool {
    if !rule.contains("accept") {
        return false;
    }
    let named = rule.contains("dport") && ports.iter().any(|port| has_number(rule, *port));
    let others = [
        "dport",
        "ct ",
        "icmp",
        "l4proto",
        "tcp ",
        "iifname \"lo\"",
        "iif \"lo\"",
        "oif",
        "xt match",
        "ip protocol",
    ];
    named || !is_about(rule, &others)
}

fn has_number(rule: &str, number: u16) -> bool {
    rule.split(|letter: char| !letter.is_ascii_digit())
        .any(|word| word.parse() == Ok(number))
}

/// From guests to the outside.
fn lets_out(rule: &str) -> bool {
    if !passes_on(rule) {
        return false;
    }
    let ours = rule.contains("iifname") && rule.contains("\"gw-");
    ours || is_for_all(rule)
}

/// From anywhere to an uplink, as firewalld has it within its default zone. What is for another zone's interfaces is in
/// chains that not everything passes.
fn leads_to_uplink(rule: &str, uplinks: &BTreeSet<IfName>) -> bool {
    let accepts = |link: &IfName| rule == format!("oifname \"{link}\" accept");
    uplinks.iter().any(accepts)
}

/// And what comes to guests.
fn lets_back(rule: &str, inward: Inward) -> bool {
    if !passes_on(rule) {
        return false;
    }
    let ours = rule.contains("oifname") && rule.contains("\"gw-");
    let connections = match inward {
        Inward::Answers => rule.contains("established"),
        Inward::Published => rule.contains("ct status dnat"),
    };
    ours || is_for_all(rule) || (connections && !is_about(rule, &["iif", "oif", " daddr", " saddr"]))
}

/// An `accept` of whatever comes.
fn is_for_all(rule: &str) -> bool {
    let bare = rule
        .strip_prefix("counter packets ")
        .is_some_and(|rest| rest.splitn(4, ' ').nth(3) == Some("accept"));
    rule == "accept" || rule == "counter accept" || bare
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(listing: &str) -> Vec<String> {
        named_with(Inward::Answers, listing)
    }

    fn named_with(inward: Inward, listing: &str) -> Vec<String> {
        let needs = Needs {
            inward,
            ports: [4789].into(),
            uplinks: [IfName::new("eth0").unwrap()].into(),
        };
        let found = dropping("ip filter", listing, &needs);
        found
            .iter()
            .map(|chain| format!("{} {:?}", chain.name, chain.otherwise))
            .collect()
    }

    /// As iptables-nft lists what Docker 28 makes; `user` are the rules of DOCKER-USER.
    fn docker(user: &str) -> String {
        format!(
            "table ip filter {{
\tchain FORWARD {{
\t\ttype filter hook forward priority filter; policy drop;
\t\tcounter packets 0 bytes 0 jump DOCKER-USER
\t\tcounter packets 0 bytes 0 jump DOCKER-FORWARD
\t}}

\tchain DOCKER {{
\t\tiifname != \"docker0\" oifname \"docker0\" counter packets 0 bytes 0 drop
\t}}

\tchain DOCKER-USER {{
{user}\t}}

\tchain DOCKER-FORWARD {{
\t\tcounter packets 0 bytes 0 jump DOCKER-CT
\t\tiifname \"docker0\" counter packets 0 bytes 0 accept
\t}}

\tchain DOCKER-CT {{
\t\toifname \"docker0\" ct state related,established counter packets 0 bytes 0 accept
\t}}
}}
"
        )
    }

    #[test]
    fn dockers_policy_drops_until_both_rules_are_there() {
        let out = "\t\tiifname \"gw-*\" counter packets 0 bytes 0 accept\n";
        let back = "\t\toifname \"gw-*\" counter packets 0 bytes 0 accept\n";
        for user in ["", out, back, "\t\tcounter packets 0 bytes 0 return\n"] {
            assert_eq!(named(&docker(user)), ["FORWARD Policy"], "{user}");
        }
        assert_eq!(named(&docker(&format!("{out}{back}"))), [""; 0]);
        assert_eq!(named(&docker("").replace("policy drop", "policy accept")), [""; 0]);
    }

    /// The shape of firewalld's own table; `zone` is where an interface is handed to its zone.
    fn firewalld(zone: &str, port: &str) -> String {
        format!(
            "table inet firewalld {{
\tchain filter_INPUT {{
\t\ttype filter hook input priority filter + 10; policy accept;
\t\tct state {{ established, related }} accept
\t\tiifname \"lo\" accept
\t\tgoto filter_INPUT_ZONES
\t\treject with icmpx admin-prohibited
\t}}
\tchain nat_PREROUTING {{
\t\ttype nat hook prerouting priority dstnat + 10; policy accept;
\t}}
\tchain filter_OUTPUT {{
\t\ttype filter hook output priority filter + 10; policy accept;
\t\toifname \"lo\" accept
\t}}
\tchain filter_INPUT_ZONES {{
\t\tiifname \"eth1\" goto filter_IN_trusted
\t\tgoto filter_IN_public
\t}}
\tchain filter_IN_public {{
\t\tjump filter_IN_public_allow
\t\treject with icmpx admin-prohibited
\t}}
\tchain filter_FORWARD {{
\t\ttype filter hook forward priority filter + 10; policy accept;
\t\tct state {{ established, related }} accept
\t\tct status dnat accept
\t\t{zone}
\t\treject with icmpx admin-prohibited
\t}}
\tchain filter_FWD_public {{
\t\tjump filter_FWD_public_allow
\t\treject with icmpx admin-prohibited
\t}}
\tchain filter_FWD_public_allow {{
\t\toifname \"eth0\" accept
\t}}
\tchain filter_FWD_internal {{
\t\tjump filter_FWD_internal_allow
\t\treject with icmpx admin-prohibited
\t}}
\tchain filter_FWD_internal_allow {{
\t\toifname \"eth7\" accept
\t}}
\tchain filter_IN_public_allow {{
\t\ttcp dport 22 accept
\t\tudp dport {port} accept
\t}}
}}
"
        )
    }

    #[test]
    fn firewalld_rejects_until_the_interface_is_in_a_zone_and_the_port_is_open() {
        let (other, ours) = (
            "iifname \"eth0\" goto filter_FWD_public",
            "iifname \"gw-blue\" goto filter_FWD_trusted",
        );
        assert_eq!(
            named(&firewalld(other, "53")),
            ["filter_INPUT LastRule", "filter_FORWARD LastRule"]
        );
        assert_eq!(named(&firewalld(ours, "53")), ["filter_INPUT LastRule"]);
        assert_eq!(named(&firewalld(ours, "{ 53, 4789 }")), [""; 0]);
        // Within its default zone it forwards by itself, to the interfaces that are in it: not to an uplink in another one.
        for inward in [Inward::Answers, Inward::Published] {
            assert_eq!(
                named_with(inward, &firewalld("goto filter_FWD_public", "4789")),
                [""; 0]
            );
        }
        let elsewhere = format!("{other}\n\t\tgoto filter_FWD_internal");
        assert_eq!(named(&firewalld(&elsewhere, "4789")), ["filter_FORWARD LastRule"]);
    }

    /// As iptables-nft lists what ufw 0.36 makes, in short; the rules of `ufw route` and `ufw allow` are in `forward` and `input`.
    fn ufw(forward: &str, input: &str) -> String {
        format!(
            "table ip filter {{
\tchain INPUT {{
\t\ttype filter hook input priority filter; policy drop;
\t\tcounter packets 52 bytes 1904 jump ufw-before-input
\t\tcounter packets 0 bytes 0 jump ufw-after-input
\t}}

\tchain FORWARD {{
\t\ttype filter hook forward priority filter; policy drop;
\t\tcounter packets 44 bytes 2624 jump ufw-before-forward
\t}}

\tchain ufw-before-input {{
\t\tiifname \"lo\" counter packets 1 bytes 29 accept
\t\tct state related,established counter packets 0 bytes 0 accept
\t\tct state invalid counter packets 0 bytes 0 jump ufw-logging-deny
\t\tmeta l4proto icmp icmp type echo-request counter packets 0 bytes 0 accept
\t\tcounter packets 0 bytes 0 jump ufw-not-local
\t\tcounter packets 0 bytes 0 jump ufw-user-input
\t}}

\tchain ufw-before-forward {{
\t\tct state related,established counter packets 0 bytes 0 accept
\t\tmeta l4proto icmp icmp type echo-request counter packets 0 bytes 0 accept
\t\tcounter packets 0 bytes 0 jump ufw-user-forward
\t}}

\tchain ufw-after-input {{
\t\tudp dport 137 counter packets 0 bytes 0 jump ufw-skip-to-policy-input
\t\tfib daddr type broadcast counter packets 0 bytes 0 jump ufw-skip-to-policy-input
\t}}

\tchain ufw-skip-to-policy-input {{
\t\tcounter packets 0 bytes 0 drop
\t}}

\tchain ufw-skip-to-policy-output {{
\t\tcounter packets 0 bytes 0 accept
\t}}

\tchain ufw-user-input {{
{input}\t}}

\tchain ufw-user-forward {{
{forward}\t}}

\tchain ufw-user-limit-accept {{
\t\tcounter packets 0 bytes 0 accept
\t}}
}}
"
        )
    }

    #[test]
    fn ufw_drops_until_guests_are_routed_and_vxlan_is_allowed() {
        let out = "\t\tiifname \"gw-*\" counter packets 0 bytes 0 accept\n";
        let vxlan = "\t\tudp dport 4789 counter packets 0 bytes 0 accept\n";
        let limited = "\t\ttcp dport 22 ct state new counter packets 0 bytes 0 jump ufw-user-limit-accept\n";
        for input in ["", limited] {
            assert_eq!(named(&ufw("", input)), ["INPUT Policy", "FORWARD Policy"], "{input}");
        }
        assert_eq!(named(&ufw(out, "")), ["INPUT Policy"]);
        assert_eq!(named(&ufw("", vxlan)), ["FORWARD Policy"]);
        assert_eq!(named(&ufw(out, vxlan)), [""; 0]);
        // To published ports others open connections.
        assert_eq!(named_with(Inward::Published, &ufw(out, vxlan)), ["FORWARD Policy"]);
        let inwards = format!("{out}{}", out.replace("iifname", "oifname"));
        assert_eq!(named_with(Inward::Published, &ufw(&inwards, vxlan)), [""; 0]);
    }

    #[test]
    fn a_policy_that_drops_what_comes_in_is_named_unless_something_may_admit_vxlan() {
        let input = |rules: &str| {
            format!(
                "table inet filter {{\n\tchain input {{\n\t\ttype filter hook input priority filter; policy drop;\n{rules}\t}}\n}}\n"
            )
        };
        for rules in [
            "",
            "\t\tct state established,related accept\n\t\tiif \"lo\" accept\n",
            "\t\ttcp dport { 22, 7480 } accept\n\t\ticmp type echo-request accept\n",
            "\t\tudp dport { 53, 14789 } accept\n",
            "\t\tudp dport 4789 drop\n",
        ] {
            assert_eq!(named(&input(rules)), ["input Policy"], "{rules}");
        }
        for rules in [
            "\t\tudp dport 4789 accept\n",
            "\t\tudp dport 4000-5000 accept\n\t\tip saddr 10.0.0.0/24 accept\n",
            "\t\tiifname \"eth0\" accept\n",
        ] {
            assert_eq!(named(&input(rules)), [""; 0], "{rules}");
        }
    }
}
