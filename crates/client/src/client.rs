//! One token for all tasks of a program.
//!
//! What the next caller gets is decided in [`State::next`]; what a flight does is in [`Inner::renew`]. A *flight* is a
//! login, or the renewal of what is held. There is at most one, in a task of its own, so that no caller who gives up
//! takes it along; whoever needs its outcome waits for it.

mod held;

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, try_join_all},
};
use secrecy::SecretString;

use self::held::Held;
use crate::{Connection, Credentials, Error, Token, Verdict, Verifier, credentials::Kind};

/// How long the same failure is answered before a login is tried again: at first, and at most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How many tokens that others have followed are kept in mind, to be released at last: more than are in force at a time.
const MOST_FOLLOWED: usize = 8;
/// How long a client that is dropped without a shutdown tries to release its tokens.
const PARTING: Duration = Duration::from_secs(2);

/// A token that many tasks share. Clones are the same client.
///
/// - The first who asks logs in; those who come meanwhile wait for the same login.
/// - A Web API key's token lasts two hours: ahead of its end the client logs in again, while others go on with the token
///   they have. A password's token ends after an hour without use: halfway through the client uses it, and logs in only
///   if that was too late. Both moments differ a little from client to client, and whatever lifetimes the organisation
///   has set are kept to.
/// - When an API refuses the token, [`reject`](Self::reject) it, or let [`with_token`](Self::with_token) do so. Doorward
///   is asked then, and there is a new login only if the token has ended.
/// - After a login that failed, the same error is given for a second, then two, and at most a minute: a wrong password
///   in a loop does not lock an account.
/// - [`shutdown`](Self::shutdown) releases the token, and those before it that are still in force. Dropping the last clone
///   tries to do so as well, while the runtime lasts.
///
/// ```no_run
/// use doorward_client::{Client, Connection, Credentials};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = Connection::to("https://auth.acme.example").build()?;
/// let client = Client::new(connection, Credentials::password("ACME", "zoe", std::env::var("PASSWORD")?));
/// for order in 1..=100 {
///     let client = client.clone();
///     tokio::spawn(async move {
///         let token = client.token().await?; // a hundred tasks, one login
///         // … send `Authorization: Bearer` with `token.expose()`
///         Ok::<_, doorward_client::Error>(())
///     });
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    connection: Connection,
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    state: Mutex<State>,
}

type Flight = Shared<BoxFuture<'static, Result<Token, Error>>>;

struct State {
    credentials: Credentials,
    held: Option<Held>,
    /// Tokens that were followed by another before their end: tasks may still use them. The oldest first.
    followed: Vec<Held>,
    flight: Option<Flight>,
    failure: Option<Failure>,
    /// Raised by a change of password: what was under way before it counts for nothing.
    generation: u64,
    is_shut_down: bool,
}

/// The latest login failed.
struct Failure {
    error: Error,
    /// How often in a row.
    times: u32,
    /// Until when it is not tried again.
    until: Duration,
}

/// What the next caller gets.
enum Next {
    /// This, at once.
    Answer(Result<Token, Error>),
    /// This, at once; and it is time for a renewal.
    AnswerAndRenew(Token),
    /// The outcome of a flight.
    Wait,
}

impl State {
    fn next(&self, now: Duration) -> Next {
        if self.is_shut_down {
            return Next::Answer(Err(Error::ShutDown));
        }
        let pause = self.failure.as_ref().filter(|failure| now < failure.until);
        if let Some(held) = self.held.as_ref().filter(|held| held.is_good(now)) {
            let token = held.token.clone();
            return match held.is_due(now) && self.flight.is_none() && pause.is_none() {
                true => Next::AnswerAndRenew(token),
                false => Next::Answer(Ok(token)),
            };
        }
        match pause {
            Some(failure) if self.flight.is_none() => Next::Answer(Err(failure.error.clone())),
            _ => Next::Wait,
        }
    }

    /// Holds this from now on.
    fn hold(&mut self, held: Held, now: Duration) {
        let before = self.held.replace(held);
        let is_another = |before: &Held| self.held.as_ref().is_some_and(|held| held.token != before.token);
        self.followed.extend(before.filter(is_another));
        self.followed.retain(|followed| !followed.has_ended(now));
        let too_many = self.followed.len().saturating_sub(MOST_FOLLOWED);
        self.followed.drain(..too_many);
    }

    /// The tokens that may be in force, what is held first.
    fn tokens(&self) -> Vec<Token> {
        self.held.iter().chain(&self.followed).map(|held| held.token.clone()).collect()
    }

    fn failed(&mut self, error: &Error, now: Duration) {
        let times = self.failure.as_ref().map_or(0, |failure| failure.times) + 1;
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(times - 1)).min(LONGEST_PAUSE);
        let until = now + pause.mul_f64(1.0 - fastrand::f64() / 4.0);
        self.failure = Some(Failure { error: error.clone(), times, until });
    }
}

impl Client {
    /// A client that logs in with these credentials when it is first asked for a token.
    pub fn new(connection: Connection, credentials: Credentials) -> Self {
        let start = Instant::now();
        Self::with_clock(connection, credentials, move || start.elapsed())
    }

    /// The same with a clock of one's own, for tests that let hours pass: it tells how long it has been running, and
    /// must never run backwards.
    pub fn with_clock(
        connection: Connection,
        credentials: Credentials,
        clock: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            credentials,
            held: None,
            followed: Vec::new(),
            flight: None,
            failure: None,
            generation: 0,
            is_shut_down: false,
        };
        Self(Arc::new(Inner { connection, clock: Box::new(clock), state: Mutex::new(state) }))
    }

    /// The connection, for requests with other tokens.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// A token that is in force, as far as is known: at once if the client has one, otherwise after a login. Ask for it
    /// anew for each request. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::log_in`], also from a login of a moment ago; [`Error::ShutDown`].
    pub async fn token(&self) -> Result<Token, Error> {
        let flight = {
            let mut state = self.0.state();
            match state.next((self.0.clock)()) {
                Next::Answer(answer) => return answer,
                Next::AnswerAndRenew(token) => {
                    drop(self.0.fly(&mut state));
                    return Ok(token);
                }
                Next::Wait => self.0.fly(&mut state),
            }
        };
        flight.await
    }

    /// Says that an API has refused this token with 401. Before the next token is given, Doorward is asked about it.
    /// Of a token that is no longer the client's this says nothing.
    pub fn reject(&self, token: &Token) {
        if let Some(held) = self.0.state().held.as_mut().filter(|held| held.token == *token) {
            held.is_suspect = true;
        }
    }

    /// Makes a call with the token; if its answer is a 401, once more with another token, where the first had ended.
    ///
    /// ```no_run
    /// # async fn example(client: doorward_client::Client, http: reqwest::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let orders = client
    ///     .with_token(
    ///         |token| http.get("https://api.acme.example/orders").bearer_auth(token.expose()).send(),
    ///         |answer| matches!(answer, Ok(response) if response.status() == 401),
    ///     )
    ///     .await??;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`token`](Self::token). What the call itself returns, errors included, is returned as it is.
    pub async fn with_token<T, F>(
        &self,
        mut call: impl FnMut(Token) -> F,
        is_unauthorised: impl Fn(&T) -> bool,
    ) -> Result<T, Error>
    where
        F: Future<Output = T>,
    {
        let token = self.token().await?;
        let answer = call(token.clone()).await;
        if !is_unauthorised(&answer) {
            return Ok(answer);
        }
        self.reject(&token);
        match self.token().await? {
            same if same == token => Ok(answer),
            other => Ok(call(other).await),
        }
    }

    /// Whom the token speaks for. The token is got first if need be; this is no use of it.
    ///
    /// # Errors
    ///
    /// Those of [`token`](Self::token) and of [`Connection::who_am_i`].
    pub async fn who_am_i(&self) -> Result<Verdict, Error> {
        let token = self.token().await?;
        let verdict = self.0.connection.who_am_i(&token).await?;
        if verdict == Verdict::Inactive {
            self.reject(&token);
        }
        Ok(verdict)
    }

    /// Changes the password, and logs in with the new one from now on. All sessions of the user end.
    ///
    /// # Errors
    ///
    /// [`Error::NoPassword`] if the client logs in with a key; otherwise those of [`Connection::change_password`].
    pub async fn change_password(&self, new: impl Into<SecretString>) -> Result<(), Error> {
        let (new, credentials) = (new.into(), self.0.state().credentials.clone());
        let Kind::Password { organisation, username, password } = &credentials.kind else {
            return Err(Error::NoPassword);
        };
        self.0.connection.change_password(organisation, username, password, &new).await?;
        let mut state = self.0.state();
        if let Kind::Password { password, .. } = &mut state.credentials.kind {
            *password = new;
        }
        state.generation += 1;
        state.held = None;
        state.followed.clear();
        state.failure = None;
        Ok(())
    }

    /// Releases the token, and those before it that are still in force, and gives none any more. Call it before the program
    /// ends.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::release`]: tokens may still be in force. It may be called again.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let flight = {
            let mut state = self.0.state();
            state.is_shut_down = true;
            state.flight.clone()
        };
        if let Some(flight) = flight {
            // Whether it succeeded can be seen by whether there is a token.
            let _ = flight.await;
        }
        let tokens = self.0.state().tokens();
        for token in tokens {
            self.0.connection.release(&token).await?;
            let mut state = self.0.state();
            state.held.take_if(|held| held.token == token);
            state.followed.retain(|held| held.token != token);
        }
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = self.0.state().credentials.clone();
        f.debug_struct("Client")
            .field("connection", &self.0.connection)
            .field("credentials", &credentials)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the flight, or starts one.
    fn fly(self: &Arc<Self>, state: &mut State) -> Flight {
        if let Some(flight) = &state.flight {
            return flight.clone();
        }
        let (inner, observer) = (self.clone(), Arc::downgrade(self));
        let task = tokio::spawn(async move { inner.renew().await });
        let outcome = async move {
            if let Ok(outcome) = task.await {
                return outcome;
            }
            // The runtime that the task was on has ended, and the client is used on another.
            if let Some(inner) = observer.upgrade() {
                inner.state().flight = None;
            }
            Err(Error::ShutDown)
        };
        let flight = outcome.boxed().shared();
        state.flight = Some(flight.clone());
        flight
    }

    /// Gets a token that is good, and keeps it.
    async fn renew(&self) -> Result<Token, Error> {
        loop {
            let (generation, credentials, held) = {
                let state = self.state();
                (state.generation, state.credentials.clone(), state.held.clone())
            };
            let outcome = self.obtain(&credentials, held).await;
            let now = (self.clock)();
            let mut state = self.state();
            if state.generation != generation && !state.is_shut_down {
                continue;
            }
            state.flight = None;
            return match outcome {
                Ok(held) => {
                    let token = held.token.clone();
                    state.hold(held, now);
                    state.failure = None;
                    Ok(token)
                }
                Err(error) => {
                    tracing::warn!(%error, "no token could be got");
                    // A refusal is about the credentials, and so of no account for a token that is still good.
                    state.failed(&error, now);
                    Err(error)
                }
            };
        }
    }

    /// What is held, made good again; otherwise a new login.
    async fn obtain(&self, credentials: &Credentials, held: Option<Held>) -> Result<Held, Error> {
        if let Some(held) = held {
            if !credentials.is_key() {
                if let Some(held) = self.use_it(held).await? {
                    return Ok(held);
                }
            } else if held.is_suspect && self.connection.who_am_i(&held.token).await? != Verdict::Inactive {
                let held = held.cleared();
                // A refusal may come late, when it is time for a new one anyway.
                if held.is_good((self.clock)()) {
                    return Ok(held);
                }
            }
        }
        let begun = (self.clock)();
        let token = self.connection.log_in(credentials).await?;
        // The contract's lifetimes are fallen back on: a token is worth more than to know its end.
        let identity = self.connection.who_am_i(&token).await.ok().and_then(Verdict::identity);
        Ok(Held::new(token, credentials.is_key(), identity.as_ref(), begun))
    }

    /// Uses a password's token, which restarts its idle time; `None` if a new login is better.
    async fn use_it(&self, held: Held) -> Result<Option<Held>, Error> {
        let now = (self.clock)();
        let verifier = Verifier::without_key(self.connection.clone());
        if verifier.verify(&held.token).await? == Verdict::Inactive {
            return Ok(None);
        }
        let Verdict::Active(identity) = self.connection.who_am_i(&held.token).await? else { return Ok(None) };
        // Near the end that no use puts off there is less and less to gain.
        Ok(Some(held.used(&identity, now)).filter(|held| !held.is_due(now)))
    }
}

impl Drop for Inner {
    /// Tries to release the tokens, as long as there is a runtime to do it.
    fn drop(&mut self) {
        let tokens = self.state.get_mut().unwrap_or_else(PoisonError::into_inner).tokens();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if tokens.is_empty() {
            return;
        }
        let connection = self.connection.clone();
        runtime.spawn(async move {
            let releases = try_join_all(tokens.iter().map(|token| connection.release(token)));
            if !matches!(tokio::time::timeout(PARTING, releases).await, Ok(Ok(_))) {
                tracing::warn!(
                    "a token of a client that was dropped could not be released; it ends by itself"
                );
            }
        });
    }
}
