//! Tokens and numbers, as fields and documents have them.
//!
//! What else a place asks of either, that it be no 0 for one, it asks itself.

use std::str::FromStr;

/// Tells whether a character may stand in a token (RFC 9110 §5.6.2).
pub(crate) fn in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reads a number of digits and nothing else: by itself, `parse` takes a sign, too.
pub(crate) fn number<N: FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_digits_and_nothing_else() {
        let check = |text, expected: Option<u16>| assert_eq!(number(text), expected, "{text:?}");
        check("0", Some(0));
        check("080", Some(80));
        check("65535", Some(65535));
        for text in ["", "+1", "-1", " 1", "1 ", "1.0", "0x1", "65536", "\u{661}"] {
            check(text, None);
        }
    }

    #[test]
    fn a_token_is_what_a_name_of_a_field_may_be() {
        for byte in 0..=u8::MAX {
            let name = http::HeaderName::from_bytes(&[byte]);
            assert_eq!(in_token(byte), name.is_ok(), "{byte}");
        }
    }
}
