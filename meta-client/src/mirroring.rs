//! An origin and one of its mirrors, side by side: making the mirror, and comparing the two.

use crate::changelog::{Changelog, ChangelogError, RowsHash, RowsRange};
use crate::cluster::Cluster;
use crate::error::{ClientError, Failure};
use crate::url::MetaUrl;
use meta_core::command::CreateMirror;
use meta_core::ids::{Seq, VolumeId};
use meta_core::key::FIRST_LOCAL_TAG;
use meta_core::outcome::Token;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Rows compared by one pair of hashes, before a difference is looked for more closely.
const ROWS_PER_HASH: u64 = 65_536;
/// Differences told; beyond them it is enough to know that there are more.
const DIFFERENCES_MAX: usize = 32;

/// What each side keeps of the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MirrorInfo {
    /// The mirror's name.
    pub name: String,
    /// The origin's URL.
    pub origin: String,
    /// The mirror's URL.
    pub mirror: String,
}

/// An origin and a mirror.
#[derive(Debug)]
pub struct Mirroring {
    origin_url: MetaUrl,
    mirror_url: MetaUrl,
    origin: Cluster,
    mirror: Cluster,
}

/// A row that is not the same on both sides, or a range with one that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The range's end: table tag and key.
    pub through: Vec<u8>,
    /// Rows of the range at the origin.
    pub origin_rows: u64,
    /// Rows of the range at the mirror.
    pub mirror_rows: u64,
}

/// What a comparison found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The mark that both were compared at.
    pub mark: Token,
    /// Rows compared.
    pub rows: u64,
    /// The sum of their hashes at the origin, which is its digest at the mark.
    pub digest: u128,
    /// Whether the digest that each side stores is the one that its rows have: origin, mirror.
    pub digests_hold: (bool, bool),
    /// What differs; empty if the two agree.
    pub differences: Vec<Difference>,
}

impl Verified {
    /// Whether both sides hold the same rows, and each stores the digest that they have.
    pub fn agrees(&self) -> bool {
        self.differences.is_empty() && self.digests_hold == (true, true)
    }
}

impl Mirroring {
    /// Connects to both sides. Each call later is tried for `retry_for`.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if one of them does not answer.
    pub async fn connect(
        origin_url: &MetaUrl,
        mirror_url: &MetaUrl,
        retry_for: Duration,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            origin: Cluster::connect(&origin_url.addrs, retry_for).await?,
            mirror: Cluster::connect(&mirror_url.addrs, retry_for).await?,
            origin_url: origin_url.clone(),
            mirror_url: mirror_url.clone(),
        })
    }

    /// The origin.
    pub fn origin(&self) -> &Cluster {
        &self.origin
    }

    /// The mirror.
    pub fn mirror(&self) -> &Cluster {
        &self.mirror
    }

    /// Makes the mirror, which begins to load and then to follow, and tells the origin of it. Done
    /// again it changes nothing.
    ///
    /// # Errors
    /// [`meta_core::outcome::Refusal::VolumeExists`] if the mirror's cluster has another volume of
    /// that name, and [`Failure::BadRequest`] if the origin knows another mirror by this one's.
    pub async fn add(&self, name: &str) -> Result<(), ClientError> {
        let volume = self.origin.find_volume(&self.origin_url.volume).await?;
        let is_known = self.refuse_taken(volume.id, name).await?;
        let (head, _stream) = Changelog::new(&self.origin_url)
            .follow(Seq(0), false)
            .await
            .map_err(of_changelog)?;
        let info = MirrorInfo {
            name: name.to_owned(),
            origin: self.origin_url.to_string(),
            mirror: self.mirror_url.to_string(),
        };
        let info = serde_json::to_vec(&info)
            .map_err(|error| Failure::BadRequest(format!("the URLs do not fit JSON: {error}")))?;
        let create = CreateMirror {
            name: self.mirror_url.volume.clone(),
            uuid: volume.uuid,
            origin: head.cluster,
            storage: volume.storage.clone(),
            info: info.clone(),
        };
        // Known first, so that the origin waits for it with what only later versions read.
        self.origin.note_follower(volume.id, name, info).await?;
        match self.mirror.create_mirror(create).await {
            Ok(_) => Ok(()),
            Err(ClientError::Refused(refusal)) if !is_known => {
                self.origin
                    .note_follower(volume.id, name, Vec::new())
                    .await?;
                Err(refusal.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the origin knows this mirror by its name.
    async fn refuse_taken(&self, volume: VolumeId, name: &str) -> Result<bool, ClientError> {
        let followers = self.origin.followers(volume).await?;
        let Some((_, info)) = followers.iter().find(|(known, _)| known == name) else {
            return Ok(false);
        };
        // What cannot be read is written anew.
        match serde_json::from_slice::<MirrorInfo>(info) {
            Ok(info) if info.mirror != self.mirror_url.to_string() => {
                Err(Failure::BadRequest(format!(
                    "a mirror called `{name}` is at {}: choose another name",
                    info.mirror
                ))
                .into())
            }
            _ => Ok(true),
        }
    }

    /// Compares all rows of both sides as they are at one mark.
    ///
    /// # Errors
    /// [`Failure::Behind`] if the mirror does not get to the mark in time, and
    /// [`ClientError::Failed`] if the rows as of the mark are not kept long enough.
    pub async fn verify(&self) -> Result<Verified, ClientError> {
        let origin = self.origin.find_volume(&self.origin_url.volume).await?;
        let mirror = self.mirror.find_volume(&self.mirror_url.volume).await?;
        let mark = self.origin.mark(origin.id).await?;
        self.reach(mirror.id, mark).await?;
        let mut comparison = Comparison {
            origin: Changelog::new(&self.origin_url),
            mirror: Changelog::new(&self.mirror_url),
            found: Verified {
                mark,
                rows: 0,
                digest: 0,
                digests_hold: (false, false),
                differences: Vec::new(),
            },
        };
        comparison.run().await?;
        Ok(comparison.found)
    }

    /// Waits until the mirror has applied `token`.
    ///
    /// # Errors
    /// [`Failure::Behind`] if it does not within the time of this connection.
    pub async fn reach(&self, volume: VolumeId, token: Token) -> Result<(), ClientError> {
        self.mirror.reach(volume, token).await.map(|_stat| ())
    }
}

struct Comparison {
    origin: Changelog,
    mirror: Changelog,
    found: Verified,
}

impl Comparison {
    /// Hashes ranges that the origin cuts, and looks closer where they differ.
    async fn run(&mut self) -> Result<(), ClientError> {
        let mut after = Vec::new();
        let mut mirror_sum = 0_u128;
        loop {
            let end = vec![FIRST_LOCAL_TAG];
            let at_origin = hash(&self.origin, self.range(&after, &end, ROWS_PER_HASH)).await?;
            let through = at_origin.through.clone();
            let at_mirror = hash(&self.mirror, self.range(&after, &through, u64::MAX)).await?;
            self.found.rows += at_origin.rows;
            self.found.digest = self.found.digest.wrapping_add(at_origin.hash);
            mirror_sum = mirror_sum.wrapping_add(at_mirror.hash);
            if !same(&at_origin, &at_mirror) {
                self.narrow(after, through.clone(), at_origin.rows).await?;
            }
            if at_origin.end {
                self.found.digests_hold = (
                    at_origin.digest == self.found.digest,
                    at_mirror.digest == mirror_sum,
                );
                return Ok(());
            }
            if self.found.differences.len() >= DIFFERENCES_MAX {
                return Ok(());
            }
            after = through;
        }
    }

    /// Halves a range that differs until single rows of the origin are left.
    async fn narrow(
        &mut self,
        after: Vec<u8>,
        through: Vec<u8>,
        rows: u64,
    ) -> Result<(), ClientError> {
        let mut open = vec![(after, through, rows)];
        while let Some((after, through, rows)) = open.pop() {
            if self.found.differences.len() >= DIFFERENCES_MAX {
                return Ok(());
            }
            if rows <= 1 {
                let at_mirror = hash(&self.mirror, self.range(&after, &through, u64::MAX)).await?;
                self.found.differences.push(Difference {
                    through,
                    origin_rows: rows,
                    mirror_rows: at_mirror.rows,
                });
                continue;
            }
            let first = hash(&self.origin, self.range(&after, &through, rows / 2)).await?;
            let middle = first.through.clone();
            let parts = [(after, middle.clone()), (middle, through)];
            for (after, through) in parts.into_iter().rev() {
                let range = self.range(&after, &through, u64::MAX);
                let at_origin = hash(&self.origin, range.clone()).await?;
                let at_mirror = hash(&self.mirror, range).await?;
                if !same(&at_origin, &at_mirror) {
                    open.push((after, through, at_origin.rows));
                }
            }
        }
        Ok(())
    }

    fn range(&self, after: &[u8], through: &[u8], rows_max: u64) -> RowsRange {
        RowsRange {
            mark: self.found.mark,
            after: after.to_vec(),
            through: through.to_vec(),
            rows_max,
        }
    }
}

fn same(one: &RowsHash, other: &RowsHash) -> bool {
    (one.rows, one.hash, &one.through) == (other.rows, other.hash, &other.through)
}

async fn hash(side: &Changelog, range: RowsRange) -> Result<RowsHash, ClientError> {
    let found = side.hash_rows(&range).await.map_err(of_changelog)?;
    found.ok_or_else(|| {
        let why = "the rows as of the mark are not kept any more: compare again".to_owned();
        Failure::TimedOut(why).into()
    })
}

fn of_changelog(error: ChangelogError) -> ClientError {
    match error {
        ChangelogError::Failed(failure) => failure.into(),
        other => Failure::BadReply(other.to_string()).into(),
    }
}
