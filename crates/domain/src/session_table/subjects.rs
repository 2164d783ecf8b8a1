//! Whom the sessions in the table speak for: each user once for each unit, way of logging in and length of session.
//!
//! A session knows its subject by a number of 32 bits. Subjects lie in parts of their own, by user, so that all of one
//! user are under one lock; a part is locked for reading by each look, and for writing when somebody comes who was not
//! there, is renamed, or goes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use compact_str::CompactString;
use hashbrown::HashTable;

use super::{SessionFilter, SessionPlace};
use crate::{
    id::{KeyId, OrganisationId, UnitId, UserId},
    session::{Identity, Method, Scope, Session, SessionNumber},
    session_table::IdentityRef,
    sync::{AtomicU32, AtomicU64, Mutex, Ordering, RwLock, RwLockReadGuard, lock, read, write},
};

/// How many parts there are.
pub(super) const PARTS: usize = if cfg!(feature = "shuttle") { 2 } else { 64 };

/// How long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Milliseconds; zero if use does not matter.
    idle: u32,
    /// Milliseconds.
    lifetime: u64,
}

impl Terms {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            idle: session.idle.map_or(0, |idle| u32::try_from(idle.as_millis()).unwrap_or(u32::MAX).max(1)),
            lifetime: session.ends_at.since(session.issued_at).as_millis() as u64,
        }
    }

    pub(super) fn idle(&self) -> Option<Duration> {
        (self.idle != 0).then(|| Duration::from_millis(u64::from(self.idle)))
    }

    pub(super) fn lifetime(&self) -> Duration {
        Duration::from_millis(self.lifetime)
    }
}

/// A unit of an organisation, as its users' sessions show it, and how long those live.
pub(super) struct Place {
    terms: Terms,
    pub(super) organisation: OrganisationId,
    organisation_code: String,
    is_operator: bool,
    pub(super) unit: UnitId,
    unit_name: String,
    /// Sessions up to these numbers have ended.
    organisation_ended: Arc<AtomicU64>,
    unit_ended: Arc<AtomicU64>,
}

impl Place {
    fn is_as_in(&self, identity: &Identity, terms: &Terms) -> bool {
        self.organisation == identity.organisation
            && self.terms == *terms
            && self.unit == identity.unit
            && self.is_operator == identity.is_operator
            && self.organisation_code == identity.organisation_code
            && self.unit_name == identity.unit_name
    }

    /// The place with another name for what `scope` is; `None` if it is another or has that name already.
    fn renamed(&self, scope: Scope, name: &str) -> Option<Self> {
        let (mut organisation_code, mut unit_name) = (self.organisation_code.clone(), self.unit_name.clone());
        let changed = match scope {
            Scope::Organisation(id) if id == self.organisation => &mut organisation_code,
            Scope::Unit(id) if id == self.unit => &mut unit_name,
            _ => return None,
        };
        if changed == name {
            return None;
        }
        name.clone_into(changed);
        let (organisation_ended, unit_ended) = (self.organisation_ended.clone(), self.unit_ended.clone());
        Some(Self { organisation_code, unit_name, organisation_ended, unit_ended, ..*self })
    }
}

/// Whom a token speaks for.
pub(super) struct Subject {
    user: UserId,
    username: CompactString,
    place: Arc<Place>,
    key: Option<Box<KeyId>>,
    /// Sessions up to this number have ended: the user's and the key's endings.
    ended: AtomicU64,
    /// How many sessions speak for it.
    sessions: AtomicU32,
}

impl Subject {
    pub(super) fn user(&self) -> UserId {
        self.user
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn method(&self) -> Method {
        self.key.as_ref().map_or(Method::Password, |key| Method::WebApiKey(**key))
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.place.terms
    }

    pub(super) fn has_ended(&self, number: SessionNumber) -> bool {
        [&self.ended, &*self.place.organisation_ended, &*self.place.unit_ended]
            .iter()
            .any(|mark| number.0 <= mark.load(Ordering::Acquire))
    }

    pub(super) fn identity(&self) -> IdentityRef<'_> {
        let place = &*self.place;
        IdentityRef {
            organisation: place.organisation,
            organisation_code: &place.organisation_code,
            is_operator: place.is_operator,
            unit: place.unit,
            unit_name: &place.unit_name,
            user: self.user,
            username: &self.username,
            method: self.method(),
        }
    }

    /// Where a session of its stands in a list.
    pub(super) fn place_in_list(&self, number: SessionNumber) -> SessionPlace {
        SessionPlace { user: self.user, unit: self.place.unit, key: self.key.as_deref().copied(), number }
    }

    fn is_as(&self, identity: &Identity, terms: &Terms) -> bool {
        self.user == identity.user
            && self.key.as_deref().copied() == identity.method.key()
            && self.username == identity.username
            && self.place.is_as_in(identity, terms)
    }

    pub(super) fn is_meant_by(&self, organisation: OrganisationId, filter: &SessionFilter) -> bool {
        let key = self.key.as_deref().copied();
        self.place.organisation == organisation
            && filter.user.is_none_or(|wanted| wanted == self.user)
            && filter.unit.is_none_or(|wanted| wanted == self.place.unit)
            && filter.key.is_none_or(|wanted| key == Some(wanted))
            && filter.by_key.is_none_or(|wanted| key.is_some() == wanted)
    }

    /// Raises the mark of one who is ended.
    fn end(&self, through: SessionNumber) {
        self.ended.fetch_max(through.0, Ordering::Release);
    }
}

/// The subjects of some users.
#[derive(Default)]
pub(super) struct Part {
    subjects: Vec<Option<Subject>>,
    vacant: Vec<u32>,
    by_user: HashTable<u32>,
}

/// Where a user is found; an id's last bytes are random.
fn hash(user: UserId) -> u64 {
    let bytes = user.to_bytes();
    let (high, low) = bytes.split_at(8);
    let half = |half: &[u8]| half.iter().fold(0, |hash: u64, byte| hash << 8 | u64::from(*byte));
    half(low) ^ half(high).rotate_left(32)
}

impl Part {
    fn get(&self, place: u32) -> Option<&Subject> {
        self.subjects.get(place as usize)?.as_ref()
    }

    /// The places of a user's subjects.
    fn of_user(&self, user: UserId) -> impl Iterator<Item = u32> {
        let all = self.by_user.iter_hash(hash(user)).copied();
        all.filter(move |place| self.get(*place).is_some_and(|subject| subject.user == user))
    }

    fn add(&mut self, subject: Subject) -> u32 {
        let user = subject.user;
        let place = self.vacant.pop().unwrap_or_else(|| {
            super::make_room(&mut self.subjects);
            self.subjects.push(None);
            (self.subjects.len() - 1) as u32
        });
        self.subjects[place as usize] = Some(subject);
        let Self { by_user, subjects, .. } = self;
        let rehash = |place: &u32| subjects[*place as usize].as_ref().map_or(0, |subject| hash(subject.user));
        by_user.insert_unique(hash(user), place, rehash);
        place
    }

    fn remove(&mut self, place: u32) {
        let Some(subject) = self.subjects[place as usize].take() else { return };
        if let Ok(entry) = self.by_user.find_entry(hash(subject.user), |known| *known == place) {
            entry.remove();
        }
        self.vacant.push(place);
    }

    /// Gives memory back that nobody needs any more.
    fn shrink(&mut self) {
        while self.subjects.last().is_some_and(Option::is_none) {
            self.subjects.pop();
        }
        let len = self.subjects.len();
        self.vacant.retain(|place| (*place as usize) < len);
        if self.subjects.capacity() / 2 > len {
            self.subjects.shrink_to(len);
            self.vacant.shrink_to_fit();
            let Self { by_user, subjects, .. } = self;
            let rehash =
                |place: &u32| subjects[*place as usize].as_ref().map_or(0, |subject| hash(subject.user));
            by_user.shrink_to(0, rehash);
        }
    }
}

/// A unit that somebody is in.
#[derive(Default)]
struct KnownUnit {
    ended: Arc<AtomicU64>,
    /// One for each length of sessions, but while it is being renamed.
    places: Vec<Arc<Place>>,
}

/// The places that somebody is in.
#[derive(Default)]
struct Places {
    organisations: HashMap<OrganisationId, Arc<AtomicU64>>,
    units: HashMap<UnitId, KnownUnit>,
}

impl Places {
    fn get(&mut self, identity: &Identity, terms: Terms) -> Arc<Place> {
        let unit = self.units.entry(identity.unit).or_default();
        if let Some(known) = unit.places.iter().find(|place| place.is_as_in(identity, &terms)) {
            return known.clone();
        }
        let place = Arc::new(Place {
            terms,
            organisation: identity.organisation,
            organisation_code: identity.organisation_code.clone(),
            is_operator: identity.is_operator,
            unit: identity.unit,
            unit_name: identity.unit_name.clone(),
            organisation_ended: self.organisations.entry(identity.organisation).or_default().clone(),
            unit_ended: unit.ended.clone(),
        });
        unit.places.push(place.clone());
        place
    }
}

#[repr(align(64))]
#[derive(Default)]
struct Aligned(RwLock<Part>);

/// All of them.
pub(super) struct Subjects {
    parts: Box<[Aligned]>,
    places: Mutex<Places>,
    /// How many there are.
    count: AtomicU64,
    /// How many of them no session speaks for.
    unused: AtomicU64,
}

impl Default for Subjects {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| Aligned::default()).collect();
        Self { parts, places: Mutex::default(), count: AtomicU64::new(0), unused: AtomicU64::new(0) }
    }
}

/// All subjects, held as they are.
pub(super) struct AllSubjects<'a>(Vec<RwLockReadGuard<'a, Part>>);

impl AllSubjects<'_> {
    pub(super) fn get(&self, number: u32) -> Option<&Subject> {
        self.0[number as usize % PARTS].get(number / PARTS as u32)
    }
}

impl Subjects {
    /// What `f` makes of a subject.
    pub(super) fn with<T>(&self, number: u32, f: impl FnOnce(&Subject) -> T) -> Option<T> {
        read(&self.parts[number as usize % PARTS].0).get(number / PARTS as u32).map(f)
    }

    /// Holds all of them, for whoever looks at many. Not for long.
    pub(super) fn hold_all(&self) -> AllSubjects<'_> {
        AllSubjects(self.parts.iter().map(|part| read(&part.0)).collect())
    }

    /// The numbers of those who meet a condition, as a bit each.
    pub(super) fn select(&self, is_meant: impl Fn(&Subject) -> bool) -> Vec<u64> {
        let mut selected = Vec::new();
        for (part, held) in self.parts.iter().enumerate() {
            let held = read(&held.0);
            selected.resize(selected.len().max((held.subjects.len() * PARTS).div_ceil(64)), 0);
            for (place, subject) in held.subjects.iter().enumerate() {
                if subject.as_ref().is_some_and(&is_meant) {
                    let number = place * PARTS + part;
                    selected[number / 64] |= 1 << (number % 64);
                }
            }
        }
        selected
    }

    /// The number of the subject of one more session.
    pub(super) fn join(&self, identity: &Identity, terms: Terms) -> u32 {
        let part = part_of(identity.user);
        let mut held = write(&self.parts[part].0);
        let known = held.of_user(identity.user).find_map(|place| {
            let subject = held.get(place).filter(|subject| subject.is_as(identity, &terms))?;
            if subject.sessions.fetch_add(1, Ordering::Relaxed) == 0 {
                self.unused.fetch_sub(1, Ordering::Relaxed);
            }
            Some(place)
        });
        let place = known.unwrap_or_else(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            held.add(Subject {
                user: identity.user,
                username: CompactString::new(&identity.username),
                place: lock(&self.places).get(identity, terms),
                key: identity.method.key().map(Box::new),
                ended: AtomicU64::new(0),
                sessions: AtomicU32::new(1),
            })
        });
        place * PARTS as u32 + part as u32
    }

    /// One more session speaks for a subject for which one does already.
    pub(super) fn join_again(&self, number: u32) {
        self.with(number, |subject| subject.sessions.fetch_add(1, Ordering::Relaxed));
    }

    /// A session no longer speaks for a subject. Says how that had logged in.
    pub(super) fn leave(&self, number: u32) -> Option<Method> {
        self.with(number, |subject| {
            if subject.sessions.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.unused.fetch_add(1, Ordering::Relaxed);
            }
            subject.method()
        })
    }

    /// Ends the sessions of a scope up to `through`.
    pub(super) fn end(&self, scope: Scope, through: SessionNumber) {
        let raise = |mark: &Arc<AtomicU64>| {
            mark.fetch_max(through.0, Ordering::Release);
        };
        let end_of_user = |user: UserId, is_meant: &dyn Fn(&Subject) -> bool| {
            let part = read(&self.parts[part_of(user)].0);
            let subjects = part.of_user(user).filter_map(|place| part.get(place));
            subjects.filter(|subject| is_meant(subject)).for_each(|subject| subject.end(through));
        };
        match scope {
            Scope::Organisation(id) => lock(&self.places).organisations.get(&id).into_iter().for_each(raise),
            Scope::Unit(id) => {
                lock(&self.places).units.get(&id).map(|unit| &unit.ended).into_iter().for_each(raise)
            }
            Scope::User(user) => end_of_user(user, &|_| true),
            Scope::Key(user, key) => end_of_user(user, &|subject| subject.key.as_deref() == Some(&key)),
        }
    }

    /// Gives an organisation, or one of its units or users, another name.
    pub(super) fn rename(&self, organisation: OrganisationId, scope: Scope, name: &str) {
        match scope {
            Scope::Organisation(_) | Scope::Unit(_) => self.rename_places(organisation, scope, name),
            Scope::User(user) => {
                let mut part = write(&self.parts[part_of(user)].0);
                let places: Vec<_> = part.of_user(user).collect();
                for place in places {
                    if let Some(subject) = &mut part.subjects[place as usize]
                        && subject.place.organisation == organisation
                    {
                        subject.username = CompactString::new(name);
                    }
                }
            }
            Scope::Key(..) => {}
        }
    }

    fn rename_places(&self, organisation: OrganisationId, scope: Scope, name: &str) {
        let mut replaced = HashMap::new();
        for unit in lock(&self.places).units.values_mut() {
            for place in unit.places.iter_mut().filter(|place| place.organisation == organisation) {
                if let Some(renamed) = place.renamed(scope, name) {
                    let renamed = Arc::new(renamed);
                    // The old one is kept until nobody has it, so that its address is not another's meanwhile.
                    let old = std::mem::replace(place, renamed.clone());
                    replaced.insert(Arc::as_ptr(&old), (old, renamed));
                }
            }
        }
        if replaced.is_empty() {
            return;
        }
        for part in &self.parts {
            for subject in write(&part.0).subjects.iter_mut().flatten() {
                if let Some((_, renamed)) = replaced.get(&Arc::as_ptr(&subject.place)) {
                    subject.place = renamed.clone();
                }
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Forgets those for whom no session speaks, once there are enough of them to be worth a look at all.
    pub(super) fn forget_unused(&self) {
        let unused = self.unused.load(Ordering::Relaxed);
        if unused == 0 || unused < self.count() / 16 {
            return;
        }
        for part in &self.parts {
            let is_unused = |subject: &Subject| subject.sessions.load(Ordering::Relaxed) == 0;
            let unused: Vec<u32> = {
                let part = read(&part.0);
                let places = part.subjects.iter().zip(0..);
                places
                    .filter(|(subject, _)| subject.as_ref().is_some_and(is_unused))
                    .map(|(_, place)| place)
                    .collect()
            };
            // Not all at once, for whoever asks about a token waits meanwhile.
            for some in unused.chunks(256) {
                let mut part = write(&part.0);
                for place in some {
                    if part.get(*place).is_some_and(is_unused) {
                        part.remove(*place);
                        self.count.fetch_sub(1, Ordering::Relaxed);
                        self.unused.fetch_sub(1, Ordering::Relaxed);
                    }
                }
            }
            write(&part.0).shrink();
        }
        let mut places = lock(&self.places);
        places.units.retain(|_, unit| {
            unit.places.retain(|place| Arc::strong_count(place) > 1);
            !unit.places.is_empty()
        });
        places.organisations.retain(|_, ended| Arc::strong_count(ended) > 1);
    }

    /// The users, units and organisations that are known, for tests.
    #[cfg(test)]
    #[cfg(not(feature = "shuttle"))]
    pub(super) fn known(&self) -> (Vec<UserId>, Vec<UnitId>, Vec<OrganisationId>) {
        let mut users: Vec<_> = self
            .hold_all()
            .0
            .iter()
            .flat_map(|part| part.subjects.iter().flatten().map(Subject::user).collect::<Vec<_>>())
            .collect();
        users.sort_unstable();
        users.dedup();
        let places = lock(&self.places);
        let (mut units, mut organisations): (Vec<_>, Vec<_>) =
            (places.units.keys().copied().collect(), places.organisations.keys().copied().collect());
        units.sort_unstable();
        organisations.sort_unstable();
        (users, units, organisations)
    }
}

fn part_of(user: UserId) -> usize {
    // Other bits than those by which the part's own index goes.
    (hash(user) >> 24) as usize % PARTS
}
