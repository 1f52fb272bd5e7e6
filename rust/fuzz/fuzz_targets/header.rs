//! Any bytes as a request's header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_protocol::header::{RequestHeader, write_request_header};
use ottla_protocol::wire::{Reader, Writer};

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    if let Ok(header) = RequestHeader::read(&mut reader) {
        assert!(reader.position() <= data.len());
        let mut bytes = Vec::new();
        let (key, version, id) = (header.api_key, header.api_version, header.correlation_id);
        write_request_header(&mut Writer::new(&mut bytes), key, version, id, header.client_id).expect("it was read");
        let again = RequestHeader::read(&mut Reader::new(&bytes)).expect("it was written");
        assert_eq!((again.api_key, again.correlation_id, again.client_id), (key, id, header.client_id));
    }
});
