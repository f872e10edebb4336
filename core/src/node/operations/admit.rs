//! Another host asks to be let in. A refusal is read there, after the address of this host: `it` is this one.

use std::net::IpAddr;

use super::join::itself;
use super::pending::Operation;
use crate::cluster::gossip::{Message, Record};
use crate::node::Node;
use crate::node::effect::{Call, Effect, Refusal};
use crate::node::member::Member;
use crate::node::peer_message::{JoinRequest, Welcome};
use crate::time::Instant;

impl Node {
    /// Another host asks to be let in; answered by [`Effect::AnswerJoin`].
    pub fn handle_join(&mut self, call: Call, request: JoinRequest, now: Instant) {
        let result = self.admit(request, now).map(Box::new);
        self.effects.push_back(Effect::AnswerJoin { call, result });
        self.settle(now);
    }

    fn admit(&mut self, request: JoinRequest, now: Instant) -> Result<Welcome, Refusal> {
        let leaving = self.has_pending(|operation| matches!(operation, Operation::Leave(_)));
        let own = self.facts.as_ref().map(|facts| (facts.name.clone(), facts.vtep));
        let Some(member) = &mut self.formed else {
            return Err(Refusal::new("it is in no cluster yet").hint("run `overlayctl init` on one host first"));
        };
        if member.left || leaving {
            return Err(Refusal::new("it is leaving its cluster").hint("join through another member"));
        }
        member.refuse_itself(&request, own.as_ref())?;
        member.refuse_stranger(&request)?;
        if let Some(former) = request.former.and_then(|id| member.gossip.host(id)) {
            let (id, name) = (former.id, former.name.clone());
            member.superseded.insert(id, now);
            self.remove_former(id, now);
            return Err(Refusal::new(format!(
                "the former host {name} is being removed from the cluster"
            )));
        }
        member.refuse_double(&request, own, now)?;
        member.refuse_within_segment(&request.host.name, request.host.vtep)?;
        let host = request.host;
        let id = host.id;
        // As if it had told by itself, so that it is dialled and elected with at once.
        member
            .gossip
            .handle(id, Message::Records(vec![Record::Host(host)]), now);
        let roster = member.leases.admit(id, now);
        member.touch_now(now);
        self.settle(now);
        let Some(member) = &self.formed else {
            return Err(Refusal::new("it has just left its cluster"));
        };
        Ok(Welcome {
            cluster: member.cluster,
            via: self.me,
            via_name: member.name_of(self.me),
            records: member.gossip.snapshot(now),
            roster,
        })
    }
}

impl Member {
    /// This host, which has called itself by an address that it did not know as its own; or one that runs on a copy of its
    /// state directory.
    fn refuse_itself(&self, request: &JoinRequest, own: Option<&(String, IpAddr)>) -> Result<(), Refusal> {
        let host = &request.host;
        match own {
            _ if host.id != self.me => Ok(()),
            Some((name, vtep)) if *vtep != host.vtep => Err(Refusal::new(format!(
                "{} runs on a copy of {name}'s state directory: both have host id {}",
                host.name, host.id
            ))
            .hint(format!(
                "stop overlayd on {}, remove its state directory, start it and join again",
                host.name
            ))
            .until_changed()),
            Some(_) | None => Err(itself(host.vtep)),
        }
    }

    /// Hosts of other clusters, and those that were removed from this one.
    fn refuse_stranger(&self, request: &JoinRequest) -> Result<(), Refusal> {
        let name = &request.host.name;
        if let Some(other) = request.cluster.filter(|cluster| *cluster != self.cluster) {
            return Err(Refusal::new(format!(
                "{name} is in cluster {other}, and it in {}: two clusters never merge",
                self.cluster
            ))
            .hint(format!(
                "take this address out of the `join:` list there, or run `overlayctl leave` on {name} and then \
                 `overlayctl join`"
            ))
            .until_changed());
        }
        if self.gossip.is_removed(request.host.id) {
            return Err(Refusal::new(format!("{name} was removed from this cluster"))
                .hint(format!(
                    "run `overlayctl leave --force` on {name} and join again: it gets a new host id"
                ))
                .until_changed());
        }
        Ok(())
    }

    /// A host whose name or VTEP address another one has. `own`: this host's, which its record may not say yet.
    fn refuse_double(
        &mut self,
        request: &JoinRequest,
        own: Option<(String, IpAddr)>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let host = &request.host;
        let own = own.into_iter().map(|(name, vtep)| (self.me, name, vtep));
        let known = self.gossip.hosts();
        let known = known.map(|known| (known.id, known.name.clone(), known.vtep));
        let taken = own
            .chain(known)
            .find(|(id, name, vtep)| *id != host.id && (*name == host.name || *vtep == host.vtep));
        let Some((id, name, vtep)) = taken else { return Ok(()) };
        if vtep == host.vtep {
            self.superseded.insert(id, now);
        }
        let what = if name == host.name {
            format!("the name {name} is taken")
        } else {
            format!("the VTEP address {} is taken", host.vtep)
        };
        Err(Refusal::new(format!("{what} by host {name} ({id})"))
            .hint(format!(
                "give the new host another, or, if {name} is gone for good, run `overlayctl peer remove {name}` there"
            ))
            .until_changed())
    }
}
