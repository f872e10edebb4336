//! Reading `overlayd.yaml`: everything but the segments.

use super::cursor::{At, Section};
use super::error::Report;
use super::host::{
    BridgeNetfilterSetting, CLUSTER_PORT, CandidateSetting, Cluster, GatewayRole, HostConfig, HostSection, Libvirt,
    Metrics, Trust, UplinkSetting,
};
use super::read_segment;
use super::scalar::{domain, interface, labels, path, socket, unicast, yes_or_no};
use crate::id::IfName;

pub(super) const FILE: Section = Section {
    path: "",
    keys: &["host", "cluster", "state_dir", "control_socket", "metrics", "segments"],
};

pub(super) const HOST: Section = Section {
    path: "host",
    keys: &[
        "name",
        "underlay",
        "address",
        "labels",
        "gateway",
        "libvirt",
        "bridge_netfilter",
    ],
};

pub(super) const GATEWAY: Section = Section {
    path: "host.gateway",
    keys: &["candidate", "priority", "uplink"],
};

pub(super) const CLUSTER: Section = Section {
    path: "cluster",
    keys: &["listen", "join", "token_file", "insecure"],
};

/// The kernel's limit for the path of a socket (`sun_path`, with its terminator).
const SOCKET_PATH: usize = 107;

/// The longest host name that Linux takes (`__NEW_UTS_LEN`).
const HOST_NAME: usize = 64;

/// The whole file. A section without a value counts as absent, so that all its keys can be commented out.
pub(super) fn host_config(at: &At<'_>, report: &mut Report) -> HostConfig {
    let mut config = HostConfig::default();
    if at.is_empty() {
        return config;
    }
    let Some(file) = at.fields(report, &FILE) else {
        return config;
    };
    if let Some(at) = file.filled("host") {
        host(&at, report, &mut config.host);
    }
    if let Some(at) = file.filled("cluster") {
        cluster(&at, report, &mut config.cluster);
    }
    set(
        &mut config.state_dir,
        file.maybe("state_dir").and_then(|at| path(&at, report)),
    );
    if let Some(at) = file.maybe("control_socket")
        && let Some(socket) = path(&at, report)
    {
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH {
            let message = format!("the path has {length} bytes, more than the {SOCKET_PATH} of a socket");
            at.wrong(report, message, "choose a shorter path");
        }
        config.control_socket = socket;
    }
    if let Some(at) = file.maybe("metrics") {
        config.metrics = match at.scalar() {
            Some("off") => Metrics::Off,
            _ => socket(&at, report, None).map_or(Metrics::Off, Metrics::At),
        };
    }
    if let Some(at) = file.filled("segments") {
        config.segments = read_segment::segments(&at, report);
    }
    config
}

fn host(at: &At<'_>, report: &mut Report, host: &mut HostSection) {
    let Some(fields) = at.fields(report, &HOST) else { return };
    host.name = fields
        .maybe("name")
        .and_then(|at| domain(&at, report, "a host name", HOST_NAME));
    host.underlay = fields.maybe("underlay").and_then(|at| interface(&at, report));
    host.address = fields.maybe("address").and_then(|at| unicast(&at, report));
    host.labels = fields
        .filled("labels")
        .map(|at| labels(&at, report))
        .unwrap_or_default();
    set(
        &mut host.libvirt,
        fields
            .maybe("libvirt")
            .and_then(|at| at.word(report, &[("off", Libvirt::Off), ("auto", Libvirt::Auto)])),
    );
    set(
        &mut host.bridge_netfilter,
        fields.maybe("bridge_netfilter").and_then(|at| {
            at.word(
                report,
                &[
                    ("auto", BridgeNetfilterSetting::Auto),
                    ("keep", BridgeNetfilterSetting::Keep),
                    ("off", BridgeNetfilterSetting::Off),
                ],
            )
        }),
    );
    if let Some(at) = fields.filled("gateway") {
        gateway(&at, report, &mut host.gateway);
    }
}

fn gateway(at: &At<'_>, report: &mut Report, role: &mut GatewayRole) {
    let Some(fields) = at.fields(report, &GATEWAY) else {
        return;
    };
    let candidate = fields.maybe("candidate");
    set(
        &mut role.candidate,
        candidate.and_then(|at| yes_or_no(&at, report, CandidateSetting::Candidate, CandidateSetting::Never)),
    );
    set(
        &mut role.priority,
        fields
            .maybe("priority")
            .and_then(|at| at.number(report, "a priority", 0..=u64::from(u16::MAX))),
    );
    set(
        &mut role.uplink,
        fields.maybe("uplink").and_then(|at| uplink(&at, report)),
    );
}

/// `auto`, a name, or a list of names.
fn uplink(at: &At<'_>, report: &mut Report) -> Option<UplinkSetting> {
    match at.scalar() {
        Some("auto") => return Some(UplinkSetting::Auto),
        Some(_) => return interface(at, report).map(|link| UplinkSetting::Only(vec![link])),
        None => {}
    }
    let named: Vec<IfName> = at
        .list(report, "auto, an interface name or a list of them")
        .iter()
        .filter_map(|at| interface(at, report))
        .collect();
    (!named.is_empty()).then_some(UplinkSetting::Only(named))
}

fn cluster(at: &At<'_>, report: &mut Report, cluster: &mut Cluster) {
    let Some(fields) = at.fields(report, &CLUSTER) else {
        return;
    };
    cluster.listen = fields
        .maybe("listen")
        .and_then(|at| socket(&at, report, Some(CLUSTER_PORT)));
    if let Some(at) = fields.filled("join") {
        let items = at.list(report, "a list of addresses");
        cluster.join = items.iter().filter_map(|at| peer(at, report)).collect();
    }
    set(
        &mut cluster.token_file,
        fields.maybe("token_file").and_then(|at| path(&at, report)),
    );
    set(
        &mut cluster.trust,
        fields
            .maybe("insecure")
            .and_then(|at| yes_or_no(&at, report, Trust::Insecure, Trust::MutualTls)),
    );
}

fn peer(at: &At<'_>, report: &mut Report) -> Option<std::net::SocketAddr> {
    let address = socket(at, report, Some(CLUSTER_PORT))?;
    if address.ip().is_unspecified() || address.ip().is_multicast() {
        at.wrong(
            report,
            format!("{address} is not a unicast address"),
            "give another host's cluster address",
        );
        return None;
    }
    Some(address)
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}
