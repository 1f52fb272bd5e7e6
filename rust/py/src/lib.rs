//! `ottla._core`: the native half of Ottla, as Python sees it. The manual is `python/ottla/_core.pyi`.
//!
//! Conversions only: no policy, no protocol. The one crate that names pyo3, and one door that releases the GIL
//! ([`gil`]).

mod bridge;
mod codec;
mod coordination;
mod engine;
mod errors;
mod gil;
mod journal;
mod local;
mod log_relay;
mod metadata;
mod patterns;
mod server;
mod wake;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _core(py: Python<'_>, module: &Bound<'_, PyModule>) -> PyResult<()> {
    log_relay::install(py)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<codec::Codec>()?;
    module.add_class::<bridge::Bridge>()?;
    module.add_class::<coordination::Load>()?;
    module.add_class::<coordination::MarkersWritten>()?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<engine::VirtualClock>()?;
    module.add_class::<journal::Journal>()?;
    module.add_class::<journal::MetadataLog>()?;
    module.add_class::<local::LogDirectory>()?;
    module.add_class::<local::DirectoryLock>()?;
    module.add_class::<local::PartitionFiles>()?;
    module.add_class::<local::FileBatches>()?;
    module.add_class::<local::LogFollower>()?;
    module.add_class::<local::Log>()?;
    module.add_class::<local::ArrowRecords>()?;
    module.add_class::<local::Record>()?;
    module.add_class::<local::Records>()?;
    module.add_class::<local::Arrival>()?;
    module.add_class::<local::Columns>()?;
    module.add_class::<local::View>()?;
    module.add_function(wrap_pyfunction!(local::is_locked, module)?)?;
    module.add_function(wrap_pyfunction!(local::check_format, module)?)?;
    module.add_function(wrap_pyfunction!(local::after_fork_in_child, module)?)?;
    module.add_class::<server::Server>()?;
    module.add_function(wrap_pyfunction!(log_relay::flush_logs, module)?)?;
    module.add_function(wrap_pyfunction!(log_relay::set_log_level, module)?)?;
    module.add_function(wrap_pyfunction!(patterns::check_pattern, module)?)?;
    module.add_function(wrap_pyfunction!(patterns::match_patterns, module)?)?;
    module.add_function(wrap_pyfunction!(patterns::xxh3_64, module)?)?;
    Ok(())
}
