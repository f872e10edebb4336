//! The addresses that guests use, as ARP shows them: leased ones, and those that were set by hand; and which of them two
//! guests use in turns.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::id::{Mac, SegmentId};
use crate::time::{Duration, Instant};

/// So many addresses are taken for one guest's.
const MOST: usize = 4;
/// An address that was not heard for so long goes when its guest uses another.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// So long is kept what was heard of a guest that its bridge has not told of yet.
const EARLY: Duration = Duration::from_secs(10);
/// Of so many guests, and so many addresses, at most.
const REMEMBERED: usize = 16_384;
/// How often room is made by forgetting, where there is none.
const ROOM_EVERY: Duration = Duration::from_secs(10);
/// An address that changed its guest so often within [`FORGOTTEN`] is used by two: one that only moved changes it once.
const CHANGES: usize = 3;

/// What was heard, and when last.
#[derive(Debug, Default)]
pub struct Learnt {
    guests: BTreeMap<(SegmentId, Mac), BTreeMap<Ipv4Addr, Instant>>,
    /// Of all guests, also those of other hosts.
    users: BTreeMap<(SegmentId, Ipv4Addr), Users>,
    /// When room was made last.
    made_room: Option<Instant>,
}

/// Who uses an address.
#[derive(Debug)]
struct Users {
    last: Mac,
    before: Mac,
    at: Instant,
    changes: Vec<Instant>,
}

/// Whether something was not known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// The guest uses other addresses than before.
    News,
    /// It does not, but another guest used the address last.
    Taken,
    /// It does not.
    Known,
}

impl Learnt {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A guest uses an address.
    pub fn hear(&mut self, segment: SegmentId, guest: Mac, address: Ipv4Addr, now: Instant) -> Hearing {
        self.make_room(now);
        let hearing = self.note_user((segment, address), guest, now);
        let key = (segment, guest);
        if self.guests.len() >= REMEMBERED && !self.guests.contains_key(&key) {
            return hearing;
        }
        let known = self.guests.entry(key).or_default();
        let before = known.len();
        known.retain(|it, at| *it == address || now.since(*at) < FORGOTTEN);
        let kept = known.len();
        if kept < MOST || known.contains_key(&address) {
            known.insert(address, now);
        }
        if (kept, known.len()) == (before, before) {
            hearing
        } else {
            Hearing::News
        }
    }

    fn note_user(&mut self, address: (SegmentId, Ipv4Addr), guest: Mac, now: Instant) -> Hearing {
        if self.users.len() >= REMEMBERED && !self.users.contains_key(&address) {
            return Hearing::Known;
        }
        let users = self.users.entry(address).or_insert_with(|| Users {
            last: guest,
            before: guest,
            at: now,
            changes: Vec::new(),
        });
        users.at = now;
        if users.last == guest {
            return Hearing::Known;
        }
        users.changes.retain(|at| now.since(*at) < FORGOTTEN);
        users.changes.push(now);
        (users.before, users.last) = (users.last, guest);
        Hearing::Taken
    }

    /// The addresses that two guests use, and which.
    pub fn contested(&self, now: Instant) -> impl Iterator<Item = (SegmentId, Ipv4Addr, [Mac; 2])> {
        let contested = self.users.iter().filter(move |(_, users)| {
            let lately = users.changes.iter().filter(|at| now.since(**at) < FORGOTTEN);
            lately.count() >= CHANGES
        });
        contested.map(|((segment, address), users)| (*segment, *address, [users.before, users.last]))
    }

    /// The guest that uses an address, if one was heard since then.
    pub fn user(&self, segment: SegmentId, address: Ipv4Addr, since: Instant) -> Option<Mac> {
        let users = self.users.get(&(segment, address))?;
        (users.at >= since).then_some(users.last)
    }

    /// The addresses that a guest uses.
    pub fn of(&self, segment: SegmentId, guest: Mac) -> impl Iterator<Item = Ipv4Addr> {
        let known = self.guests.get(&(segment, guest));
        known.into_iter().flat_map(|known| known.keys().copied())
    }

    /// A guest's lease of an address has ended: should it go on using it, that will be heard.
    pub fn forget(&mut self, segment: SegmentId, guest: Mac, address: Ipv4Addr) {
        if let Some(known) = self.guests.get_mut(&(segment, guest)) {
            known.remove(&address);
        }
    }

    fn make_room(&mut self, now: Instant) {
        let full = self.guests.len() >= REMEMBERED || self.users.len() >= REMEMBERED;
        if !full || self.made_room.is_some_and(|at| now.since(at) < ROOM_EVERY) {
            return;
        }
        self.made_room = Some(now);
        self.users.retain(|_, users| now.since(users.at) < FORGOTTEN);
        self.guests
            .retain(|_, known| known.values().any(|at| now.since(*at) < FORGOTTEN));
    }

    /// Forgets the guests that are not here.
    pub fn retain(&mut self, is_here: impl Fn(SegmentId, Mac) -> bool, now: Instant) {
        self.guests.retain(|(segment, guest), known| {
            is_here(*segment, *guest) || known.values().any(|at| now.since(*at) < EARLY)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLUE: SegmentId = SegmentId(7);
    const GUEST: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const NOW: Instant = Instant::from_millis(0);

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 124, last)
    }

    fn known(learnt: &Learnt) -> Vec<u8> {
        learnt.of(BLUE, GUEST).map(|address| address.octets()[3]).collect()
    }

    #[test]
    fn a_few_addresses_of_a_guest_are_learnt_and_what_it_uses_no_more_is_forgotten() {
        let mut learnt = Learnt::new();
        for (last, hearing) in [
            (1, Hearing::News),
            (1, Hearing::Known),
            (2, Hearing::News),
            (3, Hearing::News),
            (4, Hearing::News),
            (5, Hearing::Known),
        ] {
            assert_eq!(learnt.hear(BLUE, GUEST, address(last), NOW), hearing, "{last}");
        }
        assert_eq!(known(&learnt), [1, 2, 3, 4]);
        assert_eq!(learnt.hear(BLUE, GUEST, address(9), NOW + FORGOTTEN), Hearing::News);
        assert_eq!(known(&learnt), [9]);
    }

    #[test]
    fn an_address_that_two_guests_use_in_turns_is_contested_and_one_that_moved_is_not() {
        let mut learnt = Learnt::new();
        let other = Mac([2, 0, 0, 0, 0, 2]);
        for (guest, contested) in [(GUEST, 0), (GUEST, 0), (other, 0), (other, 0), (GUEST, 0), (other, 1)] {
            let before = learnt.contested(NOW).count();
            let hearing = learnt.hear(BLUE, guest, address(1), NOW);
            assert_eq!(learnt.contested(NOW).count(), contested);
            assert!(before == contested || hearing == Hearing::Taken, "the others are told");
        }
        assert_eq!(
            learnt.contested(NOW).collect::<Vec<_>>(),
            [(BLUE, address(1), [GUEST, other])]
        );
        assert_eq!(learnt.contested(NOW + FORGOTTEN).count(), 0);
    }

    #[test]
    fn a_guest_that_is_gone_is_forgotten_and_one_that_is_not_there_yet_is_not() {
        let mut learnt = Learnt::new();
        learnt.hear(BLUE, GUEST, address(1), NOW);
        learnt.retain(|_, _| false, NOW);
        assert_eq!(known(&learnt), [1]);
        learnt.retain(|_, _| true, NOW + EARLY);
        assert_eq!(known(&learnt), [1]);
        learnt.retain(|_, _| false, NOW + EARLY);
        assert!(known(&learnt).is_empty());
    }
}
