//! The rules of an organisation.

use std::collections::BTreeMap;

use super::{AdminError, Answer, TRIES, Tenant, expect, invalid, moved};
use crate::{
    audit::Event,
    change::Change,
    journal::Outcome,
    resource::Revision,
    rules::{Overrides, Rule, RuleValue},
};

/// Where the value of a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody has set it.
    Default,
    /// The server's configuration.
    Configuration,
    /// The organisation itself.
    Organisation,
}

/// A rule as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveRule {
    /// The rule.
    pub rule: Rule,
    /// Its value.
    pub value: RuleValue,
    /// Where the value comes from.
    pub source: Source,
}

/// The rules of an organisation as they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesInForce {
    /// All of them.
    pub rules: Vec<EffectiveRule>,
    /// The revision of the organisation.
    pub revision: Revision,
}

impl Tenant {
    /// The rules as they hold.
    pub async fn get_rules(&self) -> Answer<RulesInForce> {
        let revision = self.read_again().await?.revision;
        let overrides = self.catalogue().get_overrides(self.id()).await?;
        let rules = self.doorkeeper().parts().rules.with(&overrides);
        let source =
            |rule| match (overrides.contains_key(&rule), self.administration.configured.contains(&rule)) {
                (true, _) => Source::Organisation,
                (false, true) => Source::Configuration,
                (false, false) => Source::Default,
            };
        let effective = |rule| EffectiveRule { rule, value: rules.get(rule), source: source(rule) };
        Ok(RulesInForce { rules: Rule::ALL.map(effective).into(), revision })
    }

    /// Overrides rules, and gives others back to the configuration (`None`). What is not named stays.
    pub async fn update_rules(
        &self,
        given: &BTreeMap<Rule, Option<RuleValue>>,
        seen: Option<Revision>,
    ) -> Answer<RulesInForce> {
        for _ in 0..TRIES {
            // Before the rules are read, so that a change in between is noticed.
            let revision = self.read_again().await?.revision;
            expect(seen, revision)?;
            let before = self.catalogue().get_overrides(self.id()).await?;
            let overrides = overridden(before.clone(), given);
            if overrides == before {
                return self.get_rules().await;
            }
            let rules = self.doorkeeper().parts().rules.with(&overrides);
            if let Some((longer, shorter)) = rules.contradiction() {
                let at_fault = if given.contains_key(&longer) { longer } else { shorter };
                let problem = format!(
                    "does not fit: {} ({}) must not be shorter than {} ({}); change both or neither",
                    longer.as_str(),
                    rules.get(longer),
                    shorter.as_str(),
                    rules.get(shorter)
                );
                return Err(invalid(at_fault.as_str(), problem));
            }
            let addresses = [Rule::AddressesAllow, Rule::AddressesDeny];
            if self.is_own
                && let Some(rule) = addresses.into_iter().find(|rule| given.contains_key(rule))
                && !rules.addresses.permits(self.origin.address)
            {
                let from = self.origin.address.map_or("nowhere".to_owned(), |address| address.to_string());
                let problem = format!("would refuse your own next login, from {from}; let that address in");
                return Err(invalid(rule.as_str(), problem));
            }
            let mut audit = self.audit(Event::RulesSet);
            let changed = given.keys().filter(|rule| overrides.get(rule) != before.get(rule));
            audit.members = changed.map(|rule| rule.as_str()).collect();
            let change = Change::SetRules { organisation: self.id(), overrides, expected: Some(revision) };
            match self.submit(change, audit).await? {
                Outcome::Committed(_) => return self.get_rules().await,
                Outcome::Refused => return Err(AdminError::NotFound),
                Outcome::Taken(_) | Outcome::Stale | Outcome::InUse | Outcome::Repeated => {}
            }
        }
        Err(moved())
    }
}

fn overridden(mut overrides: Overrides, given: &BTreeMap<Rule, Option<RuleValue>>) -> Overrides {
    for (rule, value) in given {
        match value {
            Some(value) => overrides.insert(*rule, value.clone()),
            None => overrides.remove(rule),
        };
    }
    overrides
}
