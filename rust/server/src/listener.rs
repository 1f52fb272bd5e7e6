//! Accepting connections, and ending them all at stop.
//!
//! Connections do not get the last descriptors: those are for the files of the log. (Kafka takes connections until there are none, and ends
//! when it finds none for a file.) How many there may be besides is `quotas.rs`.
//!
//! Shutdown in mini-redis' manner: `stop` flips a watch that every connection sees between requests; each connection
//! task holds a clone of a channel's sender, and the channel closes when the last of them is gone.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::activity;
use crate::connection::Connection;
use crate::control::Peer;
use crate::limits::Limits;
use crate::plane::Plane;
use crate::quotas::{Slot, TooMany};
use crate::same_machine::Own;

/// Pause after a failed `accept` (descriptor limit reached), so that the loop does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// What connections leave of the descriptors: files must be opened however many clients come. One eighth, within these bounds.
const KEPT_SHARE: u64 = 8;
const KEPT_MIN: u64 = 16;
const KEPT_MAX: u64 = 1024;

/// An address to listen on, by listener name.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub listener: Arc<str>,
    pub address: SocketAddr,
}

/// A running server: its runtime, its listeners, its connections.
pub struct Server {
    runtime: Mutex<Option<Runtime>>,
    stop: watch::Sender<bool>,
    /// Closes when the last connection task is gone.
    drained: Mutex<Option<mpsc::Receiver<()>>>,
    bound: Vec<Endpoint>,
    plane: Arc<Plane>,
}

impl Server {
    /// Binds every endpoint and starts accepting.
    ///
    /// # Errors
    /// An address cannot be bound; nothing is left listening then.
    pub fn start(plane: Arc<Plane>, endpoints: &[Endpoint], worker_threads: usize) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(worker_threads)
            .thread_name("ottla-net")
            .enable_io()
            .enable_time()
            .build()?;
        let guard = runtime.enter();
        let mut listeners = Vec::with_capacity(endpoints.len());
        let mut bound = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let (listener, congestion) = bind(endpoint.address, &plane.limits).map_err(|error| {
                std::io::Error::new(error.kind(), format!("cannot listen on {}: {error}", endpoint.address))
            })?;
            bound.push(Endpoint { listener: Arc::clone(&endpoint.listener), address: listener.local_addr()? });
            listeners.push((Arc::clone(&endpoint.listener), listener, congestion));
        }
        drop(guard);
        let (stop, stopped) = watch::channel(false);
        let (alive, drained) = mpsc::channel(1);
        let next_connection_id = Arc::new(AtomicU64::new(1));
        for (name, listener, congestion) in listeners {
            let accept = Accept {
                name,
                listener,
                congestion,
                plane: Arc::clone(&plane),
                stop: stopped.clone(),
                alive: alive.clone(),
                next_connection_id: Arc::clone(&next_connection_id),
            };
            runtime.spawn(accept.run());
        }
        runtime.spawn(activity::watch(Arc::clone(&plane), stopped));
        Ok(Self { runtime: Mutex::new(Some(runtime)), stop, drained: Mutex::new(Some(drained)), bound, plane })
    }

    /// Where it listens, with the ports the system chose.
    #[must_use]
    pub fn bound(&self) -> &[Endpoint] {
        &self.bound
    }

    #[must_use]
    pub fn plane(&self) -> &Arc<Plane> {
        &self.plane
    }

    /// Stops accepting, lets connections finish what they owe for at most `timeout`, then ends them. Idempotent.
    pub fn stop(&self, timeout: Duration) {
        // Nobody listening any more is fine.
        let _ = self.stop.send(true);
        let (Some(runtime), Some(mut drained)) = (self.runtime.lock().take(), self.drained.lock().take()) else {
            return;
        };
        let in_time = runtime.block_on(async { tokio::time::timeout(timeout, drained.recv()).await.is_ok() });
        if !in_time {
            warn!("connections still had answers to send after {timeout:?}; closing them");
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

fn bind(address: SocketAddr, limits: &Limits) -> std::io::Result<(TcpListener, Own)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted broker gets its port back though old connections linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Connections have what their listener has.
    socket.set_keepalive(true)?;
    if let Some(bytes) = limits.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = limits.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let congestion = Own::of_listener(&socket);
    socket.bind(address)?;
    Ok((socket.listen(limits.backlog)?, congestion))
}

/// A descriptor from here on is not for a connection. The system gives the lowest that is free: so many are in use then.
fn descriptors_max() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(u64::MAX, |limit| limit.saturating_sub((limit / KEPT_SHARE).clamp(KEPT_MIN, KEPT_MAX)))
}

struct Accept {
    name: Arc<str>,
    listener: TcpListener,
    congestion: Own,
    plane: Arc<Plane>,
    stop: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
    next_connection_id: Arc<AtomicU64>,
}

impl Accept {
    async fn run(mut self) {
        let descriptors_max = descriptors_max();
        let mut is_full = false;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    let was_full = is_full;
                    is_full = u64::try_from(stream.as_raw_fd()).is_ok_and(|descriptor| descriptor >= descriptors_max);
                    if is_full != was_full {
                        let what = if is_full { "are closed at once" } else { "are served again" };
                        warn!(
                            "connections to {} {what}: the limit of open files leaves descriptors below {descriptors_max} to them",
                            self.name
                        );
                    }
                    if is_full {
                        continue;
                    }
                    if let Err(error) = stream.set_nodelay(true) {
                        info!("connection from {from} was gone before it was served: {error}");
                        continue;
                    }
                    self.congestion.unless_here(&stream);
                    match self.slot(from).await {
                        Some(Ok(slot)) => self.serve(stream, from, slot),
                        Some(Err(TooMany(max))) => {
                            self.plane.counters.connections_refused.add_one();
                            info!(
                                "connection from {from} to {} is closed: its address has {max}, all it may have",
                                self.name
                            );
                        }
                        None => break,
                    }
                }
                Err(error) => {
                    error!("accept on {} failed, trying again: {error}", self.name);
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Counts a connection, once there may be one more of them; None at a stop.
    async fn slot(&mut self, from: SocketAddr) -> Option<Result<Slot, TooMany>> {
        let quotas = &self.plane.quotas;
        let slot = async {
            let delay = quotas.too_soon_by(self.plane.now_ms());
            if !delay.is_zero() {
                self.plane.counters.connections_delayed.add_one();
                self.plane.deadlines.own_after(delay).passed().await;
            }
            quotas.enter(from.ip()).await
        };
        tokio::select! {
            biased;
            slot = slot => Some(slot),
            _ = self.stop.wait_for(|stop| *stop) => None,
        }
    }

    fn serve(&self, stream: TcpStream, from: SocketAddr, slot: Slot) {
        self.plane.counters.connections_accepted.add_one();
        let connection_id = self.next_connection_id.fetch_add(1, Ordering::Relaxed);
        let peer = Arc::new(Peer::new(connection_id, from.ip(), Arc::clone(&self.name)));
        let connection = Connection::new(stream, peer, Arc::clone(&self.plane), self.stop.clone());
        let alive = self.alive.clone();
        tokio::spawn(async move {
            connection.run().await;
            drop((slot, alive));
        });
    }
}
