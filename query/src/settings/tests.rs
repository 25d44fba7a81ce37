//! What can be said of receivers and routes, and how mistakes are told.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::alert::receivers::settings::Kind;
use millrace_config::{Layers, load};

/// The settings, or all that is wrong with them.
pub(crate) fn read(toml: &str) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("query.toml");
    std::fs::write(&file, toml).unwrap();
    let document =
        load(&Layers { file: Some(file), ..Layers::default() }).map_err(|report| report.to_string())?;
    let settings = Settings::read(&mut document.root().section_or_empty("query"));
    document.finish().map_err(|report| report.to_string())?;
    Ok(settings)
}

fn receiver(text: &str) -> String {
    format!("[query.alerts.receivers.ops]\n{text}\n")
}

#[test]
fn each_kind_of_receiver_is_read() {
    let kind = |text: &str| {
        let mut settings = read(&receiver(text)).unwrap().alerts;
        settings.receivers.remove("ops").unwrap().kind
    };
    let url = "url = \"https://example.com/x\"";
    assert!(matches!(
        kind(&format!("type = \"webhook\"\n{url}\ntoken = \"t\"")),
        Kind::Webhook { token: Some(_), .. }
    ));
    assert!(matches!(kind(&format!("type = \"slack\"\n{url}")), Kind::Slack { .. }));
    assert!(matches!(kind(&format!("type = \"teams\"\n{url}")), Kind::Teams { .. }));
    let duty = kind("type = \"pagerduty\"\nrouting_key = \"R\"");
    assert!(matches!(&duty, Kind::PagerDuty { url, .. } if url.contains("pagerduty.com")), "{duty:?}");
    assert!(!format!("{duty:?}").contains("\"R\""));
    assert!(matches!(kind(&format!("type = \"alertmanager\"\n{url}")), Kind::Alertmanager { .. }));
    let mail = kind(
        "type = \"email\"\nhost = \"mx\"\nusername = \"u\"\npassword = \"p\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]",
    );
    assert!(matches!(&mail, Kind::Email(mail) if mail.port == 587 && mail.credentials.is_some()), "{mail:?}");
    let topic = kind("type = \"kafka\"\nbrokers = [\"k:9092\"]\nname = \"alerts\"");
    assert!(matches!(&topic, Kind::Kafka(topic) if topic.name == "alerts"), "{topic:?}");
    assert!(matches!(kind("type = \"command\"\ncommand = [\"/bin/page\"]"), Kind::Command { .. }));
    let settings = read(&receiver(
        "type = \"command\"\ncommand = [\"x\"]\ntitle = \"{{ alert.title }}\"\ntimeout = \"3s\"\ngive_up_after = \"2h\"\nper_minute = 7",
    ));
    let receiver = settings.unwrap().alerts.receivers.remove("ops").unwrap();
    assert!(receiver.has_templates && receiver.per_minute == 7);
    assert_eq!((receiver.timeout, receiver.give_up_after), (Duration::from_secs(3), Duration::from_hours(2)));
}

#[test]
fn mistakes_in_receivers_and_routes_are_all_told_with_their_lines() {
    let wrong = |toml: &str, line: &str, problem: &str| {
        let told = read(toml).unwrap_err();
        assert!(told.contains(problem) && told.contains(&format!(":{line}:")), "{toml}\n{told}");
    };
    let hook = "type = \"webhook\"\nurl = \"https://example.com/x\"\n";
    wrong(&receiver("type = \"webhok\""), "2", "did you mean \"webhook\"?");
    wrong(&receiver("type = \"slack\"\nurl = \"ftp://x\""), "3", "not an http or https address");
    wrong(&receiver(&format!("{hook}title = \"{{{{ alert.titel }}}}\"")), "4", "undefined");
    wrong(&receiver(&format!("{hook}body = \"\"\"\n\n{{% for x in %}}\"\"\"")), "4", "of the template");
    wrong(&receiver(&format!("{hook}timeout = \"60s\"")), "4", "25 s");
    wrong(&receiver(&format!("{hook}per_minute = 0")), "4", "at least 1");
    wrong(&receiver("type = \"command\"\ncommand = []"), "3", "a program is needed");
    wrong(&receiver("type = \"kafka\"\nbrokers = [\"k\"]"), "1", "the topic's name");
    let mail =
        "type = \"email\"\nhost = \"mx\"\nfrom = \"nobody\"\nto = [\"a@b.c\", \"x\"]\npassword = \"p\"";
    let told = read(&receiver(mail)).unwrap_err();
    for problem in ["\"nobody\" is no address", "\"x\" is no address", "no username"] {
        assert!(told.contains(problem), "{problem}: {told}");
    }
    let open = "type = \"email\"\nhost = \"mx\"\nsecurity = \"none\"\nusername = \"u\"\npassword = \"p\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]";
    wrong(&receiver(open), "4", "shown to everybody");

    let routed = |route: &str| format!("{}[[query.alerts.routes]]\n{route}\n", receiver(hook));
    wrong(&routed("receivers = [\"opps\"]"), "6", "no receiver is called \"opps\"");
    wrong(&routed("match = \"((\"\nreceivers = [\"ops\"]"), "6", "at 2 to 2");
    wrong(&routed("match = \"a\""), "5", "receivers is missing");
    wrong(&routed("receivers = [\"ops\"]\nrepeat_interval = \"0s\""), "7", "longer than nothing");
    wrong(&routed("receivers = [\"ops\"]\nrepeat_factor = 0"), "7", "at least 1");
    wrong(&routed("receivers = [\"ops\"]\ngroup_bye = [\"x\"]"), "7", "group_bye");
    wrong(&format!("{}[[query.alerts.inhibit]]\nsource = \"a\"\n", receiver(hook)), "5", "target is missing");
    // A receiver with a mistake is one all the same: the route is right.
    let told = read(&format!(
        "{}[[query.alerts.routes]]\nreceivers = [\"ops\"]\n",
        receiver("type = \"slack\"\nurl = \"x\"")
    ))
    .unwrap_err();
    assert!(!told.contains("no receiver"), "{told}");
}

#[test]
fn routes_have_defaults_that_fit_how_they_gather() {
    let hook = receiver("type = \"webhook\"\nurl = \"https://example.com/x\"");
    let routes = "[[query.alerts.routes]]\nreceivers = [\"ops\"]\n[[query.alerts.routes]]\nreceivers = []\ngroup_by = [\"host\"]\n\
                  continue = true\nrepeat_interval = \"4h\"\n[[query.alerts.inhibit]]\nsource = \"a\"\ntarget = \"b\"\nequal = [\"host\"]\n";
    let routing = read(&(hook + routes)).unwrap().alerts.routing;
    let [alone, together] = &routing.routes[..] else { panic!() };
    assert!(
        alone.gathering.by.is_none() && alone.gathering.wait.is_zero() && alone.gathering.repeat.is_none()
    );
    assert_eq!(alone.gathering.repetition(3), None);
    let gathering = &together.gathering;
    assert_eq!((gathering.wait, gathering.interval), (Duration::from_secs(10), Duration::from_mins(1)));
    assert!(together.goes_on && gathering.repetition(50) == Some(Duration::from_hours(4)));
    assert_eq!(routing.inhibitions[0].equal, ["host"]);
}
