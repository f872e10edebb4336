//! The names that guests give themselves: what of them is a host name, and what option 81 is answered with (RFC 4702).
//!
//! Names end up in tables, logs and other hosts' gossip; so nothing but one label of RFC 1123 leaves this file.

use crate::config::wire_name;

/// The longest label (RFC 1123 section 2.1).
const LONGEST_LABEL: usize = 63;

// Flags of option 81 (RFC 4702 section 2.1).
const SERVER_UPDATES: u8 = 1;
const OVERRIDDEN: u8 = 2;
const WIRE_ENCODING: u8 = 4;
const NO_UPDATES: u8 = 8;
/// What servers set the two return codes to (RFC 4702 section 2.2).
const NO_CODES: [u8; 2] = [255; 2];

/// Option 81 of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fqdn {
    flags: u8,
    /// The host's own label, cleaned up; none if the guest leaves the choice to the server.
    pub(super) label: Option<String>,
}

impl Fqdn {
    /// None if the option is too short to be one.
    pub(super) fn read(data: &[u8]) -> Option<Self> {
        let [flags, _, _, name @ ..] = data else { return None };
        let label = if flags & WIRE_ENCODING == 0 {
            host_name(name)
        } else {
            let (length, rest) = name.split_first().unwrap_or((&0, &[]));
            host_name(rest.get(..usize::from(*length)).unwrap_or_default())
        };
        Some(Self { flags: *flags, label })
    }

    /// The answer: nobody updates DNS on this host's behalf, and the name is `host` in `domain`, in the guest's encoding.
    pub(super) fn answer(&self, host: Option<&str>, domain: Option<&str>) -> Vec<u8> {
        let mut flags = NO_UPDATES | self.flags & WIRE_ENCODING;
        if self.flags & SERVER_UPDATES != 0 {
            flags |= OVERRIDDEN;
        }
        let mut data = vec![flags];
        data.extend(NO_CODES);
        let name = host.or(self.label.as_deref());
        let labels = name.into_iter().chain(domain.filter(|_| name.is_some()));
        let whole = labels.collect::<Vec<_>>().join(".");
        if self.flags & WIRE_ENCODING == 0 {
            data.extend(whole.as_bytes());
        } else if !whole.is_empty() {
            data.extend(wire_name(&whole));
            if domain.is_none() {
                // A name without its domain has no root label (RFC 4702 section 2.3.1).
                data.pop();
            }
        }
        data
    }
}

/// The first label of a name, of letters, digits and hyphens alone; anything else in it becomes a hyphen.
pub(super) fn host_name(data: &[u8]) -> Option<String> {
    let label = data.split(|byte| matches!(byte, 0 | b'.')).next()?;
    let clean = |byte: &u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(*byte)
        } else {
            '-'
        }
    };
    let name: String = label.iter().map(clean).collect();
    let name = name.trim_matches('-');
    let name = name.get(..LONGEST_LABEL).unwrap_or(name).trim_end_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_name_one_label_of_rfc_1123_is_left() {
        let long = "x".repeat(255);
        let cases: [(&[u8], Option<&str>); 10] = [
            (b"web-1", Some("web-1")),
            (b"web-1\0\0", Some("web-1")),
            (b"web.blue.internal", Some("web")),
            (b"my printer_2", Some("my-printer-2")),
            (b"\x1b[31mred", Some("31mred")),
            (b"-web-", Some("web")),
            ("büro".as_bytes(), Some("b--ro")),
            (long.as_bytes(), Some(&long[..63])),
            (b"...", None),
            (b"\xff\xfe", None),
        ];
        for (sent, expected) in cases {
            assert_eq!(host_name(sent).as_deref(), expected, "{}", sent.escape_ascii());
        }
    }

    #[test]
    fn the_answer_to_option_81_overrides_updates_and_completes_the_name() {
        let wire: &[u8] = b"\x05\0\0\x03web\x05other\0";
        let check = |sent: &[u8], host: Option<&str>, domain: Option<&str>, expected: &[u8]| {
            let answer = Fqdn::read(sent).map(|fqdn| fqdn.answer(host, domain));
            assert_eq!(answer.as_deref(), Some(expected), "{}", sent.escape_ascii());
        };
        let blue = Some("blue.internal");
        check(b"\x01\0\0web", None, blue, b"\x0a\xff\xffweb.blue.internal");
        check(b"\x00\0\0web.other", None, blue, b"\x08\xff\xffweb.blue.internal");
        check(b"\x08\0\0web", None, None, b"\x08\xff\xffweb");
        check(wire, None, Some("blue"), b"\x0e\xff\xff\x03web\x04blue\0");
        check(wire, None, None, b"\x0e\xff\xff\x03web");
        check(b"\x01\0\0web", Some("kept"), Some("blue"), b"\x0a\xff\xffkept.blue");
        check(b"\xf1\0\0", None, blue, b"\x0a\xff\xff");
        assert_eq!(Fqdn::read(b"\x01\0"), None);
        assert_eq!(Fqdn::read(b"\x04\0\0\x3fshort").and_then(|fqdn| fqdn.label), None);
    }
}
