//! Interprets the schema table: one decoder and one encoder for every message and version.
//!
//! The codec knows the wire and the table, and nothing of the values it makes or reads:
//!
//! - [`decode`] drives a [`Sink`], which builds a value out of parts. Fields come in the order of the class, absent ones as
//!   their defaults; fields with unknown tags are left out.
//! - [`encode`] reads from a [`Source`]. A field the version lacks must have its default or be ignorable; null must be
//!   allowed; numbers must fit; a tagged field is written if it differs from its default, tags ascending.
//!
//! **Bounded.** A count must fit into what is left of the frame. Everything a sink is about to build is weighed first (a
//! struct, a list with its slots, a string) against a [`Budget`], so that a small frame cannot claim much memory: three
//! bytes of a frame may stand for a struct with two empty lists, which is 50 times as much in Python. Structs nest as deep as
//! the schema says and no deeper.
//!
//! [`Value`] is a plain value for tests and tools; Python's objects are bound in the extension module.

mod budget;
mod decode;
mod encode;
mod error;
mod sink;
mod source;
mod value;

pub use budget::Budget;
pub use decode::decode;
pub use encode::{encode, encode_newest};
pub use error::{DecodeError, EncodeError, EncodeFault};
pub use sink::{Part, Sink};
pub use source::Source;
pub use value::{Mismatch, Value, ValueSink, ValueSource};
