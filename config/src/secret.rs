//! A text that does not print itself.

use crate::Section;
use std::fmt;

/// A password, token or key. `Debug` hides it and there is no `Display`; [`Secret::expose`] is the one way to it.
/// Best written as `{ file = "path" }` or `"${VAR}"`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the place that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Section<'_> {
    /// A secret that is shown in a header of HTTP.
    pub fn token(&mut self, key: &str) -> Option<Secret> {
        let token = self.optional::<Secret>(key);
        if token.as_ref().is_some_and(|Secret(token)| token.trim() != token || token.is_empty()) {
            self.error(key, "is empty, or has blanks around it, which no header can bring");
        }
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_until_asked_for() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "[secret] [secret]");
        assert_eq!(secret.expose(), "hunter2");
    }
}
