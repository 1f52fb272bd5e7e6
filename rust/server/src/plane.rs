//! The data plane of one broker: what every connection shares.

use std::sync::Arc;

use ottla_protocol::native::api_versions::Row;

use crate::activity::Connections;
use crate::control::ControlPlane;
use crate::counters::Counters;
use crate::deadlines::Deadlines;
use crate::dispatch::ApiRow;
use crate::engine::Engine;
use crate::limits::Limits;
use crate::memory::{Kind, Memory};
use crate::quotas::Quotas;
use crate::room::Room;
use crate::sessions::Sessions;
use crate::unsent::Unsent;

pub struct Plane {
    pub engine: Arc<Engine>,
    pub control: Arc<dyn ControlPlane>,
    pub deadlines: Deadlines,
    pub sessions: Sessions,
    pub room: Arc<Room>,
    memory: [Arc<Memory>; 2],
    pub unsent: Unsent,
    pub quotas: Arc<Quotas>,
    pub connections: Connections,
    pub limits: Limits,
    pub counters: Counters,
    /// By key: it is looked into for every request.
    rows: Vec<Option<ApiRow>>,
    /// The table as ApiVersions says it, in key order.
    advertised: Vec<Row>,
}

impl Plane {
    /// # Errors
    /// The operating system refused the deadline thread.
    pub fn new(
        engine: Arc<Engine>,
        control: Arc<dyn ControlPlane>,
        table: &[ApiRow],
        limits: Limits,
    ) -> std::io::Result<Self> {
        let deadlines = Deadlines::start(engine.env().clone())?;
        let mut advertised: Vec<Row> = table.iter().map(|row| (row.key, row.min_advertised, row.max)).collect();
        advertised.sort_unstable();
        let seed = engine.env().clock().now_ms().unsigned_abs() ^ u64::from(std::process::id()) << 32;
        Ok(Self {
            sessions: Sessions::new(limits.fetch_sessions_max, seed),
            room: Arc::new(Room::new(limits.queued_requests_max, limits.queued_bytes_max)),
            memory: [(Kind::Produce, limits.produce_bytes_max), (Kind::Other, limits.queued_bytes_max)]
                .map(|(kind, bytes_max)| Arc::new(Memory::new(kind, bytes_max))),
            unsent: Unsent::new(limits.unsent_bytes_max),
            quotas: Arc::new(Quotas::new(&limits)),
            connections: Connections::default(),
            rows: rows_by_key(table),
            advertised,
            counters: Counters::default(),
            engine,
            control,
            deadlines,
            limits,
        })
    }

    /// The engine's clock that never goes back.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.engine.env().clock().monotonic_ms()
    }

    /// Takes other bounds on connections: how many there may be, in all and of a host, and how many new ones in a second.
    pub fn alter_connection_limits(&self, limits: &Limits) {
        let too_many = self.quotas.alter(limits);
        self.connections.end_stillest(too_many);
    }

    /// What requests of a kind may hold.
    #[must_use]
    pub fn memory(&self, kind: Kind) -> &Arc<Memory> {
        &self.memory[kind as usize]
    }

    /// Bytes that requests hold now.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.memory.iter().map(|memory| memory.used()).sum()
    }

    #[must_use]
    pub fn row(&self, key: i16) -> Option<&ApiRow> {
        self.rows.get(usize::try_from(key).ok()?)?.as_ref()
    }

    #[must_use]
    pub fn advertised(&self) -> &[Row] {
        &self.advertised
    }
}

fn rows_by_key(table: &[ApiRow]) -> Vec<Option<ApiRow>> {
    let place = |row: &ApiRow| usize::try_from(row.key).ok();
    let mut rows = vec![None; table.iter().filter_map(place).max().map_or(0, |highest| highest + 1)];
    for row in table {
        if let Some(slot) = place(row).and_then(|place| rows.get_mut(place)) {
            *slot = Some(*row);
        }
    }
    rows
}
