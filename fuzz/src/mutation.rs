//! Random changes of inputs, for where no fuzzer guides them.

use rand::Rng;

/// Numbers that lie on borders.
const BORDERS: [u64; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, u64::MAX];

/// Changes an input a few times; `other` is another one, to take pieces from.
pub fn mutate(rng: &mut impl Rng, bytes: &mut Vec<u8>, other: &[u8], bytes_max: usize) {
    for _ in 0..rng.random_range(1..=8) {
        once(rng, bytes, other);
    }
    bytes.truncate(bytes_max);
}

fn once(rng: &mut impl Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = rng.random_range(0..=bytes.len());
    let count = rng.random_range(1..=16);
    let end = (at + count).min(bytes.len());
    match rng.random_range(0..7) {
        0 if rng.random_ratio(1, 10) => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let again = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, again));
        }
        3 => {
            let from = rng.random_range(0..=other.len());
            let piece = &other[from..(from + count * 4).min(other.len())];
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
        4 => {
            let number = BORDERS[rng.random_range(0..BORDERS.len())].to_le_bytes();
            let width = 1 << rng.random_range(0..4);
            for (to, from) in bytes[at..].iter_mut().zip(&number[..width]) {
                *to = *from;
            }
        }
        5 => bytes.insert(at, rng.random()),
        _ => flip(rng, bytes),
    }
}

fn flip(rng: &mut impl Rng, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8);
    }
}
