//! Who owns an address after a ballot: from what this host and every report say of it to a verdict. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::HostId;
use crate::lease::Epoch;

use super::record::LeaseRecord;

/// What one member has of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) epoch: Epoch,
    pub(super) owner: Option<HostId>,
    pub(super) record: LeaseRecord,
}

/// All that is known of one address when a ballot ends.
#[derive(Debug)]
pub(super) struct Ballots<'a> {
    pub(super) me: HostId,
    pub(super) removed: &'a BTreeSet<HostId>,
    pub(super) mine: &'a Reported,
    /// Whether this host owns it, and no hand-over or first ownership is open.
    pub(super) owns: bool,
    /// Every other member's report; `None`: it knows nothing of the address.
    pub(super) reports: &'a BTreeMap<HostId, Option<&'a Reported>>,
}

/// What becomes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inheritance {
    /// This host inherits it.
    Inherited,
    /// It stays as it is here: this host owns it, or waits for the `Give` that makes it the owner.
    Unchanged,
    /// Another host owns it.
    Owned {
        /// The owner.
        owner: HostId,
        /// Since when.
        epoch: Epoch,
    },
}

impl<'a> Ballots<'a> {
    /// What each member has of the address, this host included.
    pub(super) fn said(&self) -> impl Iterator<Item = (HostId, &'a Reported)> {
        let others = self.reports.iter().filter_map(|(&from, said)| Some((from, (*said)?)));
        others.chain([(self.me, self.mine)])
    }

    pub(super) fn verdict(&self) -> Inheritance {
        let (epoch, owner) = self.owner();
        let forgotten = owner == self.me && epoch == Epoch::NONE;
        if forgotten || self.is_orphan(epoch, owner) {
            Inheritance::Inherited
        } else if owner == self.me {
            Inheritance::Unchanged
        } else {
            Inheritance::Owned { owner, epoch }
        }
    }

    /// The latest owner that anybody knows of; this host under no epoch if nobody does.
    fn owner(&self) -> (Epoch, HostId) {
        // An owner that is only presumed counts unless it is this host, or has been asked and knows nothing of it.
        let presumed = |owner: HostId| owner != self.me && !self.denies(owner);
        // What this host was only to own, others may take for its own still.
        let credible = |epoch: Epoch, owner: HostId| owner != self.me || epoch.host != self.me || self.owns;
        self.said()
            .filter_map(|(_, said)| Some((said.epoch, said.owner?)))
            .filter(|&(epoch, owner)| epoch > Epoch::NONE || presumed(owner))
            .filter(|&(epoch, owner)| credible(epoch, owner))
            .max()
            .unwrap_or((Epoch::NONE, self.me))
    }

    fn denies(&self, owner: HostId) -> bool {
        let asked = owner == self.me || self.reports.contains_key(&owner);
        asked
            && !self
                .said()
                .any(|(from, said)| from == owner && said.owner == Some(owner))
    }

    fn is_orphan(&self, epoch: Epoch, owner: HostId) -> bool {
        let own_word = self.reports.get(&owner);
        // The giver's records are on their way: only its `Give` makes the other the owner. A removed one's never arrives.
        let given = match own_word {
            Some(said) => said.is_none_or(|said| said.epoch < epoch),
            None => owner == self.me && !self.owns,
        };
        // It gave way to this host, which was to be the first owner and is not: nobody has it.
        let gave_way = !self.owns
            && own_word
                .and_then(|said| *said)
                .is_some_and(|said| said.owner == Some(self.me) && said.epoch > epoch);
        self.removed.contains(&owner) || given && self.removed.contains(&epoch.host) || gave_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Version;

    const ME: HostId = HostId(1);

    fn said(number: u64, by: u64, owner: u64) -> Reported {
        Reported {
            epoch: match number {
                0 => Epoch::NONE,
                number => Epoch {
                    number,
                    host: HostId(by),
                },
            },
            owner: (owner > 0).then_some(HostId(owner)),
            record: LeaseRecord::unused(Version::NONE),
        }
    }

    #[test]
    fn an_address_is_inherited_only_where_nobody_can_own_it() {
        let owned = |number, by, owner| Inheritance::Owned {
            owner: HostId(owner),
            epoch: said(number, by, owner).epoch,
        };
        // Host 1 decides, host 9 is removed; (number, host) of epochs, then the owner, zero for none.
        type Said = (u64, u64, u64);
        type Case = (&'static str, Said, bool, &'static [(u64, Option<Said>)], Inheritance);
        let cases: &[Case] = &[
            (
                "its owner is removed",
                (3, 9, 9),
                false,
                &[(2, Some((3, 9, 9)))],
                Inheritance::Inherited,
            ),
            (
                "only another knew the owner, now removed",
                (0, 0, 0),
                false,
                &[(2, Some((3, 9, 9)))],
                Inheritance::Inherited,
            ),
            (
                "its owner lives",
                (3, 2, 2),
                false,
                &[(2, Some((3, 2, 2)))],
                owned(3, 2, 2),
            ),
            (
                "a later owner lives",
                (3, 9, 9),
                false,
                &[(2, Some((4, 2, 2)))],
                owned(4, 2, 2),
            ),
            (
                "this host owns it",
                (5, 1, 1),
                true,
                &[(2, Some((3, 9, 9)))],
                Inheritance::Unchanged,
            ),
            (
                "a living host gives it to this one",
                (2, 9, 9),
                false,
                &[(2, Some((4, 2, 1)))],
                Inheritance::Unchanged,
            ),
            (
                "a removed host gave it to this one",
                (4, 9, 1),
                false,
                &[(2, None)],
                Inheritance::Inherited,
            ),
            (
                "a removed host gave it to one that has not taken it",
                (4, 9, 2),
                false,
                &[(2, Some((2, 9, 9)))],
                Inheritance::Inherited,
            ),
            (
                "a removed host gave it to one that has taken it",
                (2, 9, 9),
                false,
                &[(2, Some((4, 9, 2)))],
                owned(4, 9, 2),
            ),
            (
                "its presumed owner knows nothing of it",
                (0, 0, 2),
                false,
                &[(2, None)],
                Inheritance::Inherited,
            ),
            (
                "its presumed owner says so itself",
                (0, 0, 2),
                false,
                &[(2, Some((0, 0, 2)))],
                owned(0, 0, 2),
            ),
            (
                "this host may have forgotten it",
                (0, 0, 1),
                false,
                &[(2, Some((0, 0, 1)))],
                Inheritance::Inherited,
            ),
            (
                "nobody knows of it",
                (0, 0, 0),
                false,
                &[(2, None)],
                Inheritance::Inherited,
            ),
            (
                "its owner gave way to this host, which never was",
                (0, 0, 1),
                false,
                &[(2, Some((5, 1, 1))), (3, Some((4, 2, 2)))],
                Inheritance::Inherited,
            ),
        ];
        for (about, mine, owns, reports, verdict) in cases {
            let read = |&(number, by, owner): &Said| said(number, by, owner);
            let mine = read(mine);
            let reports: Vec<(HostId, Option<Reported>)> = reports
                .iter()
                .map(|(from, said)| (HostId(*from), said.as_ref().map(read)))
                .collect();
            let ballots = Ballots {
                me: ME,
                removed: &BTreeSet::from([HostId(9)]),
                mine: &mine,
                owns: *owns,
                reports: &reports.iter().map(|(from, said)| (*from, said.as_ref())).collect(),
            };
            assert_eq!(ballots.verdict(), *verdict, "{about}");
        }
    }
}
