//! Who comes before whom in a group, and who votes.

use std::cmp::Reverse;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::message::{GroupId, Rank};
use super::view::HostView;
use crate::id::HostId;

/// So many hosts of a group vote: the first of its order.
pub(super) const VOTERS: usize = 7;

/// A host's place in a group: the smallest comes first.
pub(super) fn rank(group: GroupId, host: HostId, view: &HostView) -> Rank {
    // The keys are part of the protocol: all hosts must come to the same order.
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write_u64(group.0.0);
    hasher.write_u64(host.0);
    Rank {
        candidacy: view.candidacy,
        priority: Reverse(view.priority),
        weight: Reverse(hasher.finish()),
        host,
    }
}

/// The voters among hosts in order; `lost` says who has failed for so long that its place goes to the next.
pub(super) fn voters(order: &[Rank], lost: impl Fn(HostId) -> bool) -> Vec<HostId> {
    if order.len() <= VOTERS {
        return order.iter().map(|rank| rank.host).collect();
    }
    order
        .iter()
        .map(|rank| rank.host)
        .filter(|host| !lost(*host))
        .take(VOTERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::message::{ElectionCandidacy, ElectionUplink};
    use crate::election::view::HostStanding;
    use crate::id::SegmentId;

    fn order(hosts: &[(u64, ElectionCandidacy, u32)]) -> Vec<Rank> {
        let group = GroupId(SegmentId(1));
        let mut order: Vec<_> = hosts
            .iter()
            .map(|&(host, candidacy, priority)| {
                let view = HostView {
                    candidacy,
                    priority,
                    uplink: ElectionUplink::Works,
                    standing: HostStanding::Member,
                };
                rank(group, HostId(host), &view)
            })
            .collect();
        order.sort();
        order
    }

    fn hosts(order: &[Rank]) -> Vec<u64> {
        order.iter().map(|rank| rank.host.0).collect()
    }

    #[test]
    fn candidates_come_before_the_rest_and_priority_before_the_hash() {
        let order = order(&[
            (1, ElectionCandidacy::Never, 900),
            (2, ElectionCandidacy::Candidate, 100),
            (3, ElectionCandidacy::Candidate, 200),
        ]);
        assert_eq!(hosts(&order), [3, 2, 1]);
    }

    #[test]
    fn groups_spread_over_hosts_of_equal_priority() {
        let view = HostView {
            candidacy: ElectionCandidacy::Candidate,
            priority: 100,
            uplink: ElectionUplink::Works,
            standing: HostStanding::Member,
        };
        let mut firsts = [0; 4];
        for group in 0..400 {
            let first = (0..4).min_by_key(|host| rank(GroupId(SegmentId(group)), HostId(*host), &view));
            firsts[usize::try_from(first.unwrap()).unwrap()] += 1;
        }
        assert!(firsts.iter().all(|first| (60..140).contains(first)), "{firsts:?}");
    }

    #[test]
    fn seven_vote_and_a_lost_one_is_replaced_only_where_there_are_more() {
        let nine: Vec<_> = (1..=9).map(|host| (host, ElectionCandidacy::Candidate, 100)).collect();
        let order_of_nine = order(&nine);
        let all = hosts(&order_of_nine);
        let lost = HostId(all[2]);
        let voting: Vec<_> = voters(&order_of_nine, |host| host == lost)
            .iter()
            .map(|host| host.0)
            .collect();
        assert_eq!(voting, [all[0], all[1], all[3], all[4], all[5], all[6], all[7]]);
        assert_eq!(voters(&order(&nine[..7]), |_| true).len(), 7);
    }
}
