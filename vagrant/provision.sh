#!/bin/bash
# Makes a machine a hypervisor of the laboratory; as root, in the machine, as often as one likes. What it installs was
# uploaded to /tmp/overlayd-lab. LAB_ADDRESS is the machine's address on the underlay.
set -euo pipefail
uploads=/tmp/overlayd-lab

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 1
}

# Nothing is fetched where everything is there: such a box needs no way out.
packages=(iproute2 iputils-ping nftables tcpdump udhcpc)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

# A program built against a newer C library than the box's does not even start: told before anything is replaced.
for program in overlayd overlayctl; do
    "$uploads/$program" --version >/dev/null || fail "$program does not run in this box" \
        "build it where the C library is no newer than here ($(ldd --version | sed -n 1p)), or take a newer box: OVERLAYD_LAB_BOX"
done
install -m 755 "$uploads/overlayd" "$uploads/overlayctl" /usr/bin/
install -m 755 "$uploads/guest" /usr/local/sbin/guest
install -m 644 "$uploads/overlayd.service" /etc/systemd/system/overlayd.service

underlay=$(ip -o -4 address show | awk -v address="$LAB_ADDRESS" 'index($4, address "/") == 1 { print $2; exit }')
[ -n "$underlay" ] || fail "no interface has the underlay's address $LAB_ADDRESS" \
    "\`ip -4 address\` shows what there is; is the second NIC set up?"
# Each host begins alone; `overlayctl join` makes them one cluster.
mkdir -p /etc/overlayd
cat >/etc/overlayd/overlayd.yaml <<YAML
host:
  name: $(hostname -s)
  underlay: $underlay
  address: $LAB_ADDRESS
cluster:
  insecure: true                 # no TLS between the hosts: for a laboratory only
YAML
overlayd --check >/dev/null

# Who plugs guests into bridges finds them: noted at every start of libvirtd. A box without it gets a stand-in.
note='/bin/sh -c "ip -o link show type bridge > /run/bridges-when-libvirtd-started"'
if [ -e /lib/systemd/system/libvirtd.service ]; then
    mkdir -p /etc/systemd/system/libvirtd.service.d
    printf '[Service]\nExecStartPre=%s\n' "$note" >/etc/systemd/system/libvirtd.service.d/note-bridges.conf
else
    cat >/etc/systemd/system/libvirtd.service <<UNIT
[Unit]
Description=Stands in for libvirtd: notes which bridges there are when it starts
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$note
[Install]
WantedBy=multi-user.target
UNIT
fi

systemctl daemon-reload
systemctl enable -q overlayd.service libvirtd.service
systemctl restart overlayd.service
systemctl restart libvirtd.service
overlayctl status
