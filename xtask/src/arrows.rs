//! Which room may depend on which, and what none of its dependencies may be.

use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};
use std::collections::{BTreeMap, BTreeSet};

struct Room {
    name: &'static str,
    /// Ours that it may depend on.
    may: &'static [&'static str],
    /// Outside packages that it must not reach, directly or through others.
    never: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    Room {
        name: "meta-core",
        may: &[],
        never: &[
            "tokio", "tonic", "prost", "openraft", "rocksdb", "libc", "rand", "fuser",
        ],
    },
    Room {
        name: "proto",
        may: &["meta-core"],
        never: &["openraft", "rocksdb"],
    },
    Room {
        name: "raft-store",
        may: &["meta-core"],
        never: &["tonic", "fuser", "aws-sdk-s3"],
    },
    Room {
        name: "meta-server",
        may: &["meta-core", "proto", "raft-store", "meta-client"],
        never: &["fuser", "aws-sdk-s3"],
    },
    Room {
        name: "meta-client",
        may: &["meta-core", "proto"],
        never: &["rocksdb", "openraft", "fuser"],
    },
    Room {
        name: "chunk-store",
        may: &["meta-core", "proto"],
        never: &["rocksdb", "fuser"],
    },
    Room {
        name: "fs-client",
        may: &["meta-core", "meta-client", "chunk-store"],
        never: &["rocksdb", "openraft"],
    },
    Room {
        name: "cli",
        may: &["fs-client", "meta-client", "chunk-store", "meta-core"],
        never: &["rocksdb", "openraft"],
    },
    Room {
        name: "jepsen",
        may: &["meta-client", "proto"],
        never: &["rocksdb", "openraft"],
    },
    Room {
        name: "bench",
        may: &["meta-core", "proto", "meta-client", "jepsen"],
        never: &["openraft"],
    },
    Room {
        name: "xtask",
        may: &[],
        never: &[],
    },
];

/// Arrows that the table does not have.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let members: BTreeSet<&str> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut found = Vec::new();
    for package in metadata.workspace_packages() {
        match ROOMS.iter().find(|room| room.name == package.name.as_str()) {
            None => found.push(format!("crate {} is in no table of rooms", package.name)),
            Some(room) => {
                found.extend(direct(room, package, &members));
                found.extend(reached(room, metadata, &package.id));
            }
        }
    }
    found
}

fn direct(room: &Room, package: &Package, members: &BTreeSet<&str>) -> Vec<String> {
    // A test may use a crate that the room itself must not: it does not ship.
    let shipped = package
        .dependencies
        .iter()
        .filter(|d| d.kind != DependencyKind::Development);
    shipped
        .filter(|d| members.contains(d.name.as_str()) && !room.may.contains(&d.name.as_str()))
        .map(|d| format!("{} must not depend on {}", room.name, d.name))
        .collect()
}

fn reached(room: &Room, metadata: &Metadata, from: &PackageId) -> Vec<String> {
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let edges: BTreeMap<&PackageId, Vec<&PackageId>> = nodes
        .map(|node| {
            let normal = node.deps.iter().filter(|dep| {
                dep.dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, normal.map(|dep| &dep.pkg).collect())
        })
        .collect();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![from];
    let mut found = Vec::new();
    while let Some(id) = waiting.pop() {
        for next in edges.get(id).into_iter().flatten().copied() {
            if !seen.insert(next) {
                continue;
            }
            let name = names.get(next).copied().unwrap_or_default();
            if room.never.contains(&name) {
                found.push(format!("{} must not reach {name}", room.name));
            }
            waiting.push(next);
        }
    }
    found
}
