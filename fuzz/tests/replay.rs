//! Each decoder takes the corpus and random changes of it.

use anyhow::{Context as _, Result, bail, ensure};
use fuzz::mutation::mutate;
use fuzz::{ASKED_MAX, TARGETS, Target, asked};
use peak_alloc::PeakAlloc;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Changes of each decoder's inputs.
const CHANGES: usize = 500_000;
/// No input is longer.
const BYTES_MAX: usize = 4096;

fn corpus(target: &str) -> Result<Vec<Vec<u8>>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.iter().map(|path| Ok(fs::read(path)?)).collect()
}

/// Runs one input, and looks at what it asked for.
fn run(target: &Target, input: &[u8]) -> Result<()> {
    let ran = catch_unwind(|| asked(&MEMORY, target, input));
    let hex = || -> String { input.iter().map(|byte| format!("{byte:02x}")).collect() };
    match ran {
        Ok(asked) if asked <= ASKED_MAX => Ok(()),
        Ok(asked) => bail!("{} asks for {asked} bytes at {}", target.name, hex()),
        Err(_panic) => bail!("{} panics at {}", target.name, hex()),
    }
}

// One test, because the memory is counted for the whole process.
#[test]
fn any_bytes_are_taken_without_a_panic_and_without_much_memory() -> Result<()> {
    let seed = match std::env::var("CURLEW_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => rand::random(),
    };
    eprintln!("replay: CURLEW_SEED={seed}");
    for target in TARGETS {
        let mut rng = StdRng::seed_from_u64(seed);
        let inputs = corpus(target.name)?;
        ensure!(!inputs.is_empty(), "{} has no corpus", target.name);
        for input in &inputs {
            run(target, input)?;
        }
        for _ in 0..CHANGES {
            let mut input = inputs[rng.random_range(0..inputs.len())].clone();
            let other = &inputs[rng.random_range(0..inputs.len())];
            mutate(&mut rng, &mut input, other, BYTES_MAX);
            run(target, &input)?;
        }
    }
    Ok(())
}

#[test]
fn every_directory_of_the_corpus_is_of_a_decoder() -> Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        found.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let names = TARGETS.iter().map(|target| target.name.to_owned());
    assert_eq!(found, names.collect());
    Ok(())
}
