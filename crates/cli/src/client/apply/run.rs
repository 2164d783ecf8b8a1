//! Carries a plan out, step by step, each on the state that the plan was made on and on no other.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, anyhow, bail};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    plan::{Action, Plan, Step},
    secrets::Secrets,
    state::path,
    thing::Kind,
};
use crate::client::connection::{Answer, Call, Connection, Refused};

/// Where a plan came to an end before its last step.
pub(super) struct Stopped {
    /// How many steps are done.
    pub(super) done: usize,
    pub(super) error: anyhow::Error,
}

/// The work on one plan.
pub(super) struct Work<'a> {
    pub(super) connection: &'a Connection,
    /// Distinguishes the creations of this run from those of all others.
    pub(super) run: String,
    pub(super) secrets: Option<Secrets>,
}

impl Work<'_> {
    /// Does all steps, or those before the first one that fails or before Ctrl-C.
    /// `etags` are those of the states that the plan was made on, by ids.
    pub(super) async fn carry_out(
        &mut self,
        plan: &Plan,
        mut etags: HashMap<String, String>,
    ) -> Result<(), Stopped> {
        let is_interrupted = interrupted();
        for (done, step) in plan.steps.iter().enumerate() {
            if is_interrupted.load(Ordering::Relaxed) {
                return Err(Stopped { done, error: anyhow!("interrupted") });
            }
            match self.step(step, etags.get(&step.id).map(String::as_str)).await {
                Ok(etag) => etags.extend(etag.map(|etag| (step.id.clone(), etag))),
                Err(error) => return Err(Stopped { done, error }),
            }
        }
        Ok(())
    }

    /// Does a step. Answers with the ETag of the state that it leaves.
    async fn step(&mut self, step: &Step, etag: Option<&str>) -> anyhow::Result<Option<String>> {
        if step.action == Action::Create {
            return self.create(step).await;
        }
        let etag = etag.context("the state that this was planned on has no ETag")?;
        let (method, rest) = match (step.action, step.kind) {
            (Action::Delete, _) => (Method::DELETE, vec![step.id.as_str()]),
            (_, Kind::Rules) => (Method::PATCH, Vec::new()),
            _ => (Method::PATCH, vec![step.id.as_str()]),
        };
        let call =
            Call { if_match: Some(etag), ..Call::new(method, path(step.kind, &step.organisation, &rest)) };
        let call = match (step.action, step.kind) {
            (Action::Delete, Kind::Organisation) => call.query(vec![("code", step.code.clone())]),
            (Action::Delete, _) => call,
            _ => call.body(Value::Object(body(step))),
        };
        self.connection.send(call).await.map(|answer| answer.etag).map_err(explain)
    }

    async fn create(&mut self, step: &Step) -> anyhow::Result<Option<String>> {
        let mut body = body(step);
        body.insert("id".to_owned(), json!(step.id));
        let idempotency = format!("apply {} {}", self.run, step.id);
        let call = || Call {
            idempotency_key: Some(&idempotency),
            ..Call::post(path(step.kind, &step.organisation, &[]), Value::Object(body.clone()))
        };
        let created = match self.connection.send(call()).await {
            // The answer may have been lost and the thing be there; asking once more creates no second one.
            Err(error) if Refused::code(&error).is_empty() => self.connection.send(call()).await,
            answered => answered,
        };
        let created = created.map_err(explain)?;
        if step.kind != Kind::Key {
            return Ok(created.etag);
        }
        let kept = self.keep_secret(step, &created).await;
        if let Err(error) = kept {
            // A key whose secret nobody has is of no use, and would be taken for done next time.
            let delete = Call::new(Method::DELETE, path(step.kind, &step.organisation, &[&step.id]));
            return Err(match self.connection.send(delete).await {
                Ok(_) => error.context("the key is deleted again, for its secret could not be kept"),
                Err(_) => error.context(format!(
                    "the key is created and its secret is lost; delete it or run `doorward key rotate {}`",
                    step.id
                )),
            });
        }
        Ok(created.etag)
    }

    /// Writes the secret of a new key down.
    async fn keep_secret(&mut self, step: &Step, created: &Answer) -> anyhow::Result<()> {
        let mut secret = created.json["secret"].as_str().map(str::to_owned);
        if secret.is_none() {
            // It was shown in an answer that was lost. Nobody has it, so nobody misses it.
            let rotate = path(step.kind, &step.organisation, &[&step.id, "rotate"]);
            let rotated = self.connection.send(Call::post(rotate, json!({"overlap": "0s"}))).await?;
            secret = rotated.json["secret"].as_str().map(str::to_owned);
        }
        let (Some(secret), Some(file)) = (secret, &mut self.secrets) else {
            bail!("the server shows no secret of it")
        };
        file.write(&json!({
            "organisation": step.code,
            "user": step.user,
            "key": step.name,
            "id": step.id,
            "secret": secret,
        }))
    }
}

/// The members of a request.
fn body(step: &Step) -> Map<String, Value> {
    step.changes.iter().map(|change| (change.member.to_owned(), change.to.clone())).collect()
}

fn explain(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Refused>() {
        Some(refused) => match refused.code.as_str() {
            "PRECONDITION_FAILED" => {
                anyhow!("it was changed since the plan was made, so it is left as it is")
            }
            "NOT_FOUND" => anyhow!("it, or what it is in, is not there any more"),
            "INVALID_TOKEN" => error,
            _ => anyhow!("{}", refused.detail),
        },
        None => error,
    }
}

/// Becomes true at Ctrl-C, so that a step that is under way is done and what it answers is kept. The second one is
/// obeyed at once.
fn interrupted() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            set.store(true, Ordering::Relaxed);
            eprintln!("Stopping after the change that is under way.");
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    flag
}
