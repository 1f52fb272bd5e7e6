//! What the codec takes for granted about the generated table.

use super::{Default, Kind, Struct, kafka};

fn depth(part: &Struct) -> usize {
    1 + part
        .fields
        .iter()
        .map(|field| match field.kind {
            Kind::Nested(inner) => depth(inner),
            _ => 0,
        })
        .max()
        .unwrap_or(0)
}

/// Every struct knows its place in its message, and reaches no struct of another message; no message nests deeply.
#[test]
fn structs_belong_to_their_message() {
    for (place, message) in kafka::MESSAGES.iter().enumerate() {
        assert_eq!(message.place, place, "{}", message.name);
        for (index, part) in message.structs.iter().enumerate() {
            assert_eq!(part.index, index, "{}", part.name);
            assert!(part.name.starts_with(message.name), "{}", part.name);
            for field in part.fields {
                if let Kind::Nested(inner) = field.kind {
                    assert!(std::ptr::eq(message.structs[inner.index], inner), "{}.{}", part.name, field.name);
                }
            }
        }
        assert!(depth(message.root()) <= 6, "{}", message.name);
    }
}

/// Tagged fields exist in flexible versions only, and are listed once each by ascending tag.
#[test]
fn tagged_fields_are_flexible_and_sorted() {
    for message in kafka::MESSAGES {
        for part in message.structs {
            let tags: Vec<u32> = part.tagged.iter().map(|&place| part.fields[place].tag.unwrap()).collect();
            assert!(tags.is_sorted_by(|a, b| a < b), "{}", part.name);
            assert_eq!(tags.len(), part.fields.iter().filter(|field| field.tag.is_some()).count(), "{}", part.name);
            for field in part.fields.iter().filter(|field| field.tag.is_some()) {
                let low = field.versions.low.max(message.versions.low);
                assert!(low > message.versions.high || message.flexible.contains(low), "{}.{}", part.name, field.name);
            }
        }
    }
}

/// A default of null goes with a field that may be null somewhere.
#[test]
fn null_defaults_are_nullable() {
    for message in kafka::MESSAGES {
        for field in message.structs.iter().flat_map(|part| part.fields) {
            if field.default == Default::Null {
                assert!(field.nullable.low <= field.nullable.high, "{}.{}", message.name, field.name);
            }
        }
    }
}

/// Request and response of an API have the same versions and the same dialect in each.
#[test]
fn apis_are_whole() {
    for api in kafka::APIS {
        assert_eq!(api.request.versions, api.response.versions, "{}", api.request.name);
        for version in api.versions().low..=api.versions().high {
            assert_eq!(api.is_flexible(version), api.response.flexible.contains(version), "{}", api.request.name);
        }
    }
    assert!(kafka::APIS.is_sorted_by_key(|api| api.key));
    assert!(kafka::MESSAGES.is_sorted_by_key(|message| message.name));
}
