//! What is wrong here, for the other hosts; and what is wrong there, for this host's operator.
//!
//! The others are told in short, and only when it changes. It is looked at again after what was derived has changed, and
//! while they know of anything wrong.

use super::Node;
use super::member::Member;
use crate::cluster::gossip::{FINDINGS_AT_MOST, FindingNote, Key, Record};
use crate::cluster::membership::{PeerState, Who};
use crate::health::{EdgeState, Finding, Id, Severity};
use crate::id::{HostId, SegmentName};
use crate::time::{Duration, Instant};

/// Whatever passes within this is not worth a word.
const SETTLES: Duration = Duration::from_secs(1);
/// How often it is looked whether what the others were told is still so.
const AGAIN: Duration = Duration::from_secs(2);
/// Evidence has numbers that may grow all the time: the others are told of those alone so often.
const NUMBERS_EVERY: Duration = Duration::from_secs(30);
/// A text is cut after so many bytes.
const TEXT_AT_MOST: usize = 400;

/// Something wrong on another host, as that says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Its name.
    pub host: String,
    /// What it says; [`Severity::Unknown`] where it is not heard any more.
    pub note: FindingNote,
}

impl Member {
    /// Something has changed that findings may rest on.
    pub(super) fn look_for_findings(&mut self, now: Instant) {
        let at = now + SETTLES;
        self.findings_at = Some(self.findings_at.map_or(at, |known| known.min(at)));
    }

    /// What was said of this host may be from before its start: it looks again.
    pub(super) fn findings_changed(&mut self, of: HostId, now: Instant) {
        if of == self.me {
            self.look_for_findings(now);
        }
    }

    /// Whether the same was told a short while ago, if with other numbers.
    fn has_just_told(&self, notes: &[FindingNote], now: Instant) -> bool {
        let key = Key::Findings(self.me);
        let Some(Record::Findings(told)) = self.gossip.get(&key) else {
            return false;
        };
        let kind = |note: &FindingNote| {
            (
                note.severity,
                note.id.clone(),
                note.segment.clone(),
                note.subject.clone(),
            )
        };
        let lately = self
            .gossip
            .taken_at(&key)
            .is_some_and(|at| now.since(at) < NUMBERS_EVERY);
        lately && !notes.is_empty() && told.findings.iter().map(kind).eq(notes.iter().map(kind))
    }
}

impl Node {
    /// What only the edge knows of this host's health; told again whenever it changes.
    pub fn set_edge(&mut self, edge: EdgeState, now: Instant) {
        if self.edge == edge {
            return;
        }
        self.edge = edge;
        if let Some(formed) = &mut self.formed {
            formed.touch(now);
        }
        self.settle(now);
    }

    /// Tells the others what is wrong here, when that is to be looked at.
    pub(super) fn tell_findings(&mut self, now: Instant) {
        if self
            .formed
            .as_ref()
            .and_then(|formed| formed.findings_at)
            .is_none_or(|at| now < at)
        {
            return;
        }
        let own = self.own_findings(now);
        let mine = own.iter().filter(|finding| concerns_this_host_alone(finding));
        let host = self.facts.as_ref().map(|facts| facts.name.as_str());
        let mine = mine.filter(|finding| host == Some(finding.host.as_str()) && finding.severity != Severity::Unknown);
        let notes: Vec<FindingNote> = mine.take(FINDINGS_AT_MOST).map(note).collect();
        let Some(formed) = &mut self.formed else { return };
        formed.findings_at = (!notes.is_empty()).then(|| now + AGAIN);
        if !formed.has_just_told(&notes, now) {
            formed.gossip.put_findings(notes, now);
        }
    }

    /// All that is wrong as far as this host can tell itself, and what the others say is wrong on them; each once.
    pub fn findings(&self, now: Instant) -> (Vec<Finding>, Vec<Reported>) {
        let (mut own, mut reported) = (self.own_findings(now), self.reported());
        // Whose uplink does not work says itself why.
        let said_better = |finding: &Finding| {
            let same = |said: &Reported| {
                said.host == finding.host && said.note.id == finding.id.as_str() && said.note.segment.is_none()
            };
            finding.id == Id::NoGateway && finding.segment.is_none() && reported.iter().any(same)
        };
        own.retain(|finding| !said_better(finding));
        let known = |said: &Reported| {
            own.iter().any(|finding| {
                said.host == finding.host
                    && said.note.id == finding.id.as_str()
                    && said.note.subject == finding.subject
                    && said.note.segment.as_deref() == finding.segment.as_ref().map(SegmentName::as_str)
            })
        };
        reported.retain(|said| !known(said));
        (own, reported)
    }

    fn reported(&self) -> Vec<Reported> {
        let Some(formed) = &self.formed else { return Vec::new() };
        let others = formed.gossip.findings().filter(|known| known.host != self.me);
        let all = others.flat_map(|known| {
            let heard = formed
                .derived
                .peers
                .iter()
                .any(|peer| peer.who == Who::Host(known.host) && peer.state == PeerState::Alive);
            known.findings.iter().map(move |note| Reported {
                host: formed.name_of(known.host),
                note: FindingNote {
                    severity: if heard { note.severity } else { Severity::Unknown },
                    ..note.clone()
                },
            })
        });
        all.collect()
    }
}

/// What every host finds by itself need not be told.
fn concerns_this_host_alone(finding: &Finding) -> bool {
    let of_a_segment = finding.id == Id::NoGateway && finding.segment.is_some();
    !of_a_segment && finding.id != Id::AllDrained
}

fn note(finding: &Finding) -> FindingNote {
    FindingNote {
        severity: finding.severity,
        id: finding.id.as_str().to_owned(),
        segment: finding.segment.as_ref().map(ToString::to_string),
        subject: cut(&finding.subject),
        evidence: cut(&finding.evidence.replace("this host", &finding.host)),
        cause: cut(&finding.cause.replace("this host", &finding.host)),
        fix: cut(&finding.fix),
        verify: cut(&finding.verify),
        depends_on: finding.depends_on.iter().map(|id| id.as_str().to_owned()).collect(),
    }
}

fn cut(text: &str) -> String {
    if text.len() <= TEXT_AT_MOST {
        return text.to_owned();
    }
    let end = (0..=TEXT_AT_MOST)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{} …", &text[..end])
}
