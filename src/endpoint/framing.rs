//! Whether the head of an answer says one thing about how long its body is.
//!
//! hyper reads the body by its own rules and passes the fields on as they came. What another reader
//! could understand in another way ends here.

use http::{HeaderMap, HeaderValue, header};

use super::seat::Seat;
use crate::error::{Error, Kind};

/// Refuses a head whose framing is wrong or not known; of one length that is said several times one
/// stays.
pub(super) fn vet(headers: &mut HeaderMap, seat: &Seat) -> Result<(), Error> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // The other codings would get lost with the field, which is of this connection only.
        if !is_chunked(headers) {
            return Err(wrong(
                seat,
                "the target's answer has a transfer coding other than chunked",
            ));
        }
        // The header work drops it later; a target that sends both is not to be relied on (RFC 9112
        // §6.3).
        if headers.contains_key(header::CONTENT_LENGTH) {
            seat.retire();
        }
    } else if let Err(Conflict) = one_length(headers) {
        return Err(wrong(seat, "the target's answer has an invalid content-length"));
    }
    Ok(())
}

fn wrong(seat: &Seat, text: &'static str) -> Error {
    seat.retire();
    Error::new(Kind::Exchange, text)
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first =
        codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    first && codings.next().is_none()
}

struct Conflict;

/// Makes one field of one number of all that say the same (RFC 9110 §8.6). Answers without a body, to
/// HEAD for one, are not looked at by hyper.
fn one_length(headers: &mut HeaderMap) -> Result<(), Conflict> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(()) };
    if lines.next().is_none() && is_number(first.as_bytes()) {
        return Ok(());
    }
    // Unlike in other lists, an empty element counts: it is not the same length.
    let mut numbers = headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii);
    let first = numbers.next().filter(|number| is_number(number)).ok_or(Conflict)?;
    if numbers.any(|number| number != first) {
        return Err(Conflict);
    }
    let one = HeaderValue::from_bytes(first).map_err(|_| Conflict)?;
    headers.insert(header::CONTENT_LENGTH, one);
    Ok(())
}

/// Digits only, and few enough for 63 bits.
fn is_number(text: &[u8]) -> bool {
    (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CONTENT_LENGTH, HeaderValue::from_str(line).unwrap());
        }
        let one = one_length(&mut headers).ok().map(|()| {
            let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
            let first = lines.next().map_or("", |line| line.to_str().unwrap());
            assert!(lines.next().is_none(), "{headers:?}");
            first
        });
        assert_eq!(one, expected, "{lines:?}");
    }

    #[test]
    fn one_length_is_made_of_all_that_say_the_same() {
        check(&[], Some(""));
        check(&["5"], Some("5"));
        check(&["5", "5"], Some("5"));
        check(&["5, 5"], Some("5"));
        check(&["5", "5,5"], Some("5"));
        check(&["999999999999999999"], Some("999999999999999999"));
    }

    #[test]
    fn what_is_no_length_or_several_is_refused() {
        for lines in [
            &["5", "6"][..],
            &["5, 6"],
            &["5", "05"],
            &[""],
            &["5,"],
            &[",5"],
            &["+5"],
            &["-5"],
            &["0x5"],
            &["5 5"],
            &["5;"],
            &["99999999999999999999"],
        ] {
            check(lines, None);
        }
    }
}
