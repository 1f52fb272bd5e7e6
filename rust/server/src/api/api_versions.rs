//! ApiVersions (18), versions 0-4.
//!
//! Behavior:
//! - answers the control plane's table, lowest advertised version to highest
//! - client software name or version against Kafka's rule: INVALID_REQUEST, with an empty table
//! - an unknown version: body of version 0, UNSUPPORTED_VERSION, the row of key 18 alone (KIP-511)

use std::sync::Arc;

use ottla_protocol::native::api_versions::{Features, KEY, is_valid_software_name, read_request, write_response};
use ottla_protocol::wire::{Error, Writer};

use crate::control::Peer;
use crate::dispatch::{Outcome, Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::plane::Plane;

pub fn answer(plane: &Arc<Plane>, info: &RequestInfo, frame: &[u8]) -> Result<Pending, Error> {
    let mut reader = super::body(frame, info)?;
    let (name, software_version) = read_request(&mut reader, info.version)?;
    let image = plane.engine.image();
    let is_valid = info.version < 3 || (is_valid_software_name(name) && is_valid_software_name(software_version));
    let (error, rows) =
        if is_valid { (ErrorCode::NONE, plane.advertised()) } else { (ErrorCode::INVALID_REQUEST, &[][..]) };
    let no_features = Features { finalized_epoch: -1, ..Features::default() };
    let features = if is_valid { &image.features } else { &no_features };
    Ok(Pending::made(info.reply(KEY, 512, |builder| {
        write_response(&mut Writer::new(builder.buffer()), info.version, error.0, rows, features)
    })))
}

/// The answer to a version that is not served; of the header only the correlation id is trusted.
pub fn unsupported(plane: &Arc<Plane>, peer: &Arc<Peer>, frame: &[u8]) -> Outcome {
    let Some(correlation_id) = frame.get(4..).and_then(|rest| rest.first_chunk()) else {
        return Outcome::Close(format!("a frame of {} bytes has no request header", frame.len()));
    };
    let rows: Vec<_> = plane.advertised().iter().filter(|row| row.0 == KEY).copied().collect();
    let info = RequestInfo {
        version: 0,
        correlation_id: i32::from_be_bytes(*correlation_id),
        peer: Arc::clone(peer),
        body_start: 0,
    };
    let features = Features::default();
    Outcome::Answer(Pending::made(info.reply(KEY, 16, |builder| {
        let error = ErrorCode::UNSUPPORTED_VERSION;
        write_response(&mut Writer::new(builder.buffer()), 0, error.0, &rows, &features)
    })))
}
