//! An ordered map from bytes to bytes: the only thing that the state machine knows of storage.
//!
//! [`KvRead`] is what a store offers, [`MemKv`] its twin in memory, and [`Overlay`] a set of
//! pending writes over either, through which a command reads what it has just written.

use crate::outcome::Fatal;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Which of the two ordered maps of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// Rows.
    State,
    /// Changelog records.
    Changelog,
}

/// What a scan calls for each row; `Break` ends the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// What is shown the value of a key.
pub type See<'a> = dyn FnMut(Option<&[u8]>) + 'a;

/// A consistent view of the two maps.
pub trait KvRead {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`Fatal::Store`] if the store cannot be read.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal>;

    /// Shows the value of `key`, without a copy where there is one in memory.
    ///
    /// # Errors
    /// [`Fatal::Store`] if the store cannot be read.
    fn show(&self, family: Family, key: &[u8], see: &mut See<'_>) -> Result<(), Fatal> {
        see(self.get(family, key)?.as_deref());
        Ok(())
    }

    /// The values of many keys, in their order.
    ///
    /// # Errors
    /// [`Fatal::Store`] if the store cannot be read.
    fn get_many(&self, family: Family, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Fatal> {
        keys.iter().map(|key| self.get(family, key)).collect()
    }

    /// Says which rows will be asked for one by one, to whoever reads many at once for less.
    ///
    /// # Errors
    /// [`Fatal::Store`] if the store cannot be read.
    fn prefetch(&self, _keys: Vec<Vec<u8>>) -> Result<(), Fatal> {
        Ok(())
    }

    /// Calls `visit` for the rows with `begin <= key < end`, in key order.
    ///
    /// # Errors
    /// [`Fatal::Store`] if the store cannot be read.
    fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), Fatal>;
}

impl<K: KvRead + ?Sized> KvRead for &K {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        (**self).get(family, key)
    }

    fn show(&self, family: Family, key: &[u8], see: &mut See<'_>) -> Result<(), Fatal> {
        (**self).show(family, key, see)
    }

    fn get_many(&self, family: Family, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, Fatal> {
        (**self).get_many(family, keys)
    }

    fn prefetch(&self, keys: Vec<Vec<u8>>) -> Result<(), Fatal> {
        (**self).prefetch(keys)
    }

    fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), Fatal> {
        (**self).scan(family, begin, end, visit)
    }
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The two maps in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemKv {
    state: Rows,
    changelog: Rows,
}

impl MemKv {
    /// The rows of one map.
    pub fn rows(&self, family: Family) -> &Rows {
        match family {
            Family::State => &self.state,
            Family::Changelog => &self.changelog,
        }
    }

    fn rows_mut(&mut self, family: Family) -> &mut Rows {
        match family {
            Family::State => &mut self.state,
            Family::Changelog => &mut self.changelog,
        }
    }

    /// Takes in a set of writes.
    pub fn write(&mut self, writes: Writes) {
        for ((family, key), value) in writes {
            match value {
                Some(value) => self.rows_mut(family).insert(key, value),
                None => self.rows_mut(family).remove(&key),
            };
        }
    }
}

impl KvRead for MemKv {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        Ok(self.rows(family).get(key).cloned())
    }

    fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), Fatal> {
        if begin >= end {
            return Ok(());
        }
        let range = (Bound::Included(begin), Bound::Excluded(end));
        for (key, value) in self.rows(family).range::<[u8], _>(range) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Writes by family and key; `None` deletes.
pub type Writes = BTreeMap<(Family, Vec<u8>), Option<Vec<u8>>>;

/// A key of [`Writes`] that need not be owned to be looked up.
trait Place {
    fn place(&self) -> (Family, &[u8]);
}

impl Place for (Family, Vec<u8>) {
    fn place(&self) -> (Family, &[u8]) {
        (self.0, &self.1)
    }
}

impl Place for (Family, &[u8]) {
    fn place(&self) -> (Family, &[u8]) {
        *self
    }
}

impl<'a> Borrow<dyn Place + 'a> for (Family, Vec<u8>) {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

/// Pending writes over a base.
#[derive(Clone, Debug)]
pub struct Overlay<B> {
    base: B,
    writes: Writes,
}

impl<B: KvRead> Overlay<B> {
    /// No writes yet.
    pub fn new(base: B) -> Self {
        Self {
            base,
            writes: Writes::new(),
        }
    }

    /// Sets a row.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert((family, key), Some(value));
    }

    /// Removes a row, which need not exist.
    pub fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.writes.insert((family, key), None);
    }

    /// What is under the writes.
    pub fn base(&self) -> &B {
        &self.base
    }

    /// The writes so far.
    pub fn writes(&self) -> &Writes {
        &self.writes
    }

    /// Gives the writes away.
    pub fn into_writes(self) -> Writes {
        self.writes
    }

    /// Takes in the writes of an overlay that lay over this one.
    pub fn absorb(&mut self, writes: Writes) {
        self.writes.extend(writes);
    }
}

impl<B: KvRead> KvRead for Overlay<B> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        let place: &dyn Place = &(family, key);
        match self.writes.get(place) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(family, key),
        }
    }

    fn show(&self, family: Family, key: &[u8], see: &mut See<'_>) -> Result<(), Fatal> {
        let place: &dyn Place = &(family, key);
        match self.writes.get(place) {
            Some(value) => see(value.as_deref()),
            None => return self.base.show(family, key, see),
        }
        Ok(())
    }

    fn prefetch(&self, keys: Vec<Vec<u8>>) -> Result<(), Fatal> {
        self.base.prefetch(keys)
    }

    fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), Fatal> {
        if begin >= end {
            return Ok(());
        }
        let range: (Bound<&dyn Place>, Bound<&dyn Place>) = (
            Bound::Included(&(family, begin)),
            Bound::Excluded(&(family, end)),
        );
        let mut pending = self.writes.range::<dyn Place, _>(range).peekable();
        let mut ended = false;
        self.base.scan(family, begin, end, &mut |key, value| {
            // Writes before this key come first; a write at this key replaces it.
            while let Some(((_, own), new)) = pending.next_if(|((_, own), _)| own.as_slice() <= key)
            {
                let replaces = own.as_slice() == key;
                if let Some(new) = new
                    && visit(own, new).is_break()
                {
                    ended = true;
                    return ControlFlow::Break(());
                }
                if replaces {
                    return ControlFlow::Continue(());
                }
            }
            let flow = visit(key, value);
            ended = flow.is_break();
            flow
        })?;
        if ended {
            return Ok(());
        }
        for ((_, own), new) in pending {
            if let Some(new) = new
                && visit(own, new).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}
