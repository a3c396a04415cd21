//! Histories that are known to be right or wrong, in `jepsen/corpus`: ours and the other checker say
//! so of each, and what is wrong is shown by operations that are wrong alone.

use jepsen::checker::second::{Opinion, opinion};
use jepsen::checker::wgl::{Budget, Linearizability, check};
use jepsen::history::{Codec, pair, read_json_lines};
use jepsen::model::{Directory, Model, Mutex, OperationOf, Register};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

fn look<M>(model: &M, kind: &str) -> (u32, u32)
where
    M: Model + std::fmt::Debug + Send + Sync + 'static,
    M::Input: Codec<Output = M::Output>,
{
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(kind);
    let (mut good, mut bad) = (0, 0);
    for file in std::fs::read_dir(&dir).expect("a directory") {
        let path = file.expect("a file").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let entries = read_json_lines(BufReader::new(File::open(&path).expect("open")));
        let entries = entries.unwrap_or_else(|error| panic!("{name}: {error}"));
        let operations: Vec<OperationOf<M>> =
            pair(&entries).unwrap_or_else(|error| panic!("{name}: {error}"));
        let ours = check(model, &operations, Budget::default());
        let theirs = opinion(model, &operations);
        if name.starts_with("good-") {
            good += 1;
            assert!(ours.is_ok(), "{name}: {ours}");
            assert_eq!(theirs, Opinion::Ok, "{name}");
        } else {
            bad += 1;
            assert_eq!(theirs, Opinion::Violation, "{name}");
            let Linearizability::Violation(example) = ours else {
                panic!("{name}: {ours}");
            };
            let again = check(model, &example.operations, Budget::default());
            assert!(again.is_violation(), "{name}: {example}");
            assert!(example.is_minimal, "{name}: {example}");
        }
    }
    (good, bad)
}

#[test]
fn both_checkers_know_what_is_wrong() {
    assert_eq!(look(&Register::default(), "register"), (3, 9));
    assert_eq!(look(&Mutex, "mutex"), (2, 3));
    assert_eq!(look(&Directory, "directory"), (1, 3));
}
