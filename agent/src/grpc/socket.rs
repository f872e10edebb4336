//! TCP sockets between hosts: segments small enough for every underlay, and no waiting for the dead.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Bytes of one TCP segment at most, in both directions: a limit on the size of packets between two hosts must look
/// like a limit, never like a dead host.
pub const MAXSEG: u32 = 1200;
/// How long sent bytes may stay unacknowledged before the kernel gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_millis(2000);
const BACKLOG: i32 = 128;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has it. Nothing is gained by trying again at once.
    #[error(
        "{address} is in use by another program: set cluster.listen to another port, or stop that program \
         (find it with `ss -ltnp sport = :{port}`)",
        port = address.port()
    )]
    Taken {
        /// Which.
        address: SocketAddr,
    },
    /// The address is on no interface (yet).
    #[error("{address} is not on any interface of this host yet")]
    NotThere {
        /// Which.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Before connect and listen: the kernel tells the other side its limit in the SYN.
    socket.set_tcp_mss(MAXSEG)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bind = || {
        let socket = socket(address)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotThere { address },
        _ => BindError::Other { address, source },
    })
}

pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::from_std_stream(socket(address)?.into())
        .connect(address)
        .await
}
