//! Connections from the same machine have no network between their ends to be careful of.
//!
//! A congestion control that paces what is sent (BBR, where the system has it as the default) sets a timer for every few packets. Over a
//! network that is what it is for; between two processes of one machine nothing can be congested, and the timers are all it adds. Such
//! connections have Reno, which every kernel has and everybody may choose: without a loss it never holds anything back.

use std::net::IpAddr;

use tokio::net::TcpStream;
use tracing::debug;

const UNPACED: &str = "reno";

/// Whether both ends are here.
fn is_here(peer: IpAddr, local: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || peer == local.to_canonical()
}

/// Has nothing paced that goes to this machine itself. Where that is not possible the connection stays as it is.
pub fn send_unpaced(stream: &TcpStream) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    if is_here(peer.ip(), local.ip())
        && let Err(error) = rustix::net::sockopt::set_tcp_congestion(stream, UNPACED)
    {
        debug!("answers to {peer} are paced as the system does it: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Loopback in each of its forms, and one's own address; not a neighbour's.
    #[test]
    fn which_are_here() {
        for (peer, local) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.3.2.1", "127.0.0.1"),
            ("::1", "::1"),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert!(is_here(address(peer), address(local)), "{peer} {local}");
        }
        for (peer, local) in [("192.0.2.8", "192.0.2.7"), ("2001:db8::1", "2001:db8::2")] {
            assert!(!is_here(address(peer), address(local)), "{peer} {local}");
        }
    }

    /// The kernel took it.
    #[tokio::test]
    async fn unpaced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        send_unpaced(&stream);
        assert_eq!(rustix::net::sockopt::tcp_congestion(&stream).unwrap(), UNPACED);
    }
}
