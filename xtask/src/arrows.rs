//! Which room may depend on which, and what none of its dependencies may be. This is the one list;
//! ARCHITECTURE.md tells it to people.

use cargo_metadata::{DependencyKind, Metadata};
use std::collections::{BTreeMap, BTreeSet};

/// A crate of ours.
struct Room {
    name: &'static str,
    /// Ours that it may depend on.
    may: &'static [&'static str],
    /// What it must not name itself, though it may come with something it names.
    not_itself: &'static [&'static str],
    /// What it must not reach, itself or through others.
    never: &'static [&'static str],
}

const OBJECT_STORAGE: &str = "aws-sdk-s3";

const ROOMS: &[Room] = &[
    Room {
        name: "meta-core",
        may: &[],
        not_itself: &[],
        never: &[
            "tokio",
            "tonic",
            "prost",
            "openraft",
            "rocksdb",
            "libc",
            "rustix",
            "nix",
            "rand",
            "getrandom",
            "uuid",
            "chrono",
            "time",
        ],
    },
    Room {
        name: "proto",
        may: &["meta-core"],
        not_itself: &[],
        never: &["openraft", "rocksdb"],
    },
    Room {
        name: "raft-store",
        may: &["meta-core"],
        not_itself: &[],
        never: &["proto", "tonic", "chunk-store", "fuser", OBJECT_STORAGE],
    },
    Room {
        name: "meta-server",
        may: &["meta-core", "proto", "raft-store", "meta-client"],
        not_itself: &["bincode"],
        never: &["chunk-store", "fs-client", "fuser", OBJECT_STORAGE],
    },
    Room {
        name: "meta-client",
        may: &["meta-core", "proto"],
        not_itself: &[],
        never: &["rocksdb", "openraft", "fuser"],
    },
    Room {
        name: "chunk-store",
        may: &["meta-core", "proto"],
        not_itself: &[],
        never: &["meta-client", "rocksdb", "openraft", "fuser"],
    },
    Room {
        name: "fs-client",
        may: &["meta-core", "meta-client", "chunk-store"],
        not_itself: &["proto", "prost", "tonic"],
        never: &["rocksdb", "openraft"],
    },
    Room {
        name: "cli",
        may: &["fs-client", "meta-client", "chunk-store", "meta-core"],
        not_itself: &["proto", "prost", "tonic", "fuser"],
        never: &["rocksdb", "openraft"],
    },
    Room {
        name: "disk-faults",
        may: &[],
        not_itself: &[],
        // It is loaded into other programs: whatever it brings could change what they do.
        never: &["tokio", "serde", "rustix", "tracing", "anyhow"],
    },
    Room {
        name: "jepsen",
        may: &["meta-client", "proto"],
        not_itself: &[],
        never: &["rocksdb", "openraft"],
    },
    Room {
        name: "fuzz",
        may: &["meta-core", "proto", "raft-store", "meta-client"],
        not_itself: &[],
        never: &["fuser", OBJECT_STORAGE],
    },
    Room {
        name: "sim",
        may: &["meta-server", "meta-client", "raft-store", "meta-core"],
        not_itself: &[],
        never: &["fuser"],
    },
    Room {
        name: "bench",
        may: &[
            "meta-core",
            "proto",
            "raft-store",
            "meta-server",
            "meta-client",
            "chunk-store",
            "fs-client",
            "jepsen",
        ],
        not_itself: &[],
        never: &[],
    },
    Room {
        name: "xtask",
        may: &[],
        not_itself: &[],
        never: &["tokio", "rocksdb", "openraft"],
    },
];

/// Packages and what each of them names, by name: two versions of one package are one here.
#[derive(Default)]
struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

/// Arrows that the table does not have, and rooms that ARCHITECTURE.md does not tell.
pub(crate) fn check(metadata: &Metadata, architecture: &str) -> Vec<String> {
    let graph = Graph::of(metadata);
    let mut found = graph.problems(ROOMS);
    for member in &graph.members {
        if !architecture.contains(&format!("| `{member}` |")) {
            found.push(format!("ARCHITECTURE.md: has no row for {member}"));
        }
    }
    found
}

impl Graph {
    fn of(metadata: &Metadata) -> Self {
        let members = metadata.workspace_packages().into_iter();
        let mut graph = Self {
            members: members.map(|package| package.name.to_string()).collect(),
            edges: BTreeMap::new(),
        };
        let names: BTreeMap<_, _> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package.name.to_string()))
            .collect();
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        for node in nodes {
            // A test may use what the room itself must not, and a build script does not ship.
            let shipped = node.deps.iter().filter(|dep| {
                let mut kinds = dep.dep_kinds.iter();
                kinds.any(|kind| kind.kind == DependencyKind::Normal)
            });
            let named = shipped.filter_map(|dep| names.get(&dep.pkg).cloned());
            let from = names.get(&node.id).cloned().unwrap_or_default();
            graph.edges.entry(from).or_default().extend(named);
        }
        graph
    }

    fn problems(&self, rooms: &[Room]) -> Vec<String> {
        let mut found = Vec::new();
        for member in &self.members {
            let Some(room) = rooms.iter().find(|room| room.name == member) else {
                found.push(format!(
                    "{member} is in no table of rooms: see xtask/src/arrows.rs"
                ));
                continue;
            };
            for named in self.edges.get(member).into_iter().flatten() {
                let foreign = self.members.contains(named) && !room.may.contains(&named.as_str());
                if foreign || room.not_itself.contains(&named.as_str()) {
                    found.push(format!("{member} must not depend on {named}"));
                }
            }
            found.extend(self.reached(room));
        }
        found
    }

    /// What a room must not reach, with the way to it.
    fn reached(&self, room: &Room) -> Vec<String> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut waiting = vec![room.name];
        let mut found = Vec::new();
        while let Some(from) = waiting.pop() {
            for next in self.edges.get(from).into_iter().flatten() {
                if next == room.name || came_from.contains_key(next.as_str()) {
                    continue;
                }
                came_from.insert(next, from);
                waiting.push(next);
                if room.never.contains(&next.as_str()) {
                    let way = way(next, &came_from);
                    found.push(format!("{} must not reach {next}: {way}", room.name));
                }
            }
        }
        found
    }
}

fn way(to: &str, came_from: &BTreeMap<&str, &str>) -> String {
    let mut steps = vec![to];
    let mut at = to;
    while let Some(from) = came_from.get(at) {
        steps.push(from);
        at = from;
    }
    steps.reverse();
    steps.join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Room] = &[
        Room {
            name: "low",
            may: &[],
            not_itself: &[],
            never: &["disk"],
        },
        Room {
            name: "high",
            may: &["low"],
            not_itself: &["wire"],
            never: &["disk"],
        },
    ];

    fn problems(edges: &[(&str, &str)]) -> Vec<String> {
        let mut graph = Graph::default();
        graph.members.extend(["low".to_owned(), "high".to_owned()]);
        for (from, to) in edges {
            let edges = graph.edges.entry((*from).to_owned()).or_default();
            edges.insert((*to).to_owned());
        }
        graph.problems(TABLE)
    }

    #[test]
    fn arrows_of_the_table_are_fine() {
        let edges = [("high", "low"), ("low", "bytes"), ("bytes", "wire")];
        assert_eq!(problems(&edges), [""; 0]);
    }

    #[test]
    fn an_arrow_against_the_table_is_found() {
        assert_eq!(
            problems(&[("low", "high")]),
            ["low must not depend on high"]
        );
        assert_eq!(
            problems(&[("high", "wire")]),
            ["high must not depend on wire"]
        );
    }

    #[test]
    fn what_is_forbidden_is_found_through_others() {
        let edges = [("low", "a"), ("a", "b"), ("b", "disk"), ("b", "a")];
        assert_eq!(
            problems(&edges),
            ["low must not reach disk: low -> a -> b -> disk"]
        );
    }

    #[test]
    fn a_room_that_nobody_entered_is_found() {
        let mut graph = Graph::default();
        graph.members.insert("new".to_owned());
        assert_eq!(graph.problems(TABLE).len(), 1);
    }

    #[test]
    fn the_table_points_downwards_only() {
        for (index, room) in ROOMS.iter().enumerate() {
            for name in room.may {
                let at = ROOMS.iter().position(|room| room.name == *name);
                // The server takes the client in for its mirror role.
                let exempt = room.name == "meta-server" && *name == "meta-client";
                assert!(exempt || at.is_some_and(|at| at < index), "{name}");
            }
        }
    }
}
