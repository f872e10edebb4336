//! Findings about journals and who keeps leases.

use super::finding::{Finding, Id, Severity};
use super::vitals::{JournalState, Vitals};
use crate::cluster::membership::PeerState;

pub(super) fn peer_journal_lost(vitals: &Vitals) -> Vec<Finding> {
    let lost = |host: &String| Finding {
        id: Id::PeerJournalLost,
        severity: Severity::Warn,
        host: host.clone(),
        segment: None,
        subject: "journal".to_owned(),
        evidence: format!(
            "the journal of {host} is lost, or its disk is full: until that is fixed, new hosts own no addresses and \
             nobody inherits those of removed hosts"
        ),
        cause: format!("the disk of {host} is full, failed or replaced"),
        fix: format!("run `overlayctl status` on {host} and follow what it says"),
        verify: "overlayctl status".to_owned(),
        depends_on: Vec::new(),
    };
    vitals.lost_journals.iter().map(lost).collect()
}

pub(super) fn journal_lost(vitals: &Vitals) -> Vec<Finding> {
    let (evidence, cause, fix) = match vitals.journal {
        JournalState::Kept | JournalState::Waiting(_) | JournalState::NobodyLeft => return Vec::new(),
        JournalState::Unwritable => (
            "cannot write the journal: this host owns and keeps no addresses until that is fixed",
            "the disk is full, read-only or failed",
            "free or repair the disk, then `systemctl restart overlayd`: the journal on disk counts again if it is intact",
        ),
        JournalState::Lost => (
            "the journal of this host is lost: this host owns and keeps no addresses any more",
            "the disk was replaced, or the journal is damaged",
            "repair the disk, run `overlayctl leave --force` here (guests on this host lose their network), then \
             `overlayctl join ADDR`",
        ),
        JournalState::LostAlone => (
            "the journal of this host is lost: this host owns and keeps no addresses any more",
            "the disk was replaced, or the journal is damaged",
            "repair the disk and run `overlayctl pool recover`: this host is the only one, and assigns addresses again \
             after a full lease time",
        ),
    };
    vec![Finding {
        evidence: evidence.to_owned(),
        cause: cause.to_owned(),
        fix: fix.to_owned(),
        depends_on: if vitals.journal == JournalState::Unwritable && vitals.edge.unsaved.is_some() {
            vec![Id::StateUnsaved]
        } else {
            Vec::new()
        },
        ..about_journal(vitals, Id::JournalLost)
    }]
}

pub(super) fn not_acknowledged(vitals: &Vitals) -> Vec<Finding> {
    let JournalState::Waiting(hosts) = &vitals.journal else {
        return Vec::new();
    };
    let mut depends_on: Vec<Id> = hosts
        .iter()
        .filter_map(|host| match vitals.peer(host)? {
            PeerState::Failed => Some(Id::PeerFailed),
            PeerState::Suspect => Some(Id::PeerSuspect),
            PeerState::Alive | PeerState::Left | PeerState::Static => None,
        })
        .collect();
    depends_on.sort();
    depends_on.dedup();
    let names = hosts.join(", ");
    vec![Finding {
        severity: Severity::Warn,
        evidence: format!("this host keeps no leases yet: it waits for {names} to acknowledge it"),
        cause: "overlayd does not run there, or is out of reach".to_owned(),
        fix: "`systemctl start overlayd` there; if the host is gone for good: `overlayctl peer remove NAME`".to_owned(),
        depends_on,
        ..about_journal(vitals, Id::NotAcknowledged)
    }]
}

pub(super) fn nobody_keeps_leases(vitals: &Vitals) -> Vec<Finding> {
    if vitals.journal != JournalState::NobodyLeft {
        return Vec::new();
    }
    vec![Finding {
        evidence: "this host owns and keeps no addresses: every host that did is gone".to_owned(),
        cause: "the other hosts were removed before they acknowledged this one".to_owned(),
        fix: "if no other host of the cluster is an active gateway anywhere: `overlayctl pool recover`, on one host"
            .to_owned(),
        ..about_journal(vitals, Id::NobodyKeepsLeases)
    }]
}

fn about_journal(vitals: &Vitals, id: Id) -> Finding {
    Finding {
        id,
        severity: Severity::Fail,
        host: vitals.host.clone(),
        segment: None,
        subject: "journal".to_owned(),
        evidence: String::new(),
        cause: String::new(),
        fix: String::new(),
        verify: "overlayctl pool show".to_owned(),
        depends_on: Vec::new(),
    }
}
