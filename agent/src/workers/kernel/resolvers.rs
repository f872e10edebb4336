//! The name servers that guests are told where a segment names none: the host's own, as far as guests can reach them.
//!
//! A resolver that listens on the host alone is of no use to a guest. What stands behind it is written down by whoever
//! put it there.

use std::net::Ipv4Addr;

const OWN: &str = "/etc/resolv.conf";
/// The servers behind systemd-resolved's stub (127.0.0.53), and behind NetworkManager's dnsmasq.
const BEHIND: [&str; 2] = [
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
];

/// Empty where there is none that guests can reach.
pub(super) fn resolvers() -> Vec<Ipv4Addr> {
    std::iter::once(OWN)
        .chain(BEHIND)
        .map(|file| within_reach(&std::fs::read_to_string(file).unwrap_or_default()))
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// Those of a resolver's file that guests can reach: link-local ones, as clouds have them, answer the host alone, too.
fn within_reach(text: &str) -> Vec<Ipv4Addr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        address.parse::<Ipv4Addr>().ok()
    });
    servers
        .filter(|address| !address.is_loopback() && !address.is_unspecified() && !address.is_link_local())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_that_guests_can_reach_are_handed_on() {
        let text = "# local\nsearch x\nnameserver 127.0.0.53\nnameserver 9.9.9.9 # ours\n nameserver ::1\nnameserver\t10.0.0.1\n\
                    nameserver 0.0.0.0\nnameserver 169.254.169.253\nnameservers 10.0.0.2\n";
        assert_eq!(
            within_reach(text),
            ["9.9.9.9".parse::<Ipv4Addr>().unwrap(), "10.0.0.1".parse().unwrap()]
        );
    }
}
