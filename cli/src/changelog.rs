//! `curlew changelog`: prints what changed in a volume, record by record.

use crate::exit::Finding;
use crate::when::rfc3339;
use crate::{output, target};
use anyhow::{Context, Result};
use meta_client::{Changelog, ChangelogError, FollowEvent, read_record};
use meta_core::changelog::{Record, RowChange, SealedRecord};
use meta_core::ids::Seq;
use meta_core::key::Table;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// Between two tries to go on with `--follow`.
const PAUSE: Duration = Duration::from_secs(1);

/// Print a volume's changelog, one record per line
#[derive(Debug, clap::Args)]
pub(crate) struct ChangelogArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME, or a directory on a mounted volume
    #[arg(value_name = "META-URL|MOUNTPOINT")]
    target: String,
    /// The first record; the oldest that is retained if not given
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
    /// Go on with the records to come, until interrupted
    #[arg(long)]
    follow: bool,
    /// Print one JSON object per record
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(args: ChangelogArgs) -> Result<Finding> {
    let changelog = Changelog::new(&target::resolve(&args.target)?);
    let mut next = Seq(args.from);
    loop {
        match print(&changelog, &args, &mut next).await {
            Ok(()) => return Ok(Finding::Fine),
            // What was printed is not printed again.
            Err(error) if args.follow && is_passing(&error) => {
                eprintln!("curlew: {error:#}; going on from record {next}");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("to go on: --from {next}"));
            }
        }
    }
}

fn is_passing(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<ChangelogError>(),
        Some(ChangelogError::Failed(_))
    )
}

async fn print(changelog: &Changelog, args: &ChangelogArgs, next: &mut Seq) -> Result<()> {
    let (_head, mut stream) = changelog.follow(*next, args.follow).await?;
    while let Some(event) = stream.next().await? {
        let FollowEvent::Records(records, _last) = event else {
            continue;
        };
        for sealed in records {
            let record = read_record(&sealed)?;
            let line = if args.json {
                serde_json::to_string(&Line::of(&record, &sealed))? + "\n"
            } else {
                text(&record)
            };
            if !output::line_out(&line)? {
                return Ok(());
            }
            *next = Seq(record.seq.0 + 1);
        }
    }
    Ok(())
}

/// A record as JSON. Byte strings are hexadecimal.
#[derive(Debug, Serialize)]
struct Line {
    epoch: u16,
    seq: u64,
    kind: String,
    stamp: String,
    cluster: String,
    volume: String,
    previous_crc: String,
    crc: String,
    changes: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Change {
    table: String,
    key: String,
    /// Null where there was no row.
    old_hash: Option<String>,
    /// Null where there is no row any more.
    new: Option<String>,
}

impl Line {
    fn of(record: &Record, sealed: &SealedRecord) -> Self {
        Self {
            epoch: record.epoch.0,
            seq: record.seq.0,
            kind: kind(record),
            stamp: rfc3339(record.stamp),
            cluster: record.cluster.to_string(),
            volume: record.volume.to_string(),
            previous_crc: format!("{:08x}", record.previous_crc),
            crc: format!("{:08x}", sealed.crc),
            changes: record.changes.iter().map(Change::of).collect(),
        }
    }
}

impl Change {
    fn of(change: &RowChange) -> Self {
        Self {
            table: table(change.table),
            key: hex(&change.key),
            old_hash: change.old_hash.map(|hash| format!("{hash:032x}")),
            new: change.new.as_deref().map(hex),
        }
    }
}

fn text(record: &Record) -> String {
    let mut line = format!(
        "{}:{} {} {}",
        record.epoch,
        record.seq,
        rfc3339(record.stamp),
        kind(record)
    );
    for change in &record.changes {
        let sign = match (&change.old_hash, &change.new) {
            (None, Some(_)) => '+',
            (Some(_), None) => '-',
            _ => '~',
        };
        // Writing to a String cannot fail.
        let _infallible = write!(line, " {sign}{}/{}", table(change.table), hex(&change.key));
    }
    line.push('\n');
    line
}

fn kind(record: &Record) -> String {
    format!("{:?}", record.kind).to_lowercase()
}

fn table(tag: u8) -> String {
    Table::from_tag(tag).map_or_else(
        || format!("table-{tag:02x}"),
        |table| format!("{table:?}").to_lowercase(),
    )
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::Timestamp;
    use meta_core::changelog::RecordKind;
    use meta_core::ids::{Epoch, Level, Uuid};

    #[test]
    fn a_record_is_one_line() {
        let record = Record {
            cluster: Uuid([1; 16]),
            volume: Uuid([2; 16]),
            epoch: Epoch(0),
            seq: Seq(7),
            level: Level(1),
            previous_crc: 9,
            kind: RecordKind::Change,
            stamp: Timestamp::default(),
            changes: vec![RowChange {
                table: Table::Inode as u8,
                key: vec![0, 5],
                old_hash: None,
                new: Some(vec![0xab]),
            }],
        };
        let stamp = rfc3339(Timestamp::default());
        assert_eq!(text(&record), format!("0:7 {stamp} change +inode/0005\n"));
        let sealed = SealedRecord::seal(vec![1]);
        let json = serde_json::to_value(Line::of(&record, &sealed)).expect("JSON");
        assert_eq!(json["seq"], 7);
        assert_eq!(json["changes"][0]["new"], "ab");
        assert_eq!(json["changes"][0]["old_hash"], serde_json::Value::Null);
    }
}
