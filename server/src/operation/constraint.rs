//! The checks that the service makes on a request before it looks at any table: required members, enumerations, and
//! parameters that this version lacks. All failures of one request are reported together, in the order in which
//! they were noted. Called by the operations' `request`.

use crate::error::WireError;
use crate::message;

/// The failures noted so far.
#[derive(Default)]
pub(super) struct Constraints {
    failures: Vec<String>,
}

impl Constraints {
    /// The value, or its default and a failure where it is missing.
    pub(super) fn required<T: Default>(&mut self, value: Option<T>, path: &str) -> T {
        value.unwrap_or_else(|| {
            self.failures.push(message::must_not_be_null(path));
            T::default()
        })
    }

    /// Notes a failure where `text` is empty or has more than `most` UTF-16 units.
    pub(super) fn length(&mut self, text: Option<&str>, path: &str, most: usize) {
        let Some(text) = text else { return };
        let must = match text.encode_utf16().count() {
            0 => "greater than or equal to 1".to_owned(),
            length if length > most => format!("less than or equal to {most}"),
            _ => return,
        };
        self.failures.push(message::wrong_length(text, path, &must));
    }

    /// Notes a failure where a list is there and empty.
    pub(super) fn not_empty<T>(&mut self, list: Option<&Vec<T>>, path: &str) {
        if list.is_some_and(Vec::is_empty) {
            let must = "greater than or equal to 1";
            self.failures.push(message::wrong_length("[]", path, must));
        }
    }

    /// The member of an enumeration that `text` names; notes a failure where it names none.
    pub(super) fn choice<T: Copy>(
        &mut self,
        text: Option<&str>,
        path: &str,
        values: &[(&str, T)],
    ) -> Option<T> {
        let text = text?;
        let found = values.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
            self.failures.push(message::not_in_enum(text, path, &names.join(", ")));
        }
        found
    }

    /// Keeps the first failure alone; where it is of one of the members `bare`, it is told without the envelope.
    pub(super) fn first(mut self, bare: &[&str]) -> Result<Self, WireError> {
        self.failures.truncate(1);
        match self.failures.first() {
            Some(first) if bare.iter().any(|path| first.contains(&format!("' at '{path}' "))) => {
                Err(WireError::validation(first.as_str()))
            }
            _ => Ok(self),
        }
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, text: &str) {
        self.failures.push(text.to_owned());
    }

    /// As [`Self::choice`], where the newer validation layer says something else.
    pub(super) fn choice_worded<T: Copy>(
        &mut self,
        text: Option<&str>,
        values: &[(&str, T)],
        refusal: impl FnOnce() -> String,
    ) -> Option<T> {
        let text = text?;
        let found = values.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            self.failures.push(refusal());
        }
        found
    }

    /// The verdict.
    pub(super) fn check(self) -> Result<(), WireError> {
        if self.failures.is_empty() {
            return Ok(());
        }
        Err(WireError::validation(message::constraints(&self.failures)))
    }
}

/// The first parameter of a request that this version does not have.
#[derive(Default)]
pub(super) struct Unsupported(Option<&'static str>);

impl Unsupported {
    /// Notes the parameter `name`, where it is `present`.
    pub(super) fn note(&mut self, name: &'static str, present: bool) {
        if present && self.0.is_none() {
            self.0 = Some(name);
        }
    }

    /// The verdict.
    pub(super) fn check(self) -> Result<(), WireError> {
        self.0.map_or(Ok(()), |name| Err(WireError::validation(message::not_supported(name))))
    }
}

/// In a match over member names: reads the values of parameters that this version lacks, and skips unknown ones.
macro_rules! or_unsupported {
    ($self:ident, $name:ident, $map:ident, [$($unsupported:literal),* $(,)?]) => {
        match $name {
            $($unsupported => {
                let present = $crate::json::presence($map)?;
                $self.unsupported.note($unsupported, present);
            })*
            _ => $crate::json::skip($map)?,
        }
    };
}
pub(super) use or_unsupported;
