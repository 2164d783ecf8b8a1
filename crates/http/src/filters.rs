//! The queries of lists: each parameter once, none that is unknown, and an error names the one at fault.

use std::{str::FromStr, time::Duration};

use axum::http::Uri;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use doorward_domain::{clock::Timestamp, resource::PageRequest};

use crate::error::ApiError;

/// The most items on a page, and how many there are where nothing is asked for.
const MOST: usize = 1_000;
const USUALLY: usize = 100;
/// The longest text of a filter.
const LONGEST: usize = 1_024;

/// The parameters of a query; each is taken out by whoever knows it.
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Reads a query. A parameter without a value was not given.
    pub fn of(uri: &Uri) -> Result<Self, ApiError> {
        let query = uri.query().unwrap_or_default().as_bytes();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query).filter(|(_, value)| !value.is_empty()) {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(invalid(&name, "is given more than once; send it once"));
            }
            if value.len() > LONGEST {
                return Err(invalid(&name, format!("is longer than {LONGEST} bytes")));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Something that is read from its text; `what` completes "it is not ...".
    pub fn read<T: FromStr>(&mut self, name: &str, what: &str) -> Result<Option<T>, ApiError> {
        let read = |text: String| text.parse().map_err(|_| invalid(name, format!("is not {what}")));
        self.text(name).map(read).transpose()
    }

    /// An id.
    pub fn id<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        self.read(name, "an id, which is 32 hexadecimal digits")
    }

    /// A duration such as `30d`.
    pub fn duration(&mut self, name: &str) -> Result<Option<Duration>, ApiError> {
        let read = |text: String| {
            humantime::parse_duration(&text)
                .map_err(|_| invalid(name, "is not a duration such as 24h or 30d"))
        };
        self.text(name).map(read).transpose()
    }

    /// A time such as `2026-11-24T12:00:00Z`.
    pub fn time(&mut self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let read = |text: String| {
            let time: Result<jiff::Timestamp, _> = text.parse();
            time.map(|time| Timestamp::from_millis(time.as_millisecond()))
                .map_err(|_| invalid(name, "is not a time such as 2026-11-24T12:00:00Z"))
        };
        self.text(name).map(read).transpose()
    }

    /// One of some words, as what it stands for.
    pub fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
            invalid(name, format!("must be {}", words.join(" or ")))
        })
    }

    /// The part of the list that is asked for: `limit` and `after`.
    pub fn page(&mut self) -> Result<PageRequest, ApiError> {
        let limit = self.read("limit", "a number")?.unwrap_or(USUALLY);
        if !(1..=MOST).contains(&limit) {
            return Err(invalid("limit", format!("must be a number from 1 to {MOST}")));
        }
        let read = |text: String| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
            let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            place.ok_or_else(|| {
                invalid("after", "is not the 'next' of a page; send it as it was, or not at all")
            })
        };
        Ok(PageRequest { after: self.text("after").map(read).transpose()?, limit })
    }

    /// Refuses what nobody has taken out.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(invalid(name, "is unknown here; the API document lists the parameters of this path"))
            }
        }
    }
}

/// Where a page ends, as its `next`.
pub fn write_cursor(place: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(place)
}

fn invalid(name: &str, problem: impl Into<String>) -> ApiError {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    ApiError::InvalidParameter(name.into(), problem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(query: &str) -> Filters {
        Filters::of(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn parameters_are_read_once() {
        let mut read = filters("prefix=a%20b&limit=7&status=&unused_for=90d");
        assert_eq!(read.text("prefix").as_deref(), Some("a b"));
        assert_eq!(read.text("status"), None);
        assert_eq!(read.duration("unused_for").unwrap(), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(read.page().unwrap(), PageRequest { after: None, limit: 7 });
        assert!(read.finish().is_ok());
        assert!(filters("pefix=a").finish().unwrap_err().message().contains("'pefix' is unknown"));
        assert!(Filters::of(&"/x?a=1&a=2".parse().unwrap()).is_err());
        for bad in ["limit=0", "limit=1001", "limit=-1", "limit=x", "after=%21", "after=_w"] {
            assert!(filters(bad).page().is_err(), "{bad}");
        }
    }

    #[test]
    fn cursors_come_back_as_they_were() {
        for place in ["zoë", "", "a\u{1}b"] {
            let query = format!("after={}", write_cursor(place));
            let after = filters(&query).page().unwrap().after;
            assert_eq!(after.unwrap_or_default(), place);
        }
    }
}
