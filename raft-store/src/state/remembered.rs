//! Rows that the thread which changes the state has read lately.
//!
//! Every command reads the same few rows: its cluster's, its volume's and its session's. A database
//! takes about a microsecond for each of them, a map a tenth of that.

use meta_core::kv::{Family, KvRead, See, Visit, Writes};
use meta_core::outcome::Fatal;
use std::cell::RefCell;
use std::collections::HashMap;

/// Rows kept; with more it begins afresh.
const ROWS_MAX: usize = 4096;
/// A longer row is not kept.
const ROW_BYTES_MAX: usize = 1024;

/// What the database has under some keys, `None` for no row. Only who writes to the database may have
/// one, because it must hear of every write.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    rows: RefCell<HashMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl Remembered {
    /// Forgets all: the rows were replaced.
    pub(crate) fn forget(&self) {
        self.rows.borrow_mut().clear();
    }

    /// Takes in writes that the database is about to get. If it does not, the store is poisoned, and
    /// nothing is read any more.
    pub(crate) fn note(&self, writes: &Writes) {
        let mut rows = self.rows.borrow_mut();
        for ((family, key), value) in writes {
            if *family != Family::State {
                continue;
            }
            let Some(known) = rows.get_mut(key) else {
                continue;
            };
            match (known, value) {
                (Some(known), Some(value)) if value.len() <= ROW_BYTES_MAX => {
                    known.clone_from(value);
                }
                // What came or went is seldom asked for again.
                _ => {
                    rows.remove(key);
                }
            }
        }
    }

    fn keep(&self, key: Vec<u8>, row: Option<Vec<u8>>) {
        if row.as_ref().is_some_and(|row| row.len() > ROW_BYTES_MAX) {
            return;
        }
        let mut rows = self.rows.borrow_mut();
        if rows.len() >= ROWS_MAX {
            rows.clear();
        }
        rows.insert(key, row);
    }

    /// A database through this memory.
    pub(crate) fn over<'a>(&'a self, rows: &'a dyn KvRead) -> Remembering<'a> {
        Remembering { memory: self, rows }
    }
}

/// Reads what is remembered, and remembers what it reads.
#[derive(Clone, Copy)]
pub(crate) struct Remembering<'a> {
    memory: &'a Remembered,
    rows: &'a dyn KvRead,
}

impl KvRead for Remembering<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        if family != Family::State {
            return self.rows.get(family, key);
        }
        if let Some(known) = self.memory.rows.borrow().get(key) {
            return Ok(known.clone());
        }
        let found = self.rows.get(family, key)?;
        self.memory.keep(key.to_vec(), found.clone());
        Ok(found)
    }

    fn show(&self, family: Family, key: &[u8], see: &mut See<'_>) -> Result<(), Fatal> {
        if family == Family::State
            && let Some(known) = self.memory.rows.borrow().get(key)
        {
            see(known.as_deref());
            return Ok(());
        }
        see(self.get(family, key)?.as_deref());
        Ok(())
    }

    fn prefetch(&self, mut keys: Vec<Vec<u8>>) -> Result<(), Fatal> {
        {
            let rows = self.memory.rows.borrow();
            keys.retain(|key| !rows.contains_key(key));
        }
        keys.truncate(ROWS_MAX);
        let found = self.rows.get_many(Family::State, &keys)?;
        for (key, row) in keys.into_iter().zip(found) {
            self.memory.keep(key, row);
        }
        Ok(())
    }

    fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), Fatal> {
        self.rows.scan(family, begin, end, visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::kv::MemKv;
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    /// Whatever is read and written in whatever order, the memory says what the rows say.
    #[test]
    fn a_memory_that_hears_of_all_writes_says_what_the_rows_say() {
        let mut rng = StdRng::seed_from_u64(11);
        let mut rows = MemKv::default();
        let memory = Remembered::default();
        let mut remembered = 0;
        for _ in 0..20_000 {
            let mut writes = Writes::new();
            for _ in 0..rng.random_range(0..4) {
                let family = [Family::State, Family::Changelog][rng.random_range(0..2)];
                let key = rng.random_range(0..9_000_u16).to_be_bytes().to_vec();
                let long = [3, ROW_BYTES_MAX + 1][usize::from(rng.random_bool(0.1))];
                let value = rng.random_bool(0.7).then(|| vec![rng.random(); long]);
                writes.insert((family, key), value);
            }
            memory.note(&writes);
            rows.write(writes);
            let over = memory.over(&rows);
            let some = (0..rng.random_range(0..20)).map(|_| rng.random_range(0..9_000_u16));
            let some: Vec<Vec<u8>> = some.map(|key| key.to_be_bytes().to_vec()).collect();
            over.prefetch(some).unwrap();
            for _ in 0..4 {
                let family = [Family::State, Family::Changelog][rng.random_range(0..2)];
                let key = rng.random_range(0..9_000_u16).to_be_bytes();
                remembered += usize::from(memory.rows.borrow().contains_key(&key[..]));
                let (said, is) = (over.get(family, &key), rows.get(family, &key));
                let is = is.unwrap();
                assert_eq!(said.unwrap(), is);
                let mut shown = None;
                let see = &mut |row: Option<&[u8]>| shown = row.map(<[u8]>::to_vec);
                over.show(family, &key, see).unwrap();
                assert_eq!(shown, is);
            }
            assert!(memory.rows.borrow().len() <= ROWS_MAX);
        }
        assert!(remembered > 1_000, "{remembered}");
        memory.forget();
        assert!(memory.rows.borrow().is_empty());
    }
}
