//! The program `curlew` as a test runs it: what is not as the test wants it is a panic.

use crate::binaries::binary;
use serde_json::Value;
use std::process::{Command, Output};

/// Runs it to its end.
///
/// # Panics
/// When it is not built, or does not start.
pub fn curlew(words: &[&str]) -> Output {
    let mut command = Command::new(binary("curlew").expect("built"));
    command.args(words).output().expect("curlew runs")
}

/// What a command that went well says in JSON.
///
/// # Panics
/// When it did not, or says something else.
pub fn said(words: &[&str]) -> Value {
    let output = curlew(words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What a command that failed says.
///
/// # Panics
/// When it did not.
pub fn complaint(words: &[&str]) -> String {
    let output = curlew(words);
    assert!(!output.status.success(), "{words:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
