//! The normal form of a path, in which rules compare it (RFC 3986 §6.2.2).
//!
//! Encodings of unreserved characters are decoded once, all others are written in upper case, dot
//! segments are removed. `//` stays, and so does `%2F`. The target still gets the path as it came.

use std::borrow::Cow;

/// Returns the normal form of a path; the path itself if it is normal already.
///
/// What no path may hold is encoded, so that the form is one: a `%` that begins no encoding becomes
/// `%25`, and a byte outside ASCII its encoding.
pub(super) fn normal_path(path: &str) -> Cow<'_, str> {
    let path = if has_normal_encodings(path) {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(decode_unreserved(path, "%25"))
    };
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        Cow::Owned(remove_dot_segments(&path))
    } else {
        path
    }
}

/// Writes the encodings in a path pattern as the normal form has them, so that the pattern can
/// match. A `%` that begins no encoding stays: it matches the beginning of any.
pub(super) fn normal_pattern(pattern: &str) -> String {
    decode_unreserved(pattern, "%")
}

fn has_normal_encodings(path: &str) -> bool {
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte >= 0x80 {
            return false;
        }
        if byte == b'%' {
            let (Some(high), Some(low)) = (bytes.next(), bytes.next()) else { return false };
            let lower = high.is_ascii_lowercase() || low.is_ascii_lowercase();
            if lower || decoded(high, low).is_none_or(is_unreserved) {
                return false;
            }
        }
    }
    true
}

fn decode_unreserved(path: &str, lone_percent: &str) -> String {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut normal = String::with_capacity(path.len() + 2);
    let encode = |normal: &mut String, byte: u8| {
        let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or('0');
        normal.extend(['%', digit(byte >> 4), digit(byte & 15)]);
    };
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte >= 0x80 {
            encode(&mut normal, byte);
        } else if byte != b'%' {
            normal.push(char::from(byte));
        } else {
            let mut ahead = bytes.clone();
            let pair = ahead.next().zip(ahead.next());
            match pair.and_then(|(high, low)| decoded(high, low)) {
                Some(byte) => {
                    bytes = ahead;
                    if is_unreserved(byte) {
                        normal.push(char::from(byte));
                    } else {
                        encode(&mut normal, byte);
                    }
                }
                None => normal.push_str(lone_percent),
            }
        }
    }
    normal
}

/// Returns the byte that two hexadecimal digits stand for.
pub(super) fn decoded(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §5.2.4, for a path that begins with `/`; what would leave the root stays at the root.
fn remove_dot_segments(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment == ".." {
            normal.truncate(normal.rfind('/').unwrap_or(0));
        }
        if !matches!(segment, "." | "..") {
            normal.push('/');
            normal.push_str(segment);
        } else if segments.peek().is_none() {
            // The last segment leaves its slash: `/a/.` is `/a/`.
            normal.push('/');
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(path: &str, expected: &str) {
        assert_eq!(normal_path(path), expected, "{path}");
    }

    #[test]
    fn unreserved_characters_are_decoded_once_and_others_upper_cased() {
        check("/%61%2D%7e", "/a-~");
        check("/a%2fb%5c", "/a%2Fb%5C");
        check("/%2561", "/%2561");
        check("/%252e%252e/x", "/%252e%252e/x");
    }

    #[test]
    fn a_percent_that_begins_no_encoding_is_encoded() {
        check("/100%", "/100%25");
        check("/%zz%4", "/%25zz%254");
        // Decoding here must not make an encoding that was not there.
        check("/%2%65", "/%252e");
    }

    #[test]
    fn what_is_not_ascii_is_encoded() {
        check("/é", "/%C3%A9");
        check("/%c3%a9", "/%C3%A9");
    }

    #[test]
    fn dot_segments_are_removed_and_slashes_stay() {
        check("/a/./b", "/a/b");
        check("/a/../b", "/b");
        check("/a/%2e%2E/b", "/b");
        check("/../../etc", "/etc");
        check("/a/b/..", "/a/");
        check("/a/.", "/a/");
        check("/..", "/");
        check("//a//../b", "//a/b");
        check("/a/...", "/a/...");
        check("/a/..;/b", "/a/..;/b");
    }

    #[test]
    fn a_normal_path_is_not_copied() {
        for path in ["/", "/a/b.c", "//a//", "/a%2Fb", "*", "", "/.../..a"] {
            assert!(matches!(normal_path(path), Cow::Borrowed(_)), "{path}");
        }
    }

    #[test]
    fn a_pattern_keeps_its_wildcards_and_its_lone_percent() {
        assert_eq!(normal_pattern("/%61*?%2a%??"), "/a*?%2A%??");
    }

    /// The algorithm of RFC 3986 §5.2.4, letter by letter, after decoding text by text.
    fn naive(path: &str) -> String {
        let mut encoded = String::new();
        for byte in path.bytes() {
            match byte {
                0x80.. => encoded += &format!("%{byte:02X}"),
                byte => encoded.push(char::from(byte)),
            }
        }
        let mut input = String::new();
        for (i, part) in encoded.split('%').enumerate() {
            let byte = part.get(..2).and_then(|hex| {
                let digits = hex.chars().all(|c| c.is_ascii_hexdigit());
                digits.then(|| u8::from_str_radix(hex, 16).unwrap())
            });
            match (i, byte) {
                (0, _) => input += part,
                (_, None) => input += &format!("%25{part}"),
                (_, Some(byte)) => {
                    let c = char::from(byte);
                    if c.is_ascii_alphanumeric() || "-._~".contains(c) {
                        input.push(c);
                    } else {
                        input += &format!("%{byte:02X}");
                    }
                    input += part.split_at(2).1;
                }
            }
        }
        let mut output = String::new();
        while !input.is_empty() {
            if input.starts_with("/./") {
                input.replace_range(..3, "/");
            } else if input == "/." {
                input = "/".into();
            } else if input.starts_with("/../") || input == "/.." {
                input = format!("/{}", input.get(4..).unwrap_or(""));
                output.truncate(output.rfind('/').unwrap_or(0));
            } else {
                let end = input.match_indices('/').map(|(i, _)| i).find(|i| *i > 0);
                output.extend(input.drain(..end.unwrap_or(input.len())));
            }
        }
        output
    }

    proptest! {
        #[test]
        fn the_normal_form_is_that_of_the_rfc_and_its_own(
            path in "(/|\\.|%|2|e|E|6|f|[a-z]|%2[eEfF]|%61|é|;){0,24}",
        ) {
            let path = format!("/{path}");
            let normal = normal_path(&path);
            prop_assert_eq!(&*normal, naive(&path));
            prop_assert!(matches!(normal_path(&normal), Cow::Borrowed(same) if same == normal));
        }
    }
}
