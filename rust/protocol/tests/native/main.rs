//! The native readers and writers against the schema table: the codec writes what they read and reads what they write,
//! for every version served.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod requests;
mod responses;
mod seen;
