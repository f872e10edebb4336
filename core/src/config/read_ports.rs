//! Reading port forwards: which ports of the gateway host lead to which guest.

use std::net::SocketAddr;

use super::cursor::{At, Fields, Section};
use super::error::Report;
use super::host::CLUSTER_PORT;
use super::range::PortRange;
use super::read_addresses::Subnets;
use super::scalar::{self, socket};
use super::segment::{Mode, PortForward, Protocol, VXLAN_PORT};

pub(super) const PORT: Section = Section {
    path: "segments.ports",
    keys: &["protocol", "listen", "to"],
};

/// What libvirt's live migration listens on at each host.
const MIGRATION: [u16; 2] = [49152, 49153];

/// All forwards of a segment whose VXLAN uses `vxlan`.
pub(super) fn ports(
    fields: &Fields<'_>,
    report: &mut Report,
    subnets: &Subnets<'_>,
    vxlan: u16,
    mode: &Mode,
) -> Vec<PortForward> {
    let Some(at) = fields.filled("ports") else {
        return Vec::new();
    };
    let items = at.list(
        report,
        "a list of forwards, [ { protocol: tcp, listen: 8080, to: \"192.168.124.20:80\" } ]",
    );
    if !items.is_empty() && *mode == Mode::Isolated {
        at.wrong(
            report,
            "an isolated segment forwards nothing",
            "choose another mode or remove the key",
        );
    }
    let mut forwards: Vec<PortForward> = Vec::new();
    for at in items {
        let Some(forward) = forward(&at, report, subnets) else {
            continue;
        };
        let listen = at.find("listen");
        check_free(&listen, report, &forward, vxlan);
        if let Some(other) = forwards.iter().find(|other| other.overlaps(&forward)) {
            let message = format!(
                "{} {} is already forwarded to {}",
                forward.protocol, other.listen, other.to
            );
            listen.wrong(report, message, "give each forward its own ports");
        }
        forwards.push(forward);
    }
    forwards
}

fn forward(at: &At<'_>, report: &mut Report, subnets: &Subnets<'_>) -> Option<PortForward> {
    let fields = at.fields(report, &PORT)?;
    let protocol = fields
        .required(report, "protocol", "write `protocol: tcp` or `protocol: udp`")
        .and_then(|at| at.word(report, &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)]));
    let listen = fields
        .required(
            report,
            "listen",
            "give the port, or the range of ports, on the gateway host",
        )
        .and_then(|at| scalar::ports(&at, report));
    let to = fields.required(
        report,
        "to",
        "give the guest's address and port, `to: \"192.168.124.20:80\"`",
    );
    let to = to.and_then(|at| {
        let to = socket(&at, report, None)?;
        subnets.check_member(&at, report, to.ip());
        if let Some(PortRange { first, last }) = listen
            && to.port().checked_add(last - first).is_none()
        {
            let message = format!("{} ports from {} exceed 65535", u32::from(last - first) + 1, to.port());
            at.wrong(report, message, "begin at a lower port, or forward fewer");
        }
        Some(to)
    });
    Some(PortForward {
        protocol: protocol?,
        listen: listen?,
        to: to?,
    })
}

fn check_free(at: &At<'_>, report: &mut Report, forward: &PortForward, vxlan: u16) {
    let listen = forward.listen;
    if let Some(port) = MIGRATION.into_iter().find(|port| listen.contains(*port)) {
        at.wrong(
            report,
            format!("port {port} is reserved for live migration by libvirt"),
            "forward another port than 49152 and 49153",
        );
    }
    let ours = match forward.protocol {
        Protocol::Tcp => [(CLUSTER_PORT, "cluster traffic"); 2],
        Protocol::Udp => [(VXLAN_PORT, "VXLAN"), (vxlan, "VXLAN")],
    };
    if let Some((port, what)) = ours.into_iter().find(|(port, _)| listen.contains(*port)) {
        at.wrong(
            report,
            format!("{} {port} carries {what} between the hosts", forward.protocol),
            "forward another port",
        );
    }
}

impl PortForward {
    /// Whether the two ask for the same port of a gateway host.
    pub(super) fn overlaps(&self, other: &PortForward) -> bool {
        self.protocol == other.protocol
            && self.listen.overlaps(&other.listen)
            && matches!(
                (self.to, other.to),
                (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_))
            )
    }
}
