//! Where a record comes from in Sigma's terms (product, service, category), so that a rule for another product is not
//! tested on it. A part that cannot be told is left open, and rules that name it are tested.
//!
//! | part | from, best first |
//! |---|---|
//! | product | `sigma.product`; the shape of a Windows event; `os.type`; `linux` where the resource has `host.name`, or for auditd and programs such as sshd |
//! | service | `sigma.service`; a Windows event's channel; `service.name`, `SYSLOG_IDENTIFIER`, the syslog program; the program in the line itself; the file that it was read from |
//! | category | `sigma.category`; a Windows event's channel and number; what the line says (see [`super::mapping`]); `webserver` for web servers and access logs; none at all for programs such as sshd |
//!
//! Nothing is stamped where records are made: all that tells is in the record for as long as it is kept, costs nothing on
//! the way, and rules that come later see records that came earlier.
//!
//! Sigma's services `auth` and `syslog` are no programs but files that many programs write to, and its category
//! `registry_event` is several others: such a rule is tested on all of them.

use super::{mapping, view::View, windows::channels};
use crate::matching::body_text;
use millrace_model::{Row, Value};
use rsigma_parser::LogSource;
use std::borrow::Cow;

/// A category that no rule has: its record is of a known program, so that no rule about another kind of log is tested.
pub(super) const NO_CATEGORY: &str = "-";

/// The category of requests to web servers.
const WEB: &str = "webserver";
/// A dimension of our own: whether it is about requests. Rules for web servers and proxies are not tested on records that
/// are none, even if nothing else is known of those.
const REQUESTS: &str = "requests";

/// Marks the logsource of a rule for web servers and proxies.
pub(super) fn mark_requests(logsource: &mut LogSource) {
    if let Some(WEB | "proxy") = logsource.category.as_deref() {
        logsource.custom.insert(REQUESTS.to_owned(), "yes".to_owned());
    }
}

/// What is known of a record.
pub(super) struct Origin<'a> {
    product: Option<Cow<'a, str>>,
    service: Option<Cow<'a, str>>,
    category: Option<Cow<'a, str>>,
    /// May it be about a request to a web server or proxy?
    request: bool,
}

impl<'a> Origin<'a> {
    pub(super) fn of(row: &'a Row, view: &View<'a>) -> Self {
        let has = |name: &str| view.value(name).is_some();
        let windows = view.windows().is_some() || has("EventID") && (has("Channel") || has("Provider_Name"));
        let product = said(view, "sigma.product").map(Cow::Borrowed).or_else(|| {
            if windows {
                return Some("windows".into());
            }
            match said(view, "os.type") {
                Some("darwin") => Some("macos".into()),
                Some(system) => Some(Cow::Borrowed(system)),
                None => row.record.resource.at("host.name").map(|_| "linux".into()),
            }
        });
        let service = said(view, "sigma.service").map(Cow::Borrowed).or_else(|| {
            if windows {
                return view.text("Channel").and_then(channels::service).map(Cow::Borrowed);
            }
            service(row, view)
        });
        let product = product.or_else(|| {
            let told =
                service.as_deref().is_some_and(|service| service == "auditd" || is_system_program(service));
            told.then_some("linux".into())
        });
        let category = said(view, "sigma.category").map(Cow::Borrowed).or_else(|| {
            if windows {
                let number = view.number("EventID")?;
                return Some(channels::category(service.as_deref()?, number, view.text("EventType"))?.into());
            }
            let web = service.as_deref().is_some_and(is_web_server) || looks_like_access(row, view);
            if web {
                return Some(WEB.into());
            }
            service.as_deref().is_some_and(is_system_program).then_some(NO_CATEGORY.into())
        });
        let request = category.is_some() || view.names().any(is_of_request);
        Self { product, service, category, request }
    }

    /// What kind of event it is turns out to be said by the record's line.
    pub(super) fn said(&mut self, category: &'static str) {
        if self.category.as_deref().is_none_or(|known| known == NO_CATEGORY) {
            self.category = Some(category.into());
        }
    }

    pub(super) fn is_web(&self) -> bool {
        self.category.as_deref() == Some(WEB)
    }

    pub(super) fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    pub(super) fn log_source(&self) -> LogSource {
        let own = |part: &Option<Cow<'_, str>>| part.as_deref().map(str::to_owned);
        let mut source = LogSource {
            product: own(&self.product),
            service: own(&self.service),
            category: own(&self.category),
            ..LogSource::default()
        };
        if !self.request {
            source.custom.insert(REQUESTS.to_owned(), "no".to_owned());
        }
        source
    }
}

/// A part of a logsource that stands for several others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `auth.log`, `secure`: who logs in and who becomes somebody else.
    Auth,
    /// `syslog`, `messages`: everything but audit records and access logs.
    Syslog,
    /// Whatever happens to the registry.
    Registry,
}

impl Family {
    /// Takes such a part out of a rule's logsource, for the engine knows single ones only.
    pub(super) fn of(logsource: &mut LogSource) -> Option<Self> {
        let family = match (logsource.service.as_deref(), logsource.category.as_deref()) {
            (Some("auth"), _) => Self::Auth,
            (Some("syslog"), _) => Self::Syslog,
            (_, Some("registry_event")) => Self::Registry,
            _ => return None,
        };
        match family {
            Self::Auth | Self::Syslog => logsource.service = None,
            Self::Registry => logsource.category = None,
        }
        Some(family)
    }

    /// Could such a record be one of those?
    pub(super) fn may_hold(self, origin: &Origin<'_>) -> bool {
        let Some(part) = (match self {
            Self::Auth | Self::Syslog => origin.service.as_deref(),
            Self::Registry => origin.category.as_deref(),
        }) else {
            return true;
        };
        match self {
            Self::Auth => matches!(part, "auth" | "syslog" | "systemd") || is_auth_program(part),
            Self::Syslog => part != "auditd" && !is_web_server(part),
            Self::Registry => part.starts_with("registry_"),
        }
    }
}

/// What an attribute or the resource says in words.
fn said<'a>(view: &View<'a>, key: &str) -> Option<&'a str> {
    view.value(key)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// The program that wrote the record, by the name that Sigma has for it.
fn service<'a>(row: &'a Row, view: &View<'a>) -> Option<Cow<'a, str>> {
    let named = ["service.name", "SYSLOG_IDENTIFIER", "syslog.appname", "appname", "_COMM"]
        .into_iter()
        .filter_map(|key| said(view, key))
        .find(|name| !says_nothing(name));
    if let Some(name) = named {
        return Some(known(name).map_or_else(|| Cow::Owned(name.to_ascii_lowercase()), Cow::Borrowed));
    }
    let told = match &row.record.body {
        Value::String(line) => in_line(line),
        _ => None,
    };
    told.or_else(|| in_path(said(view, "log.file.path")?)).map(Cow::Borrowed)
}

/// Names that say who carried the line, not who wrote it.
fn says_nothing(name: &str) -> bool {
    name.starts_with("unknown_service")
        || ["syslog", "rsyslog", "rsyslogd", "syslog-ng", "journald", "systemd-journald", "logs", "host"]
            .contains(&name)
}

/// The program that a line names as syslog does: `sshd[123]: …`, after a time and a host or not. Known programs only:
/// anything may stand before a colon.
fn in_line(line: &str) -> Option<&'static str> {
    if mapping::is_audit_record(line) {
        return Some("auditd");
    }
    if let Some(rest) = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(_, rest)| rest)
        && rest.starts_with("1 ")
    {
        return known(rest.split(' ').nth(3)?); // RFC 5424: version, time, host, program
    }
    let head = &line[..line.floor_char_boundary(160)];
    let before = &head[..head.find(": ")?];
    known(before.rsplit(' ').next()?)
}

/// The program whose log lies there.
fn in_path(path: &str) -> Option<&'static str> {
    let (folder, name) = path.rsplit_once('/')?;
    let stem = name.split('.').next()?;
    match (folder.rsplit('/').next()?, stem) {
        ("nginx", _) => Some("nginx"),
        ("apache2" | "httpd", _) => Some("apache"),
        ("audit", "audit") => Some("auditd"),
        ("log", "cron") => Some("cron"),
        ("log", "vsftpd") => Some("vsftpd"),
        ("log", "auth" | "secure") => Some("auth"),
        ("log", "syslog" | "messages") => Some("syslog"),
        _ => None,
    }
}

/// Sigma's name for a program whose log Sigma has rules for, or that only writes to the system's log.
pub(super) fn known(name: &str) -> Option<&'static str> {
    let name = name.split(['[', '(', '@']).next()?;
    let name = name.rsplit('/').next()?;
    let name = name.strip_suffix(".service").unwrap_or(name);
    Some(match name {
        "sshd" | "sshd-session" | "sshd-auth" | "ssh" => "sshd",
        "sudo" => "sudo",
        "su" => "su",
        "cron" | "CRON" | "crond" | "crontab" | "anacron" => "cron",
        "auditd" | "audit" | "audispd" | "kauditd" => "auditd",
        "clamd" | "freshclam" | "clamav" | "clamav-daemon" | "clamscan" => "clamav",
        "guacd" | "guacamole" => "guacamole",
        "vsftpd" => "vsftpd",
        "nginx" => "nginx",
        "apache" | "apache2" | "httpd" => "apache",
        "kernel" => "kernel",
        "systemd" => "systemd",
        "login" => "login",
        "systemd-logind" => "systemd-logind",
        "polkitd" => "polkitd",
        "pkexec" => "pkexec",
        "passwd" => "passwd",
        "chpasswd" => "chpasswd",
        "useradd" => "useradd",
        "usermod" => "usermod",
        "userdel" => "userdel",
        "groupadd" => "groupadd",
        "gpasswd" => "gpasswd",
        "named" => "named",
        _ => return None,
    })
}

fn is_auth_program(service: &str) -> bool {
    matches!(
        service,
        "sshd"
            | "sudo"
            | "su"
            | "login"
            | "systemd-logind"
            | "polkitd"
            | "pkexec"
            | "passwd"
            | "chpasswd"
            | "useradd"
            | "usermod"
            | "userdel"
            | "groupadd"
            | "gpasswd"
            | "cron"
    )
}

fn is_web_server(service: &str) -> bool {
    matches!(
        service,
        "nginx" | "apache" | "apache2" | "httpd" | "caddy" | "traefik" | "haproxy" | "lighttpd" | "iis"
    )
}

fn is_system_program(service: &str) -> bool {
    is_auth_program(service) || matches!(service, "kernel" | "systemd" | "clamav" | "vsftpd" | "named")
}

/// Is it a field that requests have?
fn is_of_request(name: &str) -> bool {
    ["cs-", "c-uri", "http", "url"].iter().any(|start| name.starts_with(start))
}

/// Is this a line of an access log, parsed or as it stands?
fn looks_like_access(row: &Row, view: &View<'_>) -> bool {
    if view.value("http.request.method").is_some() || view.value("cs-method").is_some() {
        return true;
    }
    let body = match &row.record.body {
        Value::String(_) => body_text(&row.record.body),
        _ => return false,
    };
    body.contains("] \"") && (body.contains(" HTTP/1.") || body.contains(" HTTP/2"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::{tests::row, view::Names};

    fn check(body: &str, attributes: &str, resource: &str, expected: [Option<&str>; 3]) {
        let row = row(body, attributes, resource);
        let names = Names::default();
        let origin = Origin::of(&row, &View::new(&row, &names));
        let found = [origin.product.as_deref(), origin.service.as_deref(), origin.category.as_deref()];
        assert_eq!(found, expected, "{body} {attributes} {resource}");
    }

    #[test]
    fn products_services_and_categories_are_told() {
        let host = r#"{"host.name":"web1"}"#;
        let none = Some(NO_CATEGORY);
        check(
            "Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user",
            "{}",
            host,
            [Some("linux"), Some("sshd"), none],
        );
        check(
            "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: x",
            "{}",
            host,
            [Some("linux"), Some("sshd"), none],
        );
        check("2026-11-23T19:00:00+00:00 h sudo:  al : x", "{}", host, [Some("linux"), Some("sudo"), none]);
        check("<34>1 2026-11-23T19:00:00Z h su 1 ID - x", "{}", host, [Some("linux"), Some("su"), none]);
        check("x", r#"{"SYSLOG_IDENTIFIER":"sshd-session"}"#, host, [Some("linux"), Some("sshd"), none]);
        check("type=SYSCALL msg=audit(1:2): a0=1", "{}", host, [Some("linux"), Some("auditd"), None]);
        for (path, service, category) in [
            ("/var/log/nginx/error.log.1", "nginx", Some("webserver")),
            ("/var/log/audit/audit.log", "auditd", None),
            ("/var/log/auth.log", "auth", None),
        ] {
            let resource = format!(r#"{{"host.name":"h","log.file.path":"{path}"}}"#);
            check("a line", "{}", &resource, [Some("linux"), Some(service), category]);
        }
        check("ERROR: no sshd here", "{}", host, [Some("linux"), None, None]);
        check("x sshd[1]: said a user", "{}", r#"{"service.name":"Shop"}"#, [None, Some("shop"), None]);
        check("kernel: x", "{}", r#"{"service.name":"rsyslog"}"#, [Some("linux"), Some("kernel"), none]);
        let access = r#"1.2.3.4 - - [10/Oct/2026:13:55:36] "GET / HTTP/1.1" 200 1"#;
        check(access, "{}", host, [Some("linux"), None, Some("webserver")]);
        check("x", r#"{"service.name":"nginx"}"#, "{}", [None, Some("nginx"), Some("webserver")]);
        check("x", r#"{"Event":{"System":{"EventID":1}}}"#, host, [Some("windows"), None, None]);
        check("x", r#"{"EventID":1,"Channel":"Security"}"#, host, [Some("windows"), Some("security"), none]);
        check("x", "{}", r#"{"os.type":"darwin","host.name":"m"}"#, [Some("macos"), None, None]);
        let said = r#"{"sigma.product":"aws","sigma.service":"cloudtrail","sigma.category":"c"}"#;
        check("sshd[1]: x", said, host, [Some("aws"), Some("cloudtrail"), Some("c")]);
        check("x", "{}", "{}", [None, None, None]);
    }

    #[test]
    fn the_auth_log_is_of_many_programs() {
        for (service, auth, syslog) in [
            (Some("sshd"), true, true),
            (Some("kernel"), false, true),
            (Some("auditd"), false, false),
            (Some("nginx"), false, false),
            (None, true, true),
        ] {
            let origin =
                Origin { product: None, service: service.map(Cow::Borrowed), category: None, request: false };
            assert_eq!(Family::Auth.may_hold(&origin), auth, "{service:?}");
            assert_eq!(Family::Syslog.may_hold(&origin), syslog, "{service:?}");
        }
        for (category, registry) in [(Some("registry_set"), true), (Some("file_event"), false), (None, true)]
        {
            let origin = Origin {
                product: None,
                service: None,
                category: category.map(Cow::Borrowed),
                request: false,
            };
            assert_eq!(Family::Registry.may_hold(&origin), registry, "{category:?}");
        }
    }
}
