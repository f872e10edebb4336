//! The mutations: which text of the core becomes which weaker one.

#[path = "election.rs"]
mod election;
#[path = "leases.rs"]
mod leases;

/// A weaker rule.
pub(crate) struct Weaker {
    /// As in `docs/protocol.md`; several with the same id are switched together.
    pub(crate) id: &'static str,
    /// The weaker rule in words; empty on all but the first of an id.
    pub(crate) rule: &'static str,
    /// The file below `core/src`.
    pub(crate) file: &'static str,
    /// The text as it stands there, exactly once.
    pub(crate) from: &'static str,
    /// What stands there instead; asks `crate::mutants::weak(id)`, and is as `from` where that says no.
    pub(crate) to: &'static str,
}

/// All tables.
pub(crate) const ALL: &[&[Weaker]] = &[election::WEAKER, leases::WEAKER];
