//! The attributes that a document gives, and the defaults of the others.
//!
//! Which there are, and what becomes of each, is `table.rs`'s; what an honoured one does is decided by
//! whoever reads its value.

mod table;
mod values;

use std::{collections::HashMap, time::Duration};

pub(super) use self::table::{
    ALGORITHM, Attribute, Becomes, CLIENT_KEEP_ALIVE, DEREGISTRATION_DELAY, DESYNC_MODE,
    DROP_INVALID, IDLE_TIMEOUT, LEAST_OUTSTANDING_REQUESTS, LISTENER, LOAD_BALANCER, PRESERVE_HOST,
    STICKINESS, STICKINESS_DURATION, TARGET_GROUP, XFF_CLIENT_PORT, XFF_MODE,
};
use super::{
    fields,
    json::quoted,
    nearest::{did_you_mean, nearest},
    reader::{Node, any_of},
    report::{Finding, Report},
};
use crate::grammar;

/// The attributes that were given, and the defaults of the others.
#[derive(Debug)]
pub(super) struct Attributes {
    known: &'static [Attribute],
    given: HashMap<&'static str, String>,
}

impl Attributes {
    /// Reads a list of attributes, or the lack of one.
    pub(super) fn read(
        list: Option<Node<'_>>,
        known: &'static [Attribute],
        report: &mut Report,
    ) -> Self {
        let mut attributes = Self { known, given: HashMap::new() };
        let path = list.as_ref().map(|list| list.path().to_owned()).unwrap_or_default();
        for item in list.map(|list| list.list(report)).unwrap_or_default() {
            attributes.read_one(&item, report);
        }
        for logs in ["access_logs", "connection_logs", "health_check_logs"] {
            let [enabled, bucket] =
                ["enabled", "bucket"].map(|end| attributes.given.get(&*format!("{logs}.s3.{end}")));
            if enabled.is_some_and(|on| on == "true") && bucket.is_none_or(String::is_empty) {
                let text = format!("missing, expected with {logs}.s3.enabled");
                report.error(Finding::new(format!("{path} {logs}.s3.bucket"), None, text));
            }
        }
        attributes
    }

    fn read_one(&mut self, item: &Node<'_>, report: &mut Report) {
        let Some(object) = item.object(fields::ATTRIBUTE, report) else { return };
        let key = object.need("Key", "the name of an attribute", report);
        let value = object.need("Value", "a text", report);
        let (Some(key), Some(value)) = (key, value) else { return };
        let (Some(name), Some(text)) = (key.text(report), value.text(report)) else { return };
        let Some(attribute) = self.known.iter().find(|known| known.key == name) else {
            let near = did_you_mean(nearest(name, self.known.iter().map(|known| known.key)));
            return key.refuse(format_args!("unknown attribute{near}"), report);
        };
        let path = format!("{} {name}", item.path());
        let shown = Some(quoted(text));
        let mut refuse = |text| report.error(Finding::new(&*path, shown.clone(), text));
        if self.given.insert(attribute.key, text.to_owned()).is_some() {
            refuse("given twice, expected once".to_owned());
        } else if let Becomes::Refused(why) = attribute.becomes {
            refuse(format!("cannot be had here, {why}"));
        } else if text != attribute.default && !attribute.values.admits(text) {
            refuse(format!("expected {}", attribute.values.expected()));
        } else {
            match &attribute.becomes {
                Becomes::HonouredIf(done, why) if !done.contains(&text) => {
                    let done = any_of(done);
                    let done = if done.is_empty() { "nothing" } else { &done };
                    refuse(format!("cannot be had here, {why}; expected {done}"));
                }
                Becomes::Ignored(why) if text != attribute.default => {
                    let text = format!("ignored, {why}");
                    report.warning(Finding::new(&*path, shown, text));
                }
                Becomes::IgnoredUnless(done, why) if !done.contains(&text) => {
                    let text = format!("ignored, {why}");
                    report.warning(Finding::new(&*path, shown, text));
                }
                _ => {}
            }
        }
    }

    /// Returns what was given, else the default.
    pub(super) fn text(&self, key: &str) -> &str {
        let given = self.given.get(key).map(String::as_str);
        let default =
            || self.known.iter().find(|known| known.key == key).map(|known| known.default);
        given.or_else(default).unwrap_or_default()
    }

    pub(super) fn gives(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.text(key) == value
    }

    /// Returns a number; 0 for what is none, after an error that said so.
    pub(super) fn seconds(&self, key: &str) -> Duration {
        Duration::from_secs(grammar::number(self.text(key)).unwrap_or(0))
    }
}
