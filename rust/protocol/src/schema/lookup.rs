//! Finds a message by what a frame or a record says about itself.

use super::{Message, Versions, kafka};

/// One API: its two messages.
#[derive(Debug)]
pub struct Api {
    /// The API key.
    pub key: i16,
    /// What a client sends.
    pub request: &'static Message,
    /// What it gets.
    pub response: &'static Message,
}

impl Api {
    /// The versions both messages exist in.
    #[must_use]
    pub fn versions(&self) -> Versions {
        self.request.versions
    }

    /// Whether requests and responses of `version` are in the flexible dialect.
    #[must_use]
    pub fn is_flexible(&self, version: i16) -> bool {
        self.request.flexible.contains(version)
    }
}

/// One type of record of a coordinator's topic.
#[derive(Debug)]
pub struct CoordinatorRecord {
    /// The type, which is the first int16 of the record's key.
    pub kind: i16,
    /// The key, behind that int16; always version 0.
    pub key: &'static Message,
    /// The value, behind an int16 that is its version.
    pub value: &'static Message,
}

/// The API of a key, if this project has a schema for it.
#[must_use]
pub fn api(key: i16) -> Option<&'static Api> {
    let place = kafka::APIS.binary_search_by_key(&key, |api| api.key).ok()?;
    kafka::APIS.get(place).copied()
}

/// A record type of `__consumer_offsets`.
#[must_use]
pub fn group_record(kind: i16) -> Option<&'static CoordinatorRecord> {
    kafka::GROUP_RECORDS.iter().find(|record| record.kind == kind)
}

/// A record type of `__transaction_state`.
#[must_use]
pub fn transaction_record(kind: i16) -> Option<&'static CoordinatorRecord> {
    kafka::TRANSACTION_RECORDS.iter().find(|record| record.kind == kind)
}

/// A record type of `__cluster_metadata`.
#[must_use]
pub fn metadata_record(kind: i16) -> Option<&'static Message> {
    kafka::METADATA_RECORDS.iter().find(|message| message.key == kind).copied()
}

/// Any message by the name of its class.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Message> {
    let place = kafka::MESSAGES.binary_search_by_key(&name, |message| message.name).ok()?;
    kafka::MESSAGES.get(place).copied()
}
