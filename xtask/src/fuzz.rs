//! Runs libFuzzer on the decoders of the crate `fuzz`. The compiler is the stable one: the flags
//! switch on the coverage that libFuzzer is guided by, as cargo-fuzz does with a nightly one.

use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Coverage of each edge, counted, with comparisons told: what libFuzzer reads.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
/// Of what a fuzzer says when it has found something.
const LINES_SHOWN: usize = 60;
/// Bytes of the longest input.
const INPUT_MAX: &str = "-max_len=4096";
/// MiB of memory of the whole process.
const MEMORY_MAX: &str = "-rss_limit_mb=2048";
/// Seconds that one input may take.
const INPUT_SECONDS_MAX: &str = "-timeout=10";

/// Runs each decoder, or the one named, for so many seconds. What it finds new is kept in
/// `target/fuzz`, where the next run goes on.
pub(crate) fn run(root: &Path, seconds: u32, only: Option<&str>) -> Result<()> {
    let place = root.join("fuzz/libfuzzer");
    let kept = root.join("target/fuzz");
    let host = shell::host()?;
    let flags = FLAGS.join(" ");
    let build = ["build", "--release", "--locked", "--target", &host];
    let target_dir = kept.join("build");
    let target_dir = target_dir.to_str().context("a path of plain text")?;
    let env = [("RUSTFLAGS", &*flags), ("CARGO_TARGET_DIR", target_dir)];
    shell::cargo(&place, &build, &env)?;
    let program = Path::new(target_dir)
        .join(host)
        .join("release/curlew-libfuzzer");
    let mut failed = Vec::new();
    for name in names(root, only)? {
        println!("+ {name} for {seconds} s");
        if !one(root, &program, &kept, &name, seconds)? {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!(
            "found something in {}: the input is in {}; add it to fuzz/corpus when it is mended",
            failed.join(", "),
            kept.display()
        );
    }
    Ok(())
}

/// The decoders: those that have a corpus, as a test makes sure that each has.
fn names(root: &Path, only: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("fuzz/corpus"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| only.is_none_or(|only| only == name));
    names.sort();
    if names.is_empty() {
        bail!("no such decoder: see fuzz/corpus");
    }
    Ok(names)
}

fn one(root: &Path, program: &Path, kept: &Path, name: &str, seconds: u32) -> Result<bool> {
    let found = kept.join(name);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let artifacts = format!("-artifact_prefix={}/{name}-", kept.display());
    let mut command = Command::new(program);
    command.env("CURLEW_FUZZ_TARGET", name);
    command.args([
        INPUT_MAX,
        MEMORY_MAX,
        INPUT_SECONDS_MAX,
        "-print_final_stats=1",
    ]);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(artifacts);
    // New inputs go to the first directory.
    command.arg(&found).arg(root.join("fuzz/corpus").join(name));
    let output = command.output().context("the fuzzer does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let told = [
        "stat::number_of_executed_units",
        "stat::new_units_added",
        "cov:",
    ];
    let last = |what: &&str| said.lines().rfind(|line| line.contains(*what));
    told.iter()
        .filter_map(last)
        .for_each(|line| println!("  {line}"));
    if !output.status.success() {
        let lines: Vec<&str> = said.lines().collect();
        let end = lines.len().saturating_sub(LINES_SHOWN);
        lines.iter().skip(end).for_each(|line| println!("{line}"));
    }
    Ok(output.status.success())
}
