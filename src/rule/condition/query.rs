//! query-string: the pairs of the query, decoded once, in either case; any of them may match.
//!
//! Pairs are split at `&`, key and value at the first `=`. `;` separates nothing and `+` is a plus.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::{
    glob::{Glob, one_of},
    subject::Subject,
};
use crate::rule::invalid::Faults;

/// Made by [`Condition::query_string`](super::Condition::query_string).
#[derive(Clone, Debug)]
pub struct QueryString(Box<[QueryPair]>);

/// What a query-string condition looks for: a value, under one key or any.
///
/// Both are patterns: `*` is any number of characters, `?` exactly one, `\*` and `\?` are these
/// characters themselves. Any other character may be written as it is or percent-encoded.
#[derive(Clone, Debug)]
pub struct QueryPair {
    key: Option<Glob>,
    value: Glob,
}

impl QueryPair {
    /// Looks for a value under a key.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: Some(Glob::query(key.into())), value: Glob::query(value.into()) }
    }

    /// Looks for a value under any key.
    pub fn any_key(value: impl Into<String>) -> Self {
        Self { key: None, value: Glob::query(value.into()) }
    }

    fn matches(&self, key: &str, value: &str) -> bool {
        self.key.as_ref().is_none_or(|glob| glob.matches(percent_decode_str(key)))
            && self.value.matches(percent_decode_str(value))
    }
}

impl fmt::Display for QueryPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}={}", self.value),
            None => write!(f, "{} under any key", self.value),
        }
    }
}

impl QueryString {
    pub(super) fn new(pairs: impl IntoIterator<Item = QueryPair>) -> Self {
        Self(pairs.into_iter().collect())
    }

    pub(super) fn test(&self, subject: &Subject<'_>) -> bool {
        subject.query().any(|(key, value)| self.0.iter().any(|pair| pair.matches(key, value)))
    }

    pub(super) fn compared(&self, subject: &Subject<'_>) -> Option<String> {
        let decode = |text| percent_decode_str(text).decode_utf8_lossy();
        let pairs: Vec<_> = subject
            .query()
            .map(|(key, value)| format!("{:?}", format!("{}={}", decode(key), decode(value))))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join(", "))
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if self.0.is_empty() {
            faults.missing("query-string", "at least one value");
        }
        for pair in &self.0 {
            if let Some(key) = &pair.key {
                key.check("query-string key", false, faults);
            }
            pair.value.check("query-string", false, faults);
        }
    }
}

impl fmt::Display for QueryString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("query-string ")?;
        one_of(f, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::{head::Head, rule::condition::glob::tests::naive};

    fn matches(pair: QueryPair, query: &str) -> bool {
        let request = Request::get(format!("/?{query}")).body(()).unwrap();
        QueryString::new([pair]).test(&Subject::new(&Head::of(&request, None)))
    }

    #[test]
    fn pairs_are_split_at_ampersands_and_compared_decoded() {
        let check = |key: &str, value: &str, query: &str, expected| {
            assert_eq!(matches(QueryPair::new(key, value), query), expected, "{query}");
        };
        check("version", "v1", "VERSION=V1", true);
        check("a", "2", "a=1&a=2", true);
        check("a", "1", "x=1;a=1", false);
        check("a", "1", "%61=%31", true);
        check("a", "%31", "a=1", true);
        check("a", "%31", "a=%2531", false);
        check("a", "b c", "a=b+c", false);
        check("a", "b%20c", "a=b%20c", true);
        check("a", "x=y", "a=x=y", true);
        check("a", "x%26y", "a=x%26y", true);
        check("a", "*", "b=1", false);
        check("a", "*", "a", true);
        check("a", r"1\*", "a=1*", true);
        check("a", r"1\*", "a=12", false);
    }

    #[test]
    fn a_value_may_stand_under_any_key() {
        assert!(matches(QueryPair::any_key("*example*"), "q=an+EXAMPLE+here"));
        assert!(!matches(QueryPair::any_key("*example*"), "example=1"));
        assert!(!matches(QueryPair::any_key("*"), ""));
    }

    fn decode(text: &str) -> Vec<u8> {
        let mut decoded = Vec::new();
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            let hex = bytes.get(i + 1..i + 3).and_then(|hex| std::str::from_utf8(hex).ok());
            let hex = hex.filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
            match hex.filter(|_| bytes[i] == b'%') {
                Some(hex) => {
                    decoded.push(u8::from_str_radix(hex, 16).unwrap());
                    i += 3;
                }
                None => {
                    decoded.push(bytes[i]);
                    i += 1;
                }
            }
        }
        decoded
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_query_matches_if_a_pair_does(
            key in "[ab*?]{1,3}",
            value in "[aAb*?;+]{1,4}",
            query in "(a|B|%|61|%62|&|=|;|\\+){0,16}",
        ) {
            let expected = query.split('&').filter(|pair| !pair.is_empty()).any(|pair| {
                let (k, v) = pair.split_at(pair.find('=').unwrap_or(pair.len()));
                naive(key.as_bytes(), &decode(k))
                    && naive(value.as_bytes(), &decode(v.strip_prefix('=').unwrap_or(v)))
            });
            prop_assert_eq!(matches(QueryPair::new(key, value), &query), expected);
        }
    }
}
