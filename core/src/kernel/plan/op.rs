//! One change to the kernel. What it writes as text is the command line that does the same.

use crate::id::{IfName, Mac};
use crate::kernel::device::{Bridge, Df, Macvlan, Switch, Vxlan};
use crate::kernel::observed::{Flood, Group};
use crate::kernel::sysctl::Sysctl;
use crate::kernel::table::{Table, TableName};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// A single change, small enough that it is done or not done; each may be repeated without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Make a bridge, down, with the MAC in the create request so that ports cannot change it.
    AddBridge {
        /// Its name.
        link: IfName,
        /// Its address.
        mac: Mac,
        /// Its settings.
        bridge: Bridge,
    },
    /// Make a VXLAN device, down.
    AddVxlan {
        /// Its name.
        link: IfName,
        /// Its address.
        mac: Mac,
        /// Its settings; VNI and port cannot be changed later.
        vxlan: Vxlan,
    },
    /// Make a macvlan, down.
    AddMacvlan {
        /// Its name.
        link: IfName,
        /// Its address.
        mac: Mac,
        /// Its settings.
        macvlan: Macvlan,
    },
    /// Remove a link of ours with all that hangs on it.
    DeleteLink {
        /// Its name.
        link: IfName,
    },
    /// Mark a link.
    SetAlias {
        /// Its name.
        link: IfName,
        /// The whole alias.
        alias: String,
    },
    /// Change a link's Ethernet address.
    SetMac {
        /// Its name.
        link: IfName,
        /// The new address.
        mac: Mac,
    },
    /// Set a link's MTU. On a bridge always a message of its own: a value in the create request does not stick.
    SetMtu {
        /// Its name.
        link: IfName,
        /// In bytes.
        mtu: u32,
    },
    /// Keep the kernel from making an IPv6 link-local address; before the link is set up.
    DisableAddrGen {
        /// Its name.
        link: IfName,
    },
    /// Make a link a port of a bridge.
    SetMaster {
        /// The port.
        link: IfName,
        /// The bridge.
        master: IfName,
    },
    /// Set a link up.
    SetUp {
        /// Its name.
        link: IfName,
    },
    /// Set a link down.
    SetDown {
        /// Its name.
        link: IfName,
    },
    /// Change a bridge's settings.
    SetBridge {
        /// Its name.
        link: IfName,
        /// All of its settings.
        bridge: Bridge,
    },
    /// Change what can be changed on a VXLAN device.
    SetVxlan {
        /// Its name.
        link: IfName,
        /// The VTEP address.
        local: IpAddr,
        /// The outer "don't fragment" bit.
        df: Df,
        /// Learning.
        learning: Switch,
    },
    /// Add one destination for unknown and multicast frames (`NLM_F_APPEND` under the all-zero MAC).
    AppendFlood {
        /// The VXLAN device.
        link: IfName,
        /// The destination.
        flood: Flood,
    },
    /// Remove exactly this destination; never sent without one, which would remove them all.
    RemoveFlood {
        /// The VXLAN device.
        link: IfName,
        /// The destination.
        flood: Flood,
    },
    /// Say where a guest's MAC is: in the VXLAN device's table and, as a port of the bridge, in the bridge's.
    ReplaceRemote {
        /// The VXLAN device.
        link: IfName,
        /// The guest's MAC.
        mac: Mac,
        /// The VTEP of its host.
        vtep: IpAddr,
    },
    /// Forget where a guest's MAC is, in the VXLAN device's table.
    RemoveRemote {
        /// The VXLAN device.
        link: IfName,
        /// The MAC.
        mac: Mac,
        /// The VTEP that the entry names.
        vtep: IpAddr,
    },
    /// Forget that a MAC is behind the VXLAN device, in the bridge's table.
    RemoveBehind {
        /// The VXLAN device.
        link: IfName,
        /// The MAC.
        mac: Mac,
    },
    /// Make the gateway's MAC a local address of the bridge, so that frames to it are not flooded.
    AddLocal {
        /// The bridge.
        link: IfName,
        /// The MAC.
        mac: Mac,
    },
    /// The reverse.
    RemoveLocal {
        /// The bridge.
        link: IfName,
        /// The MAC.
        mac: Mac,
    },
    /// Add an address that stays, with our protocol number. The subnet's route gets metric 1024, so that the gateway's
    /// own, of metric 0, wins on the host that serves: guests then get their answers from the gateway's MAC.
    AddAddress {
        /// The interface.
        link: IfName,
        /// The address with its prefix length.
        address: IpNet,
        /// Whether it is a multicast group to join.
        group: Group,
    },
    /// Remove the `local` route that came with a joined group: it would swallow what this host sends to the group.
    UnshadowGroup {
        /// The interface.
        link: IfName,
        /// The group.
        group: IpAddr,
    },
    /// Remove an address of ours.
    RemoveAddress {
        /// The interface.
        link: IfName,
        /// The address with its prefix length.
        address: IpNet,
    },
    /// Change a kernel setting. The edge keeps the value that it finds, to put it back on leave.
    SetSysctl {
        /// Which one.
        sysctl: Sysctl,
        /// The new value.
        value: u32,
    },
    /// Load a table, whole, in place of the one that is there, in one transaction; then seal it.
    ReplaceTable {
        /// Its name, text and hash.
        table: Table,
    },
    /// Remove a table.
    DeleteTable {
        /// Its name.
        table: TableName,
    },
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
                    Group::Joined | Group::Shadowed => " autojoin",
                    Group::No => " metric 1024",
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
