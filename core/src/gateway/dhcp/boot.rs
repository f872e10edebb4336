//! Booting from the network: what a guest can start, and which server and file it is told for that.

use std::net::Ipv4Addr;

use dhcproto::v4::OptionCode;

use crate::config::BootFile;
use crate::id::Mac;

use super::exchange::SegmentService;

/// Encapsulated options of iPXE, which only it and its forebear gPXE send.
const ETHERBOOT: u8 = 175;
/// What iPXE sends as its user class, without the lengths of RFC 3004.
const IPXE: &[u8] = b"iPXE";

/// What the guest can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BootClient {
    loader: Loader,
    /// Option 93, the best first (RFC 4578 section 2.1).
    architectures: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loader {
    /// Scripts and kernels, also by HTTP.
    Ipxe,
    /// A program for its architecture.
    Firmware,
}

/// What a reply says of booting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Boot<'a> {
    pub(super) server: Option<Ipv4Addr>,
    pub(super) file: Option<&'a str>,
}

impl BootClient {
    pub(super) fn read<'m>(option: impl Fn(u8) -> Option<&'m [u8]>) -> Self {
        let class = option(u8::from(OptionCode::UserClass)).unwrap_or_default();
        let named = class.windows(IPXE.len()).any(|part| part == IPXE);
        let architectures = option(u8::from(OptionCode::ClientSystemArchitecture)).unwrap_or_default();
        Self {
            loader: if named || option(ETHERBOOT).is_some() {
                Loader::Ipxe
            } else {
                Loader::Firmware
            },
            architectures: architectures
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect(),
        }
    }

    fn choose<'a>(&self, file: &'a BootFile) -> Option<&'a str> {
        match file {
            BootFile::Same(name) => Some(name),
            BootFile::ByClient { architectures, ipxe } => {
                let script = ipxe.as_ref().filter(|_| self.loader == Loader::Ipxe);
                let program = || self.architectures.iter().find_map(|number| architectures.get(number));
                script.or_else(program).map(String::as_str)
            }
        }
    }
}

/// Of a reservation first, then of the segment.
pub(super) fn boot<'a>(service: &'a SegmentService, client: Mac, boots: &BootClient) -> Boot<'a> {
    let reserved = service.reserved_boot.get(&client);
    let file = reserved
        .and_then(|boot| boot.boot_file.as_ref())
        .or(service.boot.boot_file.as_ref());
    Boot {
        server: reserved.and_then(|boot| boot.next_server).or(service.boot.next_server),
        file: file.and_then(|file| boots.choose(file)),
    }
}
