//! Which mirrors follow this node's volumes now, and what they read.

use meta_core::ids::{Level, VolumeId};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Mirrors with a stream, by volume and name: the level that each reads, and how many streams it has.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    streams: Mutex<BTreeMap<(VolumeId, String), (Level, usize)>>,
}

/// One stream of one mirror.
#[derive(Debug)]
pub(super) struct FollowerStream<'f> {
    followers: &'f Followers,
    key: (VolumeId, String),
}

impl Followers {
    /// Notes a mirror's stream, until what is given back is dropped. Streams are bounded, and so are these.
    pub(super) fn begin(&self, volume: VolumeId, name: &str, level: u32) -> FollowerStream<'_> {
        let key = (volume, name.to_owned());
        let mut streams = self.streams.lock();
        let (known, count) = streams.entry(key.clone()).or_default();
        *known = Level(level);
        *count += 1;
        drop(streams);
        FollowerStream {
            followers: self,
            key,
        }
    }

    /// The level up to which all of `names` read records, and the first that reads no more; nothing where
    /// there are no names. One that does not follow now reads level 1.
    pub(crate) fn level_read<'n>(
        &self,
        volume: VolumeId,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Option<(Level, &'n str)> {
        let streams = self.streams.lock();
        let read = |name: &'n str| {
            let stream = streams.get(&(volume, name.to_owned()));
            let level = stream.map_or(Level(1), |(reads, _)| (*reads).max(Level(1)));
            (level, name)
        };
        names.into_iter().map(read).min_by_key(|(level, _)| *level)
    }
}

impl Drop for FollowerStream<'_> {
    fn drop(&mut self) {
        let mut streams = self.followers.streams.lock();
        if let Some((_, count)) = streams.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                streams.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mirrors_that_follow_now_read_anything() {
        let followers = Followers::default();
        let volume = VolumeId(1);
        let read = |names: &[&'static str]| followers.level_read(volume, names.iter().copied());
        assert_eq!(read(&[]), None);
        let old = followers.begin(volume, "old", 0);
        let new = followers.begin(volume, "new", 3);
        let middle = followers.begin(volume, "middle", 2);
        assert_eq!(read(&["new"]), Some((Level(3), "new")));
        assert_eq!(read(&["new", "middle"]), Some((Level(2), "middle")));
        assert_eq!(read(&["new", "old"]), Some((Level(1), "old")));
        assert_eq!(read(&["new", "gone"]), Some((Level(1), "gone")));
        let again = followers.begin(volume, "new", 3);
        drop(new);
        assert_eq!(read(&["new"]), Some((Level(3), "new")));
        drop((old, middle, again));
        assert_eq!(read(&["new"]), Some((Level(1), "new")));
        assert!(followers.streams.lock().is_empty());
    }
}
