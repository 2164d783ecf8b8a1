//! The chains of audit records as anybody can read and check them.

use doorward_domain::{
    audit::{
        AuditRecord, Event,
        chain::{ChainCheck, RecordFilter, StoredRecord},
    },
    catalogue::Catalogue,
    id::OrganisationId,
    journal::Entry,
    resource::PageRequest,
};

use super::{company::*, *};

const CHAINS: [Option<OrganisationId>; 3] = [None, Some(ACME), Some(GLOBEX)];

/// Reads the chains, each of which must be sound: how many of its records were removed, and those that are left.
async fn sound_chains<S: Store>(store: &S) -> [(u64, Vec<StoredRecord>); 3] {
    let mut chains = Vec::new();
    for organisation in CHAINS {
        let filter = RecordFilter { oldest_first: true, ..RecordFilter::default() };
        let page = PageRequest { after: None, limit: 1_000 };
        let records = store.directory().list_records(organisation, filter, page).await.unwrap().items;
        let Some(chain) = store.directory().find_chain(organisation).await.unwrap() else {
            assert_eq!(records, []);
            chains.push((0, records));
            continue;
        };
        assert_eq!(chain.organisation, organisation);
        let mut check = ChainCheck::begin(organisation, chain.removed);
        records.iter().try_for_each(|record| check.next(record)).unwrap();
        check.finish(chain.last).unwrap();
        chains.push((chain.removed.number, records));
    }
    chains.try_into().unwrap()
}

fn of(organisation: Option<OrganisationId>, time: i64) -> Entry {
    Entry::Record(AuditRecord { organisation, at: at(time), ..audit(Event::Release) })
}

pub(super) async fn s2_each_organisation_has_a_chain_of_its_own<S: Store>() {
    let mut store = S::create().await;
    assert_eq!(store.directory().find_chain(None).await.unwrap(), None);
    assert_eq!(store.directory().find_oldest_record().await.unwrap(), None);
    let batch: Vec<_> = (0..30).map(|n| of(CHAINS[n % 3], n as i64)).collect();
    for batch in [&batch[..1], &batch[1..20], &batch[20..]] {
        store.apply(batch).await.unwrap();
        sound_chains(&store).await;
    }
    let chains = sound_chains(&store).await;
    assert!(chains.iter().all(|(removed, records)| *removed == 0 && records.len() == 10));
    assert_eq!(store.directory().find_chain(Some(OrganisationId::from_bytes(NOBODY))).await.unwrap(), None);
    // A new start goes on where the chains are.
    let mut store = store.reopen().await;
    store.apply(&[of(None, 99), of(Some(ACME), 99)]).await.unwrap();
    assert_eq!(sound_chains(&store).await.map(|(_, records)| records.len()), [11, 11, 10]);
}

/// What waited, at a gate or for a hash, is written behind what came later: the records of a time lie together all the
/// same.
pub(super) async fn times_of_records_never_go_back_in_a_chain<S: Store>() {
    let mut store = S::create().await;
    store.apply(&[of(Some(ACME), 5), of(Some(ACME), 3), of(None, 7)]).await.unwrap();
    let mut store = store.reopen().await;
    store.apply(&[of(Some(ACME), 4), of(None, 8), of(Some(ACME), 9)]).await.unwrap();
    let [(_, none), (_, acme), _] = sound_chains(&store).await;
    let times = |records: Vec<StoredRecord>| records.iter().map(|record| record.at).collect::<Vec<_>>();
    let (none, acme) = (times(none), times(acme));
    assert_eq!(none, [at(7), at(8)]);
    assert!(acme.is_sorted() && acme.len() == 4, "{acme:?}");
    assert_eq!((acme[0], acme[1], acme[3]), (at(5), at(5), at(9)));
}

pub(super) async fn records_are_removed_by_age_and_the_rest_stays_sound<S: Store>() {
    let mut store = S::create().await;
    let chains = [Some(ACME), None, Some(ACME), Some(GLOBEX), Some(ACME)];
    let batch: Vec<_> = chains.into_iter().zip(0..).map(|(chain, time)| of(chain, time)).collect();
    store.apply(&batch).await.unwrap();
    for (before, limit, oldest, removed) in [
        // None is older.
        (0, 10, Some(0), [0, 0, 0]),
        // The oldest first, no more than asked for.
        (3, 2, Some(2), [1, 1, 0]),
        (4, 10, Some(4), [1, 2, 1]),
        (99, 10, None, [1, 3, 1]),
    ] {
        store.apply(&[Entry::ForgetRecords { before: at(before), limit }]).await.unwrap();
        let chains = sound_chains(&store).await;
        assert_eq!(chains.map(|(removed, _)| removed), removed, "before {before}");
        assert_eq!(store.directory().find_oldest_record().await.unwrap(), oldest.map(at));
    }
    // A chain goes on where it was.
    store.apply(&[of(Some(ACME), 100)]).await.unwrap();
    let [_, (_, acme), _] = sound_chains(&store).await;
    assert_eq!(acme[0].number, 4);
}
