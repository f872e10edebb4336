//! What goes wrong at the kernel's door, in words for an operator, and what to do about it.

use std::fmt;
use std::io;

use nix::errno::Errno;
use overlayd_core::id::IfName;

/// Whether an op that failed is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Something moved while we worked: look again, and if the op is still due, try again.
    Again,
    /// This op will not succeed as things stand; the others are not touched by that.
    Skip,
    /// No op will succeed until an operator mends the host.
    Fatal,
}

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
                Some("run overlayd as root or with the capability CAP_NET_ADMIN (the unit gives it)")
            }
            Errno::EOPNOTSUPP => Some("the kernel lacks this: load or install the module (vxlan, bridge, macvlan)"),
            Errno::EADDRINUSE => {
                Some("another VXLAN device uses the port with other flags: `ip -d link show type vxlan`")
            }
            Errno::ENOBUFS => {
                Some("for a multicast group, raise net.ipv4.igmp_max_memberships; else the host is out of memory")
            }
            Errno::ENODEV | Errno::ENXIO => Some("the interface went away meanwhile; the agent looks again"),
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

/// Why the kernel could not be asked or told something. Whatever the error, the next call starts on a sound socket.
///
/// Each is told whole by its own text: none has a source, which `{:#}` would tell a second time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket: nothing works.
    #[error("cannot open a netlink socket: {0}")]
    Open(io::Error),
    /// Answers were lost; what was asked for may or may not have been done, so look at the kernel again.
    #[error("the kernel's answer was lost ({0}); looking again")]
    Lost(io::Error),
    /// The kernel refused; nothing was changed by this request.
    #[error("{0}")]
    Refused(Refusal),
    /// A list changed each time it was read; nothing was changed.
    #[error("the kernel's list changed during each of {tries} readings; looking again later")]
    DumpInterrupted {
        /// How often it was read.
        tries: u32,
    },
    /// The kernel knows no links of this kind, and could not load the module; nothing was changed.
    #[error(
        "this kernel has no {module}: `modprobe {module}` loads the module, or says why it cannot (missing, or forbidden \
         in /etc/modprobe.d); without a module, the kernel needs {option}; the agent goes on by itself once it is there",
        module = .0.module(),
        option = .0.option()
    )]
    NoSuchKind(Kind),
    /// An interface that is needed is not there; nothing was changed.
    #[error("there is no interface {0}; the agent looks again when it appears")]
    NoInterface(IfName),
    /// A link of this name appeared while we worked; nothing was changed.
    #[error(
        "a link named {0} is there that was not before; the agent looks again, and leaves it alone if it is foreign"
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
    fn a_kernel_without_vxlan_is_named_with_its_own_words_and_the_mend() {
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
