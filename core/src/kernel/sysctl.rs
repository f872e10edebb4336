//! The kernel settings that a plan may have to change.

use crate::id::IfName;
use std::fmt;

/// A kernel setting that a plan may have to change; all are plain numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sysctl {
    /// `net.ipv4.conf.IF.forwarding`
    Forwarding4(IfName),
    /// `net.ipv4.conf.IF.arp_ignore`
    ArpIgnore(IfName),
    /// `net.ipv4.conf.IF.rp_filter`
    ReversePath(IfName),
    /// `net.ipv6.conf.IF.accept_ra`
    AcceptRa(IfName),
    /// `net.bridge.bridge-nf-call-iptables`
    BridgeNetfilter4,
    /// `net.bridge.bridge-nf-call-ip6tables`
    BridgeNetfilter6,
    /// `net.bridge.bridge-nf-call-arptables`
    BridgeNetfilterArp,
}

impl Sysctl {
    /// The path below `/proc/sys`.
    pub fn path(&self) -> String {
        match self {
            Self::Forwarding4(link) => format!("net/ipv4/conf/{link}/forwarding"),
            Self::ArpIgnore(link) => format!("net/ipv4/conf/{link}/arp_ignore"),
            Self::ReversePath(link) => format!("net/ipv4/conf/{link}/rp_filter"),
            Self::AcceptRa(link) => format!("net/ipv6/conf/{link}/accept_ra"),
            Self::BridgeNetfilter4 => "net/bridge/bridge-nf-call-iptables".to_owned(),
            Self::BridgeNetfilter6 => "net/bridge/bridge-nf-call-ip6tables".to_owned(),
            Self::BridgeNetfilterArp => "net/bridge/bridge-nf-call-arptables".to_owned(),
        }
    }

    /// The interface whose setting it is, if it belongs to one.
    pub const fn link(&self) -> Option<&IfName> {
        match self {
            Self::Forwarding4(link) | Self::ArpIgnore(link) | Self::ReversePath(link) | Self::AcceptRa(link) => {
                Some(link)
            }
            Self::BridgeNetfilter4 | Self::BridgeNetfilter6 | Self::BridgeNetfilterArp => None,
        }
    }
}

/// As `sysctl -w` takes it: with slashes, because an interface's name may have dots.
impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}
