//! ApiVersions (key 18), versions 0-4.
//!
//! Version notes: 3 flexible, client software name and version, features as tags (KIP-584); 4 features whose lowest
//! version is 0 are named too (KAFKA-17011). The response header is version 0 in every version. An unknown version is
//! answered with the body of version 0, error 35 and the one row for key 18.

use super::{Out, Written};
use crate::wire::{Error, Reader};

pub const KEY: i16 = 18;
pub const FIRST_FLEXIBLE: i16 = 3;

/// Client software name and version, empty before version 3.
///
/// # Errors
/// The frame is cut short.
pub fn read_request<'a>(reader: &mut Reader<'a>, version: i16) -> Result<(&'a str, &'a str), Error> {
    if version < FIRST_FLEXIBLE {
        return Ok(("", ""));
    }
    let name = reader.string(true, "client_software_name")?;
    let software_version = reader.string(true, "client_software_version")?;
    reader.skip_tags(true)?;
    Ok((name, software_version))
}

/// Kafka's rule for both names: letters and digits, with `-` and `.` only between them.
#[must_use]
pub fn is_valid_software_name(name: &str) -> bool {
    let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let bytes = name.as_bytes();
    ends(bytes.first().copied())
        && ends(bytes.last().copied())
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-' || *c == b'.')
}

/// One row of the table: key, lowest and highest version.
pub type Row = (i16, i16, i16);

/// A feature and the versions of it this broker can run.
#[derive(Clone, Debug)]
pub struct SupportedFeature {
    pub name: String,
    pub min: i16,
    pub max: i16,
}

/// A feature and the version in force.
#[derive(Clone, Debug)]
pub struct FinalizedFeature {
    pub name: String,
    pub level: i16,
}

/// What the answer says beside the table.
#[derive(Clone, Debug, Default)]
pub struct Features {
    pub supported: Vec<SupportedFeature>,
    pub finalized: Vec<FinalizedFeature>,
    pub finalized_epoch: i64,
}

/// Writes the body of an answer.
pub fn write_response(
    writer: &mut Out<'_>,
    version: i16,
    error_code: i16,
    rows: &[Row],
    features: &Features,
) -> Written {
    let flexible = version >= FIRST_FLEXIBLE;
    writer.i16(error_code);
    writer.array(flexible, Some(rows.len()))?;
    for (key, min, max) in rows {
        writer.i16(*key);
        writer.i16(*min);
        writer.i16(*max);
        writer.no_tags(flexible);
    }
    if version >= 1 {
        writer.i32(0);
    }
    if flexible {
        write_features(writer, version, features)?;
    }
    Ok(())
}

fn write_features(writer: &mut Out<'_>, version: i16, features: &Features) -> Written {
    let supported: Vec<_> = features.supported.iter().filter(|f| version >= 4 || f.min > 0).collect();
    let has_finalized = features.finalized_epoch >= 0;
    writer.tags(u32::from(!supported.is_empty()) + 2 * u32::from(has_finalized));
    if !supported.is_empty() {
        writer.tag(0, |value| -> Written {
            value.array(true, Some(supported.len()))?;
            for feature in &supported {
                value.string(true, &feature.name)?;
                value.i16(feature.min);
                value.i16(feature.max);
                value.no_tags(true);
            }
            Ok(())
        })?;
    }
    if has_finalized {
        writer.tag(1, |value| -> Written {
            value.i64(features.finalized_epoch);
            Ok(())
        })?;
        writer.tag(2, |value| -> Written {
            value.array(true, Some(features.finalized.len()))?;
            for feature in &features.finalized {
                value.string(true, &feature.name)?;
                value.i16(feature.level);
                value.i16(feature.level);
                value.no_tags(true);
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kafkas_rule() {
        for good in ["a", "apache-kafka-java", "4.3.1", "x.y-z"] {
            assert!(is_valid_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".a", "a b", "a_b", "é"] {
            assert!(!is_valid_software_name(bad), "{bad}");
        }
    }
}
