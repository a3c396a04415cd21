//! Which ways between nodes a fault takes.

use super::fault::Hit;
use crate::cluster::Way;
use rand::Rng as _;
use rand::rngs::StdRng;

/// Some of the ways, and who is hit by that. The first fault of a run takes all ways of the leader.
pub(super) fn some(all: &[Way], hit: &Hit, rng: &mut StdRng) -> (Vec<Way>, Vec<u64>) {
    let is_hit = |id: &u64| hit.victims.contains(id);
    let shape = if hit.first { 0 } else { rng.random_range(0..5) };
    let mut ways = all.to_vec();
    ways.retain(|(from, to)| match shape {
        0 => is_hit(from) || is_hit(to),
        1 => is_hit(from),
        2 => is_hit(to),
        3 => rng.random_bool(0.5),
        _ => true,
    });
    if shape < 3 {
        return (ways, hit.victims.clone());
    }
    let mut nodes: Vec<u64> = ways.iter().flat_map(|(from, to)| [*from, *to]).collect();
    nodes.sort_unstable();
    nodes.dedup();
    (ways, nodes)
}
