//! The hosts that can be sent to, each with the queues of its streams. A full queue drops.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use overlayd_core::id::HostId;
use overlayd_proto::convert::Bulk;
use overlayd_proto::{election, gossip, lease};
use tokio::sync::mpsc;

use super::event::{Event, Inbox};

/// What became of something that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the queue of a connection.
    Queued,
    /// The queue is full: it is lost.
    Full,
    /// There is no connection to that host: it is lost.
    NotConnected,
    /// Its agent is older, and would close the stream.
    NotUnderstood,
}

/// Whether an agent understands what is said of frames that watch paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathWords {
    Understood,
    Unknown,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) election: mpsc::Sender<election::ElectionMessage>,
    pub(super) bulk: mpsc::Sender<gossip::BulkMessage>,
    pub(super) leases: mpsc::Sender<lease::LeaseMessage>,
    pub(super) path_words: PathWords,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Links(Arc<Mutex<BTreeMap<HostId, Link>>>);

impl Links {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<HostId, Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send<M>(
        &self,
        to: HostId,
        queue: impl Fn(&Link) -> &mpsc::Sender<M>,
        message: impl FnOnce() -> M,
    ) -> Sent {
        let links = self.lock();
        let Some(link) = links.get(&to) else {
            return Sent::NotConnected;
        };
        match queue(link).try_send(message()) {
            Ok(()) => Sent::Queued,
            Err(mpsc::error::TrySendError::Full(_)) => Sent::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Sent::NotConnected,
        }
    }

    pub(super) fn send_bulk(&self, to: HostId, message: Bulk) -> Sent {
        if let Bulk::Path(_) = message
            && let Some(PathWords::Unknown) = self.lock().get(&to).map(|link| link.path_words)
        {
            return Sent::NotUnderstood;
        }
        self.send(to, |link| &link.bulk, || message.into())
    }
}

/// A place in [`Links`], given back however the session ends: also when its task is aborted.
pub(super) struct Registered {
    pub(super) host: HostId,
    pub(super) links: Links,
    pub(super) inbox: Inbox,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.links.lock().remove(&self.host);
        let event = Event::Disconnected { host: self.host };
        if let Err(mpsc::error::TrySendError::Full(event)) = self.inbox.rest.try_send(event) {
            let queue = self.inbox.rest.clone();
            // Waits for room in the event loop's queue and for nothing else; the loop's end ends it.
            tokio::spawn(async move { queue.send(event).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use overlayd_core::cluster::path_watch::{Message, Word};
    use overlayd_core::id::SegmentId;

    use super::*;

    #[test]
    fn an_older_agent_is_not_told_of_frames_that_watch_paths_but_of_everything_else() {
        let (bulk, mut sent) = mpsc::channel(1);
        let links = Links::default();
        let link = Link {
            election: mpsc::channel(1).0,
            bulk,
            leases: mpsc::channel(1).0,
            path_words: PathWords::Unknown,
        };
        links.lock().insert(HostId(2), link);
        let word = Bulk::Path(Message {
            segment: SegmentId(7),
            number: 8,
            word: Word::Sent,
        });
        assert_eq!(links.send_bulk(HostId(2), word.clone()), Sent::NotUnderstood);
        assert!(sent.try_recv().is_err());
        assert_eq!(links.send_bulk(HostId(2), Bulk::Membership(vec![1])), Sent::Queued);
        assert_eq!(links.send_bulk(HostId(3), word), Sent::NotConnected);
    }
}
