//! A look at the data of a node that does not run: every row and every record is read.

use crate::config::NodeConfig;
use meta_core::codec::Codec as _;
use meta_core::ids::{Seq, VolumeId};
use meta_core::kv::KvRead;
use meta_core::outcome::Fatal;
use meta_core::read::{self, VolumeSummary};
use proto::ProstCodec;
use raft_store::StoreError;
use std::sync::Arc;

/// Records read at once.
const RECORDS: usize = 4096;
/// Problems told of one volume.
const PROBLEMS_MAX: usize = 100;

/// What was found in one volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The volume's name.
    pub name: String,
    /// Its last change, as far as this node has applied.
    pub seq: Seq,
    /// The digest of its rows, as hex.
    pub digest: String,
    /// Retained records.
    pub records: u64,
    /// What does not hold; empty if all is well.
    pub problems: Vec<String>,
}

/// Checks the store of a node: rows against their crcs, the rules between them and the digest;
/// records against their crcs and their chain. Memory is proportional to the largest volume.
///
/// # Errors
/// [`StoreError`] if the store is in use, or too damaged to be read.
pub fn check(config: &NodeConfig) -> Result<Vec<Checked>, StoreError> {
    let options = raft_store::StoreOptions::new(config.data_dir.clone());
    let store = raft_store::open(&options, Arc::new(ProstCodec))?;
    let checked = store.reader.with_view(|view| {
        let volumes = read::summary(view)?.into_iter();
        volumes.map(|volume| check_volume(view, volume)).collect()
    });
    checked
        .and_then(|checked| checked)
        .map_err(StoreError::from)
}

fn check_volume(view: &impl KvRead, volume: VolumeSummary) -> Result<Checked, Fatal> {
    let mut problems = meta_core::check::check(view, volume.id)?;
    let records = check_chain(view, volume.id, volume.changelog_first, &mut problems)?;
    problems.truncate(PROBLEMS_MAX);
    Ok(Checked {
        name: volume.name,
        seq: volume.token.seq,
        digest: format!("{:032x}", volume.digest),
        records,
        problems,
    })
}

/// Reads all records, and says how many there are.
fn check_chain(
    view: &impl KvRead,
    volume: VolumeId,
    first: Seq,
    problems: &mut Vec<String>,
) -> Result<u64, Fatal> {
    let (mut next, mut count) = (first, 0);
    let mut previous = None;
    loop {
        let page = read::records(view, volume, next, RECORDS)?;
        if page.is_empty() {
            return Ok(count);
        }
        for (seq, sealed) in page {
            let record = ProstCodec.decode_record(&sealed.body)?;
            if record.seq != seq {
                problems.push(format!("record {seq} says that it is {}", record.seq));
            }
            if previous.is_some_and(|crc| crc != record.previous_crc) {
                problems.push(format!("record {seq} does not chain to the one before"));
            }
            previous = Some(sealed.crc);
            next = Seq(seq.0 + 1);
            count += 1;
        }
    }
}
