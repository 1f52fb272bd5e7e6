//! The headers in front of every request and response.
//!
//! ```text
//! request header v1   key int16 | version int16 | correlation id int32 | client id string (classic, may be null)
//! request header v2   the same, then tagged fields
//! response header v0  correlation id int32
//! response header v1  the same, then tagged fields
//! ```
//! Flexible versions of an API have the second form of both, but for ApiVersions, whose response header is always v0: a
//! client must be able to read it before it knows what the broker speaks. The client id is never compact.

use crate::schema::{self, Api};
use crate::wire::{Buffer, ErrorKind, Reader, Result, Writer};

/// The API key of ApiVersions.
pub const API_VERSIONS: i16 = 18;

/// A request's header, in place.
#[derive(Debug, Clone, Copy)]
pub struct RequestHeader<'a> {
    /// Which API.
    pub api_key: i16,
    /// In which version; not checked against the versions that exist.
    pub api_version: i16,
    /// What the answer repeats.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
    /// The API's messages.
    pub api: &'static Api,
}

impl<'a> RequestHeader<'a> {
    /// Reads the header and leaves the reader at the body. A key without a schema is an error; a version outside the
    /// schema's range is the caller's to judge (ApiVersions has an answer to it), its header is that of the nearest one.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let unknown = reader.clone();
        let api_key = reader.i16("API key")?;
        let api_version = reader.i16("API version")?;
        let correlation_id = reader.i32("correlation id")?;
        let api = schema::api(api_key).ok_or_else(|| unknown.error("API key", ErrorKind::UnknownApiKey(api_key)))?;
        let client_id = reader.nullable_string(false, "client id")?;
        reader.skip_tags(api.is_flexible(api_version))?;
        Ok(Self { api_key, api_version, correlation_id, client_id, api })
    }

    /// Whether the body is in the flexible dialect.
    #[must_use]
    pub fn is_flexible(&self) -> bool {
        self.api.is_flexible(self.api_version)
    }
}

/// Whether the response header of an API and version ends with tagged fields.
#[must_use]
pub fn response_header_is_flexible(api_key: i16, api_version: i16) -> bool {
    api_key != API_VERSIONS && schema::api(api_key).is_some_and(|api| api.is_flexible(api_version))
}

/// Writes a response's header.
pub fn write_response_header<B: Buffer>(
    writer: &mut Writer<'_, B>,
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
) {
    writer.i32(correlation_id);
    writer.no_tags(response_header_is_flexible(api_key, api_version));
}

/// Reads a response's header: the correlation id.
pub fn read_response_header(reader: &mut Reader<'_>, api_key: i16, api_version: i16) -> Result<i32> {
    let correlation_id = reader.i32("correlation id")?;
    reader.skip_tags(response_header_is_flexible(api_key, api_version))?;
    Ok(correlation_id)
}

/// Writes a request's header; fails only on a client id over 32,767 bytes.
pub fn write_request_header<B: Buffer>(
    writer: &mut Writer<'_, B>,
    api_key: i16,
    api_version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> std::result::Result<(), crate::wire::WriteError> {
    writer.i16(api_key);
    writer.i16(api_version);
    writer.i32(correlation_id);
    writer.nullable_string(false, client_id)?;
    writer.no_tags(schema::api(api_key).is_some_and(|api| api.is_flexible(api_version)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ApiVersions v3 and later are asked with a flexible header and answered with a classic one.
    #[test]
    fn api_versions_is_answered_in_the_oldest_header() {
        let frame = [0, 18, 0, 5, 0, 0, 0, 7, 0, 1, b'c', 0, 99];
        let mut reader = Reader::new(&frame);
        let header = RequestHeader::read(&mut reader).unwrap();
        assert_eq!((header.api_key, header.api_version, header.correlation_id), (18, 5, 7));
        assert_eq!((header.client_id, reader.rest()), (Some("c"), &[99][..]));
        let mut out = Vec::new();
        write_response_header(&mut Writer::new(&mut out), 18, 5, 7);
        assert_eq!(out, [0, 0, 0, 7]);
    }

    /// Heartbeat turns flexible in version 4, headers included.
    #[test]
    fn flexible_versions_end_their_headers_with_tags() {
        for (version, tail) in [(3, 0), (4, 1)] {
            let mut out = Vec::new();
            write_response_header(&mut Writer::new(&mut out), 12, version, 1);
            assert_eq!(out.len(), 4 + tail);
            assert_eq!(read_response_header(&mut Reader::new(&out), 12, version).unwrap(), 1);
            let mut out = Vec::new();
            write_request_header(&mut Writer::new(&mut out), 12, version, 1, None).unwrap();
            assert_eq!(out.len(), 10 + tail);
            let header = RequestHeader::read(&mut Reader::new(&out)).unwrap();
            assert_eq!((header.client_id, header.is_flexible()), (None, tail == 1));
        }
    }

    /// A key of the controllers' own listener is not served.
    #[test]
    fn unknown_keys_are_an_error() {
        let refused = RequestHeader::read(&mut Reader::new(&[0, 56, 0, 0, 0, 0, 0, 0, 0xff, 0xff])).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::UnknownApiKey(56));
    }
}
