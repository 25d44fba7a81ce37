//! Proof that a request to a leaf comes from a node of the cluster: an HMAC-SHA-256 under the secret that all nodes share,
//! over the path, the time and the body. The secret itself never travels, and what somebody has overheard proves nothing
//! but the very same request, and that for a minute only. It hides nothing: answers are as readable as their network is.

use hmac::{Hmac, KeyInit, Mac};
use millrace_model::{Timestamp, fields::hex};
use sha2::Sha256;
use std::{fmt, time::Duration};

/// How far the asker's clock and the leaf's may be apart, in either direction.
pub const CLOCKS_WITHIN: Duration = Duration::from_mins(1);
/// Begins the value of the `authorization` header, and what is signed: another way of signing gets another name.
const SCHEME: &str = "Millrace-1";

/// What nodes of one cluster prove themselves with. It does not print itself.
#[derive(Clone)]
pub struct ClusterKey(Hmac<Sha256>);

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disbelief {
    /// It carries no proof, or none that is understood here.
    #[error("the request does not prove that it comes from this cluster: [cluster] secret is not set there")]
    Missing,
    /// It was signed too long ago, or clocks differ.
    #[error("the request was signed {0} s from now by this clock: clocks must agree within a minute")]
    Stale(i64),
    /// Another secret, or another request than was signed.
    #[error("the proof is wrong: [cluster] secret is not the same on both nodes")]
    Wrong,
}

impl Disbelief {
    /// One word, for the label of a metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Stale(_) => "stale",
            Self::Wrong => "wrong",
        }
    }
}

impl ClusterKey {
    /// Out of the secret, of any length.
    pub fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("a key of any length is taken"))
    }

    /// The value of the `authorization` header of a POST of `body` to `path`, sent at `now`.
    pub fn prove(&self, path: &str, body: &[u8], now: Timestamp) -> String {
        let seconds = now.0.div_euclid(1_000_000_000);
        let proof = self.signed(path, body, seconds).finalize().into_bytes();
        format!("{SCHEME} {seconds}:{}", hex(&proof))
    }

    /// Holds such a header against the request that it came with, by the receiver's clock. Takes as long for a proof that is
    /// nearly right as for any other.
    pub fn believe(
        &self,
        header: Option<&str>,
        path: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Disbelief> {
        let rest =
            header.and_then(|header| header.strip_prefix(SCHEME)).and_then(|rest| rest.strip_prefix(' '));
        let (seconds, proof) = rest.and_then(|rest| rest.split_once(':')).ok_or(Disbelief::Missing)?;
        let seconds: i64 = seconds.parse().map_err(|_| Disbelief::Missing)?;
        let proof = super::unhex(proof).ok_or(Disbelief::Missing)?;
        // First of all: what a stranger says of its clock is not worth telling.
        self.signed(path, body, seconds).verify_slice(&proof).map_err(|_| Disbelief::Wrong)?;
        let apart = seconds.saturating_sub(now.0.div_euclid(1_000_000_000));
        if apart.unsigned_abs() > CLOCKS_WITHIN.as_secs() {
            return Err(Disbelief::Stale(apart));
        }
        Ok(())
    }

    /// Each part is told from the next: neither the path nor the number holds a line's end.
    fn signed(&self, path: &str, body: &[u8], seconds: i64) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(format!("{SCHEME}\nPOST\n{path}\n{seconds}\n").as_bytes());
        mac.update(body);
        mac
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

    fn key() -> ClusterKey {
        ClusterKey::new("correct horse battery staple")
    }

    #[test]
    fn a_proof_is_believed_for_its_own_request_and_for_a_minute() {
        let header = key().prove("/leaf/search", b"{}", NOW);
        let believe =
            |key: &ClusterKey, path: &str, body: &[u8], now| key.believe(Some(&header), path, body, now);
        for seconds in [-60, 0, 60] {
            let now = Timestamp(NOW.0 + seconds * 1_000_000_000);
            assert_eq!(believe(&key(), "/leaf/search", b"{}", now), Ok(()), "{seconds}");
        }
        for (seconds, apart) in [(61, -61), (-61, 61)] {
            let now = Timestamp(NOW.0 + seconds * 1_000_000_000);
            assert_eq!(believe(&key(), "/leaf/search", b"{}", now), Err(Disbelief::Stale(apart)));
        }
        assert_eq!(believe(&key(), "/leaf/other", b"{}", NOW), Err(Disbelief::Wrong));
        assert_eq!(believe(&key(), "/leaf/search", b"{ }", NOW), Err(Disbelief::Wrong));
        assert_eq!(
            believe(&ClusterKey::new("another horse"), "/leaf/search", b"{}", NOW),
            Err(Disbelief::Wrong)
        );
    }

    #[test]
    fn neither_the_time_nor_the_proof_can_be_changed() {
        let header = key().prove("/leaf/search", b"{}", NOW);
        let later = header.replace("1800000000", "1800000030");
        let mut other = header.clone();
        let last = if other.ends_with('0') { '1' } else { '0' };
        other.pop();
        other.push(last);
        for header in [later, other, header[..header.len() - 2].to_owned(), format!("{header}00")] {
            assert_eq!(
                key().believe(Some(&header), "/leaf/search", b"{}", NOW),
                Err(Disbelief::Wrong),
                "{header}"
            );
        }
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let proof = key().prove("/leaf/search", b"{}", NOW);
        let without = proof.strip_prefix("Millrace-1").unwrap_or_default().to_owned();
        let long = format!("Millrace-1 {}:00", "9".repeat(40));
        let headers = [
            "",
            "Millrace-1",
            "Millrace-1 ",
            "Millrace-1 1800000000",
            "Millrace-1 1800000000:zz",
            "Bearer x",
        ];
        for header in headers.into_iter().map(str::to_owned).chain([without, long]) {
            assert_eq!(
                key().believe(Some(&header), "/leaf/search", b"{}", NOW),
                Err(Disbelief::Missing),
                "{header}"
            );
        }
        assert_eq!(key().believe(None, "/leaf/search", b"{}", NOW), Err(Disbelief::Missing));
        let farthest = format!("Millrace-1 {}:00", i64::MIN);
        assert_eq!(key().believe(Some(&farthest), "/leaf/search", b"{}", NOW), Err(Disbelief::Wrong));
    }

    /// By another maker's HMAC: `printf 'Millrace-1\nPOST\n/leaf/search\n1800000000\n{}' | openssl dgst -sha256 -hmac …`.
    #[test]
    fn the_proof_is_the_standard_one() {
        let header = key().prove("/leaf/search", b"{}", NOW);
        assert_eq!(
            header,
            "Millrace-1 1800000000:0ab1d702459e1daecf81fdb642141eaf6634a0af3175c0b906ab02f3c9fe4a58"
        );
        assert_eq!(format!("{:?}", key()), "[secret]");
    }
}
