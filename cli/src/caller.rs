//! Who runs a command.

use anyhow::{Result, anyhow};
use fs_client::mount::Ids;
use meta_core::attr::Caller;

/// On whose behalf the cluster is asked: a command does and tells no more than its user may.
pub(crate) fn caller() -> Caller {
    // More groups than the kernel tells cannot be; without them the caller may do less.
    let groups = rustix::process::getgroups().unwrap_or_default();
    Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: groups
            .into_iter()
            .map(rustix::process::Gid::as_raw)
            .collect(),
    }
}

/// The same on a mount, which may take its user for somebody else: nobody does more by a command than
/// through the mount that it is given.
pub(crate) fn caller_on(options: &serde_json::Value) -> Result<Caller> {
    taken_for(caller(), options)
}

fn taken_for(caller: Caller, options: &serde_json::Value) -> Result<Caller> {
    let said = |field: &str| options.get(field).and_then(serde_json::Value::as_str);
    let root = said("root_squash").filter(|_| caller.is_root());
    let Some(ids) = said("all_squash").or(root) else {
        return Ok(caller);
    };
    let ids = ids.parse::<Ids>().map_err(|why| anyhow!("{ids}: {why}"))?;
    let (Ids { uid, gid }, groups) = (ids, Vec::new());
    Ok(Caller { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mount_says_whom_its_users_are_taken_for() {
        let user = |uid: u32| Caller {
            uid,
            gid: uid,
            groups: vec![9],
        };
        let of = |uid, options| taken_for(user(uid), &options).expect("ids");
        let squashed = Caller {
            uid: 7,
            gid: 8,
            groups: Vec::new(),
        };
        let root = || json!({"root_squash": "7:8", "all_squash": null});
        let all = || json!({"root_squash": null, "all_squash": "7:8"});
        assert_eq!(of(0, root()), squashed);
        assert_eq!(of(5, root()), user(5));
        assert_eq!((of(0, all()), of(5, all())), (squashed.clone(), squashed));
        assert_eq!(of(0, json!({})), user(0));
        assert!(taken_for(user(0), &json!({"all_squash": "x"})).is_err());
    }
}
