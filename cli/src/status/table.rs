//! `curlew status` for people.

use super::gather::{NodeSight, Sight, VolumeSight};
use crate::duration;
use crate::output::{bytes, plain, table};
use crate::when::rfc3339;
use meta_core::query::SessionInfo;
use meta_core::task::{Backup, BackupStatus};
use std::fmt::Write as _;

/// Hexadecimal digits of a digest that are shown per node.
const DIGEST_SHOWN: usize = 12;

/// The whole picture.
pub(super) fn render(sight: &Sight) -> String {
    let mut text = String::new();
    fact(&mut text, "Volume", &sight.url.volume);
    if let Ok(volume) = &sight.volume {
        facts(&mut text, sight, volume);
    }
    if let Some(mirror) = sight.mirror() {
        let lag = mirror.lag_ms.map(|ms| format!(", {ms} ms behind"));
        let state = plain(&mirror.state) + &lag.unwrap_or_default();
        fact(&mut text, "Mirror", &state);
    }
    let leader = sight
        .leader()
        .map_or("none".into(), |leader| format!("node {}", leader.node_id));
    fact(&mut text, "Leader", &leader);
    text.push_str("\nMetadata nodes\n");
    let header = [
        "ID", "STATE", "ADDRESS", "APPLIED", "CHANGE", "DIGEST", "FREE", "VERSION",
    ];
    let rows: Vec<_> = sight
        .nodes
        .iter()
        .map(|node| node_row(sight, node))
        .collect();
    text.push_str(&table(&header, &rows));
    if let Ok(volume) = &sight.volume {
        text.push_str("\nSessions\n");
        let rows: Vec<_> = volume.sessions.iter().map(session_row).collect();
        text.push_str(&table(&["ID", "SINCE", "WHO"], &rows));
    }
    text
}

fn fact(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "{name:<22}{value}");
}

fn facts(text: &mut String, sight: &Sight, volume: &VolumeSight) {
    let (info, stat) = (&volume.info, &volume.stat);
    fact(text, "UUID", &info.uuid.to_string());
    fact(
        text,
        "Role",
        &plain(sight.role().as_deref().unwrap_or("unknown")),
    );
    fact(
        text,
        "Epoch, change",
        &format!("{}, {}", stat.token.epoch, stat.token.seq),
    );
    fact(text, "Digest", &plain(&stat.digest));
    fact(
        text,
        "Files",
        &format!("{} ({} without a name)", stat.inodes, stat.orphans),
    );
    fact(text, "Size of files", &bytes(stat.bytes));
    if let Some(trash) = stat.trash {
        fact(
            text,
            "In the trash",
            &format!(
                "{} files, {}, kept for {}",
                trash.inodes,
                bytes(trash.bytes),
                duration::days_text(trash.seconds)
            ),
        );
    }
    fact(
        text,
        "Pending delete",
        &format!(
            "{} in {} slices",
            bytes(stat.pending_delete_bytes),
            stat.pending_delete_slices
        ),
    );
    fact(
        text,
        "Changelog",
        &format!(
            "{}, from change {}",
            bytes(stat.changelog_bytes),
            stat.changelog_first
        ),
    );
    // A mirror's backups are its origin's.
    if sight.mirror().is_none() {
        fact(text, "Last backup", &last_backup(&volume.backup));
    }
    fact(text, "Block size", &bytes(info.block_bytes.into()));
    fact(
        text,
        "Object store",
        &plain(&String::from_utf8_lossy(&info.storage)),
    );
}

fn last_backup(status: &BackupStatus) -> String {
    let mut text = match &status.last {
        None => "none".to_owned(),
        Some(Backup { finished, made }) => format!(
            "{}, change {}:{}, {} ({})",
            rfc3339(*finished),
            made.token.epoch,
            made.token.seq,
            plain(&made.name),
            bytes(made.bytes)
        ),
    };
    if let Some(at_work) = status.at_work {
        // Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "; session {} makes one since {}",
            at_work.session,
            rfc3339(at_work.since)
        );
    }
    text
}

fn node_row(sight: &Sight, node: &NodeSight) -> Vec<String> {
    let unknown = || "-".to_owned();
    let id = node.id.map_or_else(unknown, |id| id.to_string());
    let mut row = vec![id, plain(node.state()), plain(&node.addr)];
    let Ok(status) = &node.status else {
        row.extend(std::iter::repeat_with(unknown).take(5));
        return row;
    };
    let copy = status
        .volumes
        .iter()
        .find(|volume| volume.name == sight.url.volume);
    row.push(status.applied_index.to_string());
    row.push(copy.map_or_else(unknown, |copy| copy.seq.to_string()));
    row.push(copy.map_or_else(unknown, |copy| {
        plain(&copy.digest.chars().take(DIGEST_SHOWN).collect::<String>())
    }));
    row.push(bytes(status.free_bytes));
    row.push(plain(&status.version));
    row
}

fn session_row(session: &SessionInfo) -> Vec<String> {
    vec![
        session.id.to_string(),
        rfc3339(session.opened),
        who(&session.info),
    ]
}

/// `key=value` pairs of a session's own description.
fn who(info: &[u8]) -> String {
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(info) {
        Ok(fields) => {
            let words = fields.iter().map(|(key, value)| match value.as_str() {
                Some(value) => format!("{key}={value}"),
                None => format!("{key}={value}"),
            });
            plain(&words.collect::<Vec<_>>().join(" "))
        }
        Err(_not_an_object) => plain(&String::from_utf8_lossy(info)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_backup_is_told_or_that_there_is_none() {
        use meta_core::attr::Timestamp;
        use meta_core::ids::{Epoch, Seq, SessionId};
        use meta_core::outcome::Token;
        use meta_core::task::{AtWork, NewBackup};
        let mut status = BackupStatus::default();
        assert_eq!(last_backup(&status), "none");
        let finished = Timestamp {
            seconds: 1_795_424_400,
            nanos: 0,
        };
        let made = NewBackup {
            token: Token {
                epoch: Epoch(1),
                seq: Seq(77),
            },
            bytes: 4096,
            name: "dump-x\n".to_owned(),
        };
        status.last = Some(Backup { finished, made });
        let text = last_backup(&status);
        assert!(text.starts_with("2026-11-23T09:00:00"), "{text}");
        assert!(text.contains("change 1:77, dump-x? ("), "{text}");
        status.at_work = Some(AtWork {
            session: SessionId(9),
            since: finished,
        });
        let text = last_backup(&status);
        assert!(text.contains("session 9 makes one since 2026"), "{text}");
    }

    #[test]
    fn a_session_says_who_it_is() {
        assert_eq!(who(b"{\"host\":\"h\",\"pid\":7}"), "host=h pid=7");
        assert_eq!(who(b"not json\n"), "not json?");
        assert_eq!(who(b"{\"host\":\"\\u001b[2J\"}"), "host=?[2J");
    }
}
