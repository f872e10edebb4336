//! Does what a plan says, in its order, and tells for each op that failed why and whether to try again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nix::errno::Errno;
use overlayd_core::id::IfName;
use overlayd_core::kernel::plan::Op;
use overlayd_core::kernel::sysctl::Sysctl;
use overlayd_core::kernel::table::TableName;

use super::address::link_by_name;
use super::connection::Connection;
use super::encode::{self, Indexes};
use super::error::{Error, Kind, Refusal};
use crate::retry::Retry;
use crate::{nft, sysctl};

/// What became of a list of ops.
#[derive(Debug, Default)]
pub struct Applied {
    /// How many were done.
    pub done: usize,
    /// Those that failed, in order.
    pub failures: Vec<Failure>,
    /// How many were not tried because the link that they are about could not be made.
    pub not_tried: usize,
    /// The values that sysctls had before, so that leaving can put them back.
    pub replaced: Vec<(Sysctl, u32)>,
}

impl Applied {
    /// The gravest retry among the failures, or nothing where all went well.
    pub fn retry(&self) -> Option<Retry> {
        let grade = |retry: &Retry| match retry {
            Retry::Skip => 0,
            Retry::Again => 1,
            Retry::Fatal => 2,
        };
        self.failures.iter().map(Failure::retry).max_by_key(grade)
    }
}

/// An op that was not done.
#[derive(Debug)]
pub struct Failure {
    /// The op.
    pub op: Op,
    /// Why not.
    pub error: Error,
}

impl Failure {
    /// Whether another try can help.
    pub fn retry(&self) -> Retry {
        self.error.retry()
    }

    /// Whether the host lacks what segments and their gateways are made of.
    pub fn is_lack(&self) -> bool {
        match (&self.op, &self.error) {
            (_, Error::NoSuchKind(_) | Error::Nft(nft::Error::Missing)) => true,
            // No race explains it: these tables name interfaces that need not be there.
            (Op::ReplaceTable { table }, Error::Nft(nft::Error::Refused { .. })) => match table.name {
                TableName::Inet | TableName::Arp => true,
                TableName::Netdev | TableName::Bridge => false,
            },
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed: {}", self.op, self.error)?;
        match (&self.op, &self.error) {
            (Op::AddVxlan { .. }, Error::Refused(refusal)) if refusal.errno == Errno::EEXIST => f.write_str(
                "; a VXLAN device in another network namespace has this VNI on this port (`ip -all netns exec ip -d link \
                 show type vxlan`): delete it, or choose another `vni:` or `port:` for the segment",
            ),
            _ => Ok(()),
        }
    }
}

/// One run over a list of ops.
struct Run<'a> {
    connection: &'a mut Connection,
    ops: &'a [Op],
    /// The interfaces met so far.
    indexes: Indexes,
    /// Ops whose requests are in the datagram that is being filled, in its order.
    batch: Vec<usize>,
    /// Links that could not be made: what is about them would only fail for the same reason.
    unmade: BTreeSet<IfName>,
    failed: BTreeMap<usize, Error>,
    not_tried: usize,
    replaced: Vec<(Sysctl, u32)>,
}

/// Does all ops in order; a failing one does not stop the rest.
pub(super) async fn apply(connection: &mut Connection, ops: &[Op]) -> Applied {
    let mut run = Run {
        connection,
        ops,
        indexes: Indexes::default(),
        batch: Vec::new(),
        unmade: BTreeSet::new(),
        failed: BTreeMap::new(),
        not_tried: 0,
        replaced: Vec::new(),
    };
    for (at, op) in ops.iter().enumerate() {
        if let Err(error) = run.step(at, op).await {
            run.fail(at, error);
        }
        if run.connection.is_full() {
            run.flush();
            tokio::task::yield_now().await;
        }
    }
    run.flush();
    let Run {
        failed,
        not_tried,
        replaced,
        ..
    } = run;
    let failures: Vec<_> = failed
        .into_iter()
        .map(|(at, error)| Failure {
            op: ops[at].clone(),
            error,
        })
        .collect();
    Applied {
        done: ops.len() - failures.len() - not_tried,
        failures,
        not_tried,
        replaced,
    }
}

/// The kinds of link that these ops make and the kernel does not know: they are made in a network namespace that is gone
/// afterwards. Nothing is said where there is no right to have one.
pub(super) fn unknown_kinds(ops: &[Op]) -> Vec<Kind> {
    let makes: Vec<Op> = ops.iter().filter(|op| made_link(op).is_some()).cloned().collect();
    let elsewhere = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).ok()?;
        let mut connection = Connection::open().ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
        Some(runtime.block_on(apply(&mut connection, &makes)))
    });
    let applied = elsewhere.join().ok().flatten().unwrap_or_default();
    let kinds: BTreeSet<Kind> = applied
        .failures
        .iter()
        .filter_map(|failure| failure.error.lacks())
        .collect();
    kinds.into_iter().collect()
}

impl Run<'_> {
    async fn step(&mut self, at: usize, op: &Op) -> Result<(), Error> {
        match op {
            Op::SetSysctl { sysctl, value } => {
                self.flush();
                if sysctl.link().is_some_and(|link| self.unmade.contains(link)) {
                    self.leave_out(op);
                    return Ok(());
                }
                let path = sysctl.path();
                let before = sysctl::read(&path)?.and_then(|text| text.parse().ok());
                sysctl::write(&path, &value.to_string())?;
                self.replaced.extend(
                    before
                        .filter(|before| before != value)
                        .map(|before| (sysctl.clone(), before)),
                );
                Ok(())
            }
            Op::ReplaceTable { table } => {
                self.flush();
                Ok(nft::replace(table).await?)
            }
            Op::DeleteTable { table } => {
                self.flush();
                Ok(nft::delete(*table).await?)
            }
            _ => self.push(at, op),
        }
    }

    /// Adds the op's request to the datagram, once its interfaces are known.
    fn push(&mut self, at: usize, op: &Op) -> Result<(), Error> {
        for link in encode::links(op).into_iter().flatten() {
            if self.unmade.contains(link) {
                self.leave_out(op);
                return Ok(());
            }
            if self.indexes.contains_key(link) {
                continue;
            }
            // It may be one that is made by a request before this one.
            self.flush();
            match link_by_name(self.connection, link)? {
                Some(message) => {
                    self.indexes.insert(link.clone(), message.header.index);
                }
                None if self.unmade.contains(link) => {
                    self.leave_out(op);
                    return Ok(());
                }
                None if is_undone_by_absence(op) => return Ok(()),
                None => return Err(Error::NoInterface(link.clone())),
            }
        }
        let Some((message, flags)) = encode::request(op, &self.indexes) else {
            return Ok(());
        };
        self.connection.push(&message, flags);
        self.batch.push(at);
        // Whatever name an index had is no longer sure after these.
        if let Some(link) = changed_link(op) {
            self.flush();
            self.indexes.remove(link);
        }
        Ok(())
    }

    /// Sends the datagram and books what was refused.
    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        match self.connection.flush() {
            Ok(refused) => {
                for (place, refusal) in refused {
                    let at = batch[place];
                    if !is_harmless(&self.ops[at], &refusal) {
                        let error = self.explain(at, refusal);
                        self.fail(at, error);
                    }
                }
            }
            Err(Error::Open(error)) => {
                let text = error.to_string();
                for at in batch {
                    self.fail(at, Error::Open(std::io::Error::new(error.kind(), text.clone())));
                }
            }
            // Some may have been done: the next look tells which.
            Err(error) => {
                let text = error.to_string();
                for at in batch {
                    self.fail(at, Error::Lost(std::io::Error::other(text.clone())));
                }
            }
        }
    }

    fn explain(&mut self, at: usize, refusal: Refusal) -> Error {
        if let Some(kind) = unknown_kind(&self.ops[at], &refusal) {
            return Error::NoSuchKind(kind);
        }
        match made_link(&self.ops[at]) {
            Some(link) if refusal.errno == Errno::EEXIST => match link_by_name(self.connection, link) {
                Ok(Some(_)) => Error::NameTaken(link.clone()),
                Ok(None) | Err(_) => Error::Refused(refusal),
            },
            Some(_) | None => Error::Refused(refusal),
        }
    }

    /// Does not try an op: it is about a link that could not be made. One that would hang on that link is not made either.
    fn leave_out(&mut self, op: &Op) {
        self.not_tried += 1;
        self.unmade.extend(made_link(op).cloned());
    }

    fn fail(&mut self, at: usize, error: Error) {
        self.unmade.extend(made_link(&self.ops[at]).cloned());
        self.failed.insert(at, error);
    }
}

/// The kind of link that the kernel does not know, if that is what it says.
fn unknown_kind(op: &Op, refusal: &Refusal) -> Option<Kind> {
    // rtnl_newlink() in net/core/rtnetlink.c, after request_module("rtnl-link-…") came back without it. The same number
    // with other words is about something else, an option for instance.
    let says_so = refusal.errno == Errno::EOPNOTSUPP && refusal.text.as_deref() == Some("Unknown device type");
    match op {
        _ if !says_so => None,
        Op::AddBridge { .. } => Some(Kind::Bridge),
        Op::AddVxlan { .. } => Some(Kind::Vxlan),
        Op::AddMacvlan { .. } => Some(Kind::Macvlan),
        _ => None,
    }
}

fn made_link(op: &Op) -> Option<&IfName> {
    match op {
        Op::AddBridge { link, .. } | Op::AddVxlan { link, .. } | Op::AddMacvlan { link, .. } => Some(link),
        _ => None,
    }
}

fn changed_link(op: &Op) -> Option<&IfName> {
    match op {
        Op::DeleteLink { link } => Some(link),
        _ => made_link(op),
    }
}

/// Ops that are as good as done when their interface is gone.
fn is_undone_by_absence(op: &Op) -> bool {
    matches!(
        op,
        Op::DeleteLink { .. }
            | Op::RemoveFlood { .. }
            | Op::RemoveRemote { .. }
            | Op::RemoveBehind { .. }
            | Op::RemoveLocal { .. }
            | Op::RemoveAddress { .. }
            | Op::UnshadowGroup { .. }
    )
}

/// Refusals that say that the op had been done before.
fn is_harmless(op: &Op, refusal: &Refusal) -> bool {
    is_undone_by_absence(op)
        && matches!(
            refusal.errno,
            Errno::ENODEV | Errno::ENOENT | Errno::ESRCH | Errno::EADDRNOTAVAIL
        )
}

#[cfg(test)]
mod tests {
    use overlayd_core::id::{Mac, Vni};
    use overlayd_core::kernel::device::{Bridge, Df, Macvlan, MacvlanMode, Switch, Vxlan};

    use super::*;

    fn name(text: &str) -> IfName {
        IfName::new(text).unwrap()
    }

    fn making_each_kind() -> [(Op, Kind); 3] {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        [
            (
                Op::AddBridge {
                    link: name("br-blue"),
                    mac,
                    bridge: Bridge {
                        stp: Switch::Off,
                        forward_delay: 200,
                        multicast_snooping: Switch::Off,
                    },
                },
                Kind::Bridge,
            ),
            (
                Op::AddVxlan {
                    link: name("vx-blue"),
                    mac,
                    vxlan: Vxlan {
                        vni: Vni::new(10).ok(),
                        local: None,
                        port: 4789,
                        df: Df::Set,
                        learning: Switch::On,
                        lower: None,
                        group: None,
                    },
                },
                Kind::Vxlan,
            ),
            (
                Op::AddMacvlan {
                    link: name("gw-blue"),
                    mac,
                    macvlan: Macvlan {
                        lower: name("br-blue"),
                        mode: MacvlanMode::Bridge,
                    },
                },
                Kind::Macvlan,
            ),
        ]
    }

    fn refusal(errno: Errno, text: &str) -> Refusal {
        Refusal {
            errno,
            text: Some(text.to_owned()),
        }
    }

    #[test]
    fn a_kind_that_the_kernel_does_not_know_is_told_from_what_a_kind_does_not_do() {
        for (op, kind) in making_each_kind() {
            let lacking = refusal(Errno::EOPNOTSUPP, "Unknown device type");
            assert_eq!(unknown_kind(&op, &lacking), Some(kind));
            let option = refusal(Errno::EOPNOTSUPP, "unsupported attribute");
            assert_eq!(unknown_kind(&op, &option), None);
            let other = refusal(Errno::EINVAL, "Unknown device type");
            assert_eq!(unknown_kind(&op, &other), None);
        }
        let up = Op::SetUp { link: name("vx-blue") };
        assert_eq!(
            unknown_kind(&up, &refusal(Errno::EOPNOTSUPP, "Unknown device type")),
            None
        );
    }
}
