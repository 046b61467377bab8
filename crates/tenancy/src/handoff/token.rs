use std::fmt;

use sha2::{Digest, Sha256};

use crate::hex::{decode_hex, encode_hex};

/// A single-use token, to be handed to the one who will redeem it, and kept nowhere else.
///
/// 256 random bits as 64 hexadecimal digits: safe in a URL. `Debug` does not show it.
pub struct HandoffToken(String);

impl HandoffToken {
    pub(super) fn random() -> Result<(Self, TokenHash), getrandom::Error> {
        let secret = random_bytes()?;
        Ok((Self(encode_hex(&secret)), TokenHash::of(&secret)))
    }

    /// The token, for a link or a form. Who has it can redeem it, once.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HandoffToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandoffToken(redacted)")
    }
}

pub(super) fn random_bytes() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// What is stored of a token. The token can not be had from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(secret: &[u8; 32]) -> Self {
        let hash = Sha256::new()
            .chain_update(b"tenancy handoff token v1\0")
            .chain_update(secret)
            .finalize();
        Self(hash.into())
    }

    /// Of what a client sent, if it has the form of a token.
    pub(super) fn of_text(token: &str) -> Option<Self> {
        decode_hex(token).map(|secret| Self::of(&secret))
    }

    /// The hash, to be stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 hexadecimal digits: tells tokens apart in the audit.
    pub fn reference(&self) -> String {
        encode_hex(&self.0[..8])
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({}…)", self.reference())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_text_and_shown_by_nothing_else() {
        let (token, hash) = HandoffToken::random().unwrap();
        assert_eq!(TokenHash::of_text(token.as_str()), Some(hash));
        let printed = format!("{token:?} {hash:?} {}", encode_hex(hash.as_bytes()));
        assert!(!printed.contains(token.as_str()), "{printed}");
        let (another, _) = HandoffToken::random().unwrap();
        assert_ne!(another.as_str(), token.as_str());
    }

    #[test]
    fn text_that_is_no_token_has_no_hash() {
        let (token, _) = HandoffToken::random().unwrap();
        let token = token.as_str();
        let upper = "A".repeat(64);
        for bad in [
            "",
            &token[1..],
            &format!("{token}0"),
            &format!(" {token}"),
            &upper,
            &"ä".repeat(32),
        ] {
            assert_eq!(TokenHash::of_text(bad), None, "{bad:?}");
        }
    }
}
