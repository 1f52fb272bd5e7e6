//! Which classes and attribute names stand for the structs of a message.

use ottla_protocol::schema::{Default, Field, Kind, Message, kafka};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyFloat, PyString, PyType};

/// One struct's class.
pub struct Class {
    /// The class itself.
    pub class: Py<PyType>,
    /// Its attributes' names, interned.
    pub names: Vec<Py<PyString>>,
    /// Per attribute the default, for those whose default may be shared.
    pub defaults: Vec<Py<PyAny>>,
}

/// The classes of one message, by `Struct::index`.
pub struct Binding {
    classes: Vec<Class>,
    /// Sixteen zero bytes: the uuid that stands for none is not made anew each time.
    pub no_uuid: Py<PyBytes>,
}

impl Binding {
    /// The class of a struct of this message.
    pub fn class(&self, index: usize) -> Option<&Class> {
        self.classes.get(index)
    }

    fn new(py: Python<'_>, message: &'static Message) -> PyResult<Self> {
        let module = py.import("ottla.messages")?;
        let no_uuid = PyBytes::new(py, &[0; 16]);
        let classes = message.structs.iter().map(|shape| {
            let class = module.getattr(shape.name)?.cast_into::<PyType>()?;
            let names = shape.fields.iter().map(|field| PyString::intern(py, field.name).unbind()).collect();
            let defaults = shape.fields.iter().map(|field| default(py, field, &no_uuid)).collect::<PyResult<_>>()?;
            Ok(Class { class: class.unbind(), names, defaults })
        });
        Ok(Self { classes: classes.collect::<PyResult<_>>()?, no_uuid: no_uuid.clone().unbind() })
    }
}

/// The default of a field that is not mutable; None for the others, which are made anew each time.
fn default(py: Python<'_>, field: &'static Field, no_uuid: &Bound<'_, PyBytes>) -> PyResult<Py<PyAny>> {
    let made = match (field.default, field.kind) {
        (Default::Null, _) | (_, Kind::Nested(_)) => py.None().into_bound(py),
        _ if field.array => py.None().into_bound(py),
        (Default::Int(number), _) => number.into_pyobject(py)?.into_any(),
        (Default::Str(text), _) => PyString::new(py, text).into_any(),
        (default, Kind::Bool) => (default == Default::True).into_pyobject(py)?.to_owned().into_any(),
        (_, Kind::Float64) => PyFloat::new(py, 0.0).into_any(),
        (_, Kind::Uuid) => no_uuid.clone().into_any(),
        (_, Kind::Str) => PyString::new(py, "").into_any(),
        (_, Kind::Bytes) => PyBytes::new(py, b"").into_any(),
        _ => 0_i64.into_pyobject(py)?.into_any(),
    };
    Ok(made.unbind())
}

/// The bindings of all messages, each made when its message is first used.
pub struct Bindings(Vec<PyOnceLock<Binding>>);

impl Bindings {
    /// None bound yet.
    pub fn new() -> Self {
        Self(kafka::MESSAGES.iter().map(|_| PyOnceLock::new()).collect())
    }

    /// The binding of a message.
    pub fn of(&self, py: Python<'_>, message: &'static Message) -> PyResult<&Binding> {
        match self.0.get(message.place) {
            Some(slot) => slot.get_or_try_init(py, || Binding::new(py, message)),
            None => Err(super::error::raise(format!("{} is not in the table", message.name))),
        }
    }
}
