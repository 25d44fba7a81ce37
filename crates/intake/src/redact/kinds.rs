//! The kinds of secrets and personal data that are known, and the expressions that find candidates for them. What a candidate
//! really is, `found` says.

use super::found::{self, Part};

/// A kind of what should not leave a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A payment card's number, by its issuer's prefix and length and its check digit (Luhn).
    CreditCard,
    /// An email address.
    Email,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A JSON web token.
    Jwt,
    /// Keys and tokens of well-known services, private keys in PEM, passwords in URLs, and what is called a password or the like.
    Secret,
    /// An international bank account number, by its country's length and its check digits.
    Iban,
    /// A US social security number, by the numbers that are never given.
    UsSsn,
}

impl Kind {
    /// The names that settings may use, and what they mean.
    pub const NAMES: [(&str, Self); 8] = [
        ("credit_card", Self::CreditCard),
        ("email", Self::Email),
        ("ipv4", Self::Ipv4),
        ("ipv6", Self::Ipv6),
        ("jwt", Self::Jwt),
        ("secret", Self::Secret),
        ("iban", Self::Iban),
        ("us_ssn", Self::UsSsn),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Expressions that find candidates, and what of a match counts.
    pub(super) fn patterns(self) -> &'static [(&'static str, Part)] {
        match self {
            Self::CreditCard => &[(r"(?-u)\b[2-6](?:[ -]?[0-9]){12,18}", Part(found::credit_card))],
            Self::Email => &[(
                r"(?-u)\b[A-Za-z0-9][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{0,63}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}\b",
                Part(found::email),
            )],
            Self::Ipv4 => &[(
                r"(?-u)\b(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})\b",
                Part(found::ipv4),
            )],
            // Eight groups, or six and an IPv4 address, or two colons in a row somewhere.
            Self::Ipv6 => &[(
                r"(?-u)\b(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|\b(?:[0-9A-Fa-f]{1,4}:){6}(?:[0-9]{1,3}\.){3}[0-9]{1,3}|(?:\b(?:[0-9A-Fa-f]{1,4}:){1,7}:|::)(?:[0-9A-Fa-f]{1,4}:){0,6}(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{0,4})",
                Part(found::ipv6),
            )],
            Self::Jwt => {
                &[(r"(?-u)\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*", Part::WHOLE)]
            }
            Self::Secret => SECRETS,
            Self::Iban => &[(r"(?-u)\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}", Part(found::iban))],
            Self::UsSsn => &[(r"(?-u)\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", Part(found::us_ssn))],
        }
    }
}

/// As the services document their tokens.
const SECRETS: &[(&str, Part)] = &[
    // A private key; where it is cut, all that follows.
    (
        r"(?-u)-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?su:.)*?(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\z)",
        Part::WHOLE,
    ),
    // A whole line of one: where lines are records, the one with BEGIN says nothing of those that follow.
    (r"(?-u)\A\s*[A-Za-z0-9+/]{64}\s*\z", Part(found::line_of_a_key)),
    // AWS.
    (r"(?-u)\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b", Part::WHOLE),
    // GitHub, GitLab, Slack, Stripe, Google, SendGrid, npm, PyPI, OpenAI and Anthropic, Hugging Face, DigitalOcean, Shopify.
    (
        r"(?-u)\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|[prs]k_(?:live|test)_[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{35}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}|sk-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{30,}|dop_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32})",
        Part::WHOLE,
    ),
    // `Authorization: Bearer …`.
    (r"(?i-u)\b(?:basic|bearer)\s+[A-Za-z0-9._~+/-]{16,}=*", Part(found::after_blank)),
    // What is called a password, a key or a token.
    (
        r#"(?i-u)(?:password|passwd|passphrase|pwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|client[_-]?secret|secret[_-]?key|private[_-]?key)\\?["']?\s*(?:=>|=|:)\s*(?:\\?"(?u:[^"\\])+|'(?u:[^'\\])+|(?u:[^\s"'\\,;&}\])])+)"#,
        Part(found::assigned),
    ),
    // `https://user:password@host`.
    (r#"(?-u)://(?u:[^\s/:@"'?#])*:(?u:[^\s/@"'?#])+@"#, Part(found::user_information)),
];
