//! `[query.auth.oidc]`: who vouches for people, and what is granted to which groups.

use millrace_config::{Age, Secret, Section};
use millrace_listen::{
    Role,
    access::{Grants, granted},
};
use millrace_model::{Grant, StreamName};
use reqwest::Url;
use serde_json::{Map, Value};
use std::{collections::BTreeSet, time::Duration};

/// The longest life of a session.
const LONGEST: Duration = Duration::from_hours(24 * 30);
const SHORTEST: Duration = Duration::from_mins(1);

/// `[query.auth.oidc]`.
#[derive(Debug, Clone)]
pub struct LoginSettings {
    /// The provider, as it calls itself: `issuer`.
    pub issuer: String,
    /// What it calls this server: `client_id`.
    pub client_id: String,
    /// What it knows this server by: `client_secret`.
    pub client_secret: Secret,
    /// Where browsers reach this server, without a path: `external_url`. Over TLS, or on this machine.
    pub external_url: String,
    /// What is asked for: `scopes`, default openid, profile and email.
    pub scopes: Vec<String>,
    /// The claim that names groups: `groups_claim`, default "groups".
    pub groups_claim: String,
    /// How long a session lasts: `session_lifetime`, default 8 h.
    pub session_lifetime: Duration,
    /// `[[query.auth.oidc.grants]]`.
    pub grants: Vec<GroupGrant>,
}

/// What is granted to the members of a group.
#[derive(Debug, Clone)]
pub struct GroupGrant {
    /// Its name: `group`.
    pub group: String,
    /// What they may do: `roles`.
    pub roles: Vec<Role>,
    /// In which streams: `streams`.
    pub grant: Grant,
}

/// What somebody may do, by their groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Those of their groups that something is granted to.
    pub groups: Vec<String>,
    /// All of that together.
    pub grants: Grants,
}

impl LoginSettings {
    /// Reads the section. `None` only where an error was recorded.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let issuer: Option<String> = section.required("issuer");
        if issuer.as_deref().is_some_and(|issuer| !is_safe(issuer)) {
            section.error("issuer", "an https address expected (http on this machine alone)");
        }
        let external_url = section.required::<String>("external_url");
        let external_url = external_url.map(|url| url.trim_end_matches('/').to_owned());
        let origin = external_url.as_deref().and_then(|url| Url::parse(url).ok());
        let origin = origin.map(|url| url.origin().ascii_serialization());
        if let Some(url) = &external_url
            && (!is_safe(url) || origin.as_ref() != Some(url))
        {
            let help = "as in \"https://logs.example.com\"";
            let problem = "scheme, host and port at which browsers reach this server expected, without a path; https, or \
                           http on this machine alone";
            section.error_with_help("external_url", problem, help);
        }
        let scopes = ["openid", "profile", "email"].map(str::to_owned).to_vec();
        let scopes: Vec<String> = section.or("scopes", scopes);
        if !scopes.iter().any(|scope| scope == "openid") {
            section.error("scopes", "\"openid\" must be among them");
        }
        let Age(session_lifetime) = section.or("session_lifetime", Age(Duration::from_hours(8)));
        if !(SHORTEST..=LONGEST).contains(&session_lifetime) {
            section.error("session_lifetime", "must be from 1m to 30d");
        }
        let (client_id, client_secret) = (section.required("client_id"), section.required("client_secret"));
        let groups_claim = section.or("groups_claim", "groups".to_owned());
        let mut lists = section.list("grants");
        let grants: Vec<Option<GroupGrant>> = lists.iter_mut().map(GroupGrant::read).collect();
        if grants.is_empty() {
            section.error_with_help(
                "grants",
                "nothing is granted to anybody",
                "[[query.auth.oidc.grants]] with group = \"sre\", roles = [\"read\"], streams = [\"*\"]",
            );
        }
        Some(Self {
            issuer: issuer?,
            client_id: client_id?,
            client_secret: client_secret?,
            external_url: external_url?,
            scopes,
            groups_claim,
            session_lifetime,
            grants: grants.into_iter().collect::<Option<_>>()?,
        })
    }

    /// What is granted to members of these groups, all together; `None`: nothing.
    pub fn granted(&self, groups: &[String]) -> Option<Granted> {
        let mut all = Granted { groups: Vec::new(), grants: Grants::new() };
        for GroupGrant { group, roles, grant } in self.grants.iter().filter(|one| groups.contains(&one.group))
        {
            if !all.groups.contains(group) {
                all.groups.push(group.clone());
            }
            for role in roles {
                let before = all.grants.get(role).cloned();
                let grant = before.map_or_else(|| grant.clone(), |before| both(before, grant));
                all.grants.insert(*role, grant);
            }
        }
        (!all.grants.is_empty()).then_some(all)
    }
}

impl GroupGrant {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let group: Option<String> = section.required("group");
        let names: Option<Vec<String>> = section.required("roles");
        let streams: Option<Vec<String>> = section.optional("streams");
        let names = names?;
        let roles: Option<Vec<Role>> = names.iter().map(|name| Role::of(name)).collect();
        let Some(roles) = roles else {
            section.error("roles", "read, write or admin expected");
            return None;
        };
        match granted(&roles, streams.as_deref()) {
            Ok(grant) => Some(Self { group: group?, roles, grant }),
            Err(problem) => {
                let (key, problem) = problem.split_once(": ").unwrap_or(("streams", &problem));
                section.error(if key == "roles" { "roles" } else { "streams" }, problem);
                None
            }
        }
    }
}

/// The streams of either.
fn both(a: Grant, b: &Grant) -> Grant {
    match (a, b) {
        (Grant::Streams(a), Grant::Streams(b)) => {
            Grant::Streams(a.union(b).cloned().collect::<BTreeSet<StreamName>>())
        }
        _ => Grant::All,
    }
}

/// Does what is sent there go over TLS, or stay on this machine?
pub(super) fn is_safe(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    url.username().is_empty() && (url.scheme() == "https" || (url.scheme() == "http" && is_here))
}

fn claim<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    // As in `realm_access.roles`.
    let (first, rest) = path.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// Is the claim there?
pub(super) fn has_claim(claims: &Map<String, Value>, path: &str) -> bool {
    claim(claims, path).is_some()
}

/// The names that a claim holds, a list or one.
pub(super) fn groups(claims: &Map<String, Value>, path: &str) -> Vec<String> {
    match claim(claims, path) {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => {
            names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(names: &[&str]) -> Grant {
        Grant::Streams(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    #[test]
    fn grants_of_groups_add_up_role_by_role() {
        let one = |group: &str, roles: &[Role], grant| GroupGrant {
            group: group.to_owned(),
            roles: roles.to_vec(),
            grant,
        };
        let settings = LoginSettings {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: Secret::new(""),
            external_url: String::new(),
            scopes: Vec::new(),
            groups_claim: "groups".to_owned(),
            session_lifetime: LONGEST,
            grants: vec![
                one("app", &[Role::Read], of(&["app"])),
                one("web", &[Role::Read, Role::Write], of(&["web"])),
                one("web", &[Role::Read], of(&["www"])),
                one("sre", &[Role::Read], Grant::All),
            ],
        };
        let granted = |groups: &[&str]| {
            settings.granted(&groups.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(granted(&["none", ""]), None);
        let two = granted(&["app", "other", "web"]).unwrap();
        assert_eq!(two.groups, ["app", "web"]);
        // What may be written is not what may be read.
        assert_eq!(
            two.grants,
            [(Role::Read, of(&["app", "web", "www"])), (Role::Write, of(&["web"]))].into()
        );
        assert_eq!(granted(&["sre", "web"]).unwrap().grants[&Role::Read], Grant::All);
    }

    #[test]
    fn groups_are_found_where_providers_put_them() {
        let claims = json!({
            "groups": ["a", 1, "b"], "one": "x", "realm_access": { "roles": ["c"] }, "https://x.y/groups": ["d"],
        });
        let claims = claims.as_object().unwrap();
        assert_eq!(groups(claims, "groups"), ["a", "b"]);
        assert_eq!(groups(claims, "one"), ["x"]);
        assert_eq!(groups(claims, "realm_access.roles"), ["c"]);
        assert_eq!(groups(claims, "https://x.y/groups"), ["d"]);
        assert!(groups(claims, "realm_access.none").is_empty() && !has_claim(claims, "nothing"));
    }

    #[test]
    fn secrets_go_over_tls_or_stay_here() {
        for url in ["https://id.example.com/x", "http://127.0.0.1:9", "http://localhost", "http://[::1]:1"] {
            assert!(is_safe(url), "{url}");
        }
        for url in
            ["http://id.example.com", "http://127.0.0.1.evil.com", "ftp://localhost", "", "https://a@b"]
        {
            assert!(!is_safe(url), "{url}");
        }
    }
}
