//! What is said of an exchange that broke, of which something may have been sent.

use super::{local, system};
use crate::{
    body::BodyError,
    error::{Error, Kind},
};

/// Says what broke an exchange: hyper's `error`, whether anything was `received`, and what ended the
/// connection, if that was not hyper.
pub(super) fn broken(error: hyper::Error, received: bool, fate: Option<BodyError>) -> Error {
    if let Some(error) = local::of_client(&error) {
        return error;
    }
    let broken = match fate {
        Some(BodyError::Cut) => return Kind::Cut.into(),
        Some(error) => {
            return Error::new(Kind::Exchange, error).with_reason("connection_terminated");
        }
        None if error.is_incomplete_message() && received => Error::new(
            Kind::Exchange,
            "the target closed the connection in the middle of its answer's head",
        )
        .with_reason("http_response_incomplete"),
        None if error.is_incomplete_message() => {
            Error::new(Kind::Exchange, "the target closed the connection without an answer")
                .with_reason("connection_terminated")
        }
        None if error.is_parse() => Error::new(Kind::Exchange, with_causes(&error)),
        None => {
            Error::new(Kind::Exchange, with_causes(&error)).with_reason("connection_terminated")
        }
    };
    if received { broken } else { broken.with_unanswered() }
}

/// Says an error and all its causes, which hyper's own words leave out.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        match error.downcast_ref() {
            Some(error) => text.push_str(&system::plain(error)),
            None => text.push_str(&error.to_string()),
        }
        cause = error.source();
    }
    text
}
