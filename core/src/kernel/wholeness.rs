//! Which segments are not whole on this host for so long that another host should be their gateway: device, port, bridge
//! or rules are missing, and making them has failed again and again. What guests and other hosts bring does not count.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Segment, Transport};
use crate::id::{IfName, SegmentName};
use crate::kernel::inputs::Inputs;
use crate::kernel::plan::{Obstacle, Op, Plan};
use crate::time::{Duration, Instant};

/// A segment lacks something when it has been broken for this ...
const LASTS: Duration = Duration::from_secs(5);
/// ... and so many repairs have failed.
const REPAIRS: u32 = 2;

/// What is broken, since when, and how often it was tried to repair it.
#[derive(Debug, Default)]
pub struct Wholeness {
    broken: BTreeMap<SegmentName, Broken>,
}

#[derive(Clone, Copy, Debug)]
struct Broken {
    since: Instant,
    repairs: u32,
}

impl Wholeness {
    /// A look has ended: `left` is still due although it was tried. Gives the segments that are to be served elsewhere.
    pub fn handle_look(&mut self, inputs: &Inputs, left: &Plan, now: Instant) -> BTreeSet<SegmentName> {
        let before = std::mem::take(&mut self.broken);
        let segments = inputs.segments.values().map(|inputs| &inputs.segment);
        for segment in segments.filter(|segment| is_broken(segment, left)) {
            let known = before.get(&segment.name);
            let broken = Broken {
                since: known.map_or(now, |known| known.since),
                repairs: known.map_or(0, |known| known.repairs).saturating_add(1),
            };
            self.broken.insert(segment.name.clone(), broken);
        }
        let lacking = |broken: &Broken| now.since(broken.since) >= LASTS && broken.repairs >= REPAIRS;
        let lacking = self.broken.iter().filter(|(_, broken)| lacking(broken));
        lacking.map(|(name, _)| name.clone()).collect()
    }
}

fn is_broken(segment: &Segment, left: &Plan) -> bool {
    let (vxlan, gateway) = (segment.name.vxlan(), segment.name.gateway());
    let own = |link: &IfName| *link == segment.bridge || *link == vxlan || *link == gateway;
    let needs = |link: &IfName| {
        own(link)
            || match &segment.transport {
                Transport::Unicast => false,
                Transport::Multicast { interface, .. } => interface.as_ref() == Some(link),
            }
    };
    let op = |op: &Op| match op {
        Op::AddBridge { link, .. }
        | Op::AddVxlan { link, .. }
        | Op::AddMacvlan { link, .. }
        | Op::SetAlias { link, .. }
        | Op::SetMac { link, .. }
        | Op::SetMtu { link, .. }
        | Op::SetMaster { link, .. }
        | Op::SetUp { link }
        | Op::SetBridge { link, .. }
        | Op::SetVxlan { link, .. }
        | Op::AddLocal { link, .. }
        | Op::AddAddress { link, .. } => own(link),
        Op::ReplaceTable { .. } => true,
        Op::SetSysctl { sysctl, .. } => sysctl.link().is_some_and(own),
        Op::DeleteLink { .. }
        | Op::DisableAddrGen { .. }
        | Op::SetDown { .. }
        | Op::AppendFlood { .. }
        | Op::RemoveFlood { .. }
        | Op::ReplaceRemote { .. }
        | Op::RemoveRemote { .. }
        | Op::RemoveBehind { .. }
        | Op::RemoveLocal { .. }
        | Op::UnshadowGroup { .. }
        | Op::RemoveAddress { .. }
        | Op::DeleteTable { .. } => false,
    };
    let obstacle = |obstacle: &Obstacle| match obstacle {
        Obstacle::Foreign { link } | Obstacle::SameVni { link, .. } | Obstacle::Missing { link } => needs(link),
        Obstacle::Occupied { .. } => false,
    };
    left.ops.iter().any(op) || left.obstacles.iter().any(obstacle)
}
