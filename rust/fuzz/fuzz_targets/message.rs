//! Any bytes as any message: the first two choose message and version, the rest is the frame.
//!
//! Nothing may panic or take more memory than the budget; what decodes must encode, and decode again to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_protocol::codec::{Budget, Value, ValueSink, ValueSource, decode, encode};
use ottla_protocol::schema::{Message, kafka};
use ottla_protocol::wire::{Reader, Writer};

fn read(message: &'static Message, version: i16, frame: &[u8]) -> Option<Value> {
    decode(message, version, &mut Reader::new(frame), Budget::for_frame(frame.len()), &mut ValueSink).ok()
}

fn write(message: &'static Message, version: i16, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, version, &value, &ValueSource::of(value), &mut Writer::new(&mut bytes)).expect("it was decoded");
    bytes
}

fuzz_target!(|data: &[u8]| {
    let [first, second, frame @ ..] = data else { return };
    let message = kafka::MESSAGES[usize::from(*first) % kafka::MESSAGES.len()];
    let versions = i16::from(*second) % (message.versions.high - message.versions.low + 1);
    let version = message.versions.low + versions;
    if let Some(value) = read(message, version, frame) {
        let bytes = write(message, version, &value);
        // Defaults may weigh more than the tagged fields they stand for: the second reading may lack the budget.
        if let Some(again) = read(message, version, &bytes) {
            assert_eq!(write(message, version, &again), bytes);
        }
    }
});
