//! The product's answers, as they came over the wire.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response,
    header::{HeaderName, HeaderValue},
};

/// What is asked, and the path at which it is. A file of this name has the answer.
pub(crate) const KINDS: [(&str, &str); 3] =
    [("verify", "/verify"), ("introspect", "/oauth2/introspect"), ("batch", "/verify/batch")];

/// One answer for each of [`KINDS`].
#[derive(Clone)]
pub(crate) struct Answers {
    answers: Vec<Answer>,
}

/// An answer in both of its forms.
#[derive(Clone)]
pub(crate) struct Answer {
    /// Head and body, byte for byte.
    pub(crate) bytes: Bytes,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Answers {
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let answers = KINDS.iter().map(|(name, _)| {
            let file = folder.join(name);
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            Answer::parse(bytes).with_context(|| format!("{} is no answer", file.display()))
        });
        Ok(Self { answers: answers.collect::<anyhow::Result<_>>()? })
    }

    /// The answer to what is asked at a path.
    pub(crate) fn at(&self, path: &str) -> &Answer {
        let place = KINDS.iter().position(|(_, at)| *at == path).unwrap_or(0);
        &self.answers[place]
    }
}

impl Answer {
    fn parse(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("the head has no end")?;
        // It lives as long as the process, and what is static is not counted at each use.
        let head: &'static str = String::from_utf8(bytes[..end].to_vec())?.leak();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        ensure!(status.starts_with("HTTP/1.1 200 "), "it says {status}");
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(": ").context("a header has no value")?;
            // These are hyper's to write.
            if !["date", "content-length", "connection"].contains(&name) {
                headers.push((HeaderName::from_static(name), HeaderValue::from_static(value)));
            }
        }
        let body = Bytes::from_static(bytes[end + 4..].to_vec().leak());
        Ok(Self { bytes: bytes.into(), headers, body })
    }

    /// The answer as hyper sends it.
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        let headers = response.headers_mut();
        headers.reserve(self.headers.len());
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}
