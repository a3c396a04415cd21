//! The Raft log alone: durable appends of a create's size, in files and in the database that it was in before.

use anyhow::{Context, Result};
use clap::Args;
use meta_client::bench::{Sample, cpu_seconds, create_command};
use openraft::entry::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use openraft::type_config::alias::OneshotReceiverOf;
use openraft::vote::leader_id_std::CommittedLeaderId;
use proto::codec::encode_command;
use raft_store::bare::{self, LogKind};
use raft_store::{CommandBytes, Entry, LogId, LogStore, StoreOptions, TypeConfig};
use serde::Serialize;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// Written and purged beforehand, so that files that are used again are.
const WARM_BYTES: usize = 256 << 20;
const WARM_ENTRY_BYTES: usize = 64 << 10;

/// Arguments of `bench log`.
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// Appends in flight at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    in_flight: Vec<u16>,
    /// Rounds, each with all kinds; what is told is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Milliseconds for each
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    ms: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Figure {
    kind: &'static str,
    in_flight: u16,
    ops_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_s_per_1000: f64,
    written_bytes_per_op: f64,
}

#[derive(Debug, Serialize)]
struct Figures {
    figures: Vec<Figure>,
}

const KINDS: [(&str, LogKind); 2] = [("database", LogKind::Database), ("files", LogKind::Files)];

/// Measures them, one after the other, again and again.
pub(crate) async fn run(args: &LogArgs) -> Result<ExitCode> {
    let mut rounds = Vec::new();
    for round in 0..args.rounds as usize {
        let mut figures = Vec::new();
        // Who comes first changes with the round.
        for at in 0..KINDS.len() {
            let (name, kind) = KINDS[(round + at) % KINDS.len()];
            figures.extend(measure(args, name, kind).await?);
        }
        figures.sort_by_key(|figure| (figure.in_flight, figure.kind));
        rounds.push(figures);
    }
    let figures = Figures {
        figures: medians(&rounds),
    };
    if args.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        print!("{}", render(&figures.figures));
    }
    Ok(ExitCode::SUCCESS)
}

/// One number over the rounds, for each figure by itself.
fn medians(rounds: &[Vec<Figure>]) -> Vec<Figure> {
    let Some(first) = rounds.first() else {
        return Vec::new();
    };
    let median = |at: usize, of: &dyn Fn(&Figure) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(|round| of(&round[at])).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let figures = first.iter().enumerate().map(|(at, figure)| Figure {
        ops_per_s: median(at, &|figure| figure.ops_per_s),
        p50_us: median(at, &|figure| figure.p50_us),
        p99_us: median(at, &|figure| figure.p99_us),
        cpu_s_per_1000: median(at, &|figure| figure.cpu_s_per_1000),
        written_bytes_per_op: median(at, &|figure| figure.written_bytes_per_op),
        ..figure.clone()
    });
    figures.collect()
}

fn render(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:10} {:>9} {:>10} {:>10} {:>10} {:>12} {:>12}\n",
        "", "in flight", "per s", "p50 us", "p99 us", "cpu s/1000", "bytes/append"
    );
    for figure in figures {
        text.push_str(&format!(
            "{:10} {:>9} {:>10.0} {:>10.0} {:>10.0} {:>12.4} {:>12.0}\n",
            figure.kind,
            figure.in_flight,
            figure.ops_per_s,
            figure.p50_us,
            figure.p99_us,
            figure.cpu_s_per_1000,
            figure.written_bytes_per_op
        ));
    }
    text
}

async fn measure(args: &LogArgs, name: &'static str, kind: LogKind) -> Result<Vec<Figure>> {
    let dir = tempfile::Builder::new().prefix("curlew-log-").tempdir();
    let dir = dir.context("cannot make a directory")?;
    let mut log = Log::open(dir.path(), kind).await?;
    log.warm().await?;
    let mut figures = Vec::new();
    for in_flight in &args.in_flight {
        let (cpu, written) = (cpu_seconds(std::process::id())?, written_bytes()?);
        let time = Duration::from_millis(args.ms);
        let mut sample = log.load(usize::from(*in_flight), time).await?;
        let cpu = cpu_seconds(std::process::id())? - cpu;
        let written = written_bytes()? - written;
        let count = sample.each.len().max(1) as f64;
        figures.push(Figure {
            kind: name,
            in_flight: *in_flight,
            ops_per_s: sample.rate(),
            p50_us: sample.percentile_us(0.5),
            p99_us: sample.percentile_us(0.99),
            cpu_s_per_1000: cpu * 1000.0 / count,
            written_bytes_per_op: written as f64 / count,
        });
        log.purge().await?;
    }
    spawn_blocking(move || drop(log)).await?;
    Ok(figures)
}

/// Bytes that this process has made the system write so far.
fn written_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    let mut lines = text.lines();
    let bytes = lines.find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(bytes.context("no bytes in /proc/self/io")?.parse()?)
}

/// A log and where it ends.
struct Log {
    store: LogStore,
    next: u64,
}

type Flushed = OneshotReceiverOf<TypeConfig, io::Result<()>>;

impl Log {
    async fn open(dir: &Path, kind: LogKind) -> Result<Self> {
        let options = StoreOptions::new(dir);
        let store = spawn_blocking(move || bare::open_log(&options, kind)).await??;
        Ok(Self { store, next: 0 })
    }

    async fn append(&mut self, bytes: Vec<u8>) -> Result<Flushed> {
        let entry = Entry {
            log_id: id(self.next),
            payload: EntryPayload::Normal(CommandBytes(bytes.into())),
        };
        self.next += 1;
        let (done, flushed) = TypeConfig::oneshot();
        self.store.append([entry], IOFlushed::signal(done)).await?;
        Ok(flushed)
    }

    async fn warm(&mut self) -> Result<()> {
        for number in 0..WARM_BYTES / WARM_ENTRY_BYTES {
            let flushed = self.append(vec![7; WARM_ENTRY_BYTES]).await?;
            flushed.await.context("the log is gone")??;
            if number % 256 == 255 {
                self.purge().await?;
            }
        }
        self.purge().await
    }

    async fn purge(&mut self) -> Result<()> {
        Ok(self.store.purge(id(self.next - 1)).await?)
    }

    /// Appends one entry after the other, so many at once, for `time`.
    async fn load(&mut self, in_flight: usize, time: Duration) -> Result<Sample> {
        let begin = Instant::now();
        let mut each = Vec::new();
        let mut waiting = VecDeque::new();
        loop {
            while waiting.len() < in_flight && begin.elapsed() < time {
                let command = create_command(self.next).context("a create")?;
                let start = Instant::now();
                let flushed = self.append(encode_command(&command)).await?;
                waiting.push_back((start, flushed));
            }
            let Some((start, flushed)) = waiting.pop_front() else {
                break;
            };
            flushed.await.context("the log is gone")??;
            each.push(start.elapsed());
        }
        let took = begin.elapsed();
        Ok(Sample { took, each })
    }
}

fn id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1), index)
}
