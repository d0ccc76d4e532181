//! Text with the keywords of a redirect in it: `#{protocol}`, `#{host}`, `#{port}`, `#{path}`,
//! `#{query}`.
//!
//! Which keywords may stand in which part of a redirect is the redirect's affair.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Protocol,
    Host,
    Port,
    Path,
    Query,
}

impl Keyword {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "protocol" => Self::Protocol,
            "host" => Self::Host,
            "port" => Self::Port,
            "path" => Self::Path,
            "query" => Self::Query,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<str>),
    Keyword(Keyword),
    /// A keyword that is none, as it is written.
    Unknown(Box<str>),
}

#[derive(Clone, Debug)]
pub(super) struct Template {
    /// As the user wrote it.
    text: String,
    pieces: Box<[Piece]>,
}

impl Template {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let pieces = pieces(&text).into();
        Self { text, pieces }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Tells whether the keywords are all among `allowed`, and the text between them consists of
    /// characters that `fits` admits.
    pub(super) fn consists_of(&self, allowed: &[Keyword], fits: impl Fn(char) -> bool) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Text(text) => text.chars().all(&fits),
            Piece::Keyword(keyword) => allowed.contains(keyword),
            Piece::Unknown(_) => false,
        })
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("#{") {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.into()));
        }
        let Some((name, after)) = after.split_once('}') else {
            pieces.push(Piece::Unknown(format!("#{{{after}").into()));
            return pieces;
        };
        let unknown = || Piece::Unknown(format!("#{{{name}}}").into());
        pieces.push(Keyword::of(name).map_or_else(unknown, Piece::Keyword));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.into()));
    }
    pieces
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_and_keywords() {
        let check = |text: &str, expected: &[Piece]| assert_eq!(pieces(text), expected, "{text}");
        let literal = |text: &str| Piece::Text(text.into());
        let unknown = |text: &str| Piece::Unknown(text.into());
        check("", &[]);
        check("/new/#{path}", &[literal("/new/"), Piece::Keyword(Keyword::Path)]);
        check(
            "#{host}#{port}#",
            &[Piece::Keyword(Keyword::Host), Piece::Keyword(Keyword::Port), literal("#")],
        );
        check("a#{Host}b", &[literal("a"), unknown("#{Host}"), literal("b")]);
        check("#{#{host}", &[unknown("#{#{host}")]);
    }

    #[test]
    fn a_keyword_without_an_end_is_none() {
        assert_eq!(pieces("#{host"), [Piece::Unknown("#{host".into())]);
    }
}
