//! Packing and appending, and waiting until that is as safe as the log promises.

use std::time::Duration;

use ottla_log::StorageError;
use ottla_log::batch::builder::BatchBuilder;
use ottla_log::local::{LocalLog, Move, Wait, check_name};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt};

use super::super::records::wait_for;
use super::{Log, refusal};
use crate::gil::{SIGNALS_EVERY, heard, released};

/// To pack more than this takes so long that Ctrl-C is heard meanwhile.
const HEARD_BYTES: usize = 4 << 20;

/// Cursors that are to go with an append.
pub(super) type Moves = Vec<(String, i64)>;

pub(super) fn moves_of(given: Option<&Bound<'_, PyDict>>) -> PyResult<Moves> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let mut moves = Moves::with_capacity(given.len());
    for (name, position) in given {
        let name: String = name.extract()?;
        check_name(&name).map_err(|error| refusal::cursor(&error))?;
        match position.extract() {
            Ok(offset @ 0..) => moves.push((name, offset)),
            Err(error) if !position.is_instance_of::<PyInt>() => return Err(error),
            _ => return Err(refusal::invalid(format!("cursor {name} cannot stand at {position}"))),
        }
    }
    Ok(moves)
}

pub(super) fn too_long() -> PyErr {
    refusal::too_large("a batch is shorter than 2 GiB; nothing was appended")
}

impl Log {
    /// Who appends faster than the disk writes waits, whatever the durability.
    fn wait_for_room(py: Python<'_>, native: &LocalLog) -> PyResult<()> {
        while native.is_over()
            && !released(py, || native.wait_for_room(SIGNALS_EVERY)).map_err(|error| refusal::storage(&error))?
        {
            py.check_signals()?;
        }
        Ok(())
    }

    /// Packs what was built and appends it, and may wait for it: all of it without the GIL, which threads that one sync lets go of take one
    /// after another. The last offset, and what came of the wait so far.
    fn pack_and_append(
        &self,
        py: Python<'_>,
        builder: BatchBuilder,
        cursors: &Moves,
        wait: Option<Duration>,
    ) -> PyResult<(i64, Option<Move>)> {
        let native = self.own()?;
        Self::wait_for_room(py, native)?;
        let append = |batch: Option<Vec<u8>>| {
            let mut batch = batch.ok_or_else(too_long)?;
            self.shape.check_fits(batch.len())?;
            let last = native.append(&mut batch, cursors).map_err(|error| refusal::append(&error))?.last_offset;
            Ok((last, wait.map(|timeout| native.wait_for(Wait::Settled(last), timeout))))
        };
        if builder.bytes() > HEARD_BYTES {
            let batch = heard(py, move || builder.finish())?;
            return released(py, || append(batch));
        }
        released(py, || append(builder.finish()))
    }

    /// Appends what was built; the last offset.
    pub(super) fn append_built(&self, py: Python<'_>, builder: BatchBuilder, cursors: &Moves) -> PyResult<i64> {
        self.pack_and_append(py, builder, cursors, None).map(|(last, _)| last)
    }

    /// The same, and waits until it is as safe as this log promises.
    pub(super) fn append_and_settle(
        &self,
        py: Python<'_>,
        builder: BatchBuilder,
        cursors: &Moves,
        wait: bool,
    ) -> PyResult<i64> {
        let wait = (wait && self.is_fsync).then_some(SIGNALS_EVERY);
        let (last, moved) = self.pack_and_append(py, builder, cursors, wait)?;
        if let Some(moved) = moved {
            self.settled(py, last, moved)?;
        }
        Ok(last)
    }

    /// Waits until `offset` is as safe as this log promises.
    pub(super) fn settle(&self, py: Python<'_>, offset: i64, wait: bool) -> PyResult<()> {
        if wait && self.is_fsync { self.settled(py, offset, Move::NotYet) } else { Ok(()) }
    }

    /// Goes on waiting after what came of the wait so far.
    fn settled(&self, py: Python<'_>, offset: i64, mut moved: Move) -> PyResult<()> {
        let native = self.native.get()?;
        let log = native.own()?;
        loop {
            match moved {
                Move::Reached => return Ok(()),
                Move::NotYet | Move::Changed => py.check_signals()?,
                // Closed by another thread: then it was synced before.
                Move::Ended(StorageError::Closed { .. }) if released(py, || log.offsets()).durable > offset => {
                    return Ok(());
                }
                Move::Ended(error) => return Err(refusal::storage(&error)),
            }
            moved = wait_for(py, native, Wait::Settled(offset), SIGNALS_EVERY);
        }
    }
}
