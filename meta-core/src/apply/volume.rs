//! The cluster and its volumes.

use super::{Done, quota};
use crate::attr::{FileKind, Timestamp};
use crate::codec::Codec;
use crate::command::CreateVolume;
use crate::ids::{ClusterId, DentryNumber, Epoch, Ino, Level, Seq, VolumeId};
use crate::key::{self, Table};
use crate::kv::{Family, KvRead, Overlay, Writes};
use crate::limits::{
    BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, FOLLOWERS_MAX, LEVEL_MAX, MIRROR_INFO_BYTES_MAX,
    STORAGE_BYTES_MAX, VOLUME_NAME_BYTES_MAX, VOLUMES_MAX,
};
use crate::outcome::{Fatal, Outcome, Refusal, Reply, Success, Token};
use crate::row::{Blob, Cluster, EpochOpened, Head, Inode, Row, Settings, VolumeRef};
use crate::tables::Tables;
use crate::txn::{Scope, Txn};

/// The level of a new volume. It stays what it was in the first version, for others of the cluster may be
/// of that version: what makes the volume must have the same effects there.
const CREATED_LEVEL: Level = Level(1);

/// Gives the cluster its identity. Again with the same one is no change.
pub(crate) fn init_cluster(
    stamp: Timestamp,
    id: ClusterId,
    found: Option<Cluster>,
) -> (Writes, Reply) {
    let mut writes = Writes::new();
    let outcome = match found {
        Some(cluster) if cluster.id != id => Outcome::Refused(Refusal::AlreadyInitialised),
        Some(_) => Outcome::Done(Success::Done),
        None => {
            let key = key::single(VolumeId::CLUSTER, Table::Cluster);
            let row = Cluster {
                id,
                next_volume: 1,
                next_session: 1,
                sessions: 0,
            };
            let bytes = row.encode(&key);
            writes.insert((Family::State, key), Some(bytes));
            Outcome::Done(Success::Done)
        }
    };
    (
        writes,
        Reply {
            token: Token::default(),
            stamp,
            outcome,
        },
    )
}

/// Makes a volume; again with the same name and uuid finds it.
pub(crate) fn create<B: KvRead>(
    pending: &Overlay<B>,
    codec: &dyn Codec,
    stamp: Timestamp,
    create: &CreateVolume,
    mut cluster: Cluster,
) -> Result<(Writes, Reply), Fatal> {
    let answer = |outcome| Reply {
        token: Token::default(),
        stamp,
        outcome,
    };
    if let Err(refusal) = check(create) {
        return Ok((Writes::new(), answer(Outcome::Refused(refusal))));
    }
    let name_key = key::volume_name(&create.name);
    let cluster_tables = Tables::new(pending, VolumeId::CLUSTER);
    if let Some(VolumeRef(found)) = cluster_tables.row(&name_key)? {
        let found_tables = cluster_tables.of(found);
        let same = found_tables.mirror()?.is_none() && found_tables.settings()?.uuid == create.uuid;
        let outcome = if same {
            Outcome::Done(Success::Volume(found))
        } else {
            Outcome::Refused(Refusal::VolumeExists)
        };
        return Ok((Writes::new(), answer(outcome)));
    }
    let Some(id) = take_number(&mut cluster) else {
        return Ok((
            Writes::new(),
            answer(Outcome::Refused(Refusal::LimitReached)),
        ));
    };
    let scope = Scope {
        volume: id,
        cluster: cluster.id,
        epoch: Epoch(0),
        stamp,
    };
    let mut txn = Txn::begin_volume(pending, scope);
    fill(&mut txn, create, &cluster);
    txn.put(key::single(VolumeId::CLUSTER, Table::Cluster), &cluster);
    txn.put(name_key, &VolumeRef(id));
    let head = Head {
        changelog_first: Seq(1),
        ..Head::default()
    };
    let (writes, head) = txn.seal(head, codec)?;
    let outcome = Outcome::Done(Success::Volume(id));
    Ok((
        writes,
        Reply {
            token: head.token,
            stamp,
            outcome,
        },
    ))
}

/// The number of a new volume; nothing where there are as many as there may be.
pub(super) fn take_number(cluster: &mut Cluster) -> Option<VolumeId> {
    let id = VolumeId(cluster.next_volume);
    if id.0 > VOLUMES_MAX {
        return None;
    }
    cluster.next_volume += 1;
    Some(id)
}

/// The rows of a new volume.
fn fill<B: KvRead>(txn: &mut Txn<'_, B>, create: &CreateVolume, cluster: &Cluster) {
    let (volume, stamp) = (txn.volume(), txn.stamp());
    let settings = Settings {
        uuid: create.uuid,
        block_bytes: create.block_bytes,
        level: CREATED_LEVEL,
        created: stamp,
        name: create.name.clone(),
    };
    txn.put(key::single(volume, Table::Settings), &settings);
    let opened = EpochOpened {
        cluster: cluster.id,
        last: Seq(0),
    };
    txn.put(key::epoch(volume, Epoch(0)), &opened);
    txn.put(
        key::single(volume, Table::Storage),
        &Blob(create.storage.clone()),
    );
    let root = Inode {
        kind: FileKind::Directory,
        mode: 0o777,
        uid: 0,
        gid: 0,
        rdev: 0,
        nlink: 2,
        length: 0,
        atime: stamp,
        mtime: stamp,
        ctime: stamp,
        parent: Ino::ROOT,
        parent_number: DentryNumber(0),
        next: DentryNumber::FIRST.0,
        btime: None,
        holes: false,
        access_acl: false,
        default_acl: false,
    };
    txn.put_inode(Ino::ROOT, &root);
    let counters = txn.counters();
    counters.next_ino = Ino::ROOT.0 + 1;
    counters.next_slice = 1;
    counters.inodes = 1;
}

/// Whether a text can name a volume or a mirror.
pub(super) fn is_name(name: &str) -> bool {
    let name = name.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let outer = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    (1..=VOLUME_NAME_BYTES_MAX).contains(&name.len())
        && name.iter().all(inner)
        && outer(name.first())
        && outer(name.last())
}

fn check(create: &CreateVolume) -> Result<(), Refusal> {
    let sized = create.block_bytes.is_power_of_two()
        && (BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&create.block_bytes);
    if is_name(&create.name) && sized && create.storage.len() <= STORAGE_BYTES_MAX {
        Ok(())
    } else {
        Err(Refusal::InvalidArgument)
    }
}

/// Raises the level; it never falls.
pub(super) fn raise_level<B: KvRead>(txn: &mut Txn<'_, B>, level: Level) -> Done {
    let mut settings = txn.tables().settings()?;
    if level < settings.level {
        return Err(Refusal::InvalidArgument.into());
    }
    if level > LEVEL_MAX {
        // A newer leader proposed it: to go on without it would be to differ from then on.
        return Err(Fatal::Command(format!("level {level} of a volume")).into());
    }
    settings.level = level;
    if level >= quota::LEVEL {
        quota::begin(txn);
    }
    txn.put(key::single(txn.volume(), Table::Settings), &settings);
    Ok(Success::Done)
}

/// Notes where a mirror of the volume is; without a place it is forgotten.
pub(super) fn note_follower<B: KvRead>(txn: &mut Txn<'_, B>, name: &str, info: &[u8]) -> Done {
    if !is_name(name) || info.len() > MIRROR_INFO_BYTES_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    let row_key = key::follower(txn.volume(), name);
    if info.is_empty() {
        txn.delete(row_key);
        return Ok(Success::Done);
    }
    let prefix = key::Key::new(txn.volume(), Table::Follower).done();
    let known: Vec<(Vec<u8>, Blob)> = txn.tables().rows(&prefix, FOLLOWERS_MAX)?;
    if known.len() == FOLLOWERS_MAX && known.iter().all(|(key, _)| *key != row_key) {
        return Err(Refusal::LimitReached.into());
    }
    txn.put(row_key, &Blob(info.to_vec()));
    Ok(Success::Done)
}
