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
}

/// The base chains of one table that drop what guests need; `listing` is what `nft list table` prints.
pub fn dropping(table: &str, listing: &str, needs: &Needs) -> Vec<ForeignChain> {
    let chains = chains(listing);
    let rules: Vec<&str> = chains.iter().flat_map(|chain| chain.rules.iter().copied()).collect();
    let passes = |hook| match hook {
        Hook::Input => rules.iter().any(|rule| admits_vxlan(rule, &needs.ports)),
        Hook::Forward => {
            let out = rules.iter().any(|rule| lets_out(rule)) || lets_all_out(&chains, &needs.uplinks);
            out && rules.iter().any(|rule| lets_back(rule))
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
fn lets_all_out(chains: &[Chain<'_>], uplinks: &BTreeSet<IfName>) -> bool {
    let accepts: Vec<String> = uplinks
        .iter()
        .map(|link| format!("oifname \"{link}\" accept"))
        .collect();
    let mut passed = BTreeSet::new();
    let mut ahead: Vec<&Chain<'_>> = chains
        .iter()
        .filter(|chain| chain.hook == Some(Hook::Forward))
        .collect();
    while let Some(chain) = ahead.pop() {
        if chain
            .rules
            .iter()
            .any(|rule| accepts.iter().any(|accept| accept == rule))
        {
            return true;
        }
        if passed.insert(chain.name) {
            let leads_to = |name: &str| {
                let mut verdicts = chain.rules.iter().filter_map(|rule| rule.split_once(' '));
                verdicts.any(|(verdict, to)| matches!(verdict, "jump" | "goto") && to == name)
            };
            ahead.extend(chains.iter().filter(|next| leads_to(next.name)));
        }
    }
    false
}

/// And the answers.
fn lets_back(rule: &str) -> bool {
    if !passes_on(rule) {
        return false;
    }
    let ours = rule.contains("oifname") && rule.contains("\"gw-");
    let answers = rule.contains("established") && !is_about(rule, &["iif", "oif", " daddr", " saddr"]);
    ours || answers || is_for_all(rule)
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
        let needs = Needs {
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
        assert_eq!(named(&firewalld("goto filter_FWD_public", "4789")), [""; 0]);
        let elsewhere = format!("{other}\n\t\tgoto filter_FWD_internal");
        assert_eq!(named(&firewalld(&elsewhere, "4789")), ["filter_FORWARD LastRule"]);
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
