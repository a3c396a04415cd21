//! Rules of source files: their length, that of functions, letters, words that must not stay, and
//! what only one module may use.

use crate::files::Files;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// What may be used only by files whose path begins so, and why.
const FENCED: &[(&str, &str, &str)] = &[
    (
        "bincode::",
        "raft-store/src/wire",
        "it is fenced in one module",
    ),
    (
        "aws_sdk_s3::",
        "chunk-store/src/object/s3/",
        "everything else knows object stores by their trait",
    ),
];

/// What breaks a rule, one line each.
pub(crate) fn check(files: &Files) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in files.with_ending(".rs") {
        let mut problems = file(text);
        problems.extend(functions(text));
        problems.extend(fences(path, text));
        found.extend(problems.iter().map(|problem| format!("{path}:{problem}")));
    }
    for (path, text) in files.all() {
        let problems = unfinished(text);
        found.extend(problems.iter().map(|problem| format!("{path}:{problem}")));
        found.extend(target_dir(path, text));
    }
    found
}

fn file(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(format!(
            " {lines} lines: part it by what it knows ({FILE_LINES_MAX} at most)"
        ));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if !line.is_ascii() {
            found.push(format!("{number}: letters outside ASCII"));
        }
    }
    found
}

fn unfinished(text: &str) -> Vec<String> {
    // Put together here, so that this file does not hold them.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X:"].concat(),
        ["to", "do!"].concat(),
        ["unimplemented", "!"].concat(),
    ];
    let lines = (1..).zip(text.lines());
    lines
        .filter(|(_, line)| words.iter().any(|word| line.contains(word)))
        .map(|(number, _)| format!("{number}: says that something is unfinished"))
        .collect()
}

/// Functions that are too long. The format of rustfmt is relied on: a body ends at the first brace
/// with the indentation of its `fn`.
fn functions(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let Some(signature) = lines[at..].iter().position(|line| {
            let line = line.trim_end();
            line.ends_with('{') || line.ends_with(';') || line.ends_with('}')
        }) else {
            continue;
        };
        if !lines[at + signature].trim_end().ends_with('{') {
            // It is declared without a body, or fits on one line.
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = lines[at..].iter().position(|line| {
            line.strip_prefix(indent)
                .is_some_and(|rest| rest.starts_with('}'))
        });
        let length = end.map_or(lines.len() - at, |end| end + 1);
        if length > FUNCTION_LINES_MAX {
            let number = at + 1;
            found.push(format!(
                "{number}: {name} has {length} lines ({FUNCTION_LINES_MAX} at most)"
            ));
        }
    }
    found
}

/// The name of the function whose definition begins in a line.
pub(crate) fn function_name(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let plain = |word: &str| {
        matches!(
            word,
            "pub" | "const" | "async" | "unsafe" | "extern" | "default"
        ) || word.starts_with("pub(")
            || word.starts_with('"')
            || matches!(word, "super)" | "crate)")
    };
    if !before.split_whitespace().all(plain) {
        return None;
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let name = &rest[..end.unwrap_or(rest.len())];
    (!name.is_empty()).then_some(name)
}

fn fences(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, home, why) in FENCED {
        // This file holds the words themselves.
        if path.starts_with(home) || path.starts_with("xtask/") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            if line.contains(word) {
                found.push(format!("{number}: uses {word}: {why}"));
            }
        }
    }
    found
}

/// Only CI chooses another build directory: with two of them RocksDB is compiled twice.
fn target_dir(path: &str, text: &str) -> Option<String> {
    let script = path == "Makefile"
        || path.starts_with("scripts/")
        || path.starts_with(".cargo/")
        || path.ends_with(".sh");
    let sets = |line: &str| {
        let line = line.trim_start();
        let set = ["CARGO_TARGET_DIR=", "CARGO_TARGET_DIR :=", "target-dir ="];
        set.iter().any(|word| line.contains(word))
    };
    (script && text.lines().any(sets))
        .then(|| format!("{path}: only .ci/run sets CARGO_TARGET_DIR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(path: &str, text: &str) -> Vec<String> {
        let mut files = Files::default();
        files.add(path, text);
        check(&files)
    }

    #[test]
    fn a_plain_file_is_fine() {
        assert_eq!(with("a/src/lib.rs", "fn a() {}\n"), [""; 0]);
    }

    #[test]
    fn long_files_and_foreign_letters_are_found() {
        assert_eq!(with("a.rs", &"x\n".repeat(800)), [""; 0]);
        assert_eq!(with("a.rs", &"x\n".repeat(801)).len(), 1);
        assert_eq!(
            with("a.rs", "\n// caf\u{e9}\n"),
            ["a.rs:2: letters outside ASCII"]
        );
        assert_eq!(with("a.md", "caf\u{e9}\n"), [""; 0]);
    }

    #[test]
    fn unfinished_words_are_found_everywhere() {
        let word = ["TO", "DO"].concat();
        for path in ["a.rs", "docs/a.md", "Makefile"] {
            let found = with(path, &format!("x\n// {word}: later\n"));
            assert_eq!(
                found,
                [format!("{path}:2: says that something is unfinished")]
            );
        }
    }

    #[test]
    fn long_functions_are_found_wherever_they_are() {
        let long = |indent: &str, body: usize| {
            let body = format!("{indent}    if x {{\n{indent}    }}\n").repeat(body / 2);
            format!(
                "{indent}pub(crate) async fn long(\n{indent}    a: u8,\n{indent}) {{\n{body}{indent}}}\n"
            )
        };
        for indent in ["", "    "] {
            assert_eq!(with("a.rs", &long(indent, 66)), [""; 0]);
            let found = with("a.rs", &long(indent, 68));
            assert_eq!(found, ["a.rs:1: long has 72 lines (70 at most)"]);
        }
        let short = "trait A {\n    fn a(&self);\n    fn b() {}\n}\n".to_owned();
        assert_eq!(with("a.rs", &(short + &"x\n".repeat(90))), [""; 0]);
    }

    #[test]
    fn only_definitions_are_functions() {
        assert_eq!(function_name("    pub(super) const fn a<T>()"), Some("a"));
        assert_eq!(function_name("fn b() {"), Some("b"));
        assert_eq!(function_name("// the fn c() is"), None);
        assert_eq!(function_name("let f: fn (u8) = d;"), None);
    }

    #[test]
    fn what_is_fenced_stays_in_its_module() {
        let text = "use bincode::config;\n";
        assert_eq!(with("raft-store/src/wire.rs", text), [""; 0]);
        assert_eq!(with("raft-store/src/log/store.rs", text).len(), 1);
        let text = "use aws_sdk_s3::Client;\n";
        assert_eq!(with("chunk-store/src/object/s3/client.rs", text), [""; 0]);
        assert_eq!(with("chunk-store/src/read.rs", text).len(), 1);
    }

    #[test]
    fn only_ci_chooses_the_build_directory() {
        let text = "export CARGO_TARGET_DIR=/x\n";
        assert_eq!(with(".ci/run", text), [""; 0]);
        assert_eq!(with("scripts/setup", text).len(), 1);
        assert_eq!(with(".cargo/config.toml", "target-dir = \"x\"\n").len(), 1);
    }
}
