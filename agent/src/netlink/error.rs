//! Errors of the kernel interface, worded for an operator, and what to do about them.

use std::fmt;
use std::io;

use nix::errno::Errno;
use overlayd_core::id::IfName;

use crate::retry::Retry;

/// A kind of link that a kernel may have been built without, or whose module is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `bridge`: no segment without it.
    Bridge,
    /// `vxlan`: the segment ends at this host.
    Vxlan,
    /// `macvlan`: this host cannot be gateway.
    Macvlan,
}

impl Kind {
    /// The module's name, which is the kind's own.
    pub fn module(self) -> &'static str {
        match self {
            Kind::Bridge => "bridge",
            Kind::Vxlan => "vxlan",
            Kind::Macvlan => "macvlan",
        }
    }

    /// What a kernel has to be built with.
    pub fn option(self) -> &'static str {
        match self {
            Kind::Bridge => "CONFIG_BRIDGE",
            Kind::Vxlan => "CONFIG_VXLAN",
            Kind::Macvlan => "CONFIG_MACVLAN",
        }
    }
}

/// A request that the kernel did not take, with its own words where it gave some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The kernel's extended acknowledgement.
    pub text: Option<String>,
}

impl Refusal {
    /// Whether another try can help.
    pub fn retry(&self) -> Retry {
        match self.errno {
            Errno::EPERM | Errno::EACCES => Retry::Fatal,
            Errno::ENODEV
            | Errno::ENXIO
            | Errno::ENOENT
            | Errno::ESRCH
            | Errno::EBUSY
            | Errno::EAGAIN
            | Errno::EINTR
            | Errno::ENETDOWN
            | Errno::ENETUNREACH
            | Errno::EADDRNOTAVAIL
            | Errno::ENOBUFS
            | Errno::ENOMEM => Retry::Again,
            _ => Retry::Skip,
        }
    }

    /// What an operator can do, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self.errno {
            Errno::EPERM | Errno::EACCES => {
                Some("run overlayd as root or with CAP_NET_ADMIN (the systemd unit grants it)")
            }
            Errno::EOPNOTSUPP => {
                Some("not supported by this kernel: load or install the module (vxlan, bridge, macvlan)")
            }
            Errno::EADDRINUSE => Some(
                "another VXLAN device uses this port with different flags (`ip -d link show type vxlan`): delete it, or \
                     choose another `port:` for the segment",
            ),
            Errno::ENOBUFS => {
                Some("for a multicast group, raise net.ipv4.igmp_max_memberships; otherwise the host is out of memory")
            }
            Errno::ENODEV | Errno::ENXIO => Some("the interface has disappeared; the agent retries"),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.errno.desc())?;
        if let Some(text) = &self.text {
            write!(f, ": {text}")?;
        }
        if let Some(hint) = self.hint() {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

/// Why kernel state could not be read or changed. Whatever the error, the next call starts on a sound socket.
///
/// Each text is complete: none has a source, which `{:#}` would print a second time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket: nothing works.
    #[error("cannot open a netlink socket: {0}")]
    Open(io::Error),
    /// Answers were lost; what was asked for may or may not have been done, so look at the kernel again.
    #[error("lost the kernel's reply ({0}); retrying")]
    Lost(io::Error),
    /// The kernel refused; nothing was changed by this request.
    #[error("{0}")]
    Refused(Refusal),
    /// A list changed each time it was read; nothing was changed.
    #[error("kernel state kept changing while it was read ({tries} attempts); retrying")]
    DumpInterrupted {
        /// How often it was read.
        tries: u32,
    },
    /// The kernel does not know this kind of link, and could not load the module; nothing was changed.
    #[error(
        "this kernel does not support {module}: run `modprobe {module}` to load the module or see why it fails (missing, or \
         blocked in /etc/modprobe.d); a kernel without modules needs {option}; the agent continues by itself once it is available",
        module = .0.module(),
        option = .0.option()
    )]
    NoSuchKind(Kind),
    /// An interface that is needed is not there; nothing was changed.
    #[error("interface {0} not found; the agent retries when it appears")]
    NoInterface(IfName),
    /// A link of this name appeared while we worked; nothing was changed.
    #[error(
        "interface {0} has just been created by something else; the agent retries, and leaves it alone if it is not its own"
    )]
    NameTaken(IfName),
    /// A switch under `/proc/sys` could not be read or written; nothing was changed.
    #[error(transparent)]
    Sysctl(#[from] crate::sysctl::Error),
    /// nftables did not take the script; the old rules stand.
    #[error(transparent)]
    Nft(#[from] crate::nft::Error),
}

impl Error {
    /// The kind of link that the kernel lacks, if that is what went wrong.
    pub fn lacks(&self) -> Option<Kind> {
        let Error::NoSuchKind(kind) = self else { return None };
        Some(*kind)
    }

    /// Whether another try can help.
    pub fn retry(&self) -> Retry {
        match self {
            Error::Open(_) => Retry::Fatal,
            Error::Lost(_) | Error::DumpInterrupted { .. } | Error::NoInterface(_) | Error::NameTaken(_) => {
                Retry::Again
            }
            Error::Refused(refusal) => refusal.retry(),
            // Each look tries again, with all others: that is often enough.
            Error::NoSuchKind(_) => Retry::Skip,
            Error::Sysctl(error) => error.retry(),
            Error::Nft(error) => error.retry(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_once() {
        let lost = Error::Lost(io::Error::other("no buffer"));
        let missing = Error::from(crate::nft::Error::Missing);
        for error in [lost, missing] {
            let text = error.to_string();
            assert_eq!(format!("{:#}", anyhow::Error::from(error)), text);
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_named_with_its_module_and_its_option() {
        for (kind, module, option) in [
            (Kind::Bridge, "modprobe bridge", "CONFIG_BRIDGE"),
            (Kind::Vxlan, "modprobe vxlan", "CONFIG_VXLAN"),
            (Kind::Macvlan, "modprobe macvlan", "CONFIG_MACVLAN"),
        ] {
            let error = Error::NoSuchKind(kind);
            let told = error.to_string();
            assert!(told.contains(module) && told.contains(option), "{told}");
            assert_eq!(error.retry(), Retry::Skip);
        }
    }

    #[test]
    fn a_kernel_without_vxlan_is_named_with_its_own_words_and_the_fix() {
        let text = Some("Unknown device type".to_owned());
        let refusal = Refusal {
            errno: Errno::EOPNOTSUPP,
            text,
        };
        let told = refusal.to_string();
        assert!(
            told.contains("Unknown device type") && told.contains("install the module (vxlan"),
            "{told}"
        );
        assert_eq!(refusal.retry(), Retry::Skip);
    }
}
