//! Callers who are taken for somebody else.

use std::fmt;
use std::str::FromStr;

/// A user with a group, and with no other groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl FromStr for Ids {
    type Err = &'static str;

    /// Reads `UID:GID`. The user 0 is none that one is taken for, and the last number of each is no id.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
        let read = text.split_once(':');
        let read = read.and_then(|(uid, gid)| Some((number(uid)?, number(gid)?)));
        match read {
            Some((0, _)) => Err("nobody is taken for root"),
            Some((uid, gid)) => Ok(Self { uid, gid }),
            None => Err("it is UID:GID, two numbers"),
        }
    }
}

/// Whose requests are made as somebody else's. The engine checks them by those ids, and what they make
/// belongs to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Squash {
    /// Nobody's: each caller is who it is.
    #[default]
    Nobody,
    /// Those of the user 0.
    Root(Ids),
    /// Everybody's.
    All(Ids),
}

impl Squash {
    /// Whom this user is taken for, if not for itself.
    pub(super) fn of(self, uid: u32) -> Option<Ids> {
        match self {
            Self::Root(ids) if uid == 0 => Some(ids),
            Self::All(ids) => Some(ids),
            Self::Nobody | Self::Root(_) => None,
        }
    }

    /// Whether the kernel can check permissions before the engine does. It knows callers by their own
    /// ids: root it lets pass, whom the engine then refuses; but it would refuse others what the user
    /// that all are taken for may do.
    pub(crate) fn kernel_checks(self) -> bool {
        !matches!(self, Self::All(_))
    }

    /// Whether the kernel may keep names. Whoever it lets pass through a directory that it knows
    /// somebody else may pass is not asked about, so each way is to be asked for.
    pub(super) fn keeps_names(self) -> bool {
        self == Self::Nobody
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_a_group_are_two_numbers_and_never_root() {
        let ids: Ids = "65534:100".parse().expect("ids");
        assert_eq!(
            ids,
            Ids {
                uid: 65_534,
                gid: 100
            }
        );
        assert_eq!(ids.to_string(), "65534:100");
        for wrong in [
            "",
            "1",
            "1:",
            "1:2:3",
            "0:1",
            "nobody:nogroup",
            "-1:1",
            "4294967295:1",
        ] {
            assert!(wrong.parse::<Ids>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn root_or_all_are_taken_for_somebody_else() {
        let ids = Ids { uid: 7, gid: 8 };
        assert_eq!(Squash::Nobody.of(0), None);
        assert_eq!(
            (Squash::Root(ids).of(0), Squash::Root(ids).of(1)),
            (Some(ids), None)
        );
        assert_eq!(
            (Squash::All(ids).of(0), Squash::All(ids).of(1)),
            (Some(ids), Some(ids))
        );
    }
}
