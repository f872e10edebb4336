//! Names and numbers that are valid by construction.
//!
//! Whoever holds one of these types need not check it again; bad input was refused where it was read.

use std::fmt;
use std::str::FromStr;

/// Text or a number that is none of ours; the text of the error is for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct Invalid {
    /// What was given.
    pub value: String,
    /// What would have been right.
    pub expected: &'static str,
}

fn invalid(value: impl fmt::Display, expected: &'static str) -> Invalid {
    Invalid {
        value: value.to_string(),
        expected,
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                (text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()))
                    .then(|| u64::from_str_radix(text, 16).ok())
                    .flatten()
                    .map(Self)
                    .ok_or_else(|| invalid(text, $what))
            }
        }
    };
}

hex_id!(
    /// A host for as long as its state directory lives: random, made at the first start.
    HostId,
    "a host id (16 hexadecimal digits)"
);
hex_id!(
    /// A cluster: random, made when it is formed.
    ClusterId,
    "a cluster id (16 hexadecimal digits)"
);
hex_id!(
    /// A segment from its introduction to its tombstone, whatever its name: random.
    SegmentId,
    "a segment id (16 hexadecimal digits)"
);

/// The number of a gateway's reign in one election group; grows with each claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A VXLAN network identifier: 1 to 2^24 - 1 (RFC 7348 section 5; zero is kept out because switches reserve it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

impl Vni {
    /// # Errors
    /// Zero and anything above 24 bits.
    pub fn new(number: u32) -> Result<Self, Invalid> {
        (1..1 << 24)
            .contains(&number)
            .then_some(Self(number))
            .ok_or_else(|| invalid(number, "a VNI (1 to 16777215)"))
    }

    /// The number itself.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The all-zero address, under which the kernel keeps a VXLAN's flood list.
    pub const ZERO: Mac = Mac([0; 6]);
    /// Everybody.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// Whether frames to it go to more than one station.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

impl FromStr for Mac {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bad = || invalid(text, "a MAC address (52:54:00:aa:bb:cc)");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() {
            Err(bad())
        } else {
            Ok(Mac(bytes))
        }
    }
}

/// A network interface's name: 1 to 15 bytes, as the kernel takes them (`dev_valid_name`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName(String);

impl IfName {
    /// # Errors
    /// Empty, longer than 15 bytes, `.`, `..`, or with a slash, a colon or white space.
    pub fn new(name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        let fine = !name.is_empty()
            && name.len() <= 15
            && name != "."
            && name != ".."
            && !name
                .chars()
                .any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
        if fine {
            Ok(Self(name))
        } else {
            Err(invalid(
                name,
                "an interface name (1 to 15 bytes, no slash, colon or space)",
            ))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for IfName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(text)
    }
}

/// A segment's name: `[a-z0-9-]`, 1 to 12 bytes, so that `br-`, `vx-` and `gw-` fit before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName(String);

impl SegmentName {
    /// # Errors
    /// Empty, longer than 12 bytes, or with any other character.
    pub fn new(name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        let fine = (1..=12).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fine {
            Ok(Self(name))
        } else {
            Err(invalid(name, "a segment name (a-z, 0-9 and -, at most 12 characters)"))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the segment's VXLAN interface.
    pub fn vxlan(&self) -> IfName {
        IfName(format!("vx-{}", self.0))
    }

    /// The name of the macvlan that carries the gateway addresses.
    pub fn gateway(&self) -> IfName {
        IfName(format!("gw-{}", self.0))
    }

    /// The name of the bridge where the operator gives none.
    pub fn default_bridge(&self) -> IfName {
        IfName(format!("br-{}", self.0))
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SegmentName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_reads_what_it_writes_and_nothing_else() {
        assert_eq!(
            "52:54:00:aa:bb:cc".parse::<Mac>().map(|mac| mac.to_string()),
            Ok("52:54:00:aa:bb:cc".to_owned())
        );
        for bad in [
            "",
            "52:54:00:aa:bb",
            "52:54:00:aa:bb:cc:dd",
            "52:54:0:aa:bb:cc",
            "52:54:00:aa:bb:+c",
            "zz:54:00:aa:bb:cc",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_the_kernel_refuses_are_refused_here() {
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx"] {
            assert!(IfName::new(bad).is_err(), "{bad}");
        }
        for bad in ["", "thirteen-long", "Blue", "blue_1"] {
            assert!(SegmentName::new(bad).is_err(), "{bad}");
        }
        assert!(Vni::new(0).is_err() && Vni::new(1 << 24).is_err() && Vni::new((1 << 24) - 1).is_ok());
    }
}
