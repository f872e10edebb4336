//! Who this host is, shared between the event loop and the connections.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use overlayd_core::id::{ClusterId, HostId};

/// Who this host is, as the server checks callers against it and the client says in each call.
#[derive(Clone, Debug)]
pub struct Standing {
    /// This host.
    pub host: HostId,
    /// The start of this agent.
    pub instance: u64,
    /// The cluster; none: unformed.
    pub cluster: Option<ClusterId>,
    /// Hosts whose words do not count.
    pub removed: BTreeSet<HostId>,
}

/// A [`Standing`] that the event loop changes and connections read.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Mutex<Standing>>);

impl Identity {
    /// Shared from now on.
    pub fn new(standing: Standing) -> Self {
        Self(Arc::new(Mutex::new(standing)))
    }

    /// Changes it, for the calls and messages from now on.
    pub fn update(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Standing) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
