//! The keeper's side: storing what owners put, and giving way only when no guest relies on it any more.

use crate::id::HostId;
use crate::range::{Address, Range};
use crate::time::{Duration, Instant};

use super::host::{Departure, Host};
use super::message::{Message, PutRefusal};
use super::record::Record;
use super::segment::Segment;
use crate::lease::Epoch;

impl Segment {
    /// An owner wants a record stored here.
    pub(super) fn handle_put(
        &mut self,
        host: &mut Host,
        from: HostId,
        (address, epoch, record): (Address, Epoch, Record),
        confirmed: bool,
        now: Instant,
    ) {
        let version = record.version;
        self.note_replaced(host, address, &record, confirmed);
        if let Some((why, left)) = self.refusal(host, address, epoch, &record, now) {
            let promised = self.at(address).promised;
            let segment = self.id;
            let refused = Message::PutRefused {
                segment,
                address,
                version,
                why,
                promised,
                left,
            };
            return host.disk.send(from, refused, self.after(address), now);
        }
        if host.departure == Departure::None {
            self.finish_give(host, from, Range::one(address), epoch);
        }
        let before = self.live.get(&address).and_then(|live| live.relied_until);
        let client = record.client();
        let same = self.at(address).record.client() == client;
        let newer = self.at(address).record.version < version;
        self.update(host, Range::one(address), |_, state| {
            state.promised = state.promised.max(epoch);
            if state.record.version < version {
                state.record = record.clone();
            }
        });
        if let Some(live) = self.live.get_mut(&address) {
            live.relied_until = before.filter(|_| same);
            live.unsure &= !newer;
        }
        let stored = Message::Stored {
            segment: self.id,
            address,
            version,
        };
        host.disk.send(from, stored, self.after(address), now);
    }

    /// Why a record is not stored, and how long the guest may still rely on this host.
    fn refusal(
        &self,
        host: &Host,
        address: Address,
        epoch: Epoch,
        record: &Record,
        now: Instant,
    ) -> Option<(PutRefusal, Duration)> {
        let state = self.at(address);
        let no_time = |why| Some((why, Duration::ZERO));
        if !host.takes_part() {
            return no_time(PutRefusal::NoPart);
        }
        if epoch < state.promised {
            return no_time(PutRefusal::Promised);
        }
        if record.version < state.record.version {
            return no_time(PutRefusal::Older);
        }
        if state.owner == Some(host.me) {
            return no_time(PutRefusal::Owner);
        }
        let stays = record.keeper == Some(host.me) && record.client() == state.record.client();
        let left = self.relied_here(host, address, now);
        (left > Duration::ZERO && !stays).then_some((PutRefusal::Keeps, left))
    }

    /// How long a guest may still rely on what this keeper said.
    pub(super) fn relied_here(&self, host: &Host, address: Address, now: Instant) -> Duration {
        let record = &self.at(address).record;
        if !record.is_bound() || record.keeper != Some(host.me) {
            return Duration::ZERO;
        }
        let until = self.live.get(&address).and_then(|live| live.relied_until);
        until.map_or(Duration::ZERO, |until| until.since(now))
    }

    /// Notes that the owner has found another keeper for what this host keeps.
    fn note_replaced(&mut self, host: &Host, address: Address, record: &Record, confirmed: bool) {
        let mine = &self.at(address).record;
        if record.keeper == Some(host.me) {
            self.replaced.remove(&address);
        } else if confirmed && mine.keeper == Some(host.me) && mine.version < record.version {
            self.replaced.insert(address);
        }
    }

    /// The addresses of which this host is still the only keeper that it knows of.
    pub(super) fn kept(&self, host: &Host) -> usize {
        self.live
            .keys()
            .filter(|&&address| {
                let state = self.at(address);
                state.owner != Some(host.me)
                    && state.record.keeper == Some(host.me)
                    && state.record.is_bound()
                    && !self.replaced.contains(&address)
            })
            .count()
    }
}
