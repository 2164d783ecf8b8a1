//! What ends tokens on one instance has ended them on all when it is answered.

use doorward_testkit::{Answer, PostgresServer, history::Verdict};
use serde_json::{Value, json};

use super::{Cluster, INSTANCES, place};

const OLD: &str = "an old horse with a battery";
const NEW: &str = "a new horse without a battery";

/// A user with a token of each kind.
struct Somebody {
    /// The user's path in the admin API, and that of the user's key.
    user: String,
    key: String,
    by_password: String,
    by_key: String,
}

impl Somebody {
    /// Makes a user and logs in; then every instance knows both tokens.
    async fn new(cluster: &Cluster, administrator: &str, username: &str) -> Self {
        let make = async |path, body| cluster.admin(0, administrator, "POST", path, body).await;
        let units = cluster.admin(1, administrator, "GET", "/units", Value::Null).await;
        let unit = &units["items"][0]["id"];
        let user = make("/users", json!({"username": username, "password": OLD, "units": [unit]})).await;
        let key = make("/keys", json!({"name": username, "user": user["id"]})).await;
        let path = |kind: &str, value: &Value| format!("/{kind}/{}", value["id"].as_str().unwrap());
        let by_password = cluster.log_in(1, username, OLD).await.token();
        let by_key = cluster.issue_for(2, key["secret"].as_str().unwrap()).await.unwrap();
        let somebody = Self { user: path("users", &user), key: path("keys", &key), by_password, by_key };
        for token in [&somebody.by_password, &somebody.by_key] {
            everywhere(cluster, token, Verdict::Active).await;
        }
        somebody
    }
}

/// Checks that this is what each instance says, and that none has just said the opposite.
async fn everywhere(cluster: &Cluster, token: &str, verdict: Verdict) {
    for instance in 0..INSTANCES {
        assert_eq!(cluster.verify_soon(instance, token).await, verdict, "instance {instance}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(missing_postgres, ignore = "needs PostgreSQL")]
async fn what_ends_tokens_is_in_force_on_all_instances_when_it_is_answered() {
    use Verdict::{Active, Inactive};
    let _place = place().await;
    let cluster = Cluster::start(PostgresServer::shared()).await;
    let administrator = cluster.administrator(0).await;
    let administrate = async |instance, method: &str, path: &str, body: Value| {
        cluster.admin(instance, &administrator, method, path, body).await;
    };
    let checked = async |somebody: &Somebody, by_password, by_key| {
        everywhere(&cluster, &somebody.by_password, by_password).await;
        everywhere(&cluster, &somebody.by_key, by_key).await;
    };
    for instance in 0..INSTANCES {
        let somebody =
            async |what: &str| Somebody::new(&cluster, &administrator, &format!("{what}-{instance}")).await;

        let ann = somebody("disabled").await;
        administrate(instance, "PATCH", &ann.user, json!({"status": "disabled"})).await;
        checked(&ann, Inactive, Inactive).await;

        let bob = somebody("key-deleted").await;
        administrate(instance, "DELETE", &bob.key, Value::Null).await;
        checked(&bob, Active, Inactive).await;

        let eve = somebody("password-changed").await;
        let username = format!("password-changed-{instance}");
        let body =
            json!({"organisation": "ACME", "username": username, "password": OLD, "new_password": NEW});
        let changed =
            Answer::of(cluster.request(instance, "POST", "/authentication/password").json(&body)).await;
        assert_eq!((changed.status, &*changed.code()), (200, "OK"), "{changed:?}");
        everywhere(&cluster, &eve.by_password, Inactive).await;
        for instance in 0..INSTANCES {
            assert_eq!(cluster.log_in(instance, &username, OLD).await.code(), "INVALID_CREDENTIALS");
        }
        cluster.log_in((instance + 1) % INSTANCES, &username, NEW).await.token();

        let sue = somebody("ended").await;
        let body = json!({"user": sue.user.trim_start_matches("/users/")});
        administrate(instance, "POST", "/sessions/end", body).await;
        checked(&sue, Inactive, Inactive).await;
        everywhere(&cluster, &bob.by_password, Active).await;
    }
    let (last, other) = (cluster.issue(0).await.unwrap(), cluster.issue(1).await.unwrap());
    everywhere(&cluster, &last, Active).await;
    administrate(1, "POST", "/sessions/end", json!({"all": true})).await;
    for token in [last, other, administrator] {
        everywhere(&cluster, &token, Inactive).await;
    }
    everywhere(&cluster, &cluster.issue(2).await.unwrap(), Active).await;
}
