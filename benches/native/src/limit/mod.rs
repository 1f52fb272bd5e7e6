//! The limit program: what no broker can do without, and nothing else. It is frozen: a change makes past ratios mean something else.
//!
//! Each has two threads. The one that stands for the broker is measured by its own processor time; the other is the load.

pub mod decompress;
pub mod fetch;
pub mod produce;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::Outcome;
use crate::wire::words;

/// A directory of this run, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn make(parent: &str) -> Outcome<Folder> {
        let path = PathBuf::from(parent).join(format!("ottla-load-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is not worth failing for.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// As many connections over loopback: the side of the load, and that of the broker, which receives through buffers of a size (0: as the
/// kernel likes).
fn pairs(count: usize, receive_buffer_bytes: usize) -> Outcome<(Vec<TcpStream>, Vec<TcpStream>)> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(words)?;
    if receive_buffer_bytes > 0 {
        set_socket_recv_buffer_size(&listener, receive_buffer_bytes).map_err(words)?;
    }
    let address = listener.local_addr().map_err(words)?;
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let stream = TcpStream::connect(address).map_err(words)?;
        stream.set_nodelay(true).map_err(words)?;
        near.push(stream);
        let (stream, _) = listener.accept().map_err(words)?;
        stream.set_nodelay(true).map_err(words)?;
        far.push(stream);
    }
    Ok((near, far))
}
