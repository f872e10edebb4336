//! One change to the kernel. What it writes as text is the command line that does the same.

use crate::id::{IfName, Mac};
use crate::kernel::device::{Bridge, Df, Macvlan, Switch, Vxlan};
use crate::kernel::observed::{Flood, MulticastGroup};
use crate::kernel::sysctl::Sysctl;
use crate::kernel::table::{Table, TableName};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// A single change, small enough that it is done or not done; each may be repeated without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the words of the line that the op prints")]
pub enum Op {
    /// Make a bridge, down, with the MAC in the create request so that ports cannot change it.
    AddBridge { link: IfName, mac: Mac, bridge: Bridge },
    /// Make a VXLAN device, down; VNI and port cannot be changed later.
    AddVxlan { link: IfName, mac: Mac, vxlan: Vxlan },
    /// Make a macvlan, down.
    AddMacvlan { link: IfName, mac: Mac, macvlan: Macvlan },
    /// Remove a link of ours with all that hangs on it.
    DeleteLink { link: IfName },
    /// Set the alias that marks a link as ours.
    SetAlias { link: IfName, alias: String },
    /// Change a link's Ethernet address.
    SetMac { link: IfName, mac: Mac },
    /// Set a link's MTU. On a bridge always a message of its own: a value in the create request does not stick.
    SetMtu { link: IfName, mtu: u32 },
    /// Keep the kernel from making an IPv6 link-local address; before the link is set up.
    DisableAddrGen { link: IfName },
    /// Make a link a port of a bridge.
    SetMaster { link: IfName, master: IfName },
    /// Set a link up.
    SetUp { link: IfName },
    /// Set a link down.
    SetDown { link: IfName },
    /// Set all of a bridge's settings.
    SetBridge { link: IfName, bridge: Bridge },
    /// Change what can be changed on a VXLAN device.
    SetVxlan {
        link: IfName,
        local: IpAddr,
        df: Df,
        learning: Switch,
    },
    /// Add one destination for unknown and multicast frames (`NLM_F_APPEND` under the all-zero MAC).
    AppendFlood { link: IfName, flood: Flood },
    /// Remove exactly this destination; never sent without one, which would remove them all.
    RemoveFlood { link: IfName, flood: Flood },
    /// Say where a guest's MAC is: in the VXLAN device's table and, as a port of the bridge, in the bridge's.
    ReplaceRemote { link: IfName, mac: Mac, vtep: IpAddr },
    /// Forget where a guest's MAC is, in the VXLAN device's table.
    RemoveRemote { link: IfName, mac: Mac, vtep: IpAddr },
    /// Forget that a MAC is behind the VXLAN device, in the bridge's table.
    RemoveBehind { link: IfName, mac: Mac },
    /// Make the gateway's MAC a local address of the bridge, so that frames to it are not flooded.
    AddLocal { link: IfName, mac: Mac },
    /// Withdraw the gateway's MAC from the bridge, whose frames are flooded then.
    RemoveLocal { link: IfName, mac: Mac },
    /// Add an address that stays, with our protocol number. The subnet's route gets metric 1024, so that the gateway's
    /// own, of metric 0, wins on the active gateway's host: guests then get their answers from the gateway's MAC.
    AddAddress {
        link: IfName,
        address: IpNet,
        group: MulticastGroup,
    },
    /// Remove the `local` route that came with a joined group: it would swallow what this host sends to the group.
    UnshadowGroup { link: IfName, group: IpAddr },
    /// Remove an address of ours.
    RemoveAddress { link: IfName, address: IpNet },
    /// Change a kernel setting. The edge keeps the value that it finds, to put it back on leave.
    SetSysctl { sysctl: Sysctl, value: u32 },
    /// Load a table, whole, in place of the one that is there, in one transaction; then seal it.
    ReplaceTable { table: Table },
    /// Remove one of our tables that is no longer wanted.
    DeleteTable { table: TableName },
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

impl Switch {
    const fn number(self) -> u8 {
        match self {
            Self::On => 1,
            Self::Off => 0,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::On => "",
            Self::Off => "no",
        }
    }
}

impl fmt::Display for Df {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unset => "unset",
            Self::Set => "set",
            Self::Inherit => "inherit",
        })
    }
}

impl fmt::Display for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stp,
            forward_delay,
            multicast_snooping,
        } = self;
        write!(
            f,
            "stp_state {} forward_delay {forward_delay} mcast_snooping {}",
            stp.number(),
            multicast_snooping.number()
        )
    }
}

impl fmt::Display for Vxlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vni,
            local,
            port,
            df,
            learning,
            lower,
            group,
        } = self;
        match vni {
            Some(vni) => write!(f, "id {vni}")?,
            None => f.write_str("external")?,
        }
        if let Some(local) = local {
            write!(f, " local {local}")?;
        }
        if let Some(group) = group {
            write!(f, " group {group}")?;
        }
        if let Some(lower) = lower {
            write!(f, " dev {lower}")?;
        }
        write!(f, " dstport {port} df {df} {}learning", learning.prefix())
    }
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dst {}", self.to)?;
        self.via.as_ref().map_or(Ok(()), |via| write!(f, " via {via}"))
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddBridge { link, mac, bridge } => write!(f, "ip link add {link} address {mac} type bridge {bridge}"),
            Self::AddVxlan { link, mac, vxlan } => write!(f, "ip link add {link} address {mac} type vxlan {vxlan}"),
            Self::AddMacvlan { link, mac, macvlan } => {
                write!(
                    f,
                    "ip link add {link} link {} address {mac} type macvlan mode bridge",
                    macvlan.lower
                )
            }
            Self::DeleteLink { link } => write!(f, "ip link del {link}"),
            Self::SetAlias { link, alias } => write!(f, "ip link set {link} alias {alias}"),
            Self::SetMac { link, mac } => write!(f, "ip link set {link} address {mac}"),
            Self::SetMtu { link, mtu } => write!(f, "ip link set {link} mtu {mtu}"),
            Self::DisableAddrGen { link } => write!(f, "ip link set {link} addrgenmode none"),
            Self::SetMaster { link, master } => write!(f, "ip link set {link} master {master}"),
            Self::SetUp { link } => write!(f, "ip link set {link} up"),
            Self::SetDown { link } => write!(f, "ip link set {link} down"),
            Self::SetBridge { link, bridge } => write!(f, "ip link set {link} type bridge {bridge}"),
            Self::SetVxlan {
                link,
                local,
                df,
                learning,
            } => {
                write!(
                    f,
                    "ip link set {link} type vxlan local {local} df {df} {}learning",
                    learning.prefix()
                )
            }
            Self::AppendFlood { link, flood } => {
                write!(f, "bridge fdb append {} dev {link} {flood} self permanent", Mac::ZERO)
            }
            Self::RemoveFlood { link, flood } => write!(f, "bridge fdb del {} dev {link} {flood} self", Mac::ZERO),
            Self::ReplaceRemote { link, mac, vtep } => {
                write!(
                    f,
                    "bridge fdb replace {mac} dev {link} dst {vtep} self master dynamic extern_learn"
                )
            }
            Self::RemoveRemote { link, mac, vtep } => write!(f, "bridge fdb del {mac} dev {link} dst {vtep} self"),
            Self::RemoveBehind { link, mac } => write!(f, "bridge fdb del {mac} dev {link} master"),
            Self::AddLocal { link, mac } => write!(f, "bridge fdb add {mac} dev {link} self permanent"),
            Self::RemoveLocal { link, mac } => write!(f, "bridge fdb del {mac} dev {link} self"),
            Self::AddAddress { link, address, group } => {
                let join = match group {
                    MulticastGroup::Joined | MulticastGroup::Shadowed => " autojoin",
                    MulticastGroup::No => " metric 1024",
                };
                write!(
                    f,
                    "ip addr replace {address} dev {link} proto {}{join}",
                    crate::kernel::mark::PROTOCOL
                )
            }
            Self::UnshadowGroup { link, group } => write!(f, "ip route del local {group} dev {link} table local"),
            Self::RemoveAddress { link, address } => write!(f, "ip addr del {address} dev {link}"),
            Self::SetSysctl { sysctl, value } => write!(f, "sysctl -w {sysctl}={value}"),
            Self::ReplaceTable { table } => {
                write!(f, "nft -f - # table {}, {:016x}", table.name, table.hash())
            }
            Self::DeleteTable { table } => write!(f, "nft delete table {table}"),
        }
    }
}
