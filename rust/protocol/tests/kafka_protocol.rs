//! The `kafka-protocol` crate (Kafka 4.1) as an oracle: it reads what we write and writes it back byte for byte.
//!
//! It is fed only bytes that our own decoder has accepted: it allocates whatever count a frame claims and would end the
//! process on five bytes (`Vec::with_capacity` of a length from the wire).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use bytes::{Bytes, BytesMut};
use common::{Generator, for_seeds, to_bytes};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use ottla_protocol::schema::kafka;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// OffsetCommit and OffsetFetch: the crate gives 10 as their newest version, but refuses to decode requests of it.
const REFUSES_VERSION_10: [i16; 2] = [8, 9];

/// Requests and responses of an API and version the crate knows. Its ranges end where Kafka 4.1's do.
fn known(key: i16, version: i16) -> Option<ApiKey> {
    if version == 10 && REFUSES_VERSION_10.contains(&key) {
        return None;
    }
    let api = ApiKey::try_from(key).ok()?;
    let range = api.valid_versions();
    (range.min..=range.max).contains(&version).then_some(api)
}

/// Both directions: our bytes through the crate are the same bytes.
fn agreement(seed: u64) -> TestCaseResult {
    let mut generator = Generator::new(seed);
    let mut compared = 0;
    for api in kafka::APIS {
        for version in api.versions().low..=api.versions().high {
            let Some(key) = known(api.key, version) else { continue };
            let ours = to_bytes(api.request, version, &generator.message(api.request, version));
            let mut theirs = BytesMut::new();
            RequestKind::decode(key, &mut Bytes::from(ours.clone()), version)
                .and_then(|request| request.encode(&mut theirs, version))
                .unwrap_or_else(|error| panic!("{} v{version}: {error}: {ours:?}", api.request.name));
            prop_assert_eq!(&theirs[..], &ours[..], "{} v{}", api.request.name, version);

            let ours = to_bytes(api.response, version, &generator.message(api.response, version));
            let mut theirs = BytesMut::new();
            ResponseKind::decode(key, &mut Bytes::from(ours.clone()), version)
                .and_then(|response| response.encode(&mut theirs, version))
                .unwrap_or_else(|error| panic!("{} v{version}: {error}: {ours:?}", api.response.name));
            prop_assert_eq!(&theirs[..], &ours[..], "{} v{}", api.response.name, version);
            compared += 1;
        }
    }
    prop_assert!(compared > 200, "{compared} versions compared");
    Ok(())
}

/// The crate reads what we write, in every version it knows, and writes the same bytes.
#[test]
fn requests_and_responses_agree() {
    for_seeds(12, agreement);
}

/// The same with many more seeds.
#[test]
#[ignore = "long"]
fn requests_and_responses_agree_for_long() {
    for_seeds(2000, agreement);
}
