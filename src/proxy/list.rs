//! Fields whose value is a list (RFC 9110 §5.6.1): how they are read, and appended to by a proxy.
//!
//! Several lines are one list, and an element that is empty is none. Whoever has to find fault with
//! empty ones reads for himself: `desync.rs`, `endpoint/framing.rs`.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Appends an element; several lines become one, in their order.
pub(super) fn append(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    let mut before = headers.get_all(&name).iter().filter(|line| !line.is_empty()).peekable();
    let value = if before.peek().is_none() {
        element.clone()
    } else {
        let mut all = before.map(HeaderValue::as_bytes).collect::<Vec<_>>();
        all.push(element.as_bytes());
        HeaderValue::from_bytes(&all.join(&b", "[..])).unwrap_or_else(|_| element.clone())
    };
    headers.insert(name, value);
}

/// Returns the elements of all lines, in their order.
pub(super) fn elements<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().flat_map(|line| elements_of(line.as_bytes()))
}

/// Returns the elements of one line.
pub(super) fn elements_of(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let elements = line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty())
}

/// Tells whether a word is among the elements, in any case.
pub(super) fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn several_lines_are_one_list_without_what_is_empty() {
        let check = |lines: &[&str], expected: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONNECTION, line.parse().unwrap());
            }
            let text = |element| str::from_utf8(element).unwrap();
            let found = elements(&headers, &header::CONNECTION).map(text).collect::<Vec<_>>();
            assert_eq!(found, expected, "{lines:?}");
            let backwards = elements(&headers, &header::CONNECTION).rev().map(text);
            assert!(backwards.eq(expected.iter().rev().copied()), "{lines:?}");
            for word in expected {
                assert!(has(&headers, &header::CONNECTION, &word.to_uppercase()), "{lines:?}");
            }
            assert!(!has(&headers, &header::CONNECTION, ""), "{lines:?}");
            assert!(!has(&headers, &header::CONNECTION, "c"), "{lines:?}");
        };
        check(&[], &[]);
        check(&["", " ,\t,, "], &[]);
        check(&["a"], &["a"]);
        check(&["a,b"], &["a", "b"]);
        check(&[" a\t, ,b b,", ",", "cc ,a"], &["a", "b b", "cc", "a"]);
    }
}
