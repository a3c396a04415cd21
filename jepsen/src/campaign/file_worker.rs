//! What works on files of a mount for `jepsen run`, as a process of its own: a request a line, and an
//! answer a line.

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead as _, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Longest file, in bytes.
const BYTES_MAX: usize = 200_000;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Make this file, write it, sync it and close it.
    Add(u64),
    /// Delete it.
    Remove(u64),
    /// Read it, and compare it.
    Read(u64),
    /// List the directory.
    List,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Done; what was read is what was written.
    Done,
    /// There is no such file.
    Absent,
    /// It has other bytes, or is there although it was not made.
    Wrong(String),
    /// An error that says nothing about what is there.
    Failed(String),
    /// All files.
    Elements(Vec<u64>),
}

/// Answers requests on the standard input until it ends.
///
/// # Errors
/// When the pipes fail, or a request is none.
pub fn work(dir: &Path) -> Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?)?;
        let before = mounted(dir);
        let mut answer = answer(dir, request);
        // While nothing is mounted, what is missing says nothing.
        if answer == Answer::Absent && (before.is_none() || before != mounted(dir)) {
            answer = Answer::Failed("nothing was mounted".to_owned());
        }
        serde_json::to_writer(&mut out, &answer)?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

fn answer(dir: &Path, request: Request) -> Answer {
    let path = |file: u64| dir.join(format!("e{file}"));
    match request {
        Request::Add(file) => match add(&path(file), file) {
            Ok(()) => Answer::Done,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Answer::Wrong("it exists although its name is new".to_owned())
            }
            Err(error) => Answer::Failed(error.to_string()),
        },
        Request::Remove(file) => ended(fs::remove_file(path(file))),
        Request::Read(file) => match fs::read(path(file)) {
            Ok(found) => compare(&found, file),
            Err(error) => ended(Err(error)),
        },
        Request::List => list(dir),
    }
}

/// Which file system the directory is on, if it is there.
fn mounted(dir: &Path) -> Option<u64> {
    fs::metadata(dir).ok().map(|about| about.dev())
}

fn ended(result: io::Result<()>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(error) if error.kind() == ErrorKind::NotFound => Answer::Absent,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

fn add(path: &Path, file: u64) -> io::Result<()> {
    let mut made = File::create_new(path)?;
    made.write_all(&content(file))?;
    made.sync_all()
}

fn list(dir: &Path) -> Answer {
    let read = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names = names.map(|name| name.map(|name| name.to_string_lossy().into_owned()));
        names.collect()
    };
    let names = match read() {
        Ok(names) => names,
        Err(error) => return Answer::Failed(error.to_string()),
    };
    let number = |name: &String| name.strip_prefix('e')?.parse().ok();
    match names.iter().map(number).collect() {
        Some(files) => Answer::Elements(files),
        None => Answer::Wrong(format!("a strange name: {names:?}")),
    }
}

/// The bytes of a file. They follow from its number.
fn content(file: u64) -> Vec<u8> {
    let mut rng = StdRng::seed_from_u64(file);
    let mut bytes = vec![0; rng.random_range(1..BYTES_MAX)];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn compare(found: &[u8], file: u64) -> Answer {
    let right = content(file);
    if found == right {
        return Answer::Done;
    }
    let same = found.iter().zip(&right).take_while(|(a, b)| a == b).count();
    Answer::Wrong(format!(
        "{} bytes of {}, the first {same} of them right",
        found.len(),
        right.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_wrong_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let ask = |request| answer(dir.path(), request);
        assert_eq!(ask(Request::Read(1)), Answer::Absent);
        assert_eq!(ask(Request::Add(1)), Answer::Done);
        assert!(matches!(ask(Request::Add(1)), Answer::Wrong(_)));
        assert_eq!(ask(Request::Read(1)), Answer::Done);
        assert_eq!(ask(Request::List), Answer::Elements(vec![1]));
        let path = dir.path().join("e1");
        let mut bytes = fs::read(&path).expect("readable");
        bytes.pop();
        fs::write(&path, bytes).expect("writable");
        assert!(matches!(ask(Request::Read(1)), Answer::Wrong(_)));
        assert_eq!(ask(Request::Remove(1)), Answer::Done);
        assert_eq!(ask(Request::Remove(1)), Answer::Absent);
    }
}
