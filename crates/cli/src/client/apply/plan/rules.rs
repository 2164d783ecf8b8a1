//! The rules of an organisation.

use serde_json::{Value, json};

use super::{
    Planner,
    step::{Action, Change, In, Step},
};
use crate::client::apply::{
    state::PresentOrganisation,
    thing::{Kind, Members},
};

impl Planner<'_> {
    pub(super) fn rules(&mut self, place: &In<'_>, wanted: &Members, present: Option<&PresentOrganisation>) {
        let mut changes = Vec::new();
        let now = |rule: &str| present.and_then(|present| present.rules.get(rule));
        let is_own = |rule: &str| now(rule).is_some_and(|now| now.source == "organisation");
        for (rule, to) in wanted {
            let own = now(rule).filter(|_| is_own(rule)).map(|now| now.value.clone());
            if own.as_ref() != Some(to) {
                let shown = now(rule).map_or(Value::Null, |now| match is_own(rule) {
                    true => now.value.clone(),
                    false => json!({"value": now.value, "source": now.source}),
                });
                let from = own.unwrap_or_default();
                changes.push(Change { member: rule, from, to: to.clone(), shown: [shown, to.clone()] });
            }
        }
        let unnamed = present.into_iter().flat_map(|present| &present.rules);
        for (rule, now) in
            unnamed.filter(|(rule, _)| self.prune && !wanted.contains_key(*rule) && is_own(rule))
        {
            let shown = [now.value.clone(), json!("the server's")];
            changes.push(Change { member: rule, from: now.value.clone(), to: Value::Null, shown });
        }
        if !changes.is_empty() {
            self.plan.steps.push(Step {
                action: Action::Update,
                kind: Kind::Rules,
                organisation: place.id.to_owned(),
                code: place.code.to_owned(),
                name: place.code.to_owned(),
                user: None,
                id: place.id.to_owned(),
                is_new_id: place.is_new_id,
                changes,
                ends_tokens: false,
                note: None,
            });
        }
    }
}
