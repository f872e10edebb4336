//! What hosts say to each other about addresses. Each message may come twice, late or never.
//!
//! ```text
//! gateway ── Ask ──► owner or keeper ── Reply ──► gateway         by the number of the question
//! owner ──── Put ──► keeper ── Stored | PutRefused ──► owner      by address and version
//! short ─── Borrow ► owner ─── Give ──► receiver ── Taken ──►     by the giver's epoch
//! heir ── Prepare ─► member ── Report | PrepareRefused ──► heir   by the ballot
//! owner ─── Birth ─► member ── BirthKnown ──► owner               by epoch
//! all ◄── Acknowledge ──► all
//! ```

use crate::id::{HostId, Mac, SegmentId};
use crate::range::{Address, Range};
use crate::time::Duration;

use super::record::{LeaseRecord, Reuse};
use crate::lease::{Epoch, Version};

/// One message between two hosts. Lists of runs hold disjoint runs in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The gateway asks an owner or a keeper.
    Ask {
        /// Chosen by the asker; the reply repeats it.
        id: u64,
        /// The segment of the address.
        segment: SegmentId,
        /// Which address.
        address: Address,
        /// What is asked.
        ask: Ask,
    },
    /// The answer to `Ask`.
    Reply {
        /// Of the question.
        id: u64,
        /// What the asked host says.
        reply: Reply,
    },
    /// The owner wants a record stored.
    Put {
        /// The segment of the address.
        segment: SegmentId,
        /// Which address.
        address: Address,
        /// The owner's epoch of it.
        epoch: Epoch,
        /// What to store.
        record: LeaseRecord,
        /// Whether the keeper that it names, if any, is known to have it on disk: who kept it before may go.
        confirmed: bool,
    },
    /// The record is on disk here.
    Stored {
        /// The segment of the address.
        segment: SegmentId,
        /// Which address.
        address: Address,
        /// Of the record.
        version: Version,
    },
    /// The record is not stored.
    PutRefused {
        /// The segment of the address.
        segment: SegmentId,
        /// Which address.
        address: Address,
        /// Of the record that was refused.
        version: Version,
        /// The reason.
        why: PutRefusal,
        /// What the refuser has promised.
        promised: Epoch,
        /// How long the refuser's own lease still runs; zero where that is not the reason.
        left: Duration,
    },
    /// The sender has too few free addresses.
    Borrow {
        /// The segment of the address.
        segment: SegmentId,
        /// How many it would like; zero: half of what the owner has free.
        count: u64,
    },
    /// The receiver is to own these addresses.
    Give {
        /// The segment of the address.
        segment: SegmentId,
        /// The giver's fresh epoch; the receiver owns under it.
        epoch: Epoch,
        /// What is given.
        runs: Vec<GivenRun>,
    },
    /// The sender owns these addresses: the answer to `Give`, also said again for a repeated one.
    Taken {
        /// The segment of the address.
        segment: SegmentId,
        /// The epoch it was given, or has by now.
        epoch: Epoch,
        /// Which addresses.
        ranges: Vec<Range>,
    },
    /// An heir asks for all that is known of some addresses.
    Prepare {
        /// The segment of the address.
        segment: SegmentId,
        /// The ballot.
        epoch: Epoch,
        /// Which addresses.
        ranges: Vec<Range>,
        /// The removed hosts that the heir knows.
        removed: Vec<HostId>,
    },
    /// All that a member knows; it has promised the ballot.
    Report {
        /// The segment of the address.
        segment: SegmentId,
        /// The ballot.
        epoch: Epoch,
        /// Which addresses: those of the question.
        ranges: Vec<Range>,
        /// What it has of them; addresses of which it knows nothing are left out.
        runs: Vec<ReportedRun>,
        /// The members that it knows: each must be asked.
        members: Vec<HostId>,
    },
    /// The ballot is too low.
    PrepareRefused {
        /// The segment of the address.
        segment: SegmentId,
        /// The ballot.
        epoch: Epoch,
        /// The highest epoch number that the refuser knows.
        highest: u64,
    },
    /// The sender owns these addresses, or will be their first owner once every member knows it.
    Birth {
        /// The segment of the address.
        segment: SegmentId,
        /// The owner's; at birth the generation that adds the addresses, and the introducer.
        epoch: Epoch,
        /// Whether it owns them already.
        ownership: Ownership,
        /// Which addresses.
        ranges: Vec<Range>,
    },
    /// The answer to `Birth`, after an fsync.
    BirthKnown {
        /// The segment of the address.
        segment: SegmentId,
        /// Of the question.
        epoch: Epoch,
        /// Which addresses the sender now knows as the asker's.
        ranges: Vec<Range>,
        /// Which it knows under another owner.
        others: Vec<OwnedRun>,
    },
    /// Who is a member, as the sender has it on disk: names the receiver, too, if that is one.
    Acknowledge {
        /// The members, the sender included, the removed left out.
        members: Vec<HostId>,
        /// The removed hosts.
        removed: Vec<HostId>,
        /// Whether the sender takes part.
        part: Part,
        /// What the sender knows of each segment's configuration.
        generations: Vec<Generation>,
        /// The sender's journal: sequence of its last fsync.
        sequence: u64,
        /// The highest `sequence` that the sender ever heard from the receiver.
        heard: u64,
    },
}

/// Whether the first owner of addresses may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ownership {
    /// Not before every member that is not failed knows of it, and of no other owner.
    ToBe,
    /// It may; or whoever it has them from could.
    Settled,
}

/// What a host knows of a segment's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Which segment.
    pub segment: SegmentId,
    /// The newest generation known.
    pub generation: u64,
    /// Whether that is the segment's last.
    pub life: Life,
    /// The longest lease time of any generation known.
    pub longest: Duration,
    /// The lease time that every member is known to know.
    pub agreed: Duration,
}

/// Whether a segment is there. Later is more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Life {
    /// It is.
    #[default]
    Stands,
    /// It was deleted. What is applied under its name may be the same segment: who owns and keeps what goes on.
    Deleted,
    /// Every member has known for a full time that it was deleted: it does not come back.
    Over,
}

/// Whether a host may be keeper, receiver and heir.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// It serves its guests, but not every member has acknowledged it yet.
    Joining,
    /// It takes part.
    Taking,
    /// It takes part, and hands over what it has.
    Leaving,
    /// Its disk is lost, or it was removed: it owns and keeps nothing.
    Lost,
}

/// What the gateway wants of an owner or keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A lease for a client: a new one, or more time.
    Bind(Claim),
    /// The version and nonce of the client's lease, for a release or a decline.
    Nonce {
        /// Whose lease.
        client: Mac,
    },
    /// The client gives its lease back.
    Release {
        /// Whose lease.
        client: Mac,
        /// As `Reply::Nonce` said.
        version: Version,
        /// As `Reply::Nonce` said.
        nonce: u64,
    },
    /// The client found the address in use. Like a release, an old one must not touch the lease of today.
    Decline {
        /// Whose lease.
        client: Mac,
        /// As `Reply::Nonce` said.
        version: Version,
        /// As `Reply::Nonce` said.
        nonce: u64,
    },
    /// Somebody foreign uses the address.
    Conflict,
    /// An operator ends the client's lease.
    Revoke {
        /// Whose lease.
        client: Mac,
        /// Of the record that the operator knows: an old word must not touch the lease of today.
        version: Version,
    },
}

/// A client's wish for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who wants it.
    pub client: Mac,
    /// Whether the client shows that it has the lease already.
    pub basis: Basis,
    /// The host that the guest is on, if the gateway knows it.
    pub guest_host: Option<HostId>,
    /// How long at most.
    pub lease_time: Duration,
    /// DHCP option 61, empty if none.
    pub client_id: Vec<u8>,
    /// DHCP option 12, empty if none.
    pub hostname: String,
}

/// What a client's request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// It wants the lease (selecting, or rebooting and asking whether it still may).
    Wanting,
    /// It has the lease: the packet came from the address (`ciaddr`; DHCPv6 Renew and Rebind).
    Having,
}

/// What an owner or keeper says to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The client may use the address for this long.
    Granted {
        /// At most the wished time.
        lease_time: Duration,
        /// How many hosts have the lease on disk.
        copies: u32,
    },
    /// The owner says that another client has the address.
    Taken,
    /// The asked host is not the owner, or cannot say now.
    CannotSay {
        /// Who owns it, as far as the asked host knows.
        owner: Option<HostId>,
    },
    /// What a release must repeat.
    Nonce {
        /// Of the record.
        version: Version,
        /// New with each extension.
        nonce: u64,
    },
    /// Done as asked (release, decline, conflict), or nothing was to be done.
    Done,
}

/// Why a record was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PutRefusal {
    /// The host does not take part.
    NoPart,
    /// A higher epoch was promised.
    Promised,
    /// A newer version is stored.
    Older,
    /// The host itself owns the address.
    Owner,
    /// The host keeps the stored record and its time still runs.
    Keeps,
}

/// A run of addresses as a giver has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenRun {
    /// The addresses.
    pub range: Range,
    /// Their record.
    pub record: LeaseRecord,
    /// Who may still extend it.
    pub may: Vec<HostId>,
    /// Whether a host beyond asking may have.
    pub reuse: Reuse,
}

/// A run of addresses as a member has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedRun {
    /// The addresses.
    pub range: Range,
    /// Of the owner that the member knows.
    pub epoch: Epoch,
    /// The owner that the member knows, itself included.
    pub owner: Option<HostId>,
    /// The record that it stores.
    pub record: LeaseRecord,
}

/// A run of addresses and its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnedRun {
    /// The addresses.
    pub range: Range,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The owner.
    pub owner: HostId,
}
