//! Audit records: reading them, and removing those whose time is over.

use std::{sync::Arc, time::Duration};

use super::{AdminError, Administration, Administrator, Answer, not_a_place, only_operators};
use crate::{
    audit::chain::{Chain, Link, RecordFilter, StoredRecord},
    id::OrganisationId,
    journal::Entry,
    resource::{Page, PageRequest},
};

/// How many records are removed by one entry of the journal: no more than others can wait for.
const REMOVED_AT_ONCE: usize = 1_000;

/// Audit records that an administrator may read: those of an organisation, or those that none can be named for.
pub struct Records {
    administration: Arc<Administration>,
    organisation: Option<OrganisationId>,
}

impl Administrator {
    /// The records of an organisation by its id or its code. To operators those of one that was deleted are there too, by
    /// its id, for as long as anything is kept of them.
    pub async fn records(&self, reference: &str) -> Answer<Records> {
        let organisation = match self.enter(reference).await {
            Err(AdminError::NotFound) if self.is_operator => self.find_deleted(reference).await?,
            entered => entered?.id(),
        };
        Ok(Records { administration: self.administration.clone(), organisation: Some(organisation) })
    }

    /// An organisation that is not there, and that something was recorded of.
    async fn find_deleted(&self, reference: &str) -> Answer<OrganisationId> {
        let id = reference.parse().map_err(|_| AdminError::NotFound)?;
        let chain = self.administration.catalogue.find_chain(Some(id)).await?;
        chain.map(|_| id).ok_or(AdminError::NotFound)
    }

    /// The records that no organisation can be named for. For operators.
    pub fn unassigned_records(&self) -> Answer<Records> {
        only_operators(self.is_operator)?;
        Ok(Records { administration: self.administration.clone(), organisation: None })
    }
}

impl Records {
    /// Lists them by their numbers. A page may have fewer records than its limit, or none, and not be the last: each is a
    /// bounded search.
    pub async fn list(&self, filter: RecordFilter, page: PageRequest) -> Answer<Page<StoredRecord>> {
        by_number(&page)?;
        Ok(self.administration.catalogue.list_records(self.organisation, filter, page).await?)
    }

    /// The ends of their chain.
    pub async fn get_chain(&self) -> Answer<Chain> {
        let organisation = self.organisation;
        let nothing = Chain { organisation, removed: Link::BEGINNING, last: Link::BEGINNING };
        Ok(self.administration.catalogue.find_chain(organisation).await?.unwrap_or(nothing))
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
