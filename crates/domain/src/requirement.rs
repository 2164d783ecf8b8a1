//! What a route demands of the token that is shown at it, beside being in force: one server guards several APIs.
//!
//! Demands only ever restrict. All that are found must be met, wherever they come from, so whoever adds some of their own
//! to a request can shut out nobody but themselves (`security.md` F3).

use std::fmt;

use crate::{directory::Role, name::fold, session::Identity};

/// What a route demands; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements(Vec<Demands>);

/// The demands of one place. Of each kind one of those named will do, and none named is none demanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    organisations: Vec<Wanted>,
    units: Vec<Wanted>,
    methods: Vec<&'static str>,
    roles: Vec<Role>,
    key_address: bool,
}

/// Something that is named by its name or its id. What reads as an id is no name: otherwise whoever may name units could
/// give one the id of another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    folded: String,
    id: Option<[u8; 16]>,
}

impl Wanted {
    fn is(&self, id: [u8; 16], name: &str) -> bool {
        self.id.map_or_else(|| self.folded == fold(name).trim(), |wanted| wanted == id)
    }
}

/// What a token does not meet, by the name under which it is demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// It is another organisation's.
    Organisation,
    /// It is for another unit.
    Unit,
    /// It was got in another way.
    Method,
    /// The user has another role.
    Role,
    /// The rules of the organisation or of the Web API key do not allow the client's address.
    KeyAddress,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Organisation => "organisation",
            Self::Unit => "unit",
            Self::Method => "method",
            Self::Role => "role",
            Self::KeyAddress => "key_address",
        })
    }
}

/// What is written is no demand, so that nobody can be said to meet it. The text is for the operator whose proxy it
/// comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDemand {
    /// There is none of this name.
    #[error("'{0}' is no requirement; there are organisation, unit, method, role and key_address")]
    Unknown(String),
    /// The value is none.
    #[error("'{value}' is no {name}; {remedy}")]
    Value {
        /// The name of the demand.
        name: &'static str,
        /// What was written.
        value: String,
        /// What may be.
        remedy: &'static str,
    },
}

/// The most characters of what is written that an error repeats.
const SHOWN: usize = 64;

impl Demands {
    /// Reads demands from names and values. A name may be repeated; then any of its values will do.
    pub fn read<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, BadDemand> {
        let mut demands = Self::default();
        for (name, value) in pairs {
            demands.add(name.as_ref(), value.as_ref())?;
        }
        Ok(demands)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), BadDemand> {
        let bad = |name, remedy| BadDemand::Value { name, value: shown(value), remedy };
        let wanted = || {
            let folded = fold(value).trim().to_owned();
            (!folded.is_empty()).then(|| Wanted { folded, id: crate::hex::read(value.trim()) })
        };
        match name {
            "organisation" | "organization" => {
                self.organisations
                    .push(wanted().ok_or_else(|| bad("organisation", "write its code or its id"))?);
            }
            "unit" => self.units.push(wanted().ok_or_else(|| bad("unit", "write its name or its id"))?),
            "method" => self.methods.push(match value {
                "password" => "password",
                "web_api_key" => "web_api_key",
                _ => return Err(bad("method", "write password or web_api_key")),
            }),
            "role" => self.roles.push(match value {
                "member" => Role::Member,
                "administrator" => Role::Administrator,
                _ => return Err(bad("role", "write member or administrator")),
            }),
            "key_address" => match value {
                "true" => self.key_address = true,
                "false" => {}
                _ => return Err(bad("key_address", "write true or false")),
            },
            _ => return Err(BadDemand::Unknown(shown(name))),
        }
        Ok(())
    }

    /// What of it an identity does not meet, as far as that tells.
    fn unmet(&self, identity: &Identity) -> Option<Unmet> {
        let is_one =
            |wanted: &[Wanted], id, name| wanted.is_empty() || wanted.iter().any(|one| one.is(id, name));
        if !is_one(&self.organisations, identity.organisation.to_bytes(), &identity.organisation_code) {
            return Some(Unmet::Organisation);
        }
        if !is_one(&self.units, identity.unit.to_bytes(), &identity.unit_name) {
            return Some(Unmet::Unit);
        }
        let is_method = self.methods.is_empty() || self.methods.contains(&identity.method.as_str());
        (!is_method).then_some(Unmet::Method)
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

impl Requirements {
    /// Demands this too.
    pub fn and(&mut self, demands: Demands) {
        if demands != Demands::default() {
            self.0.push(demands);
        }
    }

    /// Demands all this too.
    pub fn and_all(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether nothing is demanded.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// What an identity does not meet, as far as that tells.
    pub(crate) fn unmet_by(&self, identity: &Identity) -> Option<Unmet> {
        self.0.iter().find_map(|demands| demands.unmet(identity))
    }

    /// Whether the role must be known.
    pub(crate) fn asks_for_role(&self) -> bool {
        self.0.iter().any(|demands| !demands.roles.is_empty())
    }

    /// Whether a user of this role will do.
    pub(crate) fn admits_role(&self, role: Role) -> bool {
        self.0.iter().all(|demands| demands.roles.is_empty() || demands.roles.contains(&role))
    }

    /// Whether the client's address matters.
    pub(crate) fn asks_for_address(&self) -> bool {
        self.0.iter().any(|demands| demands.key_address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{KeyId, OrganisationId, UnitId, UserId},
        session::Method,
    };

    fn identity() -> Identity {
        Identity {
            organisation: OrganisationId::from_bytes([1; 16]),
            organisation_code: "Acme".into(),
            is_operator: false,
            unit: UnitId::from_bytes([2; 16]),
            unit_name: "Back Office".into(),
            user: UserId::from_bytes([3; 16]),
            username: "zoe".into(),
            method: Method::WebApiKey(KeyId::from_bytes([4; 16])),
        }
    }

    fn unmet(places: &[&[(&str, &str)]]) -> Option<Unmet> {
        let mut requirements = Requirements::default();
        for pairs in places {
            requirements.and(Demands::read(pairs.iter().copied()).unwrap());
        }
        requirements.unmet_by(&identity())
    }

    #[test]
    fn one_of_a_kind_will_do_and_every_kind_must() {
        let id = "01".repeat(16);
        for met in [
            &[][..],
            &[("organisation", "ACME")],
            &[("organisation", &id), ("unit", "back office")],
            &[("unit", "Shop"), ("unit", " BACK OFFICE "), ("method", "web_api_key")],
            &[("method", "password"), ("method", "web_api_key")],
        ] {
            assert_eq!(unmet(&[met]), None, "{met:?}");
        }
        assert_eq!(unmet(&[&[("organisation", "Acme2")]]), Some(Unmet::Organisation));
        assert_eq!(unmet(&[&[("organisation", &"02".repeat(16))]]), Some(Unmet::Organisation));
        assert_eq!(unmet(&[&[("organisation", "acme"), ("unit", "Shop")]]), Some(Unmet::Unit));
        assert_eq!(unmet(&[&[("method", "password")]]), Some(Unmet::Method));
    }

    /// F3: names are given by administrators of organisations, ids by nobody.
    #[test]
    fn f3_a_name_is_no_counterfeit_of_an_id() {
        let id = "5e".repeat(16);
        let named = Identity { organisation_code: id.clone(), unit_name: id.clone(), ..identity() };
        for written in [id.clone(), id.to_uppercase(), format!(" {id} ")] {
            for (name, unmet) in [("organisation", Unmet::Organisation), ("unit", Unmet::Unit)] {
                let mut requirements = Requirements::default();
                requirements.and(Demands::read([(name, &written)]).unwrap());
                assert_eq!(requirements.unmet_by(&named), Some(unmet), "{written}");
            }
        }
        // One digit less, and it is a name.
        let named = Identity { unit_name: id[1..].to_owned(), ..identity() };
        let mut requirements = Requirements::default();
        requirements.and(Demands::read([("unit", &id[1..])]).unwrap());
        assert_eq!(requirements.unmet_by(&named), None);
    }

    /// F3: what comes from another place, the client say, is demanded too and never instead.
    #[test]
    fn f3_demands_of_several_places_are_all_demanded() {
        let proxys: &[(&str, &str)] = &[("organisation", "Globex")];
        for clients in [&[("organisation", "Acme")][..], &[("unit", "Back Office")], &[]] {
            assert_eq!(unmet(&[proxys, clients]), Some(Unmet::Organisation));
            assert_eq!(unmet(&[clients, proxys]), Some(Unmet::Organisation));
        }
    }

    #[test]
    fn what_is_no_demand_is_an_error_with_its_text() {
        for (pair, text) in [
            (("colour", "red"), "'colour' is no requirement"),
            (("role", "boss"), "'boss' is no role; write member or administrator"),
            (("unit", " "), "is no unit; write its name or its id"),
            (("method", ""), "is no method"),
            (("key_address", "yes"), "write true or false"),
            (("a\nb", ""), "'ab' is no requirement"),
        ] {
            let error = Demands::read([pair]).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        let mut none = Requirements::default();
        none.and(Demands::read([("key_address", "false")]).unwrap());
        assert!(none.is_none());
    }
}
