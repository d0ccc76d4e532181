//! Patterns of ALB's conditions: `*` is any number of characters, `?` exactly one, and the whole
//! subject must match.
//!
//! A match takes time linear in the subject: one way through, going back only to the last `*`, no
//! recursion. What the subject is, and what of it is decoded, is the condition's affair.

use std::fmt;

use super::normal::{decoded, normal_pattern};
use crate::rule::invalid::Faults;

/// Whether letters match whatever their case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// `a` is not `A`.
    Sensitive,
    /// The letters of ASCII match in either case.
    Insensitive,
}

/// A pattern, ready to be matched.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    /// As the user wrote it.
    text: Box<str>,
    tokens: Box<[Token]>,
    case: Case,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Any,
}

impl Token {
    fn plain(byte: u8) -> Self {
        match byte {
            b'*' => Self::Any,
            b'?' => Self::One,
            byte => Self::Byte(byte),
        }
    }
}

impl Glob {
    /// A pattern in which only `*` and `?` mean something.
    pub(super) fn new(text: String, case: Case) -> Self {
        let tokens = text.bytes().map(Token::plain).collect();
        Self::of(text, tokens, case)
    }

    /// A pattern for the normal form of a path.
    pub(super) fn path(text: String) -> Self {
        let tokens = normal_pattern(&text).bytes().map(Token::plain).collect();
        Self::of(text, tokens, Case::Sensitive)
    }

    /// A pattern for decoded query text: `\*`, `\?` and encodings stand for the character itself.
    pub(super) fn query(text: String) -> Self {
        let mut tokens = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let [byte, tail @ ..] = rest {
            let literal = match rest {
                [b'\\', byte @ (b'*' | b'?'), tail @ ..] => Some((*byte, tail)),
                [b'%', high, low, tail @ ..] => decoded(*high, *low).map(|byte| (byte, tail)),
                _ => None,
            };
            let token;
            (token, rest) = match literal {
                Some((byte, tail)) => (Token::Byte(byte), tail),
                None => (Token::plain(*byte), tail),
            };
            tokens.push(token);
        }
        Self::of(text, tokens, Case::Insensitive)
    }

    fn of(text: String, mut tokens: Vec<Token>, case: Case) -> Self {
        tokens.dedup_by(|a, b| (*a, *b) == (Token::Any, Token::Any));
        for token in &mut tokens {
            if let (Token::Byte(byte), Case::Insensitive) = (token, case) {
                byte.make_ascii_lowercase();
            }
        }
        Self { text: text.into(), tokens: tokens.into(), case }
    }

    /// Tells whether the pattern matches all of `subject`.
    pub(super) fn matches(&self, subject: impl Iterator<Item = u8> + Clone) -> bool {
        let (mut tokens, mut rest) = (self.tokens.iter(), subject);
        // What follows the last `*`, and what that `*` has left of the subject.
        let mut retry = None;
        loop {
            let token = tokens.next();
            if token == Some(&Token::Any) {
                if tokens.len() == 0 {
                    return true;
                }
                retry = Some((tokens.clone(), rest.clone()));
                continue;
            }
            match (token, rest.next()) {
                (None, None) => return true,
                // Were the last `*` to take more, there would be even less left.
                (Some(_), None) => return false,
                (Some(Token::One), Some(_)) => {}
                (Some(Token::Byte(wanted)), Some(byte)) if self.fold(byte) == *wanted => {}
                _ => {
                    let Some((after, left)) = &mut retry else { return false };
                    left.next();
                    (tokens, rest) = (after.clone(), left.clone());
                }
            }
        }
    }

    fn fold(&self, byte: u8) -> u8 {
        match self.case {
            Case::Sensitive => byte,
            Case::Insensitive => byte.to_ascii_lowercase(),
        }
    }

    /// Notes what is wrong with the pattern; a space is wrong except in a header's value.
    pub(super) fn check(&self, place: &'static str, may_hold_spaces: bool, faults: &mut Faults) {
        let allowed = |byte: u8| byte.is_ascii_graphic() || (may_hold_spaces && byte == b' ');
        if self.text.is_empty() || !self.text.bytes().all(allowed) {
            let expected = if may_hold_spaces {
                "one or more visible ASCII characters and spaces"
            } else {
                "one or more visible ASCII characters"
            };
            faults.add(place, &*self.text, expected);
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The values of a condition; any of them may match.
#[derive(Clone, Debug)]
pub(super) struct Globs(Box<[Glob]>);

impl Globs {
    pub(super) fn new<V: Into<String>>(
        values: impl IntoIterator<Item = V>,
        compile: impl Fn(String) -> Glob,
    ) -> Self {
        Self(values.into_iter().map(|value| compile(value.into())).collect())
    }

    pub(super) fn any(&self, subject: &[u8]) -> bool {
        self.0.iter().any(|glob| glob.matches(subject.iter().copied()))
    }

    pub(super) fn check(&self, place: &'static str, may_hold_spaces: bool, faults: &mut Faults) {
        if self.0.is_empty() {
            faults.missing(place, "at least one value");
        }
        for glob in &self.0 {
            glob.check(place, may_hold_spaces, faults);
        }
    }
}

impl fmt::Display for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        one_of(f, &self.0)
    }
}

/// Writes `is one of a, b`.
pub(super) fn one_of<T: fmt::Display>(f: &mut fmt::Formatter<'_>, values: &[T]) -> fmt::Result {
    for (i, value) in values.iter().enumerate() {
        write!(f, "{}{value}", if i == 0 { "is one of " } else { ", " })?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, subject: &str, expected: bool) {
        let glob = Glob::new(pattern.to_owned(), Case::Sensitive);
        assert_eq!(glob.matches(subject.bytes()), expected, "{pattern} on {subject}");
    }

    #[test]
    fn a_star_spans_anything_and_a_question_mark_one_character() {
        check("*", "", true);
        check("*", "a/b.c", true);
        check("?", "", false);
        check("?", "ab", false);
        check("a*b", "ab", true);
        check("a*b", "a/x/b", true);
        check("a*b", "abc", false);
        check("*ab*", "xaab", true);
        check("a?c", "abc", true);
        check("*?", "", false);
        check("**a**", "bab", true);
    }

    #[test]
    fn the_whole_subject_must_match() {
        check("/img/*", "/img", false);
        check("/img/*", "/img/", true);
        check("/img", "/img/a", false);
        check("", "", true);
        check("", "a", false);
    }

    #[test]
    fn letters_match_in_either_case_only_if_asked() {
        let glob = Glob::new("Ab*".to_owned(), Case::Insensitive);
        assert!(glob.matches("aBé".bytes()));
        check("Ab", "ab", false);
    }

    #[test]
    fn escapes_and_encodings_in_a_query_pattern_stand_for_themselves() {
        let check = |pattern: &str, subject: &str, expected| {
            let glob = Glob::query(pattern.to_owned());
            assert_eq!(glob.matches(subject.bytes()), expected, "{pattern} on {subject}");
        };
        check(r"a\*b", "a*b", true);
        check(r"a\*b", "axb", false);
        check(r"a\*b", r"a\xb", false);
        check(r"\?", "?", true);
        check(r"\?", "a", false);
        check(r"a\b\", r"A\B\", true);
        check("a%20b", "a b", true);
        check("%2a", "x", false);
        check("100%", "100%", true);
    }

    #[test]
    fn only_query_patterns_have_escapes() {
        check(r"\*", r"\anything", true);
        check(r"\*", "*", false);
    }

    #[test]
    fn hostile_subjects_take_no_time_to_speak_of() {
        // As long as a pattern, and as a request target or a field, may be.
        const PATTERN: usize = 128;
        let subject = "a".repeat(16 * 1024);
        for pattern in [
            format!("{}b", "*a".repeat(63)),
            format!("*{}b", "a".repeat(126)),
            format!("*{}b", "?".repeat(126)),
            format!("{}b", "*?".repeat(63)),
            format!("{}b", "*".repeat(127)),
            format!("*{}b*{}b", "a".repeat(62), "a".repeat(62)),
        ] {
            let glob = Glob::new(pattern.clone(), Case::Insensitive);
            // A matcher that tries every way would need longer than the world has; this one begins
            // anew at each byte at most.
            let bound = PATTERN * (subject.len() + 1);
            let looks = Cell::new(0);
            let looked = subject.bytes().inspect(|_| {
                looks.set(looks.get() + 1);
                assert!(looks.get() <= bound, "{pattern}");
            });
            assert!(!glob.matches(looked));
        }
    }

    /// Every way a pattern can match, by recursion.
    pub(in crate::rule::condition) fn naive(pattern: &[u8], subject: &[u8]) -> bool {
        match (pattern, subject) {
            ([], []) => true,
            ([b'*', after @ ..], _) => {
                (0..=subject.len()).any(|taken| naive(after, &subject[taken..]))
            }
            ([b'?', after @ ..], [_, rest @ ..]) => naive(after, rest),
            ([wanted, after @ ..], [byte, rest @ ..]) => {
                wanted.eq_ignore_ascii_case(byte) && naive(after, rest)
            }
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_glob_matches_what_recursion_matches(
            pattern in "[abA*?]{0,9}",
            subject in "[abB]{0,12}",
        ) {
            let glob = Glob::new(pattern.clone(), Case::Insensitive);
            prop_assert_eq!(
                glob.matches(subject.bytes()),
                naive(pattern.as_bytes(), subject.as_bytes()),
            );
        }
    }
}
