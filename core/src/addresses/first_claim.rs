//! What a host makes of another's word that it owns an address, or is to be its first owner. It changes nothing.

use crate::id::HostId;
use crate::lease::Epoch;

use super::message::Ownership;
use super::record::{AddressState, Transfer};

/// Another host's word.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstClaim {
    pub(super) from: HostId,
    pub(super) epoch: Epoch,
    pub(super) ownership: Ownership,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimVerdict {
    /// It is taken over: the other host owns the address.
    Accepted,
    /// It is the receiver of what this host gave, and has taken it.
    Taken,
    /// It has from the receiver what this host gave: that was taken, too.
    PassedOn,
    /// This host owns the address, and must take a higher epoch to go on.
    Outbid,
    /// This owner is named instead, under the epoch that is known here.
    Denied(HostId),
}

impl FirstClaim {
    /// What `me` makes of it, which has this on disk about the address.
    pub(super) fn verdict(self, me: HostId, state: &AddressState) -> ClaimVerdict {
        let Self { from, epoch, ownership } = self;
        match (state.owner, state.transfer) {
            (Some(owner), Transfer::Settled) if owner == me => {
                if epoch > state.epoch {
                    ClaimVerdict::Outbid
                } else {
                    ClaimVerdict::Denied(me)
                }
            }
            (Some(owner), Transfer::Unborn) if owner == me && epoch < state.epoch => ClaimVerdict::Denied(me),
            // However new the generation: whoever adds the addresses did not know that they have an owner.
            (Some(owner), Transfer::Settled | Transfer::HandingOver)
                if owner != from && owner != me && ownership == Ownership::ToBe =>
            {
                ClaimVerdict::Denied(owner)
            }
            (Some(owner), Transfer::HandingOver) if owner == from && epoch >= state.epoch => ClaimVerdict::Taken,
            // Only the receiver, or whoever has it from the receiver, can own it under a later epoch: it was taken.
            (Some(_), Transfer::HandingOver) if epoch > state.epoch => ClaimVerdict::PassedOn,
            (Some(owner), Transfer::HandingOver) => ClaimVerdict::Denied(owner),
            (Some(owner), Transfer::Settled | Transfer::Unborn) if epoch < state.epoch => ClaimVerdict::Denied(owner),
            (Some(_) | None, Transfer::Settled | Transfer::Unborn) | (None, Transfer::HandingOver) => {
                ClaimVerdict::Accepted
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: HostId = HostId(1);

    #[test]
    fn a_first_owner_gives_way_to_whoever_owns_already() {
        use Ownership::{Settled as Owns, ToBe};
        use Transfer::{HandingOver, Settled, Unborn};
        // The owner known here and its epoch's number, the claim of host 2: number, ownership.
        type Case = (&'static str, Option<u64>, Transfer, u64, u64, Ownership, ClaimVerdict);
        let cases: &[Case] = &[
            ("nobody is known", None, Settled, 0, 1, ToBe, ClaimVerdict::Accepted),
            (
                "the claimant is known",
                Some(2),
                Settled,
                1,
                1,
                ToBe,
                ClaimVerdict::Accepted,
            ),
            (
                "another owner is known",
                Some(3),
                Settled,
                1,
                2,
                ToBe,
                ClaimVerdict::Denied(HostId(3)),
            ),
            (
                "another owned it before",
                Some(3),
                Settled,
                1,
                2,
                Owns,
                ClaimVerdict::Accepted,
            ),
            (
                "another owns it later",
                Some(3),
                Settled,
                3,
                2,
                Owns,
                ClaimVerdict::Denied(HostId(3)),
            ),
            (
                "this host owns it",
                Some(1),
                Settled,
                3,
                2,
                ToBe,
                ClaimVerdict::Denied(ME),
            ),
            (
                "this host owns it, under an earlier epoch",
                Some(1),
                Settled,
                1,
                2,
                ToBe,
                ClaimVerdict::Outbid,
            ),
            (
                "both are to be, this host later",
                Some(1),
                Unborn,
                3,
                2,
                ToBe,
                ClaimVerdict::Denied(ME),
            ),
            (
                "both are to be, this host earlier",
                Some(1),
                Unborn,
                1,
                2,
                ToBe,
                ClaimVerdict::Accepted,
            ),
            (
                "given to the claimant, which has it",
                Some(2),
                HandingOver,
                2,
                2,
                Owns,
                ClaimVerdict::Taken,
            ),
            (
                "given to another, which passed it on",
                Some(3),
                HandingOver,
                2,
                3,
                Owns,
                ClaimVerdict::PassedOn,
            ),
            (
                "given to another since",
                Some(3),
                HandingOver,
                2,
                1,
                Owns,
                ClaimVerdict::Denied(HostId(3)),
            ),
            (
                "given to another, claimed anew",
                Some(3),
                HandingOver,
                2,
                3,
                ToBe,
                ClaimVerdict::Denied(HostId(3)),
            ),
        ];
        for &(about, owner, transfer, known, number, ownership, verdict) in cases {
            let host = HostId(2);
            let state = AddressState {
                owner: owner.map(HostId),
                transfer,
                epoch: Epoch { number: known, host },
                ..AddressState::UNKNOWN
            };
            let claim = FirstClaim {
                from: host,
                epoch: Epoch { number, host },
                ownership,
            };
            assert_eq!(claim.verdict(ME, &state), verdict, "{about}");
        }
    }
}
