//! The values that ALB admits for an attribute.

use crate::{gateway::reader::any_of, grammar};

/// Stands for the lack of a number.
pub(super) const OFF: &str = "off";

/// The values ALB admits.
#[derive(Debug)]
pub(in crate::gateway) enum Values {
    Boolean,
    OneOf(&'static [&'static str]),
    Number(u64, u64),
    /// `0`, or from the one to the other.
    NumberOrZero(u64, u64),
    /// A number of targets.
    Count,
    /// A number of targets, or `off`.
    CountOrOff,
    /// A percentage of targets, or `off`.
    PercentOrOff,
    /// A name of a header field.
    HeaderName,
    /// A value of a header field, or nothing.
    HeaderValue,
    /// A name of an application's cookie.
    CookieName,
    /// The beginning of names in a bucket.
    Prefix,
    Text,
}

use Values::{
    Boolean, CookieName, Count, CountOrOff, HeaderName, HeaderValue, Number, NumberOrZero, OneOf,
    PercentOrOff, Prefix, Text,
};

impl Values {
    /// Says what is admitted.
    pub(in crate::gateway) fn expected(&self) -> String {
        match self {
            Boolean => "true or false".to_owned(),
            OneOf(values) => any_of(values),
            Number(least, most) => format!("{least} to {most}"),
            NumberOrZero(least, most) => format!("0 or {least} to {most}"),
            Count => "1 or more".to_owned(),
            CountOrOff => "off or 1 or more".to_owned(),
            PercentOrOff => "off or 1 to 100".to_owned(),
            HeaderName => "a name of a header field".to_owned(),
            HeaderValue => {
                "up to 1024 letters, digits, spaces and _:;.,\\/'?!(){}[]@<>=-+*#&~^%|`".to_owned()
            }
            CookieName => "a name of a cookie that does not begin with AWSALB".to_owned(),
            Prefix => "up to 1024 characters without AWSLogs".to_owned(),
            Text => "up to 1024 characters".to_owned(),
        }
    }

    pub(in crate::gateway) fn admits(&self, value: &str) -> bool {
        let number = |least: u64, most: u64| {
            grammar::number(value).is_some_and(|number| (least..=most).contains(&number))
        };
        let is_token = || !value.is_empty() && value.bytes().all(grammar::in_token);
        let short = value.chars().count() <= 1024;
        match self {
            Boolean => matches!(value, "true" | "false"),
            OneOf(values) => values.contains(&value),
            Number(least, most) => number(*least, *most),
            NumberOrZero(least, most) => number(0, 0) || number(*least, *most),
            Count => number(1, u32::MAX.into()),
            CountOrOff => value == OFF || number(1, u32::MAX.into()),
            PercentOrOff => value == OFF || number(1, 100),
            HeaderName => short && is_token(),
            HeaderValue => {
                let fits = |byte: u8| {
                    byte.is_ascii_alphanumeric()
                        || b" _:;.,\\/'?!(){}[]@<>=-+*#&~^%|`".contains(&byte)
                };
                short && value.bytes().all(fits)
            }
            CookieName => value.is_empty() || (is_token() && !value.starts_with("AWSALB")),
            Prefix => short && !value.contains("AWSLogs"),
            Text => short,
        }
    }
}
