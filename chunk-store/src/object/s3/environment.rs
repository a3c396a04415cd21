//! What is read from the environment's variables.

use crate::error::StorageError;
use std::ffi::OsString;

/// Tells a variable's value.
type Lookup = dyn Fn(&str) -> Option<OsString>;

/// Where variables are looked up. Tests have their own, because the process has only one.
pub(super) struct Environment(Box<Lookup>);

impl Environment {
    pub(super) fn process() -> Self {
        Self(Box::new(|name| std::env::var_os(name)))
    }

    #[cfg(test)]
    pub(super) fn of(variables: &[(&'static str, &str)]) -> Self {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, OsString::from(value)))
            .collect();
        Self(Box::new(move |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone())
        }))
    }

    /// A variable's value; one that is empty counts as not set, as scripts expect.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<String>, StorageError> {
        let Some(value) = (self.0)(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        // Everything that is read here goes into a header of a request. The usual reason is the
        // end of a line that came along from a file.
        match value.into_string() {
            Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(text)),
            _ => Err(StorageError::Variable(name)),
        }
    }

    /// The first of some variables that is set, with its name.
    pub(super) fn first(
        &self,
        names: &[&'static str],
    ) -> Result<Option<(&'static str, String)>, StorageError> {
        for name in names {
            if let Some(value) = self.get(name)? {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }
}
