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

    /// The first of `names` that does not follow now, or does not read records of a level.
    pub(crate) fn who_lacks<'n>(
        &self,
        volume: VolumeId,
        level: Level,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Option<&'n str> {
        let streams = self.streams.lock();
        names.into_iter().find(|name| {
            let stream = streams.get(&(volume, (*name).to_owned()));
            stream.is_none_or(|(reads, _)| *reads < level)
        })
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
        let lacks =
            |names: &[&'static str]| followers.who_lacks(volume, Level(2), names.iter().copied());
        assert_eq!(lacks(&[]), None);
        let old = followers.begin(volume, "old", 0);
        let new = followers.begin(volume, "new", 2);
        assert_eq!(lacks(&["new"]), None);
        assert_eq!(lacks(&["new", "old"]), Some("old"));
        assert_eq!(lacks(&["new", "gone"]), Some("gone"));
        let again = followers.begin(volume, "new", 2);
        drop(new);
        assert_eq!(lacks(&["new"]), None);
        drop((old, again));
        assert_eq!(lacks(&["new"]), Some("new"));
        assert!(followers.streams.lock().is_empty());
    }
}
