//! Switches under `/proc/sys`, named as `sysctl` names them.
//!
//! `/proc/sys/net` shows the network namespace of the calling thread.

use std::io;
use std::path::PathBuf;

use crate::netlink::Outlook;

/// A switch that could not be read or written; it stands as before.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {path}: {cause}{hint}", path = .path.display(), hint = self.hint())]
pub struct Error {
    verb: &'static str,
    path: PathBuf,
    /// Told by the text above: not a source, which would be told twice.
    cause: io::Error,
}

impl Error {
    /// Whether another try can help.
    pub fn outlook(&self) -> Outlook {
        match self.cause.kind() {
            io::ErrorKind::NotFound => Outlook::Retry,
            io::ErrorKind::PermissionDenied => Outlook::Fatal,
            _ => Outlook::Skip,
        }
    }

    fn hint(&self) -> &'static str {
        match self.cause.kind() {
            io::ErrorKind::NotFound => "; the interface is gone or the kernel lacks the switch; the agent looks again",
            io::ErrorKind::PermissionDenied => "; run overlayd as root or with the capability CAP_NET_ADMIN",
            io::ErrorKind::ReadOnlyFilesystem => "; mount /proc/sys writable for overlayd",
            _ => "",
        }
    }
}

/// The value of a switch without its line end, or nothing where the kernel has no such switch.
///
/// # Errors
/// The switch is there but cannot be read.
pub fn read(name: &str) -> Result<Option<String>, Error> {
    let path = path(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error {
            verb: "read",
            path,
            cause,
        }),
    }
}

/// Sets a switch.
///
/// # Errors
/// There is no such switch, or the kernel refuses the value.
pub fn write(name: &str, value: &str) -> Result<(), Error> {
    let path = path(name);
    std::fs::write(&path, value).map_err(|cause| Error {
        verb: "write",
        path,
        cause,
    })
}

/// As `sysctl(8)` has it: dots stand for slashes and, where an interface name has dots itself, slashes for dots.
fn path(name: &str) -> PathBuf {
    let first = name.find(['.', '/']).map(|at| name.as_bytes()[at]);
    let path = match first {
        Some(b'.') => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    };
    PathBuf::from("/proc/sys").join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_an_interface_that_has_dots_finds_its_file() {
        for (name, file) in [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            (
                "net.ipv6.conf.eth0/100.accept_ra",
                "/proc/sys/net/ipv6/conf/eth0.100/accept_ra",
            ),
            (
                "net/ipv6/conf/eth0.100/accept_ra",
                "/proc/sys/net/ipv6/conf/eth0.100/accept_ra",
            ),
        ] {
            assert_eq!(path(name), PathBuf::from(file));
        }
    }

    #[test]
    fn a_switch_that_is_not_there_reads_as_nothing_and_cannot_be_written() {
        assert!(read("net.ipv4.conf.ov-none.rp_filter").unwrap().is_none());
        let error = write("net.ipv4.conf.ov-none.rp_filter", "0").unwrap_err();
        assert_eq!(error.outlook(), Outlook::Retry);
        assert!(
            error
                .to_string()
                .starts_with("cannot write /proc/sys/net/ipv4/conf/ov-none/rp_filter: "),
            "{error}"
        );
    }
}
