//! What a command over a whole tree could not do.

use crate::exit::Finding;
use serde::Serialize;

/// Errors that are told in JSON; all of them are told as they come.
const ERRORS_MAX: usize = 100;

/// How many things went wrong, and the first of them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Troubles {
    /// All of them.
    pub(crate) failed: u64,
    errors: Vec<Trouble>,
}

#[derive(Debug, Serialize)]
struct Trouble {
    path: String,
    error: String,
}

impl Troubles {
    /// Counts one, and gives the line about it.
    pub(crate) fn add(&mut self, path: String, error: String) -> String {
        let line = format!("curlew: {path}: {error}");
        self.failed += 1;
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(Trouble { path, error });
        }
        line
    }

    /// What the command has found.
    pub(crate) fn finding(&self) -> Finding {
        match self.failed {
            0 => Finding::Fine,
            _ => Finding::Wrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_kept() {
        let mut troubles = Troubles::default();
        for number in 0..105 {
            let line = troubles.add(format!("/m/{number}"), "no".to_owned());
            assert_eq!(line, format!("curlew: /m/{number}: no"));
        }
        let json = serde_json::to_value(&troubles).expect("JSON");
        assert_eq!(json["failed"], 105);
        assert_eq!(json["errors"].as_array().map(Vec::len), Some(ERRORS_MAX));
        assert_eq!(json["errors"][1]["path"], "/m/1");
        assert!(matches!(troubles.finding(), Finding::Wrong));
        assert!(matches!(Troubles::default().finding(), Finding::Fine));
    }
}
