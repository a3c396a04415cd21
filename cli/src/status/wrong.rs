//! What is wrong with a cluster and a volume, in sentences that say what to do.

use super::gather::{NodeSight, Sight};
use crate::output;
use meta_client::{MirrorStatus, NodeStatus};
use std::collections::BTreeMap;

/// All that is wrong.
pub(super) fn list(sight: &Sight) -> Vec<String> {
    let mut wrong: Vec<String> = sight.nodes.iter().filter_map(of_node).collect();
    if sight.leader().is_none() {
        wrong.push(
            "no node leads: the volume takes no requests until more than half of the nodes are \
             up and reach each other"
                .into(),
        );
    }
    if let Err(why) = &sight.volume {
        wrong.push(why.clone());
    }
    wrong.extend(sight.leader().and_then(of_members));
    wrong.extend(sight.mirror().and_then(of_mirror));
    wrong.extend(diverged(sight));
    wrong
}

fn of_node(node: &NodeSight) -> Option<String> {
    let name = node.id.map_or_else(
        || node.addr.clone(),
        |id| format!("node {id} ({})", node.addr),
    );
    match &node.status {
        Err(why) => Some(format!("{name} does not answer: {}", output::plain(why))),
        Ok(status) if status.state == "poisoned" => Some(format!(
            "{name} has stopped taking part because its store failed: read its log, and replace \
             its disk or its data"
        )),
        Ok(status) if !status.initialised => Some(format!(
            "{name} belongs to no cluster: `curlew-meta init` makes a new one, `join` takes it into \
             one, and `replace` takes it back if it has lost its data"
        )),
        Ok(status) if status.free_bytes < status.reserve_bytes => Some(format!(
            "{name} has {} left, below its reserve of {}: new data is refused until space is \
             freed there",
            output::bytes(status.free_bytes),
            output::bytes(status.reserve_bytes)
        )),
        Ok(_fine) => None,
    }
}

fn of_members(leader: &NodeStatus) -> Option<String> {
    leader.changing_members.then(|| {
        "a change of the cluster's members was begun and has not ended: run it again".to_owned()
    })
}

fn of_mirror(mirror: &MirrorStatus) -> Option<String> {
    let state = output::plain(&mirror.state);
    if mirror.stopped {
        return Some(match mirror.stopped_at {
            0 => format!(
                "the mirror has {state}, while it was loading: make another with `curlew mirror add`"
            ),
            seq => format!(
                "the mirror has {state}, at record {seq}: make another with `curlew mirror add`"
            ),
        });
    }
    if !mirror.trouble.is_empty() {
        let why = output::plain(&mirror.trouble);
        return Some(format!("the mirror hears nothing of its origin: {why}"));
    }
    (!mirror.following).then(|| format!("the mirror is {state}: it is not read until it follows"))
}

/// Copies that have applied the same changes must have the same digest.
fn diverged(sight: &Sight) -> Option<String> {
    let mut digests: BTreeMap<_, Vec<(u64, &str)>> = BTreeMap::new();
    for status in sight
        .nodes
        .iter()
        .filter_map(|node| node.status.as_ref().ok())
    {
        for volume in status
            .volumes
            .iter()
            .filter(|volume| volume.name == sight.url.volume)
        {
            let at = digests.entry((volume.epoch, volume.seq)).or_default();
            at.push((status.node_id, &volume.digest));
        }
    }
    let ((_epoch, seq), nodes) = digests.into_iter().find(|(_at, nodes)| {
        nodes
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a.1 != b.1))
    })?;
    let nodes: Vec<String> = nodes
        .iter()
        .map(|(id, digest)| format!("{id}: {digest}"))
        .collect();
    Some(format!(
        "the nodes' copies of the volume differ at change {seq} ({}): one of them is damaged; \
         back up, then compare them",
        nodes.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_wrong_unless_it_follows_undisturbed() {
        let mirror = |state: &str, following, stopped, trouble: &str| MirrorStatus {
            state: state.into(),
            following,
            stopped,
            trouble: trouble.into(),
            ..MirrorStatus::default()
        };
        let words = |mirror: MirrorStatus| of_mirror(&mirror).unwrap_or_default();
        assert_eq!(words(mirror("following", true, false, "")), "");
        let stopped = words(mirror("stopped: gap", false, true, "cut"));
        assert!(stopped.contains("stopped: gap"), "{stopped}");
        assert!(words(mirror("following", true, false, "refused")).contains("refused"));
        assert!(words(mirror("loading", false, false, "")).contains("loading"));
    }
}
