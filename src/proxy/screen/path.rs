//! Paths that servers read differently: what no path may have, and what a setting refuses.

/// Says what is wrong with a path that no request may have.
pub(super) fn never(path: &str) -> Option<&'static str> {
    // It is no character of a URI, and many servers take it for a slash. In a query browsers send it.
    path.bytes().find_map(|byte| match byte {
        b'\\' => Some("a backslash in the path"),
        b'\0'..=b' ' | 0x7f => Some("a control character in the path"),
        _ => None,
    })
}

/// Says what about a path some server reads as another path.
pub(super) fn ambiguous(path: &str) -> Option<&'static str> {
    if path.contains("//") {
        return Some("an empty segment in the path");
    }
    let mut rest = path.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        let (_, escape) = rest.split_at_checked(at)?;
        let Some((&[_, high, low], after)) = escape.split_first_chunk() else {
            return Some("a broken escape in the path");
        };
        let (Some(high), Some(low)) = (hex(high), hex(low)) else {
            return Some("a broken escape in the path");
        };
        match high * 16 + low {
            b'/' => return Some("an escaped slash in the path"),
            b'\\' => return Some("an escaped backslash in the path"),
            0..0x20 | 0x7f => return Some("an escaped control character in the path"),
            _ => rest = after,
        }
    }
    let mut segments = path.split('/');
    segments.any(is_dots_with_parameter).then_some("a dot segment with a parameter in the path")
}

/// `..;` and `.;`: servers that cut off parameters go up a level, or stay.
fn is_dots_with_parameter(segment: &str) -> bool {
    let mut rest = segment.as_bytes();
    let mut dots = 0;
    loop {
        rest = match rest {
            [b'.', after @ ..] | [b'%', b'2', b'e' | b'E', after @ ..] => after,
            [b';', ..] | [b'%', b'3', b'b' | b'B', ..] => return dots == 1 || dots == 2,
            _ => return false,
        };
        dots += 1;
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_servers_read_differently_is_known() {
        let check = |path: &str, expected: Option<&str>| {
            let found = ambiguous(path);
            assert_eq!(found.is_some(), expected.is_some(), "{path}: {found:?}");
            assert!(found.unwrap_or("").contains(expected.unwrap_or("")), "{path}: {found:?}");
        };
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/../b",
            "/./a",
            "/%2e%2e/a",
            "/a;b=c/d",
            "/a..;b",
            "/...;",
            "/%41",
            "/%252f",
            "/%2525",
            "/a%20b",
            "/caf%C3%A9",
            "*",
            "/;a",
            "/.a;b",
            "/%3b",
        ] {
            check(path, None);
        }
        for path in ["//", "//a", "/a//b", "/a//"] {
            check(path, Some("empty segment"));
        }
        check("/a%2fb", Some("escaped slash"));
        check("/a%2Fb", Some("escaped slash"));
        check("/%41%2F", Some("escaped slash"));
        check("/a%5c", Some("escaped backslash"));
        check("/a%5C..", Some("escaped backslash"));
        for path in ["/a%00", "/%0a", "/%0D", "/%1f", "/%7F"] {
            check(path, Some("control"));
        }
        for path in ["/%", "/%2", "/%zz", "/%u002f", "/%%32f"] {
            check(path, Some("broken escape"));
        }
        for path in
            ["/..;/a", "/a/..;", "/.;/a", "/..;b=c/", "/%2e%2E;/", "/.%2e;x", "/..%3b/", "/.%3B"]
        {
            check(path, Some("dot segment"));
        }
    }

    #[test]
    fn a_path_has_no_backslash() {
        assert!(never("/a\\b").is_some());
        assert!(never("/a\x7f").is_some());
        assert_eq!(never("/a%5cb"), None);
        assert_eq!(never("/caf\u{e9}\"{|}^"), None);
    }
}
