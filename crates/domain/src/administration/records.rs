//! Audit records: reading them, and removing those whose time is over.

use std::time::Duration;

use super::{Administration, Administrator, Answer, Tenant, not_a_place, only_operators};
use crate::{
    audit::chain::{Chain, Link, RecordFilter, StoredRecord},
    journal::Entry,
    resource::{Page, PageRequest},
};

/// How many records are removed by one entry of the journal: no more than others can wait for.
const REMOVED_AT_ONCE: usize = 1_000;

impl Tenant {
    /// Lists the organisation's audit records by their numbers. A page may have fewer records than its limit, or none,
    /// and not be the last: each is a bounded search.
    pub async fn list_records(&self, filter: RecordFilter, page: PageRequest) -> Answer<Page<StoredRecord>> {
        by_number(&page)?;
        Ok(self.catalogue().list_records(Some(self.id()), filter, page).await?)
    }

    /// The ends of the chain of the organisation's records.
    pub async fn get_chain(&self) -> Answer<Chain> {
        let organisation = Some(self.id());
        let nothing = Chain { organisation, removed: Link::BEGINNING, last: Link::BEGINNING };
        Ok(self.catalogue().find_chain(organisation).await?.unwrap_or(nothing))
    }
}

impl Administrator {
    /// Lists the records that no organisation can be named for, as [`Tenant::list_records`]. For operators.
    pub async fn list_unassigned_records(
        &self,
        filter: RecordFilter,
        page: PageRequest,
    ) -> Answer<Page<StoredRecord>> {
        only_operators(self.is_operator)?;
        by_number(&page)?;
        Ok(self.administration.catalogue.list_records(None, filter, page).await?)
    }

    /// The ends of the chain of those records. For operators.
    pub async fn get_unassigned_chain(&self) -> Answer<Chain> {
        only_operators(self.is_operator)?;
        let nothing = Chain { organisation: None, removed: Link::BEGINNING, last: Link::BEGINNING };
        Ok(self.administration.catalogue.find_chain(None).await?.unwrap_or(nothing))
    }
}

/// Refuses a cursor that is none of a list of records.
fn by_number(page: &PageRequest) -> Answer<()> {
    match page.after.as_deref().map(str::parse::<u64>) {
        Some(Err(_)) => Err(not_a_place()),
        Some(Ok(_)) | None => Ok(()),
    }
}

impl Administration {
    /// Removes the audit records of all organisations that are older than `retention`, a few at a time, and returns
    /// about how many.
    pub async fn forget_records(&self, retention: Duration) -> Answer<usize> {
        let before = self.now().minus(retention);
        let mut count = 0;
        while self.catalogue.find_oldest_record().await?.is_some_and(|oldest| oldest < before) {
            let entry = Entry::ForgetRecords { before, limit: REMOVED_AT_ONCE };
            self.doorkeeper.parts().journal.submit(entry).await?;
            count += REMOVED_AT_ONCE;
        }
        Ok(count)
    }
}
