//! pjdfstest, a suite of cases of the POSIX calls on files: runs it on a file system that is mounted,
//! and lays what it said of one beside what it said of another.

use crate::binaries::tool;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why the case is skipped that makes links until one is refused: the C library says how many links a
/// file may have for some kinds of file system, of which FUSE is none. Above 65,535, as here, the
/// suite would skip it too.
const LINKS_UNKNOWN: &str = "Cannot get value for LINK_MAX";

/// What the suite said of one case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// It is as it must be.
    Passed,
    /// It is not.
    Failed,
    /// It was not tried.
    Skipped,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Passed, Self::Failed, Self::Skipped];

    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// What became of it.
    pub verdict: Verdict,
    /// Why, if it was skipped or failed.
    pub why: String,
}

/// What became of all cases, by their names.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    cases: BTreeMap<String, Case>,
}

/// What stands in the settings where file systems may not be made read-only, and what where they may.
const REMOUNTS: [&str; 2] = ["allow_remount = false", "allow_remount = true"];
/// In the names of the cases that need that.
const READ_ONLY: &str = "::erofs_";

/// Runs all cases in directories of their own below `at`, with the settings in [`config`]. `other` is a
/// directory of another file system, and `scratch` one for files of the run itself.
///
/// # Errors
/// When it cannot be run, says nothing that can be read, or contradicts itself.
pub fn run(at: &Path, other: &Path, scratch: &Path) -> Result<Report> {
    let config = config();
    let settings = fs::read_to_string(&config).context("cannot read the settings")?;
    let [without, with] = REMOUNTS;
    ensure!(
        settings.contains(without),
        "the settings do not say {without}"
    );
    let remounting = scratch.join("pjdfstest.toml");
    fs::write(&remounting, settings.replace(without, with)).context("cannot write settings")?;
    let mut report = pass(&config, at, other, scratch, &[])?;
    let alone = pass(&remounting, at, other, scratch, &[READ_ONLY])?;
    for (name, case) in alone.cases {
        let skipped = report.cases.insert(name.clone(), case);
        let skipped = skipped.is_some_and(|case| case.verdict == Verdict::Skipped);
        ensure!(skipped, "{name} was run twice");
    }
    Ok(report)
}

/// Runs the cases with one of `words` in their names, or all.
fn pass(config: &Path, at: &Path, other: &Path, scratch: &Path, words: &[&str]) -> Result<Report> {
    let mut command = Command::new(tool("pjdfstest")?);
    command.arg("--configuration-file").arg(config);
    command.arg("--path").arg(at);
    command.arg("--secondary-fs").arg(other);
    command.arg("--").args(words);
    command.env("NO_COLOR", "1").env("PATH", path(scratch)?);
    let output = command.output().context("cannot run pjdfstest")?;
    let said = String::from_utf8_lossy(&output.stdout);
    Report::parse(&said).with_context(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("pjdfstest ended with {}: {errors}", output.status)
    })
}

/// A search path on which `mount` remounts a FUSE file system. It would look for a program of that
/// file system to do it, though the kernel does it alone.
fn path(scratch: &Path) -> Result<String> {
    let dir = scratch.join("remount");
    fs::create_dir_all(&dir).context("cannot make a directory for `mount`")?;
    let script = "#!/bin/sh\nPATH=\"${PATH#*:}\" exec mount --internal-only \"$@\"\n";
    let file = dir.join("mount");
    fs::write(&file, script).context("cannot write `mount`")?;
    fs::set_permissions(&file, Permissions::from_mode(0o755)).context("cannot share `mount`")?;
    let before = env::var("PATH").context("there is no search path")?;
    Ok(format!("{}:{before}", dir.display()))
}

/// The file with the settings of the suite.
pub fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/pjdfstest.toml")
}

impl Report {
    /// Reads what the suite wrote, whose summary must agree with its lines.
    ///
    /// # Errors
    /// When there is no summary, or it says something else.
    pub fn parse(said: &str) -> Result<Self> {
        let mut cases: BTreeMap<String, Case> = BTreeMap::new();
        let (mut last, mut summary) = (None, None);
        for line in said.lines() {
            if let Some(sums) = line.strip_prefix("Summary: ") {
                (last, summary) = (None, Some(sums));
            } else if let Some((name, verdict)) = case(line) {
                let why = String::new();
                let twice = cases.insert(name.to_owned(), Case { verdict, why });
                ensure!(twice.is_none(), "{name} was run twice");
                last = Some(name);
            } else if let Some(case) = last.and_then(|name| cases.get_mut(name)) {
                let space = if case.why.is_empty() { "" } else { " " };
                write!(case.why, "{space}{}", line.trim())?;
            }
        }
        let report = Self { cases };
        report.agrees(summary.context("it did not come to its end")?)?;
        Ok(report)
    }

    fn agrees(&self, summary: &str) -> Result<()> {
        let told: BTreeMap<&str, usize> = summary
            .split(", ")
            .map(|part| {
                let (count, what) = part.split_once(' ').context("a count without a word")?;
                Ok((what, count.parse().context("a count that is no number")?))
            })
            .collect::<Result<_>>()
            .with_context(|| format!("summary: {summary}"))?;
        let mut own = BTreeMap::from([("expected failures", 0), ("total", self.cases.len())]);
        own.extend(Verdict::ALL.map(|verdict| (verdict.word(), self.count(verdict))));
        ensure!(
            told == own,
            "the summary is {told:?}, the lines are {own:?}"
        );
        Ok(())
    }

    /// How many cases became that.
    pub fn count(&self, verdict: Verdict) -> usize {
        let same = |case: &&Case| case.verdict == verdict;
        self.cases.values().filter(same).count()
    }

    /// Cases that are skipped because nobody can tell how many links a file may have.
    pub fn links_unknown(&self) -> BTreeSet<&str> {
        let unknown =
            |case: &Case| case.verdict == Verdict::Skipped && case.why.contains(LINKS_UNKNOWN);
        let cases = self.cases.iter().filter(|(_, case)| unknown(case));
        cases.map(|(name, _)| name.as_str()).collect()
    }

    /// How many became what here, under the name `own`, and in the reference; and which cases differ.
    pub fn beside(&self, own: &str, reference: &Self, name: &str) -> String {
        let mut lines = vec![format!("{:<8} {own:>7} {name:>7}", "")];
        lines.extend(Verdict::ALL.map(|verdict| {
            let (here, there) = (self.count(verdict), reference.count(verdict));
            format!("{:<8} {here:>7} {there:>7}", verdict.word())
        }));
        for (case, here) in &self.cases {
            let there = reference.cases.get(case);
            if let Some(there) = there.filter(|there| there.verdict != here.verdict) {
                let words = (here.verdict.word(), there.verdict.word());
                lines.push(format!(
                    "{case}: {} on {own}, {} on {name}",
                    words.0, words.1
                ));
                lines.push(format!(
                    "    {}",
                    [&*here.why, &*there.why].join(" ").trim()
                ));
            }
        }
        lines.join("\n")
    }

    /// What speaks against the file system of this report, beside a reference that ran the same:
    /// a case that failed, one that only the reference was tried with, and one that only one of
    /// them knows. Of the cases in [`Self::links_unknown`] none can be tried where they are skipped.
    pub fn objections(&self, reference: &Self) -> Vec<String> {
        let untriable = self.links_unknown();
        let mut found = Vec::new();
        if self.count(Verdict::Passed) == 0 {
            found.push("no case passed".to_owned());
        }
        for (name, case) in &self.cases {
            let there = reference.cases.get(name).map(|case| case.verdict);
            match (case.verdict, there) {
                (Verdict::Failed, _) => found.push(format!("{name} failed: {}", case.why)),
                (_, None) => found.push(format!("{name} is not in the reference")),
                (Verdict::Skipped, Some(Verdict::Passed | Verdict::Failed))
                    if !untriable.contains(name.as_str()) =>
                {
                    found.push(format!("{name} was skipped: {}", case.why));
                }
                _ => {}
            }
        }
        let known = |name: &&String| !self.cases.contains_key(*name);
        let missing = reference.cases.keys().filter(known);
        found.extend(missing.map(|name| format!("{name} is in the reference alone")));
        found
    }
}

/// The case that a line is about, and what became of it.
fn case(line: &str) -> Option<(&str, Verdict)> {
    let (name, rest) = line.split_once(' ')?;
    let verdict = match rest.trim() {
        "ok" => Verdict::Passed,
        "skipped" => Verdict::Skipped,
        // The settings expect no failure, so nothing can pass against what was expected.
        "FAILED" => Verdict::Failed,
        _ => return None,
    };
    name.contains("::").then_some((name, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
chmod::a                                                                ok
link::links                                                             skipped
\tCannot get value for LINK_MAX: filesystem limit is unknown
open::b                                                                 FAILED
\tassertion `left == right` failed
  left: EPERM
 right: EACCES
rename::c::dir                                                          skipped
\trequires features: rename_ctime

Summary: 1 failed, 2 skipped, 1 passed, 0 expected failures, 4 total
";

    fn reference() -> Report {
        let said = SAID.replace("skipped\n", "ok\n").replace("FAILED", "ok");
        let sums = "0 failed, 0 skipped, 4 passed, 0 expected failures, 4 total";
        let said = said.split_once("Summary").expect("a summary").0.to_owned();
        Report::parse(&format!("{said}Summary: {sums}\n")).expect("parsed")
    }

    #[test]
    fn cases_are_read_with_their_reasons() {
        let report = Report::parse(SAID).expect("parsed");
        let counts = Verdict::ALL.map(|verdict| report.count(verdict));
        assert_eq!(counts, [1, 1, 2]);
        let failed = &report.cases["open::b"];
        let why = "assertion `left == right` failed left: EPERM right: EACCES";
        assert_eq!((failed.verdict, &*failed.why), (Verdict::Failed, why));
        assert_eq!(report.links_unknown(), BTreeSet::from(["link::links"]));
    }

    #[test]
    fn a_run_that_ended_early_or_miscounts_is_no_report() {
        let cut = SAID.split_once("\nSummary").expect("a summary").0;
        assert!(Report::parse(cut).is_err());
        for (right, wrong) in [
            ("2 skipped", "3 skipped"),
            ("0 expected", "1 expected"),
            ("4 total", "5 total"),
            ("1 passed", "x passed"),
        ] {
            assert!(
                Report::parse(&SAID.replace(right, wrong)).is_err(),
                "{wrong}"
            );
        }
        let twice = SAID.replace("chmod::a", "open::b ");
        assert!(Report::parse(&twice).is_err());
    }

    #[test]
    fn failures_skips_and_missing_cases_are_objected_to() {
        let (report, reference) = (Report::parse(SAID).expect("parsed"), reference());
        let found = report.objections(&reference);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("open::b failed: "), "{found:?}");
        assert!(
            found[1].starts_with("rename::c::dir was skipped: "),
            "{found:?}"
        );
        let mut fewer = reference.clone();
        fewer.cases.remove("chmod::a");
        assert_eq!(fewer.objections(&reference).len(), 1);
        assert_eq!(reference.objections(&fewer).len(), 1);
        assert_eq!(reference.objections(&reference), [""; 0]);
        let nothing = Report::default();
        assert_eq!(nothing.objections(&nothing).len(), 1);
    }

    #[test]
    fn what_differs_is_shown_with_its_names() {
        let report = Report::parse(SAID).expect("parsed");
        let text = report.beside("curlew", &reference(), "ext4");
        assert!(text.contains("passed         1       4\n"), "{text}");
        assert!(
            text.contains("open::b: failed on curlew, passed on ext4\n"),
            "{text}"
        );
        assert!(!text.contains("chmod::a"), "{text}");
    }
}
