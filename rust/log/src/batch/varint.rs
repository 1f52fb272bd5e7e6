//! Zigzag varints as records use them: at most 5 bytes for 32 bits, 10 for 64.

/// Reads an unsigned varint of at most `bits`; None when it is cut or too long.
fn read_unsigned(bytes: &[u8], at: &mut usize, bits: u32) -> Option<u64> {
    let mut value = 0u64;
    let mut shift = 0;
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
        if shift >= bits {
            return None;
        }
    }
}

/// Reads a zigzag varint of 32 bits and moves `at` past it.
#[inline]
pub fn read_i32(bytes: &[u8], at: &mut usize) -> Option<i32> {
    // Lengths and deltas below 64 are one byte: the common case by far.
    if let Some(&byte) = bytes.get(*at)
        && byte < 0x80
    {
        *at += 1;
        return Some(i32::from(byte >> 1) ^ -i32::from(byte & 1));
    }
    let value = read_unsigned(bytes, at, 35)? as u32;
    Some((value >> 1) as i32 ^ -((value & 1) as i32))
}

/// Reads a zigzag varint of 64 bits and moves `at` past it.
#[inline]
pub fn read_i64(bytes: &[u8], at: &mut usize) -> Option<i64> {
    if let Some(&byte) = bytes.get(*at)
        && byte < 0x80
    {
        *at += 1;
        return Some(i64::from(byte >> 1) ^ -i64::from(byte & 1));
    }
    let value = read_unsigned(bytes, at, 70)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// The next eight bytes, in a register: varints of one or two bytes are read from there without another look at memory.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    word: u64,
    at: usize,
    end: usize,
}

impl Window {
    /// None when fewer than eight bytes are left.
    #[inline(always)]
    pub fn at(bytes: &[u8], at: usize) -> Option<Window> {
        let word = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        Some(Window { word, at, end: at + size_of::<u64>() })
    }

    #[inline(always)]
    pub fn skip_byte(&mut self) {
        self.word >>= 8;
        self.at += 1;
    }

    /// The next varint, not yet unfolded from zigzag; None when it is longer than two bytes. What is read behind the eight bytes means
    /// nothing: [`Window::finish`] tells.
    #[inline(always)]
    pub fn short(&mut self) -> Option<u32> {
        let word = self.word;
        if word & 0x80 == 0 {
            self.skip_byte();
            return Some(word as u32 & 0x7f);
        }
        if word & 0x8000 != 0 {
            return None;
        }
        self.word >>= 16;
        self.at += 2;
        Some((word as u32 & 0x7f) | ((word as u32 & 0x7f00) >> 1))
    }

    /// Where the next byte lies, if everything that was read lay in the window.
    #[inline(always)]
    pub fn finish(self) -> Option<usize> {
        (self.at <= self.end).then_some(self.at)
    }
}

/// The number that zigzag folded into `value`.
#[inline(always)]
pub fn unfold(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

pub fn write_i32(to: &mut Vec<u8>, value: i32) {
    write_unsigned(to, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

pub fn write_i64(to: &mut Vec<u8>, value: i64) {
    write_unsigned(to, ((value << 1) ^ (value >> 63)) as u64);
}

/// Unsigned, as the flexible messages of control records use it.
pub fn write_unsigned(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Bytes [`write_i32`] will take.
pub fn length_i32(value: i32) -> usize {
    length_unsigned(u64::from(((value << 1) ^ (value >> 31)) as u32))
}

/// Bytes [`write_i64`] will take.
pub fn length_i64(value: i64) -> usize {
    length_unsigned(((value << 1) ^ (value >> 63)) as u64)
}

fn length_unsigned(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is written is read back, in the announced number of bytes.
        #[test]
        fn round_trip(small in any::<i32>(), large in any::<i64>()) {
            let mut bytes = Vec::new();
            write_i32(&mut bytes, small);
            prop_assert_eq!(bytes.len(), length_i32(small));
            write_i64(&mut bytes, large);
            prop_assert_eq!(bytes.len(), length_i32(small) + length_i64(large));
            let mut at = 0;
            prop_assert_eq!(read_i32(&bytes, &mut at), Some(small));
            prop_assert_eq!(read_i64(&bytes, &mut at), Some(large));
            prop_assert_eq!(at, bytes.len());
        }

        /// Short varints come from a window as they do one by one; what is longer, or behind it, does not come at all.
        #[test]
        fn windows(bytes in proptest::collection::vec(prop_oneof![0..0x80u8, any::<u8>()], 0..12)) {
            let (mut at, mut window) = (0, Window::at(&bytes, 0));
            prop_assert_eq!(window.is_some(), bytes.len() >= 8);
            while let Some(inside) = &mut window {
                let Some(value) = inside.short() else { break };
                let Some(until) = inside.finish() else { break };
                prop_assert_eq!(Some(unfold(value)), read_i32(&bytes, &mut at));
                prop_assert_eq!(at, until);
            }
        }

        /// Any bytes at all give a number or None, never a panic.
        #[test]
        fn garbage(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = read_i32(&bytes, &mut 0);
            let _ = read_i64(&bytes, &mut 0);
        }
    }

    /// An endless varint stops at its width.
    #[test]
    fn too_long() {
        assert_eq!(read_i32(&[0xff; 6], &mut 0), None);
        assert_eq!(read_i64(&[0xff; 11], &mut 0), None);
    }
}
