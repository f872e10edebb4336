//! Whom the membership tells apart: a host in one of its lives.

use crate::id::HostId;

/// A host in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) host: HostId,
    /// Grows with each start, on disk.
    pub(super) instance: u64,
    /// Grows each time that the others had given this life up.
    pub(super) renewal: u32,
}

impl foca::Identity for Identity {
    type Addr = HostId;

    fn renew(&self) -> Option<Self> {
        Some(Self {
            renewal: self.renewal.saturating_add(1),
            ..*self
        })
    }

    fn addr(&self) -> HostId {
        self.host
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self > adversary
    }
}
