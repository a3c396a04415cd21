//! The JSON of `curlew status --json`. Fields are only ever added in step with its promise in
//! the design; what is not known is null.

use serde::Serialize;

/// The whole object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct StatusReport {
    pub(super) volume: String,
    pub(super) role: Option<String>,
    pub(super) epoch: Option<u16>,
    pub(super) seq: Option<u64>,
    /// The leader's id.
    pub(super) leader: Option<u64>,
    pub(super) nodes: Vec<NodeReport>,
    pub(super) digest: Option<String>,
    /// The last backup of the metadata; null if there was none.
    pub(super) backup: Option<BackupReport>,
}

/// The last backup of a volume's metadata.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct BackupReport {
    /// When it was finished: RFC 3339 in UTC, by the cluster's clock.
    pub(super) time: String,
    /// The volume's state that is in it.
    pub(super) epoch: u16,
    pub(super) seq: u64,
    /// Its name in the volume's bucket.
    pub(super) name: String,
    /// Its length in bytes.
    pub(super) bytes: u64,
}

/// One metadata node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct NodeReport {
    /// Null if no node answers that knows the members.
    pub(super) id: Option<u64>,
    /// As the node says, or `unreachable`.
    pub(super) state: String,
    /// The last log index that the node has applied.
    pub(super) applied: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(report: &StatusReport) -> String {
        serde_json::to_string(report).expect("JSON")
    }

    #[test]
    fn the_shape_of_status_json_is_frozen() {
        let report = StatusReport {
            volume: "v".into(),
            role: Some("origin".into()),
            epoch: Some(0),
            seq: Some(41),
            leader: Some(2),
            nodes: vec![
                NodeReport {
                    id: Some(1),
                    state: "unreachable".into(),
                    applied: None,
                },
                NodeReport {
                    id: Some(2),
                    state: "leader".into(),
                    applied: Some(77),
                },
            ],
            digest: Some("00ff".into()),
            backup: Some(BackupReport {
                time: "2026-11-23T09:00:00.000000000Z".into(),
                epoch: 0,
                seq: 40,
                name: "dump-2026-11-23-090000-0-40.dump".into(),
                bytes: 12,
            }),
        };
        assert_eq!(
            text(&report),
            "{\"volume\":\"v\",\"role\":\"origin\",\"epoch\":0,\"seq\":41,\"leader\":2,\"nodes\":[\
             {\"id\":1,\"state\":\"unreachable\",\"applied\":null},\
             {\"id\":2,\"state\":\"leader\",\"applied\":77}],\"digest\":\"00ff\",\"backup\":{\
             \"time\":\"2026-11-23T09:00:00.000000000Z\",\"epoch\":0,\"seq\":40,\
             \"name\":\"dump-2026-11-23-090000-0-40.dump\",\"bytes\":12}}"
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let report = StatusReport {
            volume: "v".into(),
            role: None,
            epoch: None,
            seq: None,
            leader: None,
            nodes: vec![],
            digest: None,
            backup: None,
        };
        assert_eq!(
            text(&report),
            "{\"volume\":\"v\",\"role\":null,\"epoch\":null,\"seq\":null,\"leader\":null,\
             \"nodes\":[],\"digest\":null,\"backup\":null}"
        );
    }
}
