//! `_core.Server`: the listeners and connections of one broker.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ottla_server::dispatch::{ApiRow, NATIVE};
use ottla_server::limits::{Limits, REQUEST_BYTES_MAX};
use ottla_server::listener::{Endpoint, Server as NativeServer};
use ottla_server::plane::Plane;
use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::bridge::Bridge;
use crate::engine::Engine;
use crate::gil::released;

/// Threads that serve connections; two saturate a small machine, and the control plane wants its share.
const WORKERS_MAX: usize = 8;

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct Server {
    plane: Arc<Plane>,
    endpoints: Vec<Endpoint>,
    running: Mutex<Option<NativeServer>>,
}

fn resolve(name: &str, host: &str, port: u16) -> PyResult<Endpoint> {
    // An empty host is every interface, as in Kafka's `listeners=PLAINTEXT://:9092`.
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let address: SocketAddr = (host, port)
        .to_socket_addrs()
        .map_err(|error| PyValueError::new_err(format!("listener {name}: cannot resolve {host}: {error}")))?
        .next()
        .ok_or_else(|| PyValueError::new_err(format!("listener {name}: {host} has no address")))?;
    Ok(Endpoint { listener: name.into(), address })
}

/// The address of each host, as Kafka looks them up: the first.
fn resolve_hosts(hosts: HashMap<String, usize>) -> PyResult<HashMap<IpAddr, usize>> {
    let address = |host: &str| (host, 0).to_socket_addrs().ok()?.next();
    let resolved = hosts.into_iter().map(|(host, count)| match address(&host) {
        Some(address) => Ok((address.ip(), count)),
        None => Err(PyValueError::new_err(format!("max.connections.per.ip.overrides: cannot resolve {host}"))),
    });
    resolved.collect()
}

/// Settings by Kafka's names; a name that is no limit is a mistake of the caller.
fn limits_from(settings: &HashMap<String, i64>) -> PyResult<Limits> {
    let mut limits = Limits::default();
    for (name, value) in settings {
        // Below zero stands for a default of these, and is a mistake of the others.
        let given = u64::try_from(*value).ok();
        let bytes = given.and_then(|bytes| usize::try_from(bytes).ok());
        match name.as_str() {
            "queued.max.request.bytes" => {
                limits.set_request_bytes_max(bytes.unwrap_or(REQUEST_BYTES_MAX));
                continue;
            }
            "connections.max.idle.ms" => {
                limits.idle_max = given.map(Duration::from_millis);
                continue;
            }
            "socket.send.buffer.bytes" => {
                limits.send_buffer_bytes = given.and_then(|bytes| u32::try_from(bytes).ok());
                continue;
            }
            "socket.receive.buffer.bytes" => {
                limits.receive_buffer_bytes = given.and_then(|bytes| u32::try_from(bytes).ok());
                continue;
            }
            _ => {}
        }
        let size = bytes.ok_or_else(|| PyValueError::new_err(format!("{name} = {value} must not be negative")))?;
        match name.as_str() {
            "socket.request.max.bytes" => limits.frame_bytes_max = size,
            "ottla.control.frame.bytes.max" => limits.control_frame_bytes_max = size,
            "ottla.unsent.bytes.max" => limits.unsent_bytes_max = size,
            "queued.max.requests" => limits.queued_requests_max = size,
            "fetch.max.bytes" => limits.fetch_bytes_max = size,
            "max.incremental.fetch.session.cache.slots" => limits.fetch_sessions_max = size,
            "max.request.partition.size.limit" => limits.described_partitions_max = size,
            "auto.create.topics.enable" => limits.auto_create_topics = size != 0,
            "max.connections" => limits.connections_max = size,
            "max.connections.per.ip" => limits.connections_per_host_max = size,
            "max.connection.creation.rate" => {
                // Kafka's default, its largest number, is no bound.
                limits.connection_rate_max = u32::try_from(size).ok().filter(|rate| *rate < i32::MAX.unsigned_abs());
            }
            "quota.window.num" => limits.rate_windows.count = u32::try_from(size).unwrap_or(u32::MAX),
            "quota.window.size.seconds" => limits.rate_windows.each = Duration::from_secs(given.unwrap_or(1)),
            "socket.listen.backlog.size" => limits.backlog = u32::try_from(size).unwrap_or(u32::MAX),
            _ => return Err(PyValueError::new_err(format!("{name} is not a limit of the data plane"))),
        }
    }
    Ok(limits)
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (engine, bridge, *, listeners, api_table, limits, connections_of_hosts = HashMap::new()))]
    fn new(
        py: Python<'_>,
        engine: &Engine,
        bridge: &Bridge,
        listeners: Vec<(String, String, u16)>,
        api_table: Vec<(i16, i16, i16, i16, bool)>,
        limits: HashMap<String, i64>,
        connections_of_hosts: HashMap<String, usize>,
    ) -> PyResult<Self> {
        let mut rows = Vec::with_capacity(api_table.len());
        for (key, min_advertised, min_served, max, native) in api_table {
            if native != NATIVE.contains(&key) {
                return Err(PyValueError::new_err(format!("the API table is wrong about who serves key {key}")));
            }
            rows.push(ApiRow { key, min_advertised, min_served, max });
        }
        let mut limits = limits_from(&limits)?;
        let (engine, queue) = (Arc::clone(engine.native()), Arc::clone(bridge.queue()));
        released(py, move || {
            let endpoints =
                listeners.iter().map(|(name, host, port)| resolve(name, host, *port)).collect::<PyResult<_>>()?;
            limits.connections_of_host_max = resolve_hosts(connections_of_hosts)?;
            let plane = Arc::new(Plane::new(engine, queue, &rows, limits)?);
            Ok(Self { plane, endpoints, running: Mutex::new(None) })
        })
    }

    fn start(&self, py: Python<'_>) -> PyResult<Vec<(String, String, u16)>> {
        released(py, || {
            let mut running = self.running.lock();
            if running.is_some() {
                return Err(PyRuntimeError::new_err("the server is already started"));
            }
            let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
            let server = NativeServer::start(Arc::clone(&self.plane), &self.endpoints, workers.min(WORKERS_MAX))?;
            let bound = server
                .bound()
                .iter()
                .map(|bound| (bound.listener.to_string(), bound.address.ip().to_string(), bound.address.port()))
                .collect();
            *running = Some(server);
            Ok(bound)
        })
    }

    fn alter_connection_limits(
        &self,
        py: Python<'_>,
        limits: HashMap<String, i64>,
        connections_of_hosts: HashMap<String, usize>,
    ) -> PyResult<()> {
        let mut limits = limits_from(&limits)?;
        released(py, || {
            limits.connections_of_host_max = resolve_hosts(connections_of_hosts)?;
            self.plane.alter_connection_limits(&limits);
            Ok(())
        })
    }

    fn stop(&self, py: Python<'_>, timeout_ms: u64) {
        released(py, || {
            let server = self.running.lock().take();
            if let Some(server) = server {
                server.stop(Duration::from_millis(timeout_ms));
            }
        });
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (plane, counters) = (&self.plane, &self.plane.counters);
        let (sessions, deadlines) = released(py, || (plane.sessions.len(), plane.deadlines.waiting()));
        let (connections, request_bytes) = released(py, || (plane.quotas.connections(), plane.request_bytes()));
        let status = PyDict::new(py);
        status.set_item("connections", connections)?;
        status.set_item("connections_accepted", counters.connections_accepted.get())?;
        status.set_item("connections_idle", counters.connections_idle.get())?;
        status.set_item("connections_stalled", counters.connections_stalled.get())?;
        status.set_item("connections_refused", counters.connections_refused.get())?;
        status.set_item("connections_delayed", counters.connections_delayed.get())?;
        status.set_item("request_bytes", request_bytes)?;
        status.set_item("unsent_bytes", plane.unsent.bytes())?;
        status.set_item("requests", counters.requests.get())?;
        status.set_item("violations", counters.violations.get())?;
        status.set_item("produced_bytes", counters.produced_bytes.get())?;
        status.set_item("fetched_bytes", counters.fetched_bytes.get())?;
        status.set_item("refused_batches", counters.refused_batches.get())?;
        status.set_item("fetch_sessions", sessions)?;
        status.set_item("deadlines", deadlines)?;
        Ok(status)
    }
}
