//! Words after `-o`: separated by commas, except within double quotes, as mount(8) has them.

use crate::exit::Usage;
use anyhow::Result;

/// The words of all lists, without the quotes. Empty ones are dropped.
pub(super) fn split(lists: &[String]) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for list in lists {
        let mut word = String::new();
        let mut quoted = false;
        for letter in list.chars() {
            match letter {
                '"' => quoted = !quoted,
                ',' if !quoted => words.push(std::mem::take(&mut word)),
                letter => word.push(letter),
            }
        }
        if quoted {
            return Err(Usage::error(format!("-o {list}: a quote is not closed")));
        }
        words.push(word);
    }
    words.retain(|word| !word.is_empty());
    Ok(words)
}

/// A word as [`split`] takes it.
pub(super) fn quoted(word: &str) -> String {
    if word.contains(',') {
        format!("\"{word}\"")
    } else {
        word.to_owned()
    }
}

/// A word's two sides, if it has an equals sign.
pub(super) fn name_and_value(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_within_quotes_separates_nothing() {
        let split = |lists: &[&str]| {
            let lists: Vec<String> = lists.iter().map(ToString::to_string).collect();
            split(&lists)
        };
        let words = split(&["ro,subdir=\"/a,b\"", ",noexec,"]).expect("words");
        assert_eq!(words, ["ro", "subdir=/a,b", "noexec"]);
        for word in words {
            assert_eq!(split(&[&quoted(&word)]).expect("a word"), [word]);
        }
        assert!(split(&["ro,\"a"]).expect_err("open").is::<Usage>());
        assert_eq!(name_and_value("subdir=/a=b"), ("subdir", Some("/a=b")));
        assert_eq!(name_and_value("ro"), ("ro", None));
    }
}
