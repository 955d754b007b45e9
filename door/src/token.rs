//! Tokens in the head of a request.

use subtle::ConstantTimeEq;

/// Shortest token: 16 characters of base64 are 96 bits.
pub const TOKEN_BYTES_MIN: usize = 16;

/// The token in `Authorization: Bearer TOKEN`.
#[must_use]
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_matches(' '))
}

/// Whether both are the same. The time that it takes tells at most how long they are.
#[must_use]
pub fn same(known: &[u8], given: &[u8]) -> bool {
    known.ct_eq(given).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearers() {
        for (head, token) in [
            ("Bearer x", Some("x")),
            ("bearer  x ", Some("x")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic x", None),
            ("", None),
        ] {
            assert_eq!(bearer(head), token, "{head:?}");
        }
    }

    #[test]
    fn the_same_or_not() {
        assert!(same(b"0123456789abcdef", b"0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdeF",
            "0123456789abcdef0",
        ] {
            assert!(!same(b"0123456789abcdef", other.as_bytes()), "{other:?}");
        }
    }
}
