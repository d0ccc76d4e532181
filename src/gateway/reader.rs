//! The walk over a document: which path leads where, and what is wrong with the kind of a value.
//!
//! Which fields there are, and what stands in them, is decided where each part is read. Reading goes
//! on after an error, so that all are found at once.

use std::{fmt, ops::RangeInclusive};

use super::{
    json::Json,
    nearest::{did_you_mean, nearest},
    report::{Finding, Report},
};
use crate::grammar;

/// What becomes of a field of a document, or of a value that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is done as ALB does it.
    Honoured,
    /// It has no effect, for this reason; a warning says so.
    Ignored(&'static str),
    /// It cannot be had, for this reason: an error, since nobody should believe that it has effect.
    Refused(&'static str),
}

/// A field that an object of a document may have, or a value that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) becomes: Use,
}

impl Known {
    pub(super) const fn honoured(name: &'static str) -> Self {
        Self { name, becomes: Use::Honoured }
    }

    pub(super) const fn ignored(name: &'static str, why: &'static str) -> Self {
        Self { name, becomes: Use::Ignored(why) }
    }

    pub(super) const fn refused(name: &'static str, why: &'static str) -> Self {
        Self { name, becomes: Use::Refused(why) }
    }
}

/// Names what is honoured: `a, b or c`.
fn honoured(known: &[Known]) -> String {
    let names: Vec<_> = known
        .iter()
        .filter(|known| known.becomes == Use::Honoured)
        .map(|known| known.name)
        .collect();
    any_of(&names)
}

/// Writes `a, b or c`.
pub(super) fn any_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node<'j> {
    path: String,
    json: &'j Json,
}

impl<'j> Node<'j> {
    /// The whole document.
    pub(super) fn root(json: &'j Json) -> Self {
        Self { path: String::new(), json }
    }

    pub(super) fn path(&self) -> &str {
        if self.path.is_empty() { "the document" } else { &self.path }
    }

    /// Notes what is wrong with the value, which is shown unless it has parts of its own.
    pub(super) fn refuse(&self, text: impl fmt::Display, report: &mut Report) {
        let has_parts =
            matches!(self.json, Json::List(_) | Json::Object(_)) && !self.json.is_empty();
        let shown = (!has_parts).then(|| self.json.to_string());
        report.error(Finding::new(self.path(), shown, text.to_string()));
    }

    /// Notes that something else is expected.
    pub(super) fn expected(&self, expected: impl fmt::Display, report: &mut Report) {
        let (shown, text) = (self.json.to_string(), format!("expected {expected}"));
        report.error(Finding::new(self.path(), Some(shown), text));
    }

    /// Reads an object that has no other fields than those known.
    pub(super) fn object(
        &self,
        known: &'static [Known],
        report: &mut Report,
    ) -> Option<Object<'j>> {
        let Json::Object(fields) = self.json else {
            self.expected(format_args!("an object of {}", honoured(known)), report);
            return None;
        };
        let mut object = Object { path: self.path.clone(), known, fields: Vec::new() };
        let mut seen: Vec<&str> = Vec::new();
        for (name, json) in fields {
            let node = object.node(name, json);
            if seen.contains(&name.as_str()) {
                report.error(Finding::new(node.path, None, "given twice, expected once"));
                continue;
            }
            seen.push(name);
            match known.iter().find(|known| known.name == name) {
                None => {
                    let names = known.iter().map(|known| known.name);
                    let mut text = did_you_mean(nearest(name, names));
                    if text.is_empty() {
                        text = format!(", expected {}", honoured(known));
                    }
                    let text = format!("unknown field{text}");
                    report.error(Finding::new(node.path, None, text));
                }
                Some(Known { becomes: Use::Honoured, name }) => object.fields.push((name, json)),
                // As if it was not there.
                Some(_) if json.is_empty() => {}
                Some(Known { becomes: Use::Ignored(why), .. }) => {
                    let text = format!("ignored, {why}");
                    report.warning(Finding::new(node.path, Some(json.to_string()), text));
                }
                Some(Known { becomes: Use::Refused(why), .. }) => {
                    node.refuse(format_args!("cannot be had here, {why}"), report);
                }
            }
        }
        Some(object)
    }

    /// Reads a list.
    pub(super) fn list(&self, report: &mut Report) -> Vec<Self> {
        let Json::List(items) = self.json else {
            self.expected("a list", report);
            return Vec::new();
        };
        let item = |(i, json)| Self { path: format!("{}[{i}]", self.path), json };
        items.iter().enumerate().map(item).collect()
    }

    /// Tells whether it is a list; says nothing.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.json, Json::List(_))
    }

    /// Reads a text.
    pub(super) fn text(&self, report: &mut Report) -> Option<&'j str> {
        let text = self.raw_text();
        if text.is_none() {
            self.expected("a text", report);
        }
        text
    }

    /// Returns the text, if it is one; says nothing.
    pub(super) fn raw_text(&self) -> Option<&'j str> {
        match self.json {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Reads a text of as many characters, each of which fits.
    pub(super) fn text_of(
        &self,
        length: RangeInclusive<usize>,
        fits: impl Fn(char) -> bool,
        expected: &str,
        report: &mut Report,
    ) -> Option<&'j str> {
        let text = self.raw_text();
        let right = |text: &&str| length.contains(&text.chars().count()) && text.chars().all(fits);
        let right = text.filter(right);
        if right.is_none() {
            let (least, most) = (length.start(), length.end());
            self.expected(format_args!("{least} to {most} {expected}"), report);
        }
        right
    }

    /// Reads a number, which may be written as a text too.
    pub(super) fn number<N>(&self, range: RangeInclusive<N>, report: &mut Report) -> Option<N>
    where
        N: TryFrom<u64> + PartialOrd + fmt::Display,
    {
        let number = self.raw_number().and_then(|number| N::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.expected(format_args!("{} to {}", range.start(), range.end()), report);
        }
        number
    }

    /// Returns the number, if it is one or the text of one; says nothing.
    pub(super) fn raw_number(&self) -> Option<u64> {
        match self.json {
            Json::Unsigned(number) => Some(*number),
            Json::Text(text) => grammar::number(text),
            _ => None,
        }
    }

    /// Reads true or false.
    pub(super) fn boolean(&self, report: &mut Report) -> Option<bool> {
        match self.json {
            Json::Bool(value) => Some(*value),
            _ => {
                self.expected("true or false", report);
                None
            }
        }
    }

    /// Reads one of some values; also returns one that cannot be had, after saying so.
    pub(super) fn choice(&self, known: &[Known], report: &mut Report) -> Option<&'static str> {
        let text = self.raw_text();
        let found = known.iter().find(|known| Some(known.name) == text);
        match found.map(|known| known.becomes) {
            None => {
                let names = known.iter().map(|known| known.name);
                let near = text.map(|text| did_you_mean(nearest(text, names))).unwrap_or_default();
                self.expected(format_args!("{}{near}", honoured(known)), report);
            }
            Some(Use::Refused(why)) => {
                let honoured = honoured(known);
                self.refuse(format_args!("cannot be had here, {why}; expected {honoured}"), report);
            }
            Some(Use::Honoured | Use::Ignored(_)) => {}
        }
        found.map(|known| known.name)
    }
}

/// The fields of an object that are honoured.
#[derive(Clone, Debug)]
pub(super) struct Object<'j> {
    path: String,
    known: &'static [Known],
    fields: Vec<(&'static str, &'j Json)>,
}

impl<'j> Object<'j> {
    pub(super) fn path(&self) -> &str {
        if self.path.is_empty() { "the document" } else { &self.path }
    }

    /// Returns a field.
    pub(super) fn get(&self, name: &str) -> Option<Node<'j>> {
        debug_assert!(self.known.iter().any(|known| known.name == name), "{name} is not known");
        let (name, json) = self.fields.iter().find(|(field, _)| *field == name)?;
        Some(self.node(name, json))
    }

    /// Returns a field that has to be there.
    pub(super) fn need(
        &self,
        name: &str,
        expected: impl fmt::Display,
        report: &mut Report,
    ) -> Option<Node<'j>> {
        let node = self.get(name);
        if node.is_none() {
            let text = format!("missing, expected {expected}");
            report.error(Finding::new(self.path_of(name), None, text));
        }
        node
    }

    /// Notes what is wrong with the whole.
    pub(super) fn refuse(&self, text: impl fmt::Display, report: &mut Report) {
        report.error(Finding::new(self.path(), None, text.to_string()));
    }

    /// Notes what is wrong with what some field holds.
    pub(super) fn refuse_at(&self, name: &str, text: impl fmt::Display, report: &mut Report) {
        report.error(Finding::new(self.path_of(name), None, text.to_string()));
    }

    fn node(&self, name: &str, json: &'j Json) -> Node<'j> {
        Node { path: self.path_of(name), json }
    }

    fn path_of(&self, name: &str) -> String {
        let plain = !name.is_empty()
            && name.len() <= 80
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match (self.path.is_empty(), plain) {
            (true, true) => name.to_owned(),
            (false, true) => format!("{}.{name}", self.path),
            // A path is one line, whatever the name is made of.
            (_, false) => format!("{}[{}]", self.path, super::json::quoted(name)),
        }
    }
}
