//! Complete lists, read page by page.

use crate::failure::Failure;
use crate::node::Core;
use meta_core::ids::{SessionId, VolumeId};
use meta_core::query::{Answer, QueryBody, SessionInfo, VolumeInfo};
use std::sync::Arc;

const PAGE: u32 = 1024;

/// All volumes of the cluster.
pub(super) async fn volumes(core: &Arc<Core>) -> Result<Vec<VolumeInfo>, Failure> {
    let mut all: Vec<VolumeInfo> = Vec::new();
    loop {
        let after = all.last().map_or(VolumeId::CLUSTER, |volume| volume.id);
        let body = QueryBody::Volumes {
            after,
            count_max: PAGE,
        };
        let Answer::Volumes(page) = core.ask(VolumeId::CLUSTER, body).await? else {
            return Err(unexpected("volumes"));
        };
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// The volumes that are written here: a mirror's files are tidied up by its origin.
pub(super) async fn origins(core: &Arc<Core>) -> Result<Vec<VolumeInfo>, Failure> {
    let mirrors = crate::mirror::mirrors(core).await?;
    let mut all = volumes(core).await?;
    all.retain(|volume| !mirrors.contains(&volume.id));
    Ok(all)
}

/// All sessions of a volume, or of the cluster.
pub(crate) async fn sessions(
    core: &Arc<Core>,
    volume: VolumeId,
) -> Result<Vec<SessionInfo>, Failure> {
    let mut all: Vec<SessionInfo> = Vec::new();
    loop {
        let after = all.last().map_or(SessionId(0), |session| session.id);
        let body = QueryBody::Sessions {
            after,
            count_max: PAGE,
        };
        let Answer::Sessions(page) = core.ask(volume, body).await? else {
            return Err(unexpected("sessions"));
        };
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

pub(super) fn unexpected(what: &str) -> Failure {
    Failure::unavailable(format!(
        "the answer to a listing of {what} is of another kind"
    ))
}
