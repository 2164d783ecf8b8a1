//! What Doorward answers, taken apart. Whatever is not exactly an answer of Doorward's is an error; nothing is guessed.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Identity, Method, Organisation, Token, Unit, User, Verdict, error::plain};

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// How long the answer says to wait. The form with a date is not used by Doorward.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        value.trim().parse().ok().map(Duration::from_secs)
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let content_type = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let is_json = ["application/json", "application/problem+json"];
        if !is_json.iter().any(|json| essence.eq_ignore_ascii_case(json)) {
            return Err(self.unintelligible(&format!("has the content type '{}'", plain(essence))));
        }
        // The error of serde may quote the text, which may be a secret.
        serde_json::from_slice(&self.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            self.unintelligible(&format!("has another form than expected at line {line}, column {column}"))
        })
    }

    pub(crate) fn unintelligible(&self, what: &str) -> Error {
        Error::Unintelligible(format!("status {} {what}", self.status.as_u16()))
    }

    /// The error that the answer tells of, in one of the three forms in which Doorward writes errors.
    pub(crate) fn refusal(&self) -> Error {
        let said: Value = match self.json() {
            Ok(said) => said,
            Err(error) => return error,
        };
        let (code, message) = if said["status"].is_object() {
            (&said["status"]["code"], &said["status"]["message"])
        } else if said["code"].is_string() {
            (&said["code"], &said["detail"])
        } else {
            (&said["error"], &said["error_description"])
        };
        match code.as_str() {
            Some(code) if !code.is_empty() => Error::Refused {
                status: self.status.as_u16(),
                code: plain(code),
                message: plain(message.as_str().unwrap_or_default()),
            },
            _ => self.unintelligible("names no error"),
        }
    }

    /// The error that the answer tells of, if it has this status.
    pub(crate) fn refusal_if(&self, status: StatusCode) -> Option<Error> {
        (self.status == status).then(|| self.refusal())
    }

    /// The data of an envelope that says `OK`.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Result<T, Error> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            status: Status,
            data: T,
        }
        #[derive(Deserialize)]
        struct Status {
            code: String,
        }
        if self.status != StatusCode::OK {
            return Err(self.refusal());
        }
        let envelope: Envelope<Value> = self.json()?;
        if envelope.status.code != "OK" {
            return Err(self.refusal());
        }
        serde_json::from_value(envelope.data).map_err(|_| self.unintelligible("has other data than expected"))
    }

    /// Whether this says that a token is not in force, which only Doorward's own words do.
    pub(crate) fn is_invalid_token(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && self.refusal().code() == Some("INVALID_TOKEN")
    }

    /// The answer to a login.
    pub(crate) fn token(&self) -> Result<Token, Error> {
        #[derive(Deserialize)]
        struct Issued {
            token: String,
        }
        let issued: Issued = self.data()?;
        issued.token.parse().map_err(|_| self.unintelligible("has something else in the place of the token"))
    }

    /// The answer of `GET authentication/token`.
    pub(crate) fn details(&self) -> Result<Verdict, Error> {
        if self.is_invalid_token() {
            return Ok(Verdict::Inactive);
        }
        let details: Details = self.data()?;
        let time = |text: &str| {
            humantime::parse_rfc3339(text).map_err(|_| self.unintelligible("has a time that is none"))
        };
        let Named { id, name: code } = details.organisation;
        Ok(Verdict::Active(Identity {
            organisation: Organisation { id, code },
            unit: Unit { id: details.unit.id, name: details.unit.name },
            user: User { id: details.user.id, name: details.user.name },
            method: Method::of(details.method),
            expires_at: time(&details.expires_at)?,
            issued_at: Some(time(&details.issued_at)?),
            last_used_at: Some(time(&details.last_used_at)?),
        }))
    }

    /// The answer of `/oauth2/introspect`.
    pub(crate) fn introspection(&self) -> Result<Verdict, Error> {
        if self.status != StatusCode::OK {
            return Err(self.refusal());
        }
        self.verdict(self.json()?)
    }

    /// The answer of `/verify/batch` to this many questions.
    pub(crate) fn batch(&self, count: usize) -> Result<Vec<Verdict>, Error> {
        #[derive(Deserialize)]
        struct Batch {
            results: Vec<Value>,
        }
        if self.status != StatusCode::OK {
            return Err(self.refusal());
        }
        let Batch { results } = self.json()?;
        if results.len() != count {
            return Err(self.unintelligible(&format!("has {} results for {count} tokens", results.len())));
        }
        results.into_iter().map(|result| self.verdict(result)).collect()
    }

    fn verdict(&self, said: Value) -> Result<Verdict, Error> {
        match said.get("active") {
            Some(Value::Bool(false)) => Ok(Verdict::Inactive),
            Some(Value::Bool(true)) => {
                let said: Introspection = serde_json::from_value(said)
                    .map_err(|_| self.unintelligible("says 'active' and not of whom"))?;
                let time = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
                let expires_at =
                    time(said.exp).ok_or_else(|| self.unintelligible("has a time that is none"))?;
                Ok(Verdict::Active(Identity {
                    organisation: Organisation { id: said.organisation_id, code: said.organisation },
                    unit: Unit { id: said.unit_id, name: said.unit },
                    user: User { id: said.sub, name: said.username },
                    method: Method::of(said.method),
                    expires_at,
                    issued_at: said.iat.and_then(time),
                    last_used_at: None,
                }))
            }
            _ => Err(self.unintelligible("does not say whether the token is active")),
        }
    }

    /// The headers of `/verify`.
    pub(crate) fn identity(&self) -> Result<Identity, Error> {
        if self.status != StatusCode::OK {
            return Err(self.refusal());
        }
        let header = |name: &str| -> Result<String, Error> {
            let mut values = self.headers.get_all(name).iter();
            let (Some(value), None) = (values.next(), values.next()) else {
                return Err(self.unintelligible(&format!("has not one header {name}")));
            };
            let text = value.to_str().ok().filter(|text| !text.is_empty());
            let decoded = text.and_then(|text| percent_decode_str(text).decode_utf8().ok());
            decoded.map(String::from).ok_or_else(|| self.unintelligible(&format!("has no text in {name}")))
        };
        let expires_at = humantime::parse_rfc3339(&header("x-auth-expires")?)
            .map_err(|_| self.unintelligible("has a time that is none"))?;
        Ok(Identity {
            organisation: Organisation {
                id: header("x-auth-organisation-id")?,
                code: header("x-auth-organisation")?,
            },
            unit: Unit { id: header("x-auth-unit-id")?, name: header("x-auth-unit")? },
            user: User { id: header("x-auth-user-id")?, name: header("x-auth-user")? },
            method: Method::of(header("x-auth-method")?),
            expires_at,
            issued_at: None,
            last_used_at: None,
        })
    }
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Details {
    organisation: Named,
    unit: Named,
    user: Named,
    method: String,
    issued_at: String,
    last_used_at: String,
    expires_at: String,
}

#[derive(Deserialize)]
struct Introspection {
    sub: String,
    username: String,
    iat: Option<u64>,
    exp: u64,
    organisation: String,
    organisation_id: String,
    unit: String,
    unit_id: String,
    method: String,
}
