//! Reading a closed set of names into an enum.

use crate::Value;
use millrace_model::closest;

/// Implements [`FromValue`](crate::FromValue) for an enum that is written as one of a few names:
///
/// ```
/// #[derive(Clone, Debug, PartialEq)]
/// enum Action { Mask, Drop }
/// millrace_config::choices!(Action { "mask" => Action::Mask, "drop" => Action::Drop });
/// ```
#[macro_export]
macro_rules! choices {
    ($type:ty { $first:literal => $first_value:expr $(, $name:literal => $value:expr)* $(,)? }) => {
        impl $crate::FromValue for $type {
            const EXPECTED: &'static str =
                ::core::concat!("one of \"", $first, "\"" $(, ", \"", $name, "\"")*);

            fn from_value(value: &$crate::Value) -> ::core::result::Result<Self, ::std::string::String> {
                value.choose(&[($first, $first_value) $(, ($name, $value))*])
            }

            fn example() -> ::std::string::String {
                ::std::format!("{:?}", $first)
            }
        }
    };
}

impl Value {
    /// The choice that this text names, or what is wrong with it (with the nearest name).
    pub fn choose<T: Clone>(&self, choices: &[(&str, T)]) -> Result<T, String> {
        let name = self.as_str().ok_or_else(|| format!("found {}", self.found()))?;
        if let Some((_, value)) = choices.iter().find(|(choice, _)| *choice == name) {
            return Ok(value.clone());
        }
        match closest(name, choices.iter().map(|(choice, _)| *choice)) {
            Some(meant) => Err(format!("{name:?} is not known here; did you mean {meant:?}?")),
            None => Err(format!("{name:?} is not known here")),
        }
    }
}
