//! Switches under `/proc/sys`, named as `sysctl` names them.
//!
//! `/proc/sys/net` shows the network namespace of the calling thread.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use overlayd_core::kernel::sysctl::Sysctl;
use tracing::warn;

use crate::journal;
use crate::retry::Retry;

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
    pub fn retry(&self) -> Retry {
        match self.cause.kind() {
            io::ErrorKind::NotFound => Retry::Again,
            io::ErrorKind::PermissionDenied => Retry::Fatal,
            _ => Retry::Skip,
        }
    }

    fn hint(&self) -> &'static str {
        match self.cause.kind() {
            io::ErrorKind::NotFound => {
                "; the interface is gone or the kernel does not have this sysctl; the agent retries"
            }
            io::ErrorKind::PermissionDenied => "; run overlayd as root or with CAP_NET_ADMIN",
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

/// The values that sysctls had before this host changed them, kept on disk until it leaves.
pub struct Replaced {
    path: PathBuf,
    values: BTreeMap<String, u32>,
}

impl Replaced {
    /// With the values of former runs.
    pub fn open(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let read = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self {
            path,
            values: text.lines().filter_map(read).collect(),
        }
    }

    /// Only the first value is the host's own.
    pub fn remember(&mut self, replaced: &[(Sysctl, u32)]) {
        let before = self.values.len();
        for (sysctl, value) in replaced {
            self.values.entry(sysctl.path()).or_insert(*value);
        }
        if self.values.len() != before {
            self.save();
        }
    }

    /// Writes those again whose path below `/proc/sys` is one of `which`, and says so as `sysctl` lines; those of links
    /// that are gone need no putting back.
    pub fn put_back(&mut self, which: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        let before = self.values.len();
        let back: BTreeMap<String, u32> = self.values.extract_if(.., |path, _| which(path)).collect();
        for (name, value) in back {
            match read(&name) {
                Ok(Some(now)) if now != value.to_string() => match write(&name, &value.to_string()) {
                    Ok(()) => lines.push(format!("sysctl -w {name}={value}")),
                    Err(problem) => warn!(%problem, "cannot restore a sysctl"),
                },
                Ok(_) => {}
                Err(problem) => warn!(%problem, "cannot read a sysctl"),
            }
        }
        if self.values.len() != before {
            self.save();
        }
        lines
    }

    fn save(&self) {
        let text: String = self
            .values
            .iter()
            .map(|(name, value)| format!("{name} {value}\n"))
            .collect();
        if !text.is_empty() {
            if let Err(problem) = journal::replace(&self.path, text.as_bytes()) {
                warn!(%problem, path = %self.path.display(), "cannot save the original sysctl values");
            }
        } else if let Err(problem) = std::fs::remove_file(&self.path)
            && problem.kind() != std::io::ErrorKind::NotFound
        {
            warn!(%problem, path = %self.path.display(), "cannot remove the file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use overlayd_core::id::IfName;

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
        assert_eq!(error.retry(), Retry::Again);
        assert!(
            error
                .to_string()
                .starts_with("cannot write /proc/sys/net/ipv4/conf/ov-none/rp_filter: "),
            "{error}"
        );
    }

    #[test]
    fn the_first_value_of_a_sysctl_is_the_one_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sysctls");
        let sysctl = Sysctl::ArpIgnore(IfName::new("eth0").unwrap());
        Replaced::open(path.clone()).remember(&[(sysctl.clone(), 0)]);
        Replaced::open(path.clone()).remember(&[(sysctl.clone(), 1)]);
        assert_eq!(Replaced::open(path.clone()).values, [(sysctl.path(), 0)].into());

        // There is no such interface here, and nothing to write.
        let other = Sysctl::ReversePath(IfName::new("ov-none").unwrap());
        let mut replaced = Replaced::open(path.clone());
        replaced.remember(&[(other.clone(), 2)]);
        assert_eq!(replaced.put_back(|path| path == other.path()), [""; 0]);
        assert_eq!(Replaced::open(path).values, [(sysctl.path(), 0)].into());
    }
}
