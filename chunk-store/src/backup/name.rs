//! Names of backups.

use meta_core::attr::Timestamp;
use meta_core::calendar::Civil;
use meta_core::ids::{Epoch, Seq, VolumeUuid};
use meta_core::outcome::Token;
use std::fmt;

/// The latest year that fits a name.
const YEAR_MAX: i64 = 9999;

/// A backup's name in its volume's bucket: `dump-YYYY-MM-DD-HHMMSS-{epoch}-{seq}.dump`, in UTC, below
/// `{volume uuid}/meta/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackupName {
    taken: Timestamp,
    token: Token,
}

impl BackupName {
    /// The name of a backup of the volume's state at `token` that was begun at `taken`, of which whole
    /// seconds count; `None` for years that have not four digits.
    pub fn new(taken: Timestamp, token: Token) -> Option<Self> {
        let taken = Timestamp { nanos: 0, ..taken };
        let year = Civil::of(taken).year;
        (0..=YEAR_MAX)
            .contains(&year)
            .then_some(Self { taken, token })
    }

    /// Reads a name; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text
            .strip_prefix("dump-")?
            .strip_suffix(".dump")?
            .split('-');
        let mut number = |digits: usize| {
            let part = parts.next()?;
            let fits = digits == 0 || part.len() == digits;
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            (fits && plain).then(|| part.parse::<u64>().ok()).flatten()
        };
        let (year, month, day) = (number(4)?, number(2)?, number(2)?);
        let time = number(6)?;
        let (epoch, seq) = (number(0)?, number(0)?);
        let small = |number: u64| i64::try_from(number).ok();
        let date = Civil {
            year: small(year)?,
            month: small(month)?,
            day: small(day)?,
            hour: small(time / 10_000)?,
            minute: small(time / 100 % 100)?,
            second: small(time % 100)?,
        };
        let token = Token {
            epoch: Epoch(u16::try_from(epoch).ok()?),
            seq: Seq(seq),
        };
        let name = Self::new(date.time()?, token)?;
        // Whatever is left over, or was written in another way, is of somebody else.
        (name.to_string() == text).then_some(name)
    }

    /// When it was begun, by the clock of the volume's leader.
    pub fn taken(&self) -> Timestamp {
        self.taken
    }

    /// The volume's state that is in it.
    pub fn token(&self) -> Token {
        self.token
    }

    /// What sorts backups from the oldest to the newest: the volume's history, then the clock.
    pub fn age(&self) -> (Token, Timestamp) {
        (self.token, self.taken)
    }

    /// The object that it is.
    pub fn key(&self, volume: VolumeUuid) -> String {
        format!("{}{self}", Self::prefix(volume))
    }

    /// What the keys of a volume's backups begin with. No block's key does: those go on with an epoch.
    pub fn prefix(volume: VolumeUuid) -> String {
        format!("{volume}/meta/")
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Civil::of(self.taken);
        write!(f, "dump-{:04}-{:02}-{:02}-", at.year, at.month, at.day)?;
        write!(f, "{:02}{:02}{:02}-", at.hour, at.minute, at.second)?;
        write!(f, "{}-{}.dump", self.token.epoch, self.token.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::check_key;
    use meta_core::ids::Uuid;
    use proptest::prelude::*;

    fn name(seconds: i64, epoch: u16, seq: u64) -> Option<BackupName> {
        let token = Token {
            epoch: Epoch(epoch),
            seq: Seq(seq),
        };
        BackupName::new(Timestamp { seconds, nanos: 9 }, token)
    }

    #[test]
    fn backup_keys_are_frozen() {
        let name = name(1_795_424_400, 2, 4_005_006).expect("a name");
        assert_eq!(name.to_string(), "dump-2026-11-23-090000-2-4005006.dump");
        let key = name.key(Uuid([0xab; 16]));
        let expected =
            "abababab-abab-abab-abab-abababababab/meta/dump-2026-11-23-090000-2-4005006.dump";
        assert_eq!(key, expected);
        assert_eq!(check_key(&key), Ok(()));
        assert_eq!(BackupName::parse(&name.to_string()), Some(name));
        assert_eq!(name.taken().nanos, 0);
    }

    #[test]
    fn what_is_not_written_so_is_no_backup() {
        for other in [
            "",
            "dump-",
            "dump-.dump",
            "dump-2026-11-23-090000-2.dump",
            "dump-2026-11-23-090000-2-4-5.dump",
            "dump-2026-11-23-090000-2-4.dump.gz",
            "dump-2026-11-23-090000-02-4.dump",
            "dump-2026-11-23-090000-+2-4.dump",
            "dump-2026-11-23-090000-65536-4.dump",
            "dump-2026-11-23-90000-2-4.dump",
            "dump-2026-11-31-090000-2-4.dump",
            "dump-2026-11-23-246060-2-4.dump",
            "dump-2026-11-23-090000-2-99999999999999999999.dump",
            "dump-2026-11-23-090000.json.gz",
        ] {
            assert_eq!(BackupName::parse(other), None, "{other}");
        }
        assert_eq!(name(253_402_300_800, 0, 0), None, "the year 10000");
        assert_eq!(name(i64::MIN, 0, 0), None);
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in ".*") {
            if let Some(name) = BackupName::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn every_name_is_read_back(
            seconds in 0..253_402_300_799_i64,
            epoch: u16,
            seq: u64,
            cut in 0..60_usize,
        ) {
            let name = name(seconds, epoch, seq).expect("four digits");
            let text = name.to_string();
            prop_assert_eq!(BackupName::parse(&text), Some(name));
            let cut = text.get(..cut.min(text.len() - 1)).expect("ASCII");
            prop_assert_eq!(BackupName::parse(cut), None);
        }
    }
}
