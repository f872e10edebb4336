//! A host's own configuration as it holds: `overlayd.yaml`, checked, with every default that does not depend on the
//! system filled in.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::segment::Segment;
use crate::id::IfName;

/// The TCP port of gRPC between hosts.
pub const CLUSTER_PORT: u16 = 7480;

/// The gateway priority of a host that gives none.
pub const DEFAULT_PRIORITY: u16 = 100;

/// `overlayd.yaml`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// What this host is and may do.
    pub host: HostSection,
    /// How it talks to the others.
    pub cluster: Cluster,
    /// Where identity, segments and leases are kept; default `/var/lib/overlayd`.
    pub state_dir: PathBuf,
    /// Where `overlayctl` reaches the agent; default `/run/overlayd/control.sock`.
    pub control_socket: PathBuf,
    /// Where metrics are served; default [`Metrics::Off`].
    pub metrics: Metrics,
    /// Segments that this host introduces where the cluster does not know them; default none.
    pub segments: Vec<Segment>,
}

/// What this host is and may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSection {
    /// Its name in the cluster; `None`: the system's host name.
    pub name: Option<String>,
    /// The interface that carries VXLAN; `None`: that of the default route.
    pub underlay: Option<IfName>,
    /// The VTEP address; `None`: the first global address of the underlay.
    pub address: Option<IpAddr>,
    /// Labels that segments select hosts by; default none.
    pub labels: BTreeMap<String, String>,
    /// Its part in serving gateways.
    pub gateway: GatewayRole,
    /// Whether segments are defined as libvirt networks; default [`Libvirt::Off`].
    pub libvirt: Libvirt,
    /// Whether bridged frames are to pass the IP firewall; default [`BridgeNetfilterSetting::Auto`].
    pub bridge_netfilter: BridgeNetfilterSetting,
}

/// A host's part in serving gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRole {
    /// Whether the host may become gateway at all; default [`CandidateSetting::Candidate`].
    pub candidate: CandidateSetting,
    /// Higher comes first; default 100.
    pub priority: u16,
    /// What guests may leave by; default [`UplinkSetting::Auto`].
    pub uplink: UplinkSetting,
}

/// The interfaces that guests may leave by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UplinkSetting {
    /// Those by which the host's routes lead outside.
    Auto,
    /// These alone, with all that is behind them.
    Only(Vec<IfName>),
}

/// Whether bridged frames are to pass the host's IP firewall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BridgeNetfilterSetting {
    /// Only where somebody on the host may need it.
    #[default]
    Auto,
    /// Left as it is.
    Keep,
    /// Switched off.
    Off,
}

/// Whether a host may become gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateSetting {
    /// It may be elected.
    Candidate,
    /// It only votes.
    Never,
}

/// Whether segments are defined as libvirt networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Libvirt {
    /// libvirt is left alone.
    #[default]
    Off,
    /// They are, wherever libvirt runs.
    Auto,
}

/// How a host talks to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Where gRPC from other hosts is taken; `None`: the VTEP address, port 7480.
    pub listen: Option<SocketAddr>,
    /// Hosts that are asked to let this one in, for ever, with back-off; a port not given is 7480. Default none.
    pub join: Vec<SocketAddr>,
    /// The file with the join token; default `/etc/overlayd/join-token`.
    pub token_file: PathBuf,
    /// Whether the traffic between hosts is protected; default [`Trust::MutualTls`].
    pub trust: Trust,
}

/// Whether the traffic between hosts is protected (`cluster.insecure`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Both ends show a certificate of the cluster's.
    MutualTls,
    /// Plain text: for throw-away laboratories only.
    Insecure,
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// No listener.
    Off,
    /// There, over plain HTTP.
    At(SocketAddr),
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            host: HostSection::default(),
            cluster: Cluster::default(),
            state_dir: PathBuf::from("/var/lib/overlayd"),
            control_socket: PathBuf::from("/run/overlayd/control.sock"),
            metrics: Metrics::Off,
            segments: Vec::new(),
        }
    }
}

impl Default for GatewayRole {
    fn default() -> Self {
        Self {
            candidate: CandidateSetting::Candidate,
            priority: DEFAULT_PRIORITY,
            uplink: UplinkSetting::Auto,
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            listen: None,
            join: Vec::new(),
            token_file: PathBuf::from("/etc/overlayd/join-token"),
            trust: Trust::MutualTls,
        }
    }
}
