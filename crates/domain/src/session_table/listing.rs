//! Lists of sessions, for administrators: no session pays with memory for standing in one.
//!
//! A list looks at every session, part by part, and keeps the first few of those that are meant, in order. Whose they are
//! is found out before for each subject, so that a session that is not meant costs one bit.

use std::collections::BTreeMap;

use super::{AT_A_TIME, Live, LiveRef, SHARDS, SessionTable};
use crate::{
    clock::Timestamp,
    id::{KeyId, OrganisationId, UnitId, UserId},
    session::SessionNumber,
    sync::read,
};

/// Which sessions of an organisation to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionFilter {
    /// Those of this user.
    pub user: Option<UserId>,
    /// Those in this unit.
    pub unit: Option<UnitId>,
    /// Those made with this Web API key.
    pub key: Option<KeyId>,
    /// Those made with any Web API key, or with none.
    pub by_key: Option<bool>,
}

/// Where a session stands in a list: by user, unit and key, then by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionPlace {
    /// Its user.
    pub user: UserId,
    /// Its unit.
    pub unit: UnitId,
    /// The Web API key it was made with.
    pub key: Option<KeyId>,
    /// Its number.
    pub number: SessionNumber,
}

/// A list that is being made.
pub(crate) struct Listing<'a> {
    table: &'a SessionTable,
    organisation: OrganisationId,
    filter: SessionFilter,
    after: Option<SessionPlace>,
    limit: usize,
    now: Timestamp,
    /// The subjects that are meant, a bit each.
    meant: Vec<u64>,
    /// The part of the table to look at next.
    shard: usize,
    first: BTreeMap<SessionPlace, Live>,
}

impl<'a> Listing<'a> {
    /// The live sessions of an organisation that `filter` means, `limit` at most, behind a place.
    pub(crate) fn new(
        table: &'a SessionTable,
        organisation: OrganisationId,
        filter: SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
        now: Timestamp,
    ) -> Self {
        let is_after = |user| after.is_none_or(|after| user >= after.user);
        let meant = table
            .subjects
            .select(|subject| subject.is_meant_by(organisation, &filter) && is_after(subject.user()));
        Self { table, organisation, filter, after, limit, now, meant, shard: 0, first: BTreeMap::new() }
    }

    /// Looks at one part of the table. Says whether there is more to look at.
    pub(crate) fn look_further(&mut self) -> bool {
        if self.shard == SHARDS || self.limit == 0 || self.meant.iter().all(|bits| *bits == 0) {
            return false;
        }
        let mut from = 0;
        loop {
            let shard = read(&self.table.shards[self.shard].0);
            let some = shard.records.iter().skip(from).take(AT_A_TIME * 16);
            from += AT_A_TIME * 16;
            for record in some {
                let number = record.subject() as usize;
                let is_meant = self.meant.get(number / 64).is_some_and(|bits| bits >> (number % 64) & 1 == 1);
                if is_meant {
                    self.table.subjects.with(record.subject(), |subject| {
                        let place = subject.place_in_list(record.number());
                        let is_next = self.after.is_none_or(|after| place > after)
                            && (self.first.len() < self.limit
                                || self.first.last_key_value().is_some_and(|(last, _)| place < *last));
                        // Its number may be another's by now, be that of another organisation.
                        let is_meant = || subject.is_meant_by(self.organisation, &self.filter);
                        if is_next && is_meant() && record.is_live(subject, self.now) {
                            self.first.insert(place, LiveRef::new(record, subject, None).to_owned());
                            if self.first.len() > self.limit {
                                self.first.pop_last();
                            }
                        }
                    });
                }
            }
            if from >= shard.records.len() {
                break;
            }
        }
        self.shard += 1;
        true
    }

    /// What was found, in order.
    pub(crate) fn finish(self) -> Vec<Live> {
        self.first.into_values().collect()
    }
}
