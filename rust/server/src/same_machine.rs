//! Connections from the same machine have no network between their ends to be careful of.
//!
//! A congestion control that paces what is sent (BBR, where the system has it as the default) sets a timer for every few packets. Over a
//! network that is what it is for; between two processes of one machine nothing can be congested, and the timers are all it adds. Such
//! connections have Reno, which every kernel has and everybody may choose: without a loss it never holds anything back.
//!
//! They get it from their listener. A socket that began with BBR is paced for good: the kernel keeps pacing on when another control is
//! chosen for it. What comes from elsewhere is given the system's own back.

use std::net::IpAddr;
use std::os::fd::AsFd;

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};
use tokio::net::TcpStream;
use tracing::debug;

const UNPACED: &str = "reno";

/// Whether both ends are here.
fn is_here(peer: IpAddr, local: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || peer == local.to_canonical()
}

/// The system's own congestion control, which connections from elsewhere get back. None: there is nothing to give back.
#[derive(Debug)]
pub struct Own(Option<String>);

impl Own {
    /// Has connections of this listener, which does not listen yet, begin unpaced. Where that is not possible they are as the system has
    /// them.
    pub fn of_listener(listener: impl AsFd) -> Own {
        let changed = tcp_congestion(&listener).and_then(|own| set_tcp_congestion(&listener, UNPACED).map(|()| own));
        match changed {
            Ok(own) => Own(Some(own).filter(|own| own != UNPACED)),
            Err(error) => {
                debug!("answers to this machine are paced as the system does it: {error}");
                Own(None)
            }
        }
    }

    /// For a connection that was accepted.
    pub fn unless_here(&self, stream: &TcpStream) {
        let (Some(own), Ok(peer), Ok(local)) = (&self.0, stream.peer_addr(), stream.local_addr()) else { return };
        if !is_here(peer.ip(), local.ip()) {
            give_back(own, stream);
        }
    }
}

fn give_back(own: &str, stream: &TcpStream) {
    if let Err(error) = set_tcp_congestion(stream, own) {
        debug!("a connection has {UNPACED} in the place of {own}: {error}");
    }
}

#[cfg(test)]
mod tests {
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

    /// A connection of this machine begins unpaced; one from elsewhere gets what the system has.
    #[tokio::test]
    async fn unpaced() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        let system = tcp_congestion(&socket).unwrap();
        let own = Own::of_listener(&socket);
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        own.unless_here(&stream);
        assert_eq!(tcp_congestion(&stream).unwrap(), UNPACED);
        assert_eq!(own.0.as_deref(), Some(system.as_str()).filter(|own| *own != UNPACED));
        give_back(&system, &stream);
        assert_eq!(tcp_congestion(&stream).unwrap(), system);
    }
}
