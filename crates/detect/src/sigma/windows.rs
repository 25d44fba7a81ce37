//! Events of Windows logs as they are exported to JSON: `{"Event": {"System": {…}, "EventData": {…}}}`. Sigma's names are
//! those of the inner fields, without the spaces that some providers write.

pub(super) mod channels;

use millrace_model::{Attributes, Value};

/// The parts of one event.
pub(super) struct Envelope<'a> {
    system: Option<&'a Attributes>,
    /// `EventData`, and whatever `UserData` holds.
    data: Vec<&'a Attributes>,
}

fn map<'a>(within: &'a Attributes, key: &str) -> Option<&'a Attributes> {
    match within.get(key) {
        Some(Value::Map(map)) => Some(map),
        _ => None,
    }
}

impl<'a> Envelope<'a> {
    /// The event in these attributes, if they hold one.
    pub(super) fn of(attributes: &'a Attributes) -> Option<Self> {
        let event = map(attributes, "Event")?;
        let system = map(event, "System");
        let user = map(event, "UserData").into_iter().flat_map(|user| {
            let inner = user.iter().filter_map(|(_, value)| match value {
                Value::Map(map) => Some(map),
                _ => None,
            });
            std::iter::once(user).chain(inner)
        });
        let data: Vec<&Attributes> = map(event, "EventData").into_iter().chain(user).collect();
        (system.is_some() || !data.is_empty()).then_some(Self { system, data })
    }

    /// A field by Sigma's name.
    pub(super) fn field(&self, name: &str) -> Option<&'a Value> {
        let own = self.data.iter().chain(&self.system).find_map(|map| named(map, name));
        // An element with attributes of its own has its text inside.
        let text = |value: &'a Value| match value {
            Value::Map(map) => map.get("#text").unwrap_or(value),
            _ => value,
        };
        own.map(text).or_else(|| {
            // `Provider_Name` is the attribute `Name` of the element `Provider`.
            let (element, attribute) = name.split_once('_')?;
            map(map(self.system?, element)?, "#attributes")?.get(attribute)
        })
    }

    /// Every name that [`Self::field`] knows.
    pub(super) fn each_name(&self, visit: &mut dyn FnMut(&str)) {
        for (key, _) in self.data.iter().chain(&self.system).flat_map(|map| map.iter()) {
            if key.contains(' ') { visit(&key.replace(' ', "")) } else { visit(key) }
        }
        for (element, value) in self.system.iter().flat_map(|map| map.iter()) {
            if let Value::Map(inner) = value
                && let Some(attributes) = map(inner, "#attributes")
            {
                attributes.iter().for_each(|(attribute, _)| visit(&format!("{element}_{attribute}")));
            }
        }
    }
}

fn named<'a>(map: &'a Attributes, name: &str) -> Option<&'a Value> {
    let spaced = |key: &str| key.len() > name.len() && key.contains(' ') && key.replace(' ', "") == name;
    map.get(name).or_else(|| map.iter().find(|(key, _)| spaced(key)).map(|(_, value)| value))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn inner_fields_go_by_sigmas_names() {
        let json = r##"{"Event":{"System":{"EventID":1,"Provider":{"#attributes":{"Name":"Sysmon"}}},
            "EventData":{"Image":"a.exe","Threat Name":"x"},"UserData":{"Op":{"Deep":"y"}}}}"##;
        let attributes: Attributes = serde_json::from_str(json).unwrap();
        let event = Envelope::of(&attributes).unwrap();
        let mut names = Vec::new();
        event.each_name(&mut |name| names.push(name.to_owned()));
        for (name, value) in [
            ("EventID", "1"),
            ("Provider_Name", "Sysmon"),
            ("Image", "a.exe"),
            ("ThreatName", "x"),
            ("Deep", "y"),
        ] {
            assert_eq!(event.field(name).unwrap().to_string(), value);
            assert!(names.iter().any(|n| n == name), "{name} is announced");
        }
        assert_eq!(event.field("Nothing"), None);
        assert!(Envelope::of(&serde_json::from_str(r#"{"Event":"started"}"#).unwrap()).is_none());
    }
}
