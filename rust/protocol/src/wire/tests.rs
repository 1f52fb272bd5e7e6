//! The primitives against the byte sequences of Kafka's protocol guide, and against each other.

use super::{ErrorKind, Reader, WriteError, Writer};
use proptest::prelude::*;

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    write(&mut Writer::new(&mut buffer));
    buffer
}

fn kind<T: std::fmt::Debug>(result: super::Result<T>) -> ErrorKind {
    result.unwrap_err().kind
}

/// Lengths are int16/int32 in the classic dialect and uvarint + 1 in the flexible one.
#[test]
fn strings_and_arrays_in_both_dialects() {
    assert_eq!(written(|w| w.string(false, "ab").unwrap()), [0, 2, b'a', b'b']);
    assert_eq!(written(|w| w.string(true, "ab").unwrap()), [3, b'a', b'b']);
    assert_eq!(written(|w| w.nullable_string(false, None).unwrap()), [0xff, 0xff]);
    assert_eq!(written(|w| w.nullable_string(true, None).unwrap()), [0]);
    assert_eq!(written(|w| w.bytes(false, b"x").unwrap()), [0, 0, 0, 1, b'x']);
    assert_eq!(written(|w| w.bytes(true, b"x").unwrap()), [2, b'x']);
    assert_eq!(written(|w| w.array(false, None).unwrap()), [0xff; 4]);
    assert_eq!(written(|w| w.array(true, Some(0)).unwrap()), [1]);
}

/// A tagged field carries its size in front, also when the size takes two bytes.
#[test]
fn tagged_fields() {
    let bytes = written(|w| {
        w.tags(2);
        w.tag::<WriteError>(1, |w| w.string(true, "ab")).unwrap();
        w.tag::<WriteError>(9, |w| w.bytes(true, &[7; 200])).unwrap();
        w.i8(5);
    });
    assert_eq!(bytes[..8], [2, 1, 3, 3, b'a', b'b', 9, 0xca]);
    let mut reader = Reader::new(&bytes);
    let mut tags = reader.tags().unwrap();
    let (tag, mut field) = tags.next().unwrap().unwrap();
    assert_eq!((tag, field.position()), (1, 3));
    assert_eq!(field.string(true, "name").unwrap(), "ab");
    field.finish("name").unwrap();
    let (tag, field) = tags.next().unwrap().unwrap();
    assert_eq!((tag, field.remaining()), (9, 202));
    assert!(tags.next().unwrap().is_none());
    assert_eq!(reader.i8("end").unwrap(), 5);
}

/// A count that cannot fit is refused before anything is allocated for it.
#[test]
fn array_counts_are_bounded_by_the_frame() {
    let claimed = [0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let refused = Reader::new(&claimed).array(false, 1, "topics").unwrap_err();
    assert_eq!((refused.at, refused.reading), (0, "topics"));
    assert_eq!(refused.kind, ErrorKind::TooManyElements { count: 0x7fff_ffff, remaining: 4 });
    let two = [0, 0, 0, 2, 1, 2, 3, 4];
    assert_eq!(Reader::new(&two).array(false, 2, "ids").unwrap(), 2);
    assert_eq!(kind(Reader::new(&two).array(false, 3, "ids")), ErrorKind::TooManyElements { count: 2, remaining: 4 });
    assert_eq!(kind(Reader::new(&[0xff; 4]).array(false, 1, "ids")), ErrorKind::UnexpectedNull);
    assert_eq!(kind(Reader::new(&[0x80, 0, 0, 0]).array(false, 1, "ids")), ErrorKind::NegativeLength(-(1 << 31)));
}

/// Integers that do not end, or are wider than their type, are errors.
#[test]
fn variable_length_integers_are_bounded() {
    assert_eq!(kind(Reader::new(&[0xff; 6]).uvarint("n")), ErrorKind::VarintTooWide);
    assert_eq!(kind(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint("n")), ErrorKind::VarintTooWide);
    assert_eq!(kind(Reader::new(&[0xff, 0xff]).uvarint("n")), ErrorKind::Truncated { needed: 3, remaining: 2 });
    assert_eq!(kind(Reader::new(&[0xff; 11]).uvarlong("n")), ErrorKind::VarintTooWide);
    assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint("n").unwrap(), u32::MAX);
}

/// Strings are UTF-8 and at most 32,767 bytes, and lengths under -1 are refused.
#[test]
fn strings_are_checked() {
    assert_eq!(kind(Reader::new(&[0, 1, 0xff]).string(false, "s")), ErrorKind::NotUtf8);
    assert_eq!(kind(Reader::new(&[0xff, 0xfe]).string(false, "s")), ErrorKind::NegativeLength(-2));
    assert_eq!(kind(Reader::new(&[0]).string(true, "s")), ErrorKind::UnexpectedNull);
    assert_eq!(kind(Reader::new(&[0x81, 0x80, 2]).string(true, "s")), ErrorKind::StringTooLong(0x8000));
    let long = "x".repeat(0x8000);
    let mut buffer = Vec::new();
    assert_eq!(Writer::new(&mut buffer).string(true, &long), Err(WriteError::StringTooLong(0x8000)));
    assert!(buffer.is_empty());
}

proptest! {
    /// Every integer reads back as it was written, and no shorter prefix of it reads at all.
    #[test]
    fn integers_round_trip(a: i32, b: i64, c: u32, d: u64, cut in 0_usize..30) {
        let bytes = written(|w| { w.varint(a); w.varlong(b); w.uvarint(c); w.uvarlong(d); });
        let read = |frame: &[u8]| -> super::Result<_> {
            let mut r = Reader::new(frame);
            Ok((r.varint("a")?, r.varlong("b")?, r.uvarint("c")?, r.uvarlong("d")?))
        };
        prop_assert_eq!(read(&bytes).unwrap(), (a, b, c, d));
        if cut < bytes.len() {
            prop_assert!(read(&bytes[..cut]).is_err());
        }
    }
}
