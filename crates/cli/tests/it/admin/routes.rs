//! Every route of the admin API, from the document that the server gives out, and how to call each.

use doorward_testkit::{Administrator, TestServer};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::nobody;

/// The ids that a call names.
#[derive(Clone, Debug)]
pub struct Ids {
    pub organisation: String,
    pub unit: String,
    pub user: String,
    pub key: String,
    pub session: String,
}

impl Ids {
    /// Those of nothing, in this organisation.
    pub fn of_nothing(organisation: &str) -> Self {
        let organisation = organisation.to_owned();
        Self { organisation, unit: nobody(), user: nobody(), key: nobody(), session: nobody() }
    }
}

/// A path and a method of the document.
#[derive(Clone, Debug)]
pub struct Route {
    pub method: String,
    pub path: String,
    pub operation: String,
    /// The names of the query's parameters and of the body's members.
    pub takes: Vec<String>,
}

/// All routes of the admin API.
pub async fn all(server: &TestServer) -> Vec<Route> {
    let document = server.admin("/openapi.json").await.json();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if !path.starts_with("/admin/") {
                continue;
            }
            let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            let in_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
            let mut takes: Vec<_> =
                in_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect();
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if let Some(name) = schema["$ref"].as_str() {
                let schema = &document["components"]["schemas"][name.rsplit('/').next().unwrap()];
                takes
                    .extend(schema["properties"].as_object().into_iter().flat_map(|all| all.keys().cloned()));
            }
            let operation = operation["operationId"].as_str().unwrap().to_owned();
            let (method, path) = (method.to_uppercase(), path.clone());
            routes.push(Route { method, path, operation, takes });
        }
    }
    assert!(routes.len() >= 33, "{routes:?}");
    routes
}

impl Route {
    /// A path below one organisation.
    pub fn is_in_organisation(&self) -> bool {
        self.path.starts_with("/admin/v1/organisations/{organisation}")
    }

    /// A path that names something of an organisation.
    pub fn names_a_thing(&self) -> bool {
        ["{unit}", "{user}", "{key}"].iter().any(|name| self.path.contains(name))
    }

    /// The path for these ids, with the query that it needs.
    pub fn path_of(&self, ids: &Ids) -> String {
        let path = self
            .path
            .replace("{organisation}", &ids.organisation)
            .replace("{unit}", &ids.unit)
            .replace("{user}", &ids.user)
            .replace("{key}", &ids.key);
        assert!(!path.contains('{'), "the test does not know how to fill {path}");
        if self.operation == "delete_organisation" {
            format!("{path}?code={}", ids.organisation)
        } else {
            path
        }
    }

    /// A body that the route takes, if it takes one. Fails for a route that this test does not know.
    pub fn body(&self, ids: &Ids) -> Option<Value> {
        Some(match self.operation.as_str() {
            "list_organisations"
            | "get_organisation"
            | "delete_organisation"
            | "list_units"
            | "get_unit"
            | "delete_unit"
            | "list_users"
            | "get_user"
            | "delete_user"
            | "unlock_user"
            | "list_keys"
            | "get_key"
            | "delete_key"
            | "list_sessions"
            | "get_rules"
            | "list_records"
            | "get_chain"
            | "list_unassigned_records"
            | "get_unassigned_chain" => return None,
            "explain_token" => json!({"token": ids.session}),
            "create_organisation" => json!({"code": "NEW"}),
            "update_organisation" => json!({"name": "Taken over"}),
            "create_unit" => json!({"name": "New unit"}),
            "update_unit" => json!({"name": "Taken over"}),
            "create_user" => json!({"username": "new-user"}),
            "import_users" => json!({"users": [{"username": "brought-in"}]}),
            "update_user" => json!({"person_name": "Taken over", "units": [ids.unit]}),
            "set_password" => json!({"password": "correct horse battery staple"}),
            "create_key" => json!({"name": "New key", "user": ids.user}),
            "update_key" => json!({"name": "Taken over"}),
            "rotate_key" => json!({"overlap": "0s"}),
            "end_sessions" => json!({"session": ids.session}),
            "update_rules" => json!({"lockout.failures": 1}),
            unknown => panic!("a route without a test: say here how to call '{unknown}'"),
        })
    }

    /// The request that an administrator would send.
    pub fn request(&self, administrator: &Administrator<'_>, ids: &Ids) -> RequestBuilder {
        let request = administrator.request(&self.method, &self.path_of(ids));
        match self.body(ids) {
            Some(body) => request.json(&body),
            None => request,
        }
    }
}
