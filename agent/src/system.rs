//! The `unsafe` code of this program, all of it: three calls into libraries, each with why it is sound.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{LinkAddr, SockaddrLike};
use overlayd_core::id::Mac;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a non-blocking socket with the runtime.
pub(crate) fn watch_socket(socket: socket2::Socket, interest: Interest) -> io::Result<AsyncFd<socket2::Socket>> {
    register(socket, interest)
}

/// Registers a non-blocking netlink socket with the runtime.
pub(crate) fn watch_netlink(
    socket: netlink_sys::Socket,
    interest: Interest,
) -> io::Result<AsyncFd<netlink_sys::Socket>> {
    register(socket, interest)
}

fn register<S: AsRawFd>(socket: S, interest: Interest) -> io::Result<AsyncFd<S>> {
    // SAFETY: both socket types above own their descriptor, answer `as_raw_fd` with the same one always and close it when
    // dropped, which is when the `AsyncFd` that they move into goes.
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    Ok(watched?)
}

/// Where a packet socket sends to: an interface and a MAC, as `packet(7)` has it; `protocol` in network byte order.
pub(crate) fn link_address(protocol: u16, index: u32, mac: Mac) -> io::Result<LinkAddr> {
    let mut hardware = [0; 8];
    hardware[..6].copy_from_slice(&mac.0);
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: hardware,
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer is to a whole `sockaddr_ll` on this stack frame, whose family says so and whose size is
    // given; `from_raw` copies it.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    address.ok_or_else(|| io::Error::other("internal error: unexpected layout of sockaddr_ll"))
}
