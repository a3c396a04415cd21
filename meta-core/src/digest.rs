//! The state digest: a sum over all replicated rows that says whether two copies hold the same
//! rows, whatever order they were written in.

use xxhash_rust::xxh3::Xxh3;

/// The hash of one row: xxh3-128 over tag, key length (u32, little-endian), key and value.
pub fn row_hash(table: u8, key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&[table]);
    hasher.update(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.digest128()
}

/// A wrapping sum of [`row_hash`] over a set of rows: rows go in and out in any order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest(pub u128);

impl Digest {
    /// Takes a row in.
    pub fn add(&mut self, hash: u128) {
        self.0 = self.0.wrapping_add(hash);
    }

    /// Takes a row out.
    pub fn remove(&mut self, hash: u128) {
        self.0 = self.0.wrapping_sub(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_rows_come_out_again() {
        let (a, b) = (row_hash(1, b"a", b"x"), row_hash(1, b"b", b"x"));
        assert_ne!(a, b);
        assert_ne!(row_hash(1, b"ab", b"c"), row_hash(1, b"a", b"bc"));
        let mut one = Digest::default();
        one.add(a);
        one.add(b);
        let mut other = Digest::default();
        other.add(b);
        other.add(a);
        assert_eq!(one, other);
        one.remove(a);
        one.remove(b);
        assert_eq!(one, Digest::default());
    }

    #[test]
    fn the_hash_is_frozen() {
        assert_eq!(
            row_hash(2, b"key", b"value"),
            0x9c4251b0aed61c9536fe732484021a89,
            "frozen"
        );
    }
}
