//! What nftables can be asked without the program `nft`: cheap enough for each look.
//!
//! The numbers are those of `linux/netfilter/nfnetlink.h` and `nf_tables.h`. A question that fails is one without an
//! answer: it is asked again at the next look.

use std::collections::{BTreeMap, BTreeSet};

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use overlayd_core::id::IfName;
use overlayd_core::kernel::firewall::REJECTED;
use overlayd_core::kernel::foreign::Hook;
use overlayd_core::kernel::table::TableName;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_GETRULE: u16 = 7;
const NFT_MSG_NEWSETELEM: u16 = 12;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFT_MSG_NEWGEN: u16 = 15;
const NFT_MSG_GETGEN: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// `nlmsghdr` and `nfgenmsg`.
const HEADERS: usize = 16 + 4;
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
/// Most bytes of one part of an answer (`netlink_recvmsg`).
const READ: usize = 32 * 1024;
/// `IFNAMSIZ`: the length of a name in a set's key.
const NAME: usize = 16;

/// The kernel's number of the rules as they are now: another after each transaction, whoever made it. None where the
/// kernel does not tell, as to a process without `CAP_NET_ADMIN`.
pub(crate) fn generation() -> Option<u32> {
    const NFTA_GEN_ID: u16 = 1;
    let answers = ask(NFT_MSG_GETGEN, 0, 0, &[])?;
    let answer = answers.first().filter(|answer| answer.kind == NFT_MSG_NEWGEN)?;
    find(&answer.attributes, NFTA_GEN_ID)?
        .try_into()
        .ok()
        .map(u32::from_be_bytes)
}

/// How many packets of guests were rejected within the last minutes because of where they would have left by: by the
/// interface that they came in by, and the other one.
pub(crate) fn rejected() -> BTreeMap<(IfName, IfName), u64> {
    const LIST_TABLE: u16 = 1;
    const LIST_SET: u16 = 2;
    const LIST_ELEMENTS: u16 = 3;
    let of = [
        attribute(LIST_TABLE, b"overlayd\0"),
        attribute(LIST_SET, format!("{REJECTED}\0").as_bytes()),
    ];
    let answers = ask(NFT_MSG_GETSETELEM, NLM_F_DUMP, NFPROTO_INET, &of.concat()).unwrap_or_default();
    let parts = answers.iter().filter(|answer| answer.kind == NFT_MSG_NEWSETELEM);
    let lists = parts.filter_map(|part| find(&part.attributes, LIST_ELEMENTS));
    lists
        .flat_map(attributes)
        .filter_map(|(_, element)| counted(element))
        .collect()
}

/// The tables that are not ours and have base chains where guests' packets pass, as `ip filter`.
pub(crate) fn foreign_tables(hooks: &BTreeSet<Hook>) -> BTreeSet<String> {
    const CHAIN_TABLE: u16 = 1;
    const CHAIN_HOOK: u16 = 4;
    const HOOK_NUMBER: u16 = 1;
    const NF_INET_LOCAL_IN: u32 = 1;
    const NF_INET_FORWARD: u32 = 2;
    let answers = ask(NFT_MSG_GETCHAIN, NLM_F_DUMP, 0, &[]).unwrap_or_default();
    let named = |chain: &Answer| {
        let number = find(find(&chain.attributes, CHAIN_HOOK)?, HOOK_NUMBER)?;
        let hook = match number.try_into().ok().map(u32::from_be_bytes)? {
            NF_INET_LOCAL_IN => Hook::Input,
            NF_INET_FORWARD => Hook::Forward,
            _ => return None,
        };
        let family = match chain.family {
            NFPROTO_INET => "inet",
            NFPROTO_IPV4 => "ip",
            _ => return None,
        };
        let table = std::str::from_utf8(find(&chain.attributes, CHAIN_TABLE)?).ok()?;
        let table = format!("{family} {}", table.trim_end_matches('\0'));
        (hooks.contains(&hook) && table != TableName::Inet.to_string()).then_some(table)
    };
    let chains = answers.iter().filter(|answer| answer.kind == NFT_MSG_NEWCHAIN);
    chains.filter_map(named).collect()
}

/// Whether any rule of any table has this word in it.
pub(crate) fn rules_mention(word: &str) -> bool {
    let answers = ask(NFT_MSG_GETRULE, NLM_F_DUMP, 0, &[]).unwrap_or_default();
    let has = |rule: &Answer| {
        rule.attributes
            .windows(word.len())
            .any(|bytes| bytes == word.as_bytes())
    };
    answers.iter().any(has)
}

/// An element of that set.
fn counted(element: &[u8]) -> Option<((IfName, IfName), u64)> {
    const ELEM_KEY: u16 = 1;
    const ELEM_EXPR: u16 = 7;
    const ELEM_EXPRESSIONS: u16 = 11;
    const DATA_VALUE: u16 = 1;
    const LIST_ELEM: u16 = 1;
    const EXPR_DATA: u16 = 2;
    const COUNTER_PACKETS: u16 = 2;
    let key = find(find(element, ELEM_KEY)?, DATA_VALUE)?;
    let name = |bytes: &[u8]| IfName::new(std::str::from_utf8(bytes).ok()?.trim_end_matches('\0')).ok();
    let (from, to) = key.split_at_checked(NAME)?;
    let counter = find(element, ELEM_EXPR).or_else(|| find(find(element, ELEM_EXPRESSIONS)?, LIST_ELEM))?;
    let packets = find(find(counter, EXPR_DATA)?, COUNTER_PACKETS)?;
    let packets = packets.try_into().ok().map(u64::from_be_bytes)?;
    Some(((name(from)?, name(to)?), packets))
}

/// A message of an answer.
struct Answer {
    kind: u16,
    family: u8,
    attributes: Vec<u8>,
}

/// The messages of an answer.
fn ask(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Option<Vec<Answer>> {
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    let length = u32::try_from(HEADERS + attributes.len()).ok()?;
    let mut question = vec![0; HEADERS];
    question[0..4].copy_from_slice(&length.to_ne_bytes());
    question[4..6].copy_from_slice(&(NFNL_SUBSYS_NFTABLES << 8 | kind).to_ne_bytes());
    question[6..8].copy_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    question[16] = family;
    question.extend_from_slice(attributes);
    let socket = Socket::new(NETLINK_NETFILTER).ok()?;
    socket.send(&question, 0).ok()?;
    let mut found = Vec::new();
    loop {
        let mut answer = Vec::with_capacity(READ);
        // The kernel has answered before `send` or the last `recv` returned: there is nothing to wait for.
        socket.recv(&mut answer, libc::MSG_DONTWAIT).ok()?;
        let mut rest = answer.as_slice();
        while let Some((header, _)) = rest.split_at_checked(HEADERS - 4) {
            let length = usize::try_from(u32::from_ne_bytes(header[0..4].try_into().ok()?)).ok()?;
            let kind = u16::from_ne_bytes(header[4..6].try_into().ok()?);
            match kind {
                NLMSG_DONE => return Some(found),
                NLMSG_ERROR => return None,
                _ => found.push(Answer {
                    kind: kind & 0xff,
                    family: *rest.get(HEADERS - 4)?,
                    attributes: rest.get(HEADERS..length)?.to_vec(),
                }),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        if flags & NLM_F_DUMP == 0 {
            return Some(found);
        }
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The attributes that stand one after another.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// `NLA_TYPE_MASK`: without the flags of nesting and byte order.
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let number = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
        let (length, kind) = (usize::from(number(0)?), number(2)? & KIND);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_by_kind_and_what_is_cut_short_ends_them() {
        let both = [attribute(1, b"overlayd\0"), attribute(0x8002, &attribute(7, &[1, 2]))].concat();
        assert_eq!(find(&both, 1), Some(&b"overlayd\0"[..]));
        assert_eq!(find(find(&both, 2).unwrap(), 7), Some(&[1, 2][..]));
        assert_eq!(find(&both, 3), None);
        for cut in 0..both.len() {
            assert!(attributes(&both[..cut]).count() <= 2);
        }
    }
}
