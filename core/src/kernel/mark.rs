//! What distinguishes our objects from foreign ones: the alias of a link, the protocol number of an address, hashed MACs.

use crate::id::{HostId, Mac, SegmentId, SegmentName, Term};
use siphasher::sip::SipHasher13;
use std::fmt;
use std::str::FromStr;

/// The number that marks our addresses (`IFA_PROTO`) and routes (`rtm_protocol`); free in iproute2's `rt_protos`.
pub const PROTOCOL: u8 = 79;

/// The mark in a link's alias: `overlayd:<segment>`, and `overlayd:<segment>:<term>` on a serving gateway's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The segment that the link belongs to.
    pub segment: SegmentName,
    /// The term of the gateway that is active here.
    pub term: Option<Term>,
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "overlayd:{}", self.segment)?;
        self.term.map_or(Ok(()), |term| write!(f, ":{term}"))
    }
}

impl FromStr for Alias {
    type Err = NoAlias;

    fn from_str(alias: &str) -> Result<Self, NoAlias> {
        let rest = alias.strip_prefix("overlayd:").ok_or(NoAlias)?;
        let (segment, term) = match rest.split_once(':') {
            Some((segment, term)) => (segment, Some(Term(term.parse().map_err(|_| NoAlias)?))),
            None => (rest, None),
        };
        Ok(Self {
            segment: SegmentName::new(segment).map_err(|_| NoAlias)?,
            term,
        })
    }
}

/// The alias is not our mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a mark of overlayd")]
pub struct NoAlias;

/// The first byte of every gateway's virtual MAC: locally administered, and distinct from the bridges' `02`.
pub const GATEWAY_MAC: u8 = 0x0e;

/// The gateway's MAC in a segment: the same on whichever host it is active, and whatever the segment is called.
pub fn gateway_mac(segment: SegmentId) -> Mac {
    hashed_mac(GATEWAY_MAC, &[b"gateway", &segment.0.to_be_bytes()])
}

/// The MAC of a host's VXLAN device in a segment, known to all hosts: so they can send a frame to that host alone.
pub fn vxlan_mac(segment: SegmentId, host: HostId) -> Mac {
    hashed_mac(0x02, &[b"vxlan", &segment.0.to_be_bytes(), &host.0.to_be_bytes()])
}

/// A locally administered MAC: one byte that says what for, 40 bits of hash.
pub(super) fn hashed_mac(first: u8, of: &[&[u8]]) -> Mac {
    let [_, _, _, a, b, c, d, e] = SipHasher13::new_with_keys(0x6d61_6361, 0x6464_7265)
        .hash(&of.concat())
        .to_be_bytes();
    Mac([first, a, b, c, d, e])
}
