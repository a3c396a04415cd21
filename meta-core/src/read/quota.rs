//! What files add up to, and may.

use crate::apply::quota::{ALL_COUNTED, chain, own};
use crate::attr::Caller;
use crate::ids::Ino;
use crate::key::{self, Ids};
use crate::kv::KvRead;
use crate::limits::{AMOUNTS_MAX, DEPTH_MAX, LIMITS_PAGE_MAX};
use crate::outcome::{Fatal, Refusal, Stop};
use crate::query::Answer;
use crate::quota::{Amount, Limit, Room, Space, Subject, Usage};
use crate::row::{Blob, Counters, QuotaState, Totals};
use crate::tables::Tables;

/// The state of a volume that has totals.
fn state<K: KvRead>(tables: Tables<'_, K>) -> Result<(Counters, QuotaState), Stop> {
    let counters = tables.counters()?;
    if counters.quota.counted == Ino::default() {
        return Err(Refusal::NotSupported.into());
    }
    Ok((counters, counters.quota))
}

/// Whether files are not in the totals yet that will be.
pub(super) fn is_counting(state: &QuotaState) -> bool {
    let is_going_on = |counted: Ino| counted != Ino::default() && counted != ALL_COUNTED;
    is_going_on(state.counted) || is_going_on(state.owners_counted)
}

/// Whether space may be less than endless anywhere.
pub(super) fn is_limited(state: &QuotaState) -> bool {
    state.limited_directories > 0 || !state.limit.is_none()
}

/// What the whole volume adds up to: directories are not told apart in what its counters say.
fn of_volume(counters: &Counters) -> Amount {
    Amount {
        files: counters.inodes,
        directories: 0,
        bytes: counters.bytes,
    }
}

/// What something adds up to, and may.
pub(super) fn usage<K: KvRead>(
    tables: Tables<'_, K>,
    caller: &Caller,
    subject: Subject,
) -> Result<Usage, Stop> {
    let (counters, state) = state(tables)?;
    let is_allowed = match subject {
        Subject::Volume => true,
        Subject::Directory(ino) => {
            tables.directory(ino)?;
            true
        }
        Subject::User(uid) => caller.is_root() || caller.uid == uid,
        Subject::Group(gid) => caller.is_root() || caller.in_group(gid),
    };
    if !is_allowed {
        return Err(Refusal::NotPermitted.into());
    }
    Ok(usage_of(tables, &counters, &state, subject)?)
}

fn usage_of<K: KvRead>(
    tables: Tables<'_, K>,
    counters: &Counters,
    state: &QuotaState,
    subject: Subject,
) -> Result<Usage, Fatal> {
    let volume = tables.volume();
    let (own_key, counted) = match subject {
        Subject::Volume => {
            return Ok(Usage {
                subject,
                amount: of_volume(counters),
                limit: state.limit,
                is_counted: true,
            });
        }
        Subject::Directory(ino) => (key::directory_totals(volume, ino), state.counted),
        Subject::User(uid) => (key::user_totals(volume, uid), state.owners_counted),
        Subject::Group(gid) => (key::group_totals(volume, gid), state.owners_counted),
    };
    let row: Totals = tables.row(&own_key)?.unwrap_or_default();
    Ok(Usage {
        subject,
        amount: row.amount,
        limit: row.limit,
        is_counted: counted == ALL_COUNTED,
    })
}

/// What some files add up to.
pub(super) fn amounts<K: KvRead>(tables: Tables<'_, K>, inos: &[Ino]) -> Result<Answer, Stop> {
    let (_, state) = state(tables)?;
    if state.counted != ALL_COUNTED {
        return Err(Refusal::BeingCounted.into());
    }
    if inos.len() > AMOUNTS_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    let mut amounts = Vec::with_capacity(inos.len());
    for ino in inos {
        amounts.push(match tables.inode(*ino) {
            Ok(inode) if inode.is_directory() => {
                let row = tables.directory_totals(*ino)?;
                Ok(row.map(|row| row.amount).unwrap_or_default())
            }
            Ok(inode) => Ok(own(&inode)),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Fatal(fatal)) => return Err(fatal.into()),
        });
    }
    Ok(Answer::Amounts(amounts))
}

/// All limits, the volume's first.
pub(super) fn limits<K: KvRead>(
    tables: Tables<'_, K>,
    caller: &Caller,
    after: Option<Subject>,
    count_max: u32,
) -> Result<Answer, Stop> {
    let (counters, state) = state(tables)?;
    if !caller.is_root() {
        return Err(Refusal::NotPermitted.into());
    }
    let volume = tables.volume();
    let count_max = count_max.clamp(1, LIMITS_PAGE_MAX) as usize;
    let mut limits = Vec::new();
    if after.is_none() && !state.limit.is_none() {
        limits.push(usage_of(tables, &counters, &state, Subject::Volume)?);
    }
    let mut begin = key::limited(volume, after.unwrap_or(Subject::Volume));
    begin.push(0);
    let prefix = key::all_limited(volume);
    let marks: Vec<(Vec<u8>, Blob)> =
        tables.rows_from(&begin, &key::prefix_end(&prefix), count_max)?;
    let end = marks.len() < count_max;
    for (mark, _) in marks {
        let subject = subject(mark.get(prefix.len()..).unwrap_or_default())?;
        limits.push(usage_of(tables, &counters, &state, subject)?);
    }
    Ok(Answer::Limits { limits, end })
}

/// What a key of a limit is about, by its last ids.
pub(crate) fn subject(ids: &[u8]) -> Result<Subject, Fatal> {
    let mut ids = Ids(ids);
    let owner = |id: u64| u32::try_from(id).ok();
    let subject = match (ids.u8(), ids.u64()) {
        (Some(key::TOTALS_OF_DIRECTORY), Some(ino)) => Some(Subject::Directory(Ino(ino))),
        (Some(key::TOTALS_OF_USER), Some(uid)) => owner(uid).map(Subject::User),
        (Some(key::TOTALS_OF_GROUP), Some(gid)) => owner(gid).map(Subject::Group),
        _ => None,
    };
    subject.ok_or(Fatal::Invariant("a limit of nothing that has one"))
}

/// How much there is room for at a file's place.
pub(super) fn space<K: KvRead>(tables: Tables<'_, K>, ino: Ino) -> Result<Answer, Stop> {
    let (counters, state) = state(tables)?;
    let mut space = Space::default();
    narrow(&mut space, of_volume(&counters), state.limit);
    let inode = tables.inode(ino)?;
    let from = if inode.is_directory() {
        ino
    } else {
        inode.parent
    };
    if inode.nlink > 0 && state.limited_directories > 0 {
        for ino in chain(tables, from, DEPTH_MAX as usize)? {
            if let Some(row) = tables.directory_totals(ino)? {
                narrow(&mut space, row.amount, row.limit);
            }
        }
    }
    Ok(Answer::Space(space))
}

/// Takes in one more limit: what leaves the least counts.
fn narrow(space: &mut Space, amount: Amount, limit: Limit) {
    let least = |room: &mut Option<Room>, limit: Option<u64>, used: u64| {
        let other = limit.map(|limit| Room { limit, used });
        let known = room.iter().copied().chain(other);
        *room = known.min_by_key(Room::left);
    };
    least(&mut space.bytes, limit.bytes, amount.bytes);
    least(&mut space.inodes, limit.inodes, amount.inodes());
}
