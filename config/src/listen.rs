//! Where a role listens, and the rule for all of them: what other machines can reach asks for proof, or somebody has said
//! that it need not.

use crate::Section;
use std::net::SocketAddr;

/// What it means that nobody has to prove anything there.
#[derive(Debug, Clone, Copy)]
pub struct Unguarded {
    /// What is wrong with it.
    pub problem: &'static str,
    /// What to do about it, but for allowing it.
    pub help: &'static str,
}

impl Section<'_> {
    /// Reads `listen` and `allow_unauthenticated`. An address that other machines can reach is an error where it is
    /// `unguarded` and that is not allowed.
    pub fn listen(&mut self, default: SocketAddr, unguarded: Option<Unguarded>) -> SocketAddr {
        let listen = self.or("listen", default);
        self.guard("listen", &[listen], unguarded);
        listen
    }

    /// Reads `allow_unauthenticated`, for addresses that the key names. One that other machines can reach is an error where they are
    /// `unguarded` and that is not allowed.
    pub fn guard(&mut self, key: &str, addresses: &[SocketAddr], unguarded: Option<Unguarded>) {
        let allowed = self.or("allow_unauthenticated", false);
        let Some(Unguarded { problem, help }) = unguarded.filter(|_| !allowed) else { return };
        for address in addresses.iter().filter(|address| !address.ip().is_loopback()) {
            self.error_with_help(
                key,
                format!("{address} can be reached from other machines, and {problem}"),
                format!("{help}, or say `allow_unauthenticated = true`"),
            );
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{Document, Layers, load};

    fn listens(text: &str, guarded: bool) -> Result<SocketAddr, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.toml");
        std::fs::write(&file, text).unwrap();
        let document: Document = load(&Layers { file: Some(file), ..Layers::default() }).unwrap();
        let unguarded = Unguarded { problem: "everybody comes in", help: "lock the door" };
        let mut root = document.root();
        let listen = root
            .section_or_empty("room")
            .listen(SocketAddr::from(([127, 0, 0, 1], 1)), (!guarded).then_some(unguarded));
        document.finish().map(|()| listen).map_err(|report| format!("{report:?}"))
    }

    #[test]
    fn what_others_can_reach_is_guarded_or_allowed() {
        let open = "[room]\nlisten = \"0.0.0.0:9\"\n";
        assert_eq!(listens("", false).unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(listens("[room]\nlisten = \"[::1]:9\"", false).unwrap().to_string(), "[::1]:9");
        assert_eq!(listens(open, true).unwrap().to_string(), "0.0.0.0:9");
        let allowed = format!("{open}allow_unauthenticated = true\n");
        assert_eq!(listens(&allowed, false).unwrap().to_string(), "0.0.0.0:9");
        let problem = listens(open, false).unwrap_err();
        for words in ["0.0.0.0:9 can be reached", "everybody comes in", "lock the door, or say"] {
            assert!(problem.contains(words), "{words} in {problem}");
        }
    }
}
