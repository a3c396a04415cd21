//! A table of the configuration file, taken apart field by field.

use std::ops::RangeInclusive;
use toml::{Table, Value};

/// The fields of one table that were not taken yet.
pub(super) struct Fields {
    prefix: String,
    table: Table,
}

impl Fields {
    /// Reads the whole file.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            format!(
                "line {line}: not TOML: {}",
                error.message().replace('\n', ", ")
            )
        })?;
        Ok(Self {
            prefix: String::new(),
            table,
        })
    }

    /// A field's name as the administrator would say it.
    pub(super) fn name(&self, field: &str) -> String {
        format!("{}{field}", self.prefix)
    }

    fn wrong(&self, field: &str, wanted: &str, found: &Value) -> String {
        let found = found.to_string().replace('\n', " ");
        format!("{}: must be {wanted}, not {found}", self.name(field))
    }

    /// Takes a text.
    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>, String> {
        match self.table.remove(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, "a text in quotes", &other)),
        }
    }

    /// Takes a number in a range.
    pub(super) fn number(
        &mut self,
        field: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, String> {
        let Some(value) = self.table.remove(field) else {
            return Ok(None);
        };
        let number = value
            .as_integer()
            .and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let wanted = format!("a number from {} to {}", range.start(), range.end());
                Err(self.wrong(field, &wanted, &value))
            }
        }
    }

    /// Takes true or false.
    pub(super) fn switch(&mut self, field: &str) -> Result<Option<bool>, String> {
        match self.table.remove(field) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(field, "true or false", &other)),
        }
    }

    /// Takes a table.
    pub(super) fn table(&mut self, field: &str) -> Result<Option<Self>, String> {
        match self.table.remove(field) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(Self {
                prefix: format!("{}{field}.", self.prefix),
                table,
            })),
            Some(other) => Err(self.wrong(field, "a table", &other)),
        }
    }

    /// Takes a list of tables.
    pub(super) fn tables(&mut self, field: &str) -> Result<Vec<Self>, String> {
        let list = match self.table.remove(field) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(self.wrong(field, &format!("[[{field}]] tables"), &other)),
        };
        let mut tables = Vec::with_capacity(list.len());
        for (index, entry) in list.into_iter().enumerate() {
            match entry {
                Value::Table(table) => {
                    let prefix = format!("{}{field}[{index}].", self.prefix);
                    tables.push(Self { prefix, table });
                }
                other => return Err(self.wrong(field, &format!("[[{field}]] tables"), &other)),
            }
        }
        Ok(tables)
    }

    /// Refuses what nobody asked for: a misspelt field would otherwise be a silent default.
    pub(super) fn finish(self) -> Result<(), String> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(format!("{}: unknown field", self.name(unknown))),
        }
    }
}
