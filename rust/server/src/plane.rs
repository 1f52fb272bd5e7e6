//! The data plane of one broker: what every connection shares.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_protocol::native::api_versions::Row;

use crate::control::ControlPlane;
use crate::counters::Counters;
use crate::deadlines::Deadlines;
use crate::dispatch::ApiRow;
use crate::engine::Engine;
use crate::limits::Limits;
use crate::room::Room;
use crate::sessions::Sessions;

pub struct Plane {
    pub engine: Arc<Engine>,
    pub control: Arc<dyn ControlPlane>,
    pub deadlines: Deadlines,
    pub sessions: Sessions,
    pub room: Arc<Room>,
    pub limits: Limits,
    pub counters: Counters,
    rows: HashMap<i16, ApiRow>,
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
            rows: table.iter().map(|row| (row.key, *row)).collect(),
            advertised,
            counters: Counters::default(),
            engine,
            control,
            deadlines,
            limits,
        })
    }

    #[must_use]
    pub fn row(&self, key: i16) -> Option<&ApiRow> {
        self.rows.get(&key)
    }

    #[must_use]
    pub fn advertised(&self) -> &[Row] {
        &self.advertised
    }
}
