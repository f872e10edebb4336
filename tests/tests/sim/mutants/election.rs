//! The weaker rules of the election, E1 to E35 (`docs/protocol.md`, A6).

use super::Weaker;

pub(crate) const WEAKER: &[Weaker] = &[
    Weaker {
        id: "E1",
        rule: "no quiet time after a start",
        file: "election/group/mod.rs",
        from: r#"        self.quiet.is_some()
"#,
        to: r#"        !crate::mutants::weak("E1") && self.quiet.is_some()
"#,
    },
    Weaker {
        id: "E2",
        rule: "refusals ignored",
        file: "election/group/hold.rs",
        from: r#"        if let State::Holder(hold) = &self.state {
            let higher"#,
        to: r#"        if crate::mutants::weak("E2") {
            return;
        }
        if let State::Holder(hold) = &self.state {
            let higher"#,
    },
    Weaker {
        id: "E4",
        rule: "one-way hearing counts as reachable",
        file: "election/peer.rs",
        from: "        self.heard.is_some_and(|heard| now.since(heard) <= timing::REACH)",
        to: r#"        let heard = if crate::mutants::weak("E4") { self.received } else { self.heard };
        heard.is_some_and(|heard| now.since(heard) <= timing::REACH)"#,
    },
    Weaker {
        id: "E5",
        rule: "dead without asking the kernel",
        file: "election/peer.rs",
        from: "silent && is_kernel_silent(row, span, now)",
        to: r#"silent && (crate::mutants::weak("E5") || is_kernel_silent(row, span, now))"#,
    },
    Weaker {
        id: "E6",
        rule: "the lower holder does not step down, or ignores the refusal that names the higher",
        file: "election/group/grant.rs",
        from: "if (term, from) > (mine.term, mine.host) {",
        to: r#"if (term, from) > (mine.term, mine.host) && !crate::mutants::weak("E6") {"#,
    },
    Weaker {
        id: "E6",
        rule: "",
        file: "election/group/hold.rs",
        from: "if higher.is_some() {",
        to: r#"if higher.is_some() && !crate::mutants::weak("E6") || crate::mutants::weak("E16") {"#,
    },
    Weaker {
        id: "E8",
        rule: "a restart neither resumes nor removes the address",
        file: "election/group/view.rs",
        from: "if let Some(found) = self.found(found) {",
        to: r#"if let Some(found) = self.found(found).filter(|_| !crate::mutants::weak("E8")) {"#,
    },
    Weaker {
        id: "E9",
        rule: "a gap in one's own running is not noticed",
        file: "election/mod.rs",
        from: "now.since(self.called) > timing::GAP",
        to: r#"now.since(self.called) > timing::GAP && !crate::mutants::weak("E9")"#,
    },
    Weaker {
        id: "E10",
        rule: "a quiet host refuses renewals, too",
        file: "election/group/grant.rs",
        from: "        match self.grant_holder(from, term, lasting, now) {",
        to: r#"        if self.quiet() && crate::mutants::weak("E10") {
            self.refuse(from, term, VoteRefusal::Quiet, None, host);
            return;
        }
        match self.grant_holder(from, term, lasting, now) {"#,
    },
    Weaker {
        id: "E11",
        rule: "a second grant beside a running one",
        file: "election/group/grant.rs",
        from: "        if let Some(named) = self.grant_beside(from, now).map(Grant::named) {",
        to: r#"        if let Some(named) = self.grant_beside(from, now).map(Grant::named).filter(|_| !crate::mutants::weak("E11")) {"#,
    },
    Weaker {
        id: "E12",
        rule: "a higher renewal does not replace a lower grant",
        file: "election/group/grant.rs",
        from: "|other| (other.term, other.to) > (term, to))",
        to: r#"|other| crate::mutants::weak("E12") || (other.term, other.to) > (term, to))"#,
    },
    Weaker {
        id: "E13",
        rule: "the deadline is not looked at first",
        file: "election/mod.rs",
        from: "            group.check_hold(&mut self.host, now);",
        to: r#"            if !crate::mutants::weak("E13") {
                group.check_hold(&mut self.host, now);
            }"#,
    },
    Weaker {
        id: "E13",
        rule: "",
        file: "election/mod.rs",
        from: r#"        self.host.probe(now);
        if beats {"#,
        to: r#"        if crate::mutants::weak("E13") {
            for group in self.groups.values_mut() {
                group.check_hold(&mut self.host, now);
            }
        }
        self.host.probe(now);
        if beats {"#,
    },
    Weaker {
        id: "E14",
        rule: "answers to messages from before the start count",
        file: "election/peer.rs",
        from: "|echo| echo.instance == instance)",
        to: r#"|echo| echo.instance == instance || crate::mutants::weak("E14"))"#,
    },
    Weaker {
        id: "E14",
        rule: "",
        file: "election/peer.rs",
        from: "|echoed| echoed >= since)",
        to: r#"|echoed| echoed >= since || crate::mutants::weak("E14"))"#,
    },
    Weaker {
        id: "E15",
        rule: "one grant is enough",
        file: "election/group/claim.rs",
        from: "if !missing && due {",
        to: r#"if (!missing || crate::mutants::weak("E15") && !claim.granted.is_empty()) && due {"#,
    },
    Weaker {
        id: "E16",
        rule: "any refusal deposes a holder",
        file: "election/group/hold.rs",
        from: r#"        if let Some(named) = named {
            self.highest"#,
        to: r#"        let _ = crate::mutants::weak("E16");
        if let Some(named) = named {
            self.highest"#,
    },
    Weaker {
        id: "E17",
        rule: "a restarted holder takes the full lifetime, or renews having heard nobody",
        file: "election/group/hold.rs",
        from: "now + remaining.saturating_sub(timing::KERNEL_SECOND))",
        to: r#"now + if crate::mutants::weak("E17") { timing::HOLD } else { remaining.saturating_sub(timing::KERNEL_SECOND) })"#,
    },
    Weaker {
        id: "E17",
        rule: "",
        file: "election/group/hold.rs",
        from: "if !complete || early {",
        to: r#"if !complete || early && !crate::mutants::weak("E17") {"#,
    },
    Weaker {
        id: "E18",
        rule: "a refusal that names a dead holder ends the claim",
        file: "election/group/claim.rs",
        from: r#"                    && !host.dead(named.host)
                    && !self.holds_nothing(named.host, named.term, host, now)"#,
        to: r#"                    && (crate::mutants::weak("E18")
                        || !host.dead(named.host) && !self.holds_nothing(named.host, named.term, host, now))"#,
    },
    Weaker {
        id: "E19",
        rule: "a kernel that never answered counts as dead",
        file: "election/host.rs",
        from: "self.reachability.ever_answered().contains(host);",
        to: r#"self.reachability.ever_answered().contains(host) || crate::mutants::weak("E19");"#,
    },
    Weaker {
        id: "E20",
        rule: "failed members count as silent at once",
        file: "election/group/claim.rs",
        from: "                    && silent >= timing::CLAIM_SILENCE_FAILED);",
        to: r#"                    && (silent >= timing::CLAIM_SILENCE_FAILED || crate::mutants::weak("E20")));"#,
    },
    Weaker {
        id: "E21",
        rule: "only the answer to Hello ends quiet",
        file: "election/peer.rs",
        from: r#"    /// When the last message came.
"#,
        to: r#"    /// The latest answer to `Hello`.
    pub(super) welcomed: Option<Instant>,
    /// When the last message came.
"#,
    },
    Weaker {
        id: "E21",
        rule: "",
        file: "election/peer.rs",
        from: "            received: None,",
        to: r#"            welcomed: None,
            received: None,"#,
    },
    Weaker {
        id: "E21",
        rule: "",
        file: "election/mod.rs",
        from: "            Part::HelloAnswer { terms } => {",
        to: r#"            Part::HelloAnswer { terms } => {
                self.host.welcome(from, now);"#,
    },
    Weaker {
        id: "E21",
        rule: "",
        file: "election/host.rs",
        from: "    /// Says hello, unless",
        to: r#"    pub(super) fn welcome(&mut self, from: HostId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.welcomed = Some(now);
        }
    }

    /// Says hello, unless"#,
    },
    Weaker {
        id: "E21",
        rule: "",
        file: "election/group/mod.rs",
        from: "|peer| peer.echoed_since(since));",
        to: r#"|peer| {
                if crate::mutants::weak("E21") { peer.welcomed.is_some_and(|at| at > since) } else { peer.echoed_since(since) }
            });"#,
    },
    Weaker {
        id: "E22",
        rule: "a header's term does not bind",
        file: "election/group/grant.rs",
        from: "if peer.reachable(now) && self.state.term().is_none() {",
        to: r#"if peer.reachable(now) && self.state.term().is_none() && !crate::mutants::weak("E22") {"#,
    },
    Weaker {
        id: "E23",
        rule: "a header without term frees nothing",
        file: "election/group/grant.rs",
        from: "grant.to == from && grant.standing == Established::Holder)",
        to: r#"grant.to == from && grant.standing == Established::Holder && !crate::mutants::weak("E23"))"#,
    },
    Weaker {
        id: "E24",
        rule: "every follower claims at once",
        file: "election/group/claim.rs",
        from: "timing::STEP * better;",
        to: r#"timing::STEP * if crate::mutants::weak("E24") { 0 } else { better };"#,
    },
    Weaker {
        id: "E25",
        rule: "three probes decide over a kernel",
        file: "election/peer.rs",
        from: "    row.lasts(timing::DEAD_PROBES, span, now)",
        to: r#"    if crate::mutants::weak("E25") {
        return row.unanswered >= 3;
    }
    row.lasts(timing::DEAD_PROBES, span, now)"#,
    },
    Weaker {
        id: "E26",
        rule: "failed members are not asked",
        file: "election/group/claim.rs",
        from: r#"        self.tell_voters(host, says);
    }

    /// `ClaimGranted`."#,
        to: r#"        if crate::mutants::weak("E26") {
            let heard: Vec<_> = self.voters.iter().copied().filter(|voter| !host.failed(*voter, now)).collect();
            for voter in heard {
                host.tell(voter, self.id, says);
            }
            return;
        }
        self.tell_voters(host, says);
    }

    /// `ClaimGranted`."#,
    },
    Weaker {
        id: "E27",
        rule: "only the suspected holder's kernel is probed",
        file: "election/host.rs",
        from: "            peer.watch = peer.watch.max(watch);",
        to: r#"            let closely = watch == Watch::Closely && crate::mutants::weak("E27");
            peer.watch = peer.watch.max(if closely { Watch::Member } else { watch });"#,
    },
    Weaker {
        id: "E27",
        rule: "",
        file: "election/peer.rs",
        from: "        self.watch >= Watch::Member && self.doubt == Doubt::Some",
        to: r#"        self.watch >= Watch::Member && self.doubt == Doubt::Some && !crate::mutants::weak("E27")"#,
    },
    Weaker {
        id: "E28",
        rule: "a successor is named only by the highest term",
        file: "election/group/grant.rs",
        from: "        let Some(successor) = successor else { return };",
        to: r#"        let lower = term < self.highest && crate::mutants::weak("E28");
        let Some(successor) = successor.filter(|_| !lower) else { return };"#,
    },
    Weaker {
        id: "E29",
        rule: "the best successor is asked again and again",
        file: "election/group/hand_over.rs",
        from: "(unready(key.rank.host), *key)",
        to: r#"(unready(key.rank.host) && !crate::mutants::weak("E29"), *key)"#,
    },
    Weaker {
        id: "E30",
        rule: "a drained host never claims",
        file: "election/group/mod.rs",
        from: "        self.key(host.me, host).filter(|key| key.rank.candidacy.is_eligible())",
        to: r#"        let never = |key: &Key| key.rank.candidacy == ElectionCandidacy::Drained && crate::mutants::weak("E30");
        self.key(host.me, host).filter(|key| key.rank.candidacy.is_eligible() && !never(key))"#,
    },
    Weaker {
        id: "E31",
        rule: "among claimants the uplink comes before a drain",
        file: "election/message.rs",
        from: "        (self.class(), self.uplink, self.rank).cmp(&(other.class(), other.uplink, other.rank))",
        to: r#"        if crate::mutants::weak("E31") {
            return (self.fitness, self.uplink, self.rank).cmp(&(other.fitness, other.uplink, other.rank));
        }
        (self.class(), self.uplink, self.rank).cmp(&(other.class(), other.uplink, other.rank))"#,
    },
    Weaker {
        id: "E32",
        rule: "a claimant that lacks something comes in its turn",
        file: "election/group/mod.rs",
        from: "fitness: self.fitness.get(&of).map_or(",
        to: r#"fitness: self.fitness.get(&of).filter(|_| !crate::mutants::weak("E32")).map_or("#,
    },
    Weaker {
        id: "E33",
        rule: "a holder that lacks something keeps the gateway",
        file: "election/group/hand_over.rs",
        from: "let lacks = self.has_been(",
        to: r#"let lacks = !crate::mutants::weak("E33") && self.has_been("#,
    },
    Weaker {
        id: "E34",
        rule: "a host whose agent is about to end is a successor",
        file: "election/group/hand_over.rs",
        from: "key.rank.candidacy < ElectionCandidacy::Departing;",
        to: r#"key.rank.candidacy < ElectionCandidacy::Departing || crate::mutants::weak("E34");"#,
    },
    Weaker {
        id: "E35",
        rule: "the gateway goes to a host that is whole only now",
        file: "election/group/hand_over.rs",
        from: "let steady = |key: &Key| self.has_been(",
        to: r#"let steady = |key: &Key| crate::mutants::weak("E35") || self.has_been("#,
    },
    Weaker {
        id: "E3",
        rule: "hold or lifetime longer than the grant",
        file: "election/group/hold.rs",
        from: "until.max(round.begun + timing::HOLD)",
        to: r#"until.max(round.begun + timing::HOLD * if crate::mutants::weak("E3") { 2 } else { 1 })"#,
    },
    Weaker {
        id: "E3",
        rule: "",
        file: "election/group/hold.rs",
        from: "            Lasting::Limited => Some(timing::LIFETIME),",
        to: r#"            Lasting::Limited if crate::mutants::weak("E3") => Some(timing::LIFETIME * 2),
            Lasting::Limited => Some(timing::LIFETIME),"#,
    },
    Weaker {
        id: "E7",
        rule: "kernel address without lifetime",
        file: "election/group/hold.rs",
        from: "        host.effects.push_back(Effect::SetAddress {",
        to: r#"        let lifetime = lifetime.filter(|_| !crate::mutants::weak("E7"));
        host.effects.push_back(Effect::SetAddress {"#,
    },
];
