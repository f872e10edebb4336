//! In which order ops are made.
//!
//! Four rules decide: what takes a gateway away comes first; a VTEP is admitted by the firewall before frames are sent
//! to it, and frames stop before it is shut out; a device is complete (marked, sized, silenced, filtered) before it is
//! set up; ARP for a gateway is shut in before its link, and so its address, can be there. Within a stage, what another link sits on comes first (`links.rs` gives them in that order).

use super::op::Op;
use crate::kernel::sysctl::Sysctl;
use crate::kernel::table::TableName;

/// The stages of a plan, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Withdraw,
    StopSending,
    Delete,
    ShutIn,
    Create,
    Mark,
    Configure,
    Attach,
    Size,
    Silence,
    Filter,
    Forward,
    Up,
    Send,
    Address,
}

/// Sorts ops into the order in which they must be made; within a stage they stay as they are.
pub(super) fn sort(ops: &mut [Op]) {
    ops.sort_by_key(stage);
}

fn stage(op: &Op) -> Stage {
    match op {
        Op::RemoveAddress { .. } | Op::SetDown { .. } | Op::RemoveLocal { .. } => Stage::Withdraw,
        Op::RemoveFlood { .. } | Op::RemoveRemote { .. } | Op::RemoveBehind { .. } => Stage::StopSending,
        Op::DeleteLink { .. } => Stage::Delete,
        Op::AddBridge { .. } | Op::AddVxlan { .. } | Op::AddMacvlan { .. } => Stage::Create,
        Op::SetAlias { .. } => Stage::Mark,
        Op::SetMac { .. } | Op::SetBridge { .. } | Op::SetVxlan { .. } | Op::DisableAddrGen { .. } => Stage::Configure,
        Op::SetMaster { .. } => Stage::Attach,
        Op::SetMtu { .. } => Stage::Size,
        Op::SetSysctl {
            sysctl: Sysctl::Forwarding4(_),
            ..
        } => Stage::Forward,
        Op::SetSysctl { .. } => Stage::Silence,
        Op::ReplaceTable { table } if table.name == TableName::Arp => Stage::ShutIn,
        Op::ReplaceTable { .. } | Op::DeleteTable { .. } => Stage::Filter,
        Op::SetUp { .. } => Stage::Up,
        Op::AppendFlood { .. } | Op::ReplaceRemote { .. } | Op::AddLocal { .. } => Stage::Send,
        Op::AddAddress { .. } | Op::UnshadowGroup { .. } => Stage::Address,
    }
}
