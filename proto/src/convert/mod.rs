//! Between the wire and core: bytes from outside become values here, or are refused with the name of the field.

mod election;
mod gossip;
mod journal;
mod lease;
pub use gossip::Bulk;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use overlayd_core::id::{HostId, Invalid, Mac};

/// A message that says nothing that could be understood. Nothing was taken over from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field that must be there is not.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// A number that stands for nothing; also zero, which no sender writes.
    #[error("field {field} has the unknown value {value}")]
    Unknown {
        /// The field as the protocol file names it.
        field: &'static str,
        /// The number that was received.
        value: i32,
    },
    /// Bytes or entries in a number that the field cannot have.
    #[error("field {field} has {length} bytes or entries")]
    Length {
        /// The field as the protocol file names it.
        field: &'static str,
        /// How many bytes or entries it had.
        length: usize,
    },
    /// A value out of its range.
    #[error("field {field}: {why}")]
    Value {
        /// The field as the protocol file names it.
        field: &'static str,
        /// What is wrong with it.
        why: Invalid,
    },
    /// First and last are the wrong way round, or lists have different lengths.
    #[error("field {0} contradicts itself")]
    Contradiction(&'static str),
}

pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Malformed> {
    value.ok_or(Malformed::Missing(field))
}

/// The named value of an enumeration, or the number that stands for none.
pub(crate) fn named<E: TryFrom<i32>>(value: i32, field: &'static str) -> Result<E, Malformed> {
    E::try_from(value).map_err(|_| unknown(value, field))
}

pub(crate) fn unknown(value: impl Into<i32>, field: &'static str) -> Malformed {
    Malformed::Unknown {
        field,
        value: value.into(),
    }
}

pub(crate) fn mac(bytes: &[u8], field: &'static str) -> Result<Mac, Malformed> {
    let bytes = <[u8; 6]>::try_from(bytes).map_err(|_| Malformed::Length {
        field,
        length: bytes.len(),
    })?;
    Ok(Mac(bytes))
}

/// An address of 4 or 16 bytes.
///
/// # Errors
/// Any other length.
pub fn address(bytes: &[u8], field: &'static str) -> Result<IpAddr, Malformed> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| Malformed::Length {
        field,
        length: bytes.len(),
    })?;
    Ok(Ipv6Addr::from(v6).into())
}

/// An address as 4 or 16 bytes.
pub fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub(crate) fn hosts<C: FromIterator<HostId>>(ids: Vec<u64>) -> C {
    ids.into_iter().map(HostId).collect()
}

pub(crate) fn host_numbers<'a>(ids: impl IntoIterator<Item = &'a HostId>) -> Vec<u64> {
    ids.into_iter().map(|id| id.0).collect()
}

#[cfg(test)]
mod tests;
