//! The weaker rules of the leases, M1 to M49 (`docs/protocol.md`, B5).

use super::Weaker;

pub(crate) const WEAKER: &[Weaker] = &[
    Weaker {
        id: "M1",
        rule: "reuse when the owner's own time is over, without asking `may`",
        file: "addresses/record.rs",
        from: r#"!self.record.is_bound() && self.may.is_empty() && self.reuse"#,
        to: r#"!self.record.is_bound() && (crate::mutants::weak("M1") || self.may.is_empty()) && self.reuse"#,
    },
    Weaker {
        id: "M2",
        rule: "the keeper answers before its fsync",
        file: "addresses/keeper.rs",
        from: r#"        host.outbox.send(from, stored, store.after(address), now);"#,
        to: r#"        let after = if crate::mutants::weak("M2") { 0 } else { store.after(address) };
        host.outbox.send(from, stored, after, now);"#,
    },
    Weaker {
        id: "M3",
        rule: "`Put` before the owner's fsync",
        file: "addresses/replication.rs",
        from: r#"    let after = store.after(address);
    let confirmed"#,
        to: r#"    let after = if crate::mutants::weak("M3") { 0 } else { store.after(address) };
    let confirmed"#,
    },
    Weaker {
        id: "M4",
        rule: "a restart does not presume leases extended",
        file: "addresses/start.rs",
        from: r#"now + store.full_time(record));"#,
        to: r#"if crate::mutants::weak("M4") { now } else { now + store.full_time(record) });"#,
    },
    Weaker {
        id: "M5",
        rule: "a keeper gives way while its time runs",
        file: "addresses/keeper.rs",
        from: r#"(left > Duration::ZERO && !stays)"#,
        to: r#"(left > Duration::ZERO && !stays && !crate::mutants::weak("M5"))"#,
    },
    Weaker {
        id: "M6",
        rule: "any `Stored` counts",
        file: "addresses/replication.rs",
        from: r#"|| state.record.version != version || !state.may.contains(&from) {
        return;
    }
    let keeper"#,
        to: r#"|| state.record.version != version && !crate::mutants::weak("M6") || !state.may.contains(&from) {
        return;
    }
    let keeper"#,
    },
    Weaker {
        id: "M7",
        rule: "the giver sends before it is on disk",
        file: "addresses/transfer.rs",
        from: r#"            let after = ranges.iter().map(|&range| store.after_all(range)).max().unwrap_or(0);
            let waits"#,
        to: r#"            let after = ranges.iter().map(|&range| store.after_all(range)).max().unwrap_or(0);
            let after = if crate::mutants::weak("M7") { 0 } else { after };
            let waits"#,
    },
    Weaker {
        id: "M8",
        rule: "the receiver does not presume leases extended",
        file: "addresses/transfer.rs",
        from: r#"live.relied_until = Some(now + full);"#,
        to: r#"live.relied_until = Some(if crate::mutants::weak("M8") { now } else { now + full });"#,
    },
    Weaker {
        id: "M9",
        rule: "a range is taken because somebody names its owner",
        file: "addresses/inheritance.rs",
        from: r#"} else if owner == self.me {"#,
        to: r#"} else if owner == self.me && !crate::mutants::weak("M9") {"#,
    },
    Weaker {
        id: "M10",
        rule: "inheritance without one member's report",
        file: "addresses/takeover.rs",
        from: r#"if missing.is_empty() {"#,
        to: r#"if missing.len() <= usize::from(crate::mutants::weak("M10")) {"#,
    },
    Weaker {
        id: "M11",
        rule: "a removed keeper is dropped without quarantine",
        file: "addresses/ending.rs",
        from: r#"            state.may.remove(&gone);
            state.reuse = Reuse::Quarantined;"#,
        to: r#"            state.may.remove(&gone);
            if !crate::mutants::weak("M11") {
                state.reuse = Reuse::Quarantined;
            }"#,
    },
    Weaker {
        id: "M11",
        rule: "",
        file: "addresses/ending.rs",
        from: r#"            let full = store.full_time(&store.at(address).record);
            if"#,
        to: r#"            let full = store.full_time(&store.at(address).record);
            let full = if crate::mutants::weak("M11") { Duration::ZERO } else { full };
            if"#,
    },
    Weaker {
        id: "M12",
        rule: "messages of a removed host still count",
        file: "addresses/dispatch.rs",
        from: r#"if self.host.is_removed(from) {"#,
        to: r#"let taken = crate::mutants::weak("M27") || crate::mutants::weak("M27: removed");
        let put = matches!(message, Message::Put { .. });
        if self.host.is_removed(from) && !crate::mutants::weak("M12") && !(taken && put) {"#,
    },
    Weaker {
        id: "M13",
        rule: "the heir's addresses are not quarantined",
        file: "addresses/takeover.rs",
        from: r#"        state.reuse = Reuse::Quarantined;"#,
        to: r#"            state.reuse = if crate::mutants::weak("M13") { Reuse::Allowed } else { Reuse::Quarantined };"#,
    },
    Weaker {
        id: "M14",
        rule: "a release without version",
        file: "addresses/ending.rs",
        from: r#"&& record.version == version"#,
        to: r#"&& (record.version == version || crate::mutants::weak("M14"))"#,
    },
    Weaker {
        id: "M35",
        rule: "a release needs only client and version",
        file: "addresses/ending.rs",
        from: r#"live.nonce == nonce)"#,
        to: r#"live.nonce == nonce || crate::mutants::weak("M14") || crate::mutants::weak("M35"))"#,
    },
    Weaker {
        id: "M15",
        rule: "`may` is replaced instead of added to",
        file: "addresses/keepers.rs",
        from: r#"        state.record.lease_time = state.record.lease_time.max(lease_time);
        state.may"#,
        to: r#"        state.record.lease_time = state.record.lease_time.max(lease_time);
        if crate::mutants::weak("M15") {
            state.may.clear();
        }
        state.may"#,
    },
    Weaker {
        id: "M16",
        rule: "an extension raises the version",
        file: "addresses/replication.rs",
        from: r#"    let record = &store.at(address).record;
    let lease_time = waiter"#,
        to: r#"    if crate::mutants::weak("M16") && !store.owns(host, address) {
        store.update(host, Range::one(address), |_, state| state.record.version = super::store::fresh_version(state));
        }
    let record = &store.at(address).record;
    let lease_time = waiter"#,
    },
    Weaker {
        id: "M17",
        rule: "`Give` without `may`",
        file: "addresses/transfer.rs",
        from: r#"may: state.may.iter().copied().collect(),"#,
        to: r#"may: state.may.iter().copied().filter(|_| !crate::mutants::weak("M17")).collect(),"#,
    },
    Weaker {
        id: "M18",
        rule: "older versions are accepted",
        file: "addresses/keeper.rs",
        from: r#"if record.version < state.record.version {"#,
        to: r#"if record.version < state.record.version && !crate::mutants::weak("M18") {"#,
    },
    Weaker {
        id: "M18",
        rule: "",
        file: "addresses/keeper.rs",
        from: r#"if state.record.version < version {"#,
        to: r#"if state.record.version < version || crate::mutants::weak("M18") {"#,
    },
    Weaker {
        id: "M19",
        rule: "any copy may extend",
        file: "addresses/store.rs",
        from: r#"            && state.record.is_bound()
            && state.record.keeper == Some(host.me)"#,
        to: r#"            && state.record.is_bound()
            && (state.record.keeper == Some(host.me) || crate::mutants::weak("M19"))"#,
    },
    Weaker {
        id: "M19",
        rule: "",
        file: "addresses/store.rs",
        from: r#"let keeps = bound && state.record.keeper == Some(me);"#,
        to: r#"let keeps = bound && (state.record.keeper == Some(me) || crate::mutants::weak("M19"));"#,
    },
    Weaker {
        id: "M20",
        rule: "the first ACK goes out before the keeper has stored",
        file: "addresses/copies.rs",
        from: r#"            Some(keeper) => live.confirmed.contains(&keeper),
            None => host.journal"#,
        to: r#"            Some(keeper) => live.confirmed.contains(&keeper) || crate::mutants::weak("M20"),
            None => host.journal"#,
    },
    Weaker {
        id: "M21",
        rule: "the taker of a range stays keeper of its records",
        file: "addresses/transfer.rs",
        from: r#"        if state.record.keeper == Some(me) {"#,
        to: r#"        if state.record.keeper == Some(me) && !crate::mutants::weak("M21") {"#,
    },
    Weaker {
        id: "M22",
        rule: "the report of an older ballot counts",
        file: "addresses/takeover.rs",
        from: r#"if ballot.epoch != epoch || !ballot.asked"#,
        to: r#"if ballot.epoch != epoch && !crate::mutants::weak("M22") || !ballot.asked"#,
    },
    Weaker {
        id: "M23",
        rule: "members report without promising",
        file: "addresses/report.rs",
        from: r#"        store.update(host, range, |_, state| state.promised = epoch);
    }
    let after = ranges"#,
        to: r#"        store.update(host, range, |_, state| {
            if !crate::mutants::weak("M23") {
                state.promised = epoch;
            }
        });
    }
    let after = ranges"#,
    },
    Weaker {
        id: "M24",
        rule: "the heir finishes although it promised a higher ballot",
        file: "addresses/takeover.rs",
        from: r#".any(|&range| store.parts(range).iter().any(|(_, state)| outbid(state)))"#,
        to: r#".any(|&range| store.parts(range).iter().any(|(_, state)| outbid(state) && !crate::mutants::weak("M24")))"#,
    },
    Weaker {
        id: "M25",
        rule: "`removed` grows during a ballot and the heir goes on",
        file: "addresses/takeover.rs",
        from: r#"if ballot.removed != *host.removed() {"#,
        to: r#"if ballot.removed != *host.removed() && !crate::mutants::weak("M25") {"#,
    },
    Weaker {
        id: "M26",
        rule: "neither a stored `Put` counts as promise, nor what is known of owner and record",
        file: "addresses/keeper.rs",
        from: r#"            state.promised = state.promised.max(epoch);"#,
        to: r#"            if !crate::mutants::weak("M26") && !crate::mutants::weak("M26: promise") {
                state.promised = state.promised.max(epoch);
            }"#,
    },
    Weaker {
        id: "M26",
        rule: "",
        file: "addresses/report.rs",
        from: r#"epoch < state.promised || epoch <= state.epoch || epoch <= state.record.version.epoch;"#,
        to: r#"{
            let ignored = crate::mutants::weak("M26") || crate::mutants::weak("M26: known");
            epoch < state.promised
                || !ignored && (epoch <= state.epoch || epoch <= state.record.version.epoch)
        };"#,
    },
    Weaker {
        id: "M27",
        rule: "a late `Put` of a removed owner is accepted, below the promise",
        file: "addresses/keeper.rs",
        from: r#"if epoch < state.promised {"#,
        to: r#"if epoch < state.promised && !crate::mutants::weak("M27") && !crate::mutants::weak("M27: promise") {"#,
    },
    Weaker {
        id: "M28",
        rule: "a member reports without taking over `removed` first",
        file: "addresses/dispatch.rs",
        from: r#"self.learn_removed(&removed.into_iter().collect(), now);"#,
        to: r#"if !crate::mutants::weak("M28") {
                    self.learn_removed(&removed.into_iter().collect(), now);
                }"#,
    },
    Weaker {
        id: "M29",
        rule: "epochs without host id",
        file: "addresses/store.rs",
        from: r#"            number: highest + 1,
            host: me,"#,
        to: r#"            number: highest + 1,
            host: if crate::mutants::weak("M29") { HostId(0) } else { me },"#,
    },
    Weaker {
        id: "M30",
        rule: "a hand-over's epoch is not above the giver's promise, and who is refused for one takes no higher epoch",
        file: "addresses/transfer.rs",
        from: r#"            let highest = chunk.iter().map(|&range| store.fresh_epoch(host.me, range)).max();"#,
        to: r#"            let highest = chunk.iter().map(|&range| store.fresh_epoch(host.me, range)).max();
            let highest = highest.map(|mut epoch| {
                if crate::mutants::weak("M30") || crate::mutants::weak("M30: giver") {
                    let known = |state: &AddressState| state.epoch.number.max(state.record.version.epoch.number);
                    let states = chunk.iter().flat_map(|&range| store.state().within(range));
                    epoch.number = 1 + states.map(|(_, state)| known(state)).max().unwrap_or(0);
                }
                epoch
            });"#,
    },
    Weaker {
        id: "M30",
        rule: "",
        file: "addresses/replication.rs",
        from: r#"        PutRefusal::Promised if promised > state.epoch => "#,
        to: r#"            PutRefusal::Promised
                if promised > state.epoch
                    && !crate::mutants::weak("M30")
                    && !crate::mutants::weak("M30: refused") => "#,
    },
    Weaker {
        id: "M31",
        rule: "a joiner takes part before every member knows it",
        file: "addresses/participation.rs",
        from: r#"if all && vouched && self.membership.introduced == Introduced::ByMember {"#,
        to: r#"let all = all || crate::mutants::weak("M31");
        let vouched = vouched || crate::mutants::weak("M36");
        if all && vouched && self.membership.introduced == Introduced::ByMember {"#,
    },
    Weaker {
        id: "M32",
        rule: "a taker that kept the record itself does not quarantine it",
        file: "addresses/transfer.rs",
        from: r#"run.reuse == Reuse::Quarantined || kept || unasked"#,
        to: r#"run.reuse == Reuse::Quarantined && !crate::mutants::weak("M33") || kept && !crate::mutants::weak("M32") || unasked"#,
    },
    Weaker {
        id: "M32",
        rule: "",
        file: "addresses/transfer.rs",
        from: r#".any(|&other| other == me || host.is_removed(other));"#,
        to: r#".any(|&other| other == me && !crate::mutants::weak("M32") || host.is_removed(other));"#,
    },
    Weaker {
        id: "M32",
        rule: "",
        file: "addresses/transfer.rs",
        from: r#"        if store.at(address).record.holder == (Holder::Free { last: Some(client) }) {"#,
        to: r#"        let ended = store.at(address).record.holder == (Holder::Free { last: Some(client) });
        if ended && !crate::mutants::weak("M32") {"#,
    },
    Weaker {
        id: "M33",
        rule: "quarantine is not handed over, or ended by a restart",
        file: "addresses/start.rs",
        from: r#"            ending::quarantine(store, range, now);"#,
        to: r#"            if crate::mutants::weak("M33") {
                store.update(host, range, |_, state| state.reuse = super::record::Reuse::Allowed);
            }
            ending::quarantine(store, range, now);"#,
    },
    Weaker {
        id: "M36",
        rule: "a joiner takes part though nobody is left that took part and acknowledged it",
        file: "addresses/acknowledge.rs",
        from: r#"            if said.part == Part::Taking && self.membership.introduced == Introduced::Not {"#,
        to: r#"            let introduces = said.part == Part::Taking || crate::mutants::weak("M36");
            if introduces && self.membership.introduced == Introduced::Not {"#,
    },
    Weaker {
        id: "M34",
        rule: "`lease_time` is not in the record",
        file: "addresses/configure.rs",
        from: r#"        timing::relied(record.lease_time.max(self.configured.longest))"#,
        to: r#"        if crate::mutants::weak("M34") {
            return timing::relied(self.lease_time());
        }
        timing::relied(record.lease_time.max(self.configured.longest))"#,
    },
    Weaker {
        id: "M37",
        rule: "a leaver goes although a host that was removed had not taken what it gave",
        file: "addresses/share.rs",
        from: r#"&& state.transfer == Transfer::Settled || state.transfer == Transfer::HandingOver"#,
        to: r#"&& state.transfer == Transfer::Settled
            || state.transfer == Transfer::HandingOver
                && (!crate::mutants::weak("M37") || state.owner.is_some_and(|owner| !host.is_removed(owner)))"#,
    },
    Weaker {
        id: "M38",
        rule: "a restart forgets what a joiner heard before it heard of the pool",
        file: "addresses/start.rs",
        from: r#"                    longest: Duration::ZERO,
                    agreed: Duration::ZERO,
                } => {"#,
        to: r#"                    longest,
                    agreed,
                } if crate::mutants::weak("M38") || (longest, agreed) == (Duration::ZERO, Duration::ZERO) => {"#,
    },
    Weaker {
        id: "M39",
        rule: "a first owner is acknowledged by a host that knows another one",
        file: "addresses/first_claim.rs",
        from: r#"owner != me && ownership == Ownership::ToBe =>"#,
        to: r#"owner != me && ownership == Ownership::ToBe && !crate::mutants::weak("M39") =>"#,
    },
    Weaker {
        id: "M40",
        rule: "the host that has most is asked for a share, not the one that can spare most",
        file: "addresses/share.rs",
        from: r#"(free.saturating_sub(target(store, host, owner, now)), owner);"#,
        to: r#"{
            let due = if crate::mutants::weak("M40") { 0 } else { target(store, host, owner, now) };
            (free.saturating_sub(due), owner)
        };"#,
    },
    Weaker {
        id: "M41",
        rule: "a deleted segment is over though a member does not know that it is deleted",
        file: "addresses/grave.rs",
        from: r#"said.is_none_or(|said| said < last) && !host.has_lost_its(*other)"#,
        to: r#"said.is_none_or(|said| said < last) && !host.has_lost_its(*other) && !crate::mutants::weak("M41")"#,
    },
    Weaker {
        id: "M42",
        rule: "a deleted segment is forgotten while a member may still have it back",
        file: "addresses/grave.rs",
        from: r#"host.serves() && !is_wanted(store, host)"#,
        to: r#"host.serves() && (crate::mutants::weak("M42") || !is_wanted(store, host))"#,
    },
    Weaker {
        id: "M43",
        rule: "who has said that a segment is over has it back",
        file: "addresses/facts.rs",
        from: r#"known.life != Life::Over && known.generation"#,
        to: r#"(known.life != Life::Over || crate::mutants::weak("M43")) && known.generation"#,
    },
    Weaker {
        id: "M44",
        rule: "a deletion ends reservations though a member does not know of it",
        file: "addresses/grave.rs",
        from: r#"Life::Deleted => unaware(store, host).is_empty(),"#,
        to: r#"Life::Deleted => crate::mutants::weak("M44") || unaware(store, host).is_empty(),"#,
    },
    Weaker {
        id: "M45",
        rule: "a keeper extends a lease that an operator has ended",
        file: "addresses/owner.rs",
        from: r#"store.keeps(host, address) && store.at(address).record.client() == Some(client)"#,
        to: r#"store.keeps(host, address)
        && (store.at(address).record.client() == Some(client)
            || crate::mutants::weak("M45") && store.at(address).record.holder == Holder::Released(client))"#,
    },
    Weaker {
        id: "M46",
        rule: "a keeper forgets how long a client may rely on a lease that an operator has ended",
        file: "addresses/keeper.rs",
        from: r#"live.relied_until = before.filter(|_| same);"#,
        to: r#"let ended = matches!(record.holder, super::record::Holder::Released(_));
            live.relied_until = before.filter(|_| same && !(ended && crate::mutants::weak("M46")));"#,
    },
    Weaker {
        id: "M47",
        rule: "a keeper goes on extending what its client declined",
        file: "addresses/record.rs",
        from: r#"self.relier() == before.relier() || self.holder == Holder::Declined"#,
        to: r#"self.relier() == before.relier() || self.holder == Holder::Declined && !crate::mutants::weak("M47")"#,
    },
    Weaker {
        id: "M48",
        rule: "a client is refused though the owner of its reserved address is out of reach",
        file: "addresses/find.rs",
        from: r#"return owner_answers(store, host, own).then_some(Answer::Nak);"#,
        to: r#"return (crate::mutants::weak("M48") || owner_answers(store, host, own)).then_some(Answer::Nak);"#,
    },
    Weaker {
        id: "M49",
        rule: "a host that has left takes a segment back that was over",
        file: "addresses/configure.rs",
        from: r#"if host.is_removed(host.me) {"#,
        to: r#"if host.is_removed(host.me) && !crate::mutants::weak("M49") {"#,
    },
];
