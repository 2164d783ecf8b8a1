//! Instances, clients, and what goes wrong.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Chance, LEASE, Tally,
    history::{History, IDLE},
    instance::Instance,
    store::{Database, Line, Weather},
};
use crate::{
    clock::{Timestamp, millis},
    credential::TokenDigest,
    id::{OrganisationId, SessionId, UnitId, UserId},
    session::{Identity, Method, Session},
};

/// When simulated time begins.
pub(super) const BASE: i64 = 1_700_000_000_000;

const INSTANCES: usize = 3;
const CLIENTS: usize = 4;
/// How many tokens are mostly shown to instances.
const SHOWN: u64 = 12;
const LONG: Duration = Duration::from_secs(15);

pub(super) struct World {
    start: Instant,
    chance: Chance,
    tally: Tally,
    database: Arc<Database>,
    history: History,
    instances: Mutex<Vec<Option<Arc<Instance>>>>,
    /// Tokens that clients know of, the newest last.
    tokens: Mutex<Vec<(SessionId, UserId)>>,
    made: Mutex<u64>,
    user: Mutex<UserId>,
}

impl World {
    pub(super) async fn run(seed: u64, has_faults: bool, tally: Tally) -> Result<(), String> {
        let start = Instant::now();
        let world = Arc::new(Self {
            start,
            chance: Chance::new(seed),
            database: Database::new(start),
            history: History::new(has_faults, tally.clone()),
            instances: Mutex::new(vec![None; INSTANCES]),
            tokens: Mutex::default(),
            made: Mutex::new(0),
            user: Mutex::new(UserId::from_bytes([0; 16])),
            tally,
        });
        for place in 0..INSTANCES {
            world.start_instance(place, if has_faults { Weather::Fine } else { Weather::Perfect });
        }
        if !has_faults {
            sleep(LEASE / 10).await;
        }
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            tasks.spawn(world.clone().be_a_client());
        }
        if has_faults {
            tasks.spawn(world.clone().do_harm());
        }
        while world.now().as_millis() < BASE + millis(LONG) && world.history.violation().is_none() {
            sleep(LEASE / 10).await;
        }
        tasks.shutdown().await;
        if world.history.violation().is_none() {
            world.recover().await;
        }
        world.history.violation().map_or(Ok(()), Err)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(BASE + millis(self.start.elapsed()))
    }

    fn start_instance(&self, place: usize, weather: Weather) {
        let line = Line::new(self.database.clone(), self.chance.clone(), weather);
        let instance =
            Instance::start(&self.database, line, self.start, self.chance.clone(), self.tally.clone());
        self.instances.lock().unwrap()[place] = Some(instance);
    }

    fn instance(&self, place: usize) -> Option<Arc<Instance>> {
        self.instances.lock().unwrap()[place].clone()
    }

    fn any_instance(&self) -> Option<Arc<Instance>> {
        self.instance(self.chance.below(INSTANCES as u64) as usize)
    }

    // Clients.

    async fn be_a_client(self: Arc<Self>) {
        loop {
            sleep(self.chance.millis(80)).await;
            let Some(instance) = self.any_instance() else { continue };
            let answered = match self.chance.below(20) {
                0..=2 => self.issue(&instance),
                3 | 4 => self.release(&instance),
                5 if self.chance.one_in(15) => self.end_user(&instance),
                6..=9 => self.verify_steadily(instance),
                _ => self.verify(&instance),
            };
            // A client does not wait for ever; what it asked for goes on.
            let _ = timeout(self.chance.leases(80), answered).await;
        }
    }

    /// Has an instance do something. Ready when it has answered.
    fn ask(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::sync::oneshot::Receiver<()> {
        let (done, answered) = tokio::sync::oneshot::channel();
        instance.spawn(async move {
            task.await;
            let _ = done.send(());
        });
        answered
    }

    fn issue(self: &Arc<Self>, instance: &Arc<Instance>) -> tokio::sync::oneshot::Receiver<()> {
        let made = {
            let mut made = self.made.lock().unwrap();
            *made += 1;
            *made
        };
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&made.to_be_bytes());
        let digest = TokenDigest::from_bytes(digest);
        let began_at = self.now();
        let user = *self.user.lock().unwrap();
        let session = Session {
            digest,
            issued_at: began_at,
            last_used_at: began_at,
            idle: Some(IDLE[self.chance.below(2) as usize]),
            ends_at: began_at.plus(LONG * 100),
        };
        let (this, at) = (self.clone(), instance.clone());
        self.ask(instance, async move {
            if let Ok(number) = at.issue(session, identity(user)).await {
                this.history.issued(&session, user, number, this.now());
                this.tokens.lock().unwrap().push((digest.session(), user));
            }
        })
    }

    /// One of the newest tokens.
    fn any_token(&self, of: u64) -> Option<SessionId> {
        let tokens = self.tokens.lock().unwrap();
        let back = self.chance.below(of) as usize;
        Some(tokens.get(tokens.len().checked_sub(back + 1)?)?.0)
    }

    fn verify(self: &Arc<Self>, instance: &Arc<Instance>) -> tokio::sync::oneshot::Receiver<()> {
        let of = if self.chance.one_in(4) { SHOWN * 6 } else { SHOWN };
        self.verify_session(instance, self.any_token(of))
    }

    /// One of the few tokens that are in use for long, nearly always at the same instance: others know it, and do not know
    /// of its uses.
    fn verify_steadily(self: &Arc<Self>, any: Arc<Instance>) -> tokio::sync::oneshot::Receiver<()> {
        let session = {
            let tokens = self.tokens.lock().unwrap();
            let mut steady = tokens.iter().rev().filter(|(session, _)| session.to_bytes()[7] % 32 == 0);
            steady.nth(self.chance.below(4) as usize).map(|(session, _)| *session)
        };
        let home = session.and_then(|session| self.instance(session.to_bytes()[7] as usize / 32 % INSTANCES));
        let instance = home.filter(|_| !self.chance.one_in(20)).unwrap_or(any);
        self.verify_session(&instance, session)
    }

    fn verify_session(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        session: Option<SessionId>,
    ) -> tokio::sync::oneshot::Receiver<()> {
        let this = self.clone();
        let attempt = session.and_then(|session| self.history.begin(session, move || this.now()));
        let at = instance.clone();
        self.ask(instance, async move {
            if let (Some(session), Some(attempt)) = (session, attempt) {
                attempt.answered(at.verify(session).await);
            }
        })
    }

    fn release(self: &Arc<Self>, instance: &Arc<Instance>) -> tokio::sync::oneshot::Receiver<()> {
        let session = self.any_token(8);
        let (this, at) = (self.clone(), instance.clone());
        session.inspect(|session| self.history.releasing(*session));
        self.ask(instance, async move {
            if let Some(session) = session
                && at.release(session).await.is_ok()
            {
                this.history.released(session);
            }
        })
    }

    fn end_user(self: &Arc<Self>, instance: &Arc<Instance>) -> tokio::sync::oneshot::Receiver<()> {
        let user = {
            let mut user = self.user.lock().unwrap();
            let next = (u128::from_be_bytes(user.to_bytes()) + 1).to_be_bytes();
            std::mem::replace(&mut *user, UserId::from_bytes(next))
        };
        self.history.ending(user);
        let (this, at) = (self.clone(), instance.clone());
        self.ask(instance, async move {
            if let Ok(through) = at.end_user(user).await {
                this.history.ended(user, through);
            }
        })
    }

    // What goes wrong.

    async fn do_harm(self: Arc<Self>) {
        let mut harms = JoinSet::new();
        loop {
            sleep(self.chance.leases(120)).await;
            harms.spawn(self.clone().harm());
        }
    }

    async fn harm(self: Arc<Self>) {
        let place = self.chance.below(INSTANCES as u64) as usize;
        let long = self.chance.leases(250);
        let Some(instance) = self.instance(place) else { return };
        match self.chance.below(8) {
            0..=2 => {
                if self.chance.one_in(2) {
                    *instance.line.trap.lock().unwrap() = Some(instance.pause.clone());
                } else {
                    instance.pause.set(true);
                }
                sleep(long).await;
                instance.line.trap.lock().unwrap().take();
                self.crowd(&instance);
                instance.pause.set(false);
            }
            3 => {
                instance.crash();
                self.restart(place, long).await;
            }
            4 => {
                instance.stop();
                self.restart(place, long).await;
            }
            5 => {
                self.database.set_down(true);
                sleep(long / 2).await;
                self.database.set_down(false);
            }
            harm => {
                instance.line.set_weather(if harm == 6 { Weather::Slow } else { Weather::Cut });
                sleep(long).await;
                instance.line.set_weather(Weather::Fine);
            }
        }
        for _ in 0..5 {
            self.crowd(&instance);
            sleep(self.chance.millis(5)).await;
        }
    }

    /// Everybody shows their token at once.
    fn crowd(self: &Arc<Self>, instance: &Arc<Instance>) {
        let tokens = self.tokens.lock().unwrap();
        let shown: Vec<_> = tokens.iter().rev().take(SHOWN as usize).map(|(session, _)| *session).collect();
        drop(tokens);
        for session in shown {
            drop(self.verify_session(instance, Some(session)));
        }
    }

    async fn restart(&self, place: usize, after: Duration) {
        self.instances.lock().unwrap()[place] = None;
        sleep(after).await;
        self.start_instance(place, Weather::Fine);
    }

    /// When nothing goes wrong any more, all is well within a few leases, and nobody waits for the dead.
    async fn recover(self: &Arc<Self>) {
        self.database.set_down(false);
        for place in 0..INSTANCES {
            match self.instance(place) {
                None => self.start_instance(place, Weather::Perfect),
                Some(instance) => {
                    instance.line.set_weather(Weather::Perfect);
                    instance.line.trap.lock().unwrap().take();
                    instance.pause.set(false);
                }
            }
        }
        sleep(LEASE * 3).await;
        for place in 0..INSTANCES {
            if !self.instance(place).is_some_and(|instance| instance.may_answer()) {
                self.history.accuse(format!("instance {place} does not recover"));
            }
        }
    }
}

pub(super) fn identity(user: UserId) -> Identity {
    Identity {
        organisation: OrganisationId::from_bytes([1; 16]),
        organisation_code: "acme".into(),
        is_operator: false,
        unit: UnitId::from_bytes([2; 16]),
        unit_name: "sales".into(),
        user,
        username: "zoe".into(),
        method: Method::Password,
    }
}
