//! Answers queries from one consistent view of the tables.

mod cluster;
mod file;

pub use cluster::{VolumeSummary, is_initialised, records, summary};

use crate::ids::VolumeId;
use crate::kv::KvRead;
use crate::outcome::{Refusal, Stop, Token};
use crate::query::{Answer, Query, QueryBody};
use crate::tables::Tables;

/// Answers one query, with the state it was answered from.
///
/// # Errors
/// [`Stop::Refused`] with the errno-like reason, or [`Stop::Fatal`] if the store is damaged.
pub fn answer<K: KvRead>(view: &K, query: &Query) -> Result<(Token, Answer), Stop> {
    let tables = Tables::new(view, query.volume);
    if query.volume == VolumeId::CLUSTER {
        return Ok((Token::default(), cluster::answer(tables, &query.body)?));
    }
    let head = tables.head()?.ok_or(Refusal::UnknownVolume)?;
    let answer = match &query.body {
        QueryBody::StatVolume => cluster::stat(tables, &head)?,
        QueryBody::Sessions { after, count_max } => cluster::sessions(tables, *after, *count_max)?,
        body => file::answer(tables, &query.caller, body)?,
    };
    Ok((head.token, answer))
}
