//! What every store must do, whichever database is below it: one suite, run over SQLite and over PostgreSQL.
//!
//! A check is an async function over a [`Store`]; [`conformance!`](crate::conformance!) makes each a test of its own. Checks
//! know no numbers of sessions but those that they were given: a store may leave numbers out, but a later one is higher.

#![expect(clippy::unwrap_used, reason = "checks are tests: what they do not expect ends them")]
#![expect(async_fn_in_trait, reason = "a check is polled by the test that runs it, on its own thread")]

mod administering;
mod chains;
mod committing;
pub mod company;
mod ended;
mod endings;
mod listing;
mod reading;

use std::{collections::BTreeMap, sync::Arc};

use doorward_domain::{
    catalogue::Catalogue,
    change::Change,
    clock::Timestamp,
    credential::TokenDigest,
    directory::Directory,
    id::OrganisationId,
    journal::{Entry, Ledger, LedgerError, Outcome},
    observer::Observer,
    session::{Identity, SessionNumber},
    session_table::{Live, SessionFilter, SessionPlace},
};

use self::company::{both_companies, changed, digest};

/// A store with data of its own that no other test sees.
pub trait Store: Sized {
    /// Its ledger, as the journal takes it.
    type Ledger: Ledger;
    /// What reads it.
    type Reader: Directory + Catalogue + Send + Sync;

    /// Makes an empty one.
    async fn create() -> Self;

    /// Commits a batch through the ledger.
    async fn apply(&mut self, batch: &[Entry]) -> Result<Vec<Outcome>, LedgerError>;

    /// Reads what is committed.
    fn directory(&self) -> &Self::Reader;

    /// Gives the ledger away, which tells `observer` of its commits if it tells anybody. Nothing can be applied before the
    /// store is opened again, for which the ledger must have been dropped.
    async fn lend(&mut self, observer: Arc<dyn Observer>) -> Self::Ledger;

    /// Opens it again, as a server that starts does.
    async fn reopen(self) -> Self;

    /// The latest time that the store knows of.
    async fn latest(&self) -> Option<Timestamp>;

    /// The sessions of these tokens that are live at `now`, each in the place of its token.
    async fn find_live(&mut self, tokens: &[TokenDigest], now: Timestamp) -> Vec<Option<Found>>;

    /// Lists sessions as [`SessionTable::list`](doorward_domain::session_table::SessionTable::list) does.
    async fn list_live(
        &mut self,
        organisation: OrganisationId,
        filter: SessionFilter,
        after: Option<SessionPlace>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Found>;

    /// All rows of all tables that hold the directory, the sessions and the evidence.
    async fn contents(&self) -> Contents;

    /// Executes SQL behind the store's back. `{00FF}` in it stands for these bytes.
    async fn tamper(&mut self, sql: &str);
}

/// A live session as a store finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub number: SessionNumber,
    /// Whom it speaks for.
    pub identity: Identity,
    /// When it was issued, to the second.
    pub issued_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Timestamp,
    /// When it ends if it is not used again.
    pub expires_at: Timestamp,
}

impl From<Live> for Found {
    fn from(live: Live) -> Self {
        Self {
            number: live.number,
            identity: live.identity,
            issued_at: live.issued_at,
            last_used_at: live.last_used_at,
            expires_at: live.expires_at,
        }
    }
}

/// The rows of tables by the tables' names, each row as its columns; bytes as upper-case hexadecimal digits.
pub type Contents = BTreeMap<String, Vec<Vec<String>>>;

/// A new store with both companies.
async fn company<S: Store>() -> S {
    let mut store = S::create().await;
    assert_eq!(change_all(&mut store, &both_companies()).await, [Outcome::Committed(None); 8]);
    store
}

async fn apply<S: Store>(store: &mut S, entry: Entry) -> Outcome {
    store.apply(&[entry]).await.unwrap()[0]
}

async fn change<S: Store>(store: &mut S, change: Change) -> Outcome {
    apply(store, changed(change)).await
}

async fn change_all<S: Store>(store: &mut S, changes: &[Change]) -> Vec<Outcome> {
    store.apply(&changes.iter().cloned().map(changed).collect::<Vec<_>>()).await.unwrap()
}

/// The number that an entry took.
#[track_caller]
fn number(outcome: Outcome) -> SessionNumber {
    let Outcome::Committed(Some(number)) = outcome else { panic!("{outcome:?}") };
    number
}

/// The numbers that entries took, each of them higher than the one before.
#[track_caller]
fn numbers<const COUNT: usize>(outcomes: Vec<Outcome>) -> [SessionNumber; COUNT] {
    let numbers: Vec<_> = outcomes.into_iter().map(number).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    numbers.try_into().unwrap()
}

/// The tokens that are live at `now`.
async fn live_tokens<S: Store>(store: &mut S, now: Timestamp) -> Vec<u8> {
    let tokens: Vec<_> = (0..=255).map(digest).collect();
    let found = store.find_live(&tokens, now).await;
    (0..=255).zip(found).filter_map(|(token, found)| found.map(|_| token)).collect()
}

async fn count<S: Store>(store: &S, table: &str) -> usize {
    store.contents().await[table].len()
}

/// Lists every check once: makes of it what is called from outside, and [`conformance!`](crate::conformance!).
macro_rules! checks {
    (($dollar:tt) $($module:ident { $($check:ident)* })*) => {
        /// The checks, by the names of their tests.
        pub mod checks {
            $(
                #[expect(missing_docs, reason = "the name of a check says what it checks")]
                pub mod $module {
                    $(
                        pub async fn $check<S: $crate::conformance::Store>() {
                            $crate::conformance::$module::$check::<S>().await;
                        }
                    )*
                }
            )*
        }

        /// Makes each check of the suite a test over this [`Store`](crate::conformance::Store), with these attributes.
        #[macro_export]
        macro_rules! conformance {
            ($dollar store:ty $dollar (, $dollar (#[$dollar attribute:meta])+)?) => {
                $(
                    mod $module {
                        use super::*;

                        $($crate::conformance_test!($module $check $dollar store $dollar (, $dollar (#[$dollar attribute])+)?);)*
                    }
                )*
            };
        }
    };
}

/// One test of [`conformance!`](crate::conformance!).
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_test {
    ($module:ident $check:ident $store:ty $(, $(#[$attribute:meta])+)?) => {
        #[tokio::test]
        $($(#[$attribute])+)?
        async fn $check() {
            $crate::conformance::checks::$module::$check::<$store>().await;
        }
    };
}

checks! {
    ($)
    administering {
        what_is_created_and_updated_is_shown_whole
        a_change_decided_on_an_older_revision_is_stale_and_leaves_nothing
        m1_no_change_reaches_another_organisation_or_leaves_anything
        names_that_are_taken_are_refused_to_updates_too
        a_units_default_users_keep_it_from_being_deleted
        a_rotation_without_overlap_deletes_the_old_secret_and_ends_sessions
        a_rotation_with_overlap_keeps_the_old_secrets_for_their_time_and_no_longer
        rules_come_back_as_they_were_set_and_unknown_ones_are_left_out
        what_is_created_once_is_repeated_until_it_is_forgotten
        m3_a_password_is_replaced_only_if_it_is_still_the_one_that_was_proved
        l4_a_user_is_known_from_the_latest_sixteen_places
        a_login_with_a_key_is_no_login_of_the_user
        the_use_of_a_secret_never_goes_back_and_creates_none
        m2_a_deletion_leaves_no_row_but_in_sessions_and_records
        m2_users_are_deleted_a_few_at_a_time_with_all_that_is_theirs_and_nobody_elses
        m2_what_is_deleted_and_created_again_inherits_nothing
        addresses_of_sessions_are_kept
    }
    chains {
        s2_each_organisation_has_a_chain_of_its_own
        times_of_records_never_go_back_in_a_chain
        records_are_removed_by_age_and_the_rest_stays_sound
    }
    committing {
        numbers_are_taken_by_issues_and_endings_alone
        entries_see_what_stands_before_them_in_their_batch
        numbers_are_not_reused_when_the_newest_sessions_are_gone
        what_is_taken_is_refused_and_leaves_nothing
        what_hangs_on_nothing_is_refused_and_leaves_nothing
        m1_another_organisations_ids_are_as_good_as_none
        entries_that_fail_do_not_fail_their_batch
        a_rehash_replaces_only_the_hash_that_was_verified
        t3_a_use_never_creates_and_never_goes_back
        t4_the_latest_time_is_kept
    }
    ended {
        a_release_is_remembered_with_who_did_it
        the_first_ending_that_reached_a_session_is_found
        a_session_whose_user_is_deleted_is_remembered_by_what_memory_knew
        what_ended_is_forgotten_after_seven_days
    }
    endings {
        m3_every_mark_ends_sessions_across_a_restart
        a_login_that_saw_any_stale_mark_is_refused
        a_login_that_saw_any_old_name_is_refused
        a_login_on_rows_that_are_not_there_is_refused
        a_session_comes_back_as_it_was
        what_has_expired_is_not_live
        a_session_whose_rows_are_gone_has_ended
        d1_the_journal_keeps_what_it_answered
    }
    listing {
        users_are_listed_each_once_whatever_is_asked_for
        units_organisations_and_keys_are_listed_each_once
        a_cursor_that_nobody_gave_out_harms_nothing
        records_are_listed_each_once_from_either_end
        m1_what_is_looked_for_is_found_in_its_own_organisation_alone
        holders_and_names_are_found
        sessions_are_listed_each_once_in_order
    }
    reading {
        finds_a_user_by_any_spelling_of_the_names
        says_what_is_unknown
        finds_a_key_with_its_user
        an_account_is_read_in_one_snapshot
        s2_audit_records_come_back_as_they_were_whatever_a_caller_sent
        s2_every_change_and_every_login_has_its_record
    }
}
