//! Reading what guests boot from the network: the server, and the file by architecture.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::cursor::{At, Fields};
use super::error::Report;
use super::segment::{BootFile, NetworkBoot};

/// Guests that boot iPXE, among the architectures.
const IPXE: &str = "ipxe";
/// The longest name: option 67 is one option (RFC 2132 section 9.5).
const LONGEST: usize = 255;
const BY_CLIENT: &str =
    "a file name, or file names by architecture, { 0: undionly.kpxe, 7: ipxe.efi, ipxe: \"http://…\" }";

/// `next_server` and `boot_file`; `otherwise` holds where they are left out.
pub(super) fn boot(fields: &Fields<'_>, report: &mut Report, otherwise: Option<&NetworkBoot>) -> NetworkBoot {
    let next_server = fields.maybe("next_server").and_then(|at| {
        let address = at.parse::<Ipv4Addr>(report, "an IPv4 address", "give the address of the TFTP server")?;
        let one_host = !(address.is_unspecified() || address.is_multicast() || address.is_broadcast());
        if !one_host {
            let message = format!("{address} is not the address of a single host");
            at.wrong(report, message, "give the address of the TFTP server");
        }
        one_host.then_some(address)
    });
    let boot_file = fields.maybe("boot_file").and_then(|at| {
        let file = boot_file(&at, report)?;
        let served = fields.maybe("next_server").is_some() || otherwise.is_some_and(|boot| boot.next_server.is_some());
        if !served && !file.names().all(|name| name.contains("://")) {
            at.wrong(
                report,
                "a boot file without a server",
                "give the TFTP server's address as `next_server`, or the file as a URL",
            );
        }
        Some(file)
    });
    NetworkBoot { next_server, boot_file }
}

fn boot_file(at: &At<'_>, report: &mut Report) -> Option<BootFile> {
    if at.scalar().is_some() {
        return file_name(at, report).map(BootFile::Same);
    }
    let mut architectures = BTreeMap::new();
    let mut ipxe = None;
    for (client, at) in at.entries(report, BY_CLIENT) {
        let number = client.parse::<u16>().ok().filter(|number| number.to_string() == client);
        match number {
            Some(number) => architectures.extend(file_name(&at, report).map(|file| (number, file))),
            None if client == IPXE => ipxe = file_name(&at, report),
            None => at.wrong(
                report,
                format!("{client:?} is not an architecture"),
                "give a number of RFC 4578 (0: BIOS, 7 and 9: 64-bit UEFI, 11: 64-bit ARM UEFI), or `ipxe`",
            ),
        }
    }
    (ipxe.is_some() || !architectures.is_empty()).then_some(BootFile::ByClient { architectures, ipxe })
}

fn file_name(at: &At<'_>, report: &mut Report) -> Option<String> {
    let name = at.text(report, "a file name")?;
    let fine = (1..=LONGEST).contains(&name.len()) && !name.contains('\0');
    if !fine {
        at.wrong(
            report,
            format!("{name:?} is not a file name of 1 to {LONGEST} bytes"),
            "give the file's name on the server, or its URL",
        );
    }
    fine.then(|| name.to_owned())
}
