//! The inputs of a target in seeds/, replayed without a fuzzer: each as it is, cut short, and with some bytes changed, the same
//! ones each time. `cargo fuzz run TARGET corpus/TARGET seeds/TARGET` begins with them.

use std::fs;
use std::path::Path;

const CHANGES: usize = 150;

/// SplitMix64.
fn draw(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) as usize
}

fn changed(input: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=draw(state) % 3 {
        if bytes.is_empty() {
            break;
        }
        let at = draw(state) % bytes.len();
        match draw(state) % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << (draw(state) % 8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][draw(state) % 5],
            _ => {
                let end = (at + 4).min(bytes.len());
                bytes[at..end].fill([0, 0xff][draw(state) % 2]);
            }
        }
    }
    bytes
}

pub fn replay(target: &str, mut check: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 4, "{} has few inputs", folder.display());
    let mut state = 1;
    for path in paths {
        let input = fs::read(&path).unwrap();
        check(&input);
        for _ in 0..CHANGES {
            check(&changed(&input, &mut state));
        }
    }
}
