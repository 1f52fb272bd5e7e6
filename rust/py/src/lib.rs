//! `ottla._core`: the native half of Ottla, as Python sees it.

mod codec;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<codec::Codec>()?;
    Ok(())
}
