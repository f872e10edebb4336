//! Our nftables tables: their names, their text, and the seal that shows any other hand.

use std::fmt;
use std::str::FromStr;

/// Our nftables tables, one for each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableName {
    /// `table inet overlayd`
    Inet,
    /// `table netdev overlayd`
    Netdev,
    /// `table bridge overlayd`
    Bridge,
    /// `table arp overlayd`
    Arp,
}

impl TableName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Inet, Self::Netdev, Self::Bridge, Self::Arp];
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet overlayd",
            Self::Netdev => "netdev overlayd",
            Self::Bridge => "bridge overlayd",
            Self::Arp => "arp overlayd",
        })
    }
}

/// What a table says about itself: an empty chain whose name holds two hashes.
///
/// After loading a table's text the edge lists it (`nft -j list table`), strips handles, counters and the seal itself,
/// hashes the rest with [`Seal::hash`], and adds the chain. A table is exactly ours if its seal names the wanted text
/// *and* the listing read now hashes to what the seal names; any hand-made change to any rule, set, policy or chain
/// breaks the second. [`crate::kernel::observed::Observed::tables`] holds the seal only where the second is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seal {
    /// The hash of the text that was loaded.
    pub text: u64,
    /// The hash of the listing right after it was loaded.
    pub listing: u64,
}

impl Seal {
    /// What the names of these chains begin with.
    pub const PREFIX: &str = "seal_";

    /// The hash that both halves of a seal use; not secret, stable across versions of this program.
    pub fn hash(bytes: &[u8]) -> u64 {
        siphasher::sip::SipHasher13::new_with_keys(0x6f76_6572, 0x6c61_7964).hash(bytes)
    }
}

/// The chain's name.
impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:016x}_{:016x}", Self::PREFIX, self.text, self.listing)
    }
}

impl FromStr for Seal {
    type Err = NoSeal;

    fn from_str(chain: &str) -> Result<Self, NoSeal> {
        let half = |text: &str| (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
        chain
            .strip_prefix(Self::PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .and_then(|(text, listing)| {
                Some(Self {
                    text: half(text)?,
                    listing: half(listing)?,
                })
            })
            .ok_or(NoSeal)
    }
}

/// The chain is no seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a seal")]
pub struct NoSeal;

/// One nftables table, rendered whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its family and name.
    pub name: TableName,
    /// The script: it makes, deletes and makes again the table in one transaction.
    pub text: String,
}

impl Table {
    /// What the table's seal names.
    pub fn hash(&self) -> u64 {
        Seal::hash(self.text.as_bytes())
    }
}
