//! What the leader of a mirror knows beside the replicated state: what it heard from the origin.

use meta_core::ids::{Seq, VolumeId};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A mirror that heard of its origin so lately knows how far it is.
const FRESH: Duration = Duration::from_secs(1);

/// What is known of one mirror.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The origin's newest record, and when it was heard of.
    origin: Option<(Seq, Instant)>,
    /// When the mirror was last seen to have everything.
    complete: Option<Instant>,
    /// Why there is no stream.
    trouble: String,
}

/// What is said of one mirror.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Heard {
    /// The origin's newest record, as far as was heard.
    pub(crate) origin: Option<Seq>,
    /// How long ago that was.
    pub(crate) ago: Option<Duration>,
    /// How long records may have been missing: zero if none are.
    pub(crate) lag: Option<Duration>,
    /// Why there is no stream; empty if there is one.
    pub(crate) trouble: String,
}

/// What is known of all mirrors. It is forgotten with the leadership.
#[derive(Debug, Default)]
pub(crate) struct MirrorBoard {
    known: Mutex<BTreeMap<VolumeId, Known>>,
}

impl MirrorBoard {
    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.known.lock().clear();
    }

    /// The origin said how far it is, while this side had applied so much.
    pub(super) fn heard(&self, volume: VolumeId, origin: Seq, applied: Seq, now: Instant) {
        let mut known = self.known.lock();
        let known = known.entry(volume).or_default();
        known.origin = Some((origin, now));
        if applied >= origin {
            known.complete = Some(now);
        }
    }

    /// This side has applied so much.
    pub(super) fn applied(&self, volume: VolumeId, applied: Seq) {
        let mut known = self.known.lock();
        let known = known.entry(volume).or_default();
        if let Some((origin, heard)) = known.origin
            && applied >= origin
        {
            known.complete = Some(heard);
        }
    }

    /// There is no stream, and why; empty words say that there is one.
    pub(super) fn trouble(&self, volume: VolumeId, trouble: impl Into<String>) {
        self.known.lock().entry(volume).or_default().trouble = trouble.into();
    }

    /// What is known of a mirror that has applied so much.
    pub(crate) fn get(&self, volume: VolumeId, applied: Seq, now: Instant) -> Heard {
        let known = self.known.lock();
        let Some(known) = known.get(&volume) else {
            return Heard::default();
        };
        let since = |at: Instant| now.saturating_duration_since(at);
        let ago = known.origin.map(|(_, at)| since(at));
        let complete = known.origin.is_some_and(|(origin, _)| applied >= origin);
        let lag = if complete && ago.is_some_and(|ago| ago < FRESH) {
            Some(Duration::ZERO)
        } else {
            known.complete.map(since)
        };
        Heard {
            origin: known.origin.map(|(origin, _)| origin),
            ago,
            lag,
            trouble: known.trouble.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: VolumeId = VolumeId(1);

    #[test]
    fn the_lag_counts_from_when_everything_was_there() {
        let board = MirrorBoard::default();
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        assert_eq!(board.get(VOLUME, Seq(0), begin), Heard::default());
        board.heard(VOLUME, Seq(5), Seq(5), begin);
        let heard = board.get(VOLUME, Seq(5), at(10));
        assert_eq!(heard.lag, Some(Duration::ZERO));
        board.heard(VOLUME, Seq(9), Seq(5), at(200));
        let heard = board.get(VOLUME, Seq(5), at(300));
        assert_eq!(heard.lag, Some(Duration::from_millis(300)));
        assert_eq!(heard.origin, Some(Seq(9)));
        board.applied(VOLUME, Seq(9));
        let heard = board.get(VOLUME, Seq(9), at(300));
        assert_eq!(heard.lag, Some(Duration::ZERO));
        // Without word from the origin nobody knows what is missing.
        let heard = board.get(VOLUME, Seq(9), at(5300));
        assert_eq!(heard.lag, Some(Duration::from_millis(5100)));
    }
}
