//! Plans, carried out on a model of the server: it refuses what the server refuses.

mod generated;
mod model;

use std::cell::Cell;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use self::{
    generated::Tape,
    model::{Model, id},
};
use super::{Action, Plan, plan};
use crate::client::apply::{
    file::{self, Problem, Wanted},
    print,
    state::State,
    thing::{self, Kind},
};

/// Plans with ids that are no other thing's.
fn planned(wanted: &Wanted, state: &State, prune: bool) -> Result<Plan, Vec<Problem>> {
    let mut next = 1_000_000;
    plan(wanted, state, prune, &mut || {
        next += 1;
        id(next)
    })
}

/// `apply` twice changes nothing; what is named is as the file says, and nothing else has changed.
#[test]
fn what_is_planned_makes_the_server_match_the_file() {
    let (tried, planned_some) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
    let tape = prop::collection::vec(any::<u8>(), 100..500);
    let result = runner.run(&tape, |bytes| {
        tried.set(tried.get() + 1);
        let mut tape = Tape::new(bytes);
        let before = generated::state(&mut tape);
        let text = generated::file(&mut tape, &before);
        let prune = tape.pick(2) == 1;
        // What is wrong with a file in itself is for other tests.
        let Ok(wanted) = file::read(&text) else { return Ok(()) };
        let Ok(plan) = planned(&wanted, &before, prune) else { return Ok(()) };
        planned_some.set(planned_some.get() + usize::from(!plan.steps.is_empty()));
        let mut model = Model::new(before.clone());
        for step in &plan.steps {
            let done = model.step(step);
            prop_assert!(done.is_ok(), "{done:?} at {}\nof {}{text}", print::line(step), print::text(&plan));
        }
        let after = model.state;
        let matches = generated::check(&wanted, &before, &after, &plan, prune);
        prop_assert!(matches.is_ok(), "{matches:?}\nafter {}{text}", print::text(&plan));
        let again = planned(&wanted, &after, prune);
        prop_assert!(again.is_ok(), "{again:?}\nafter {}{text}", print::text(&plan));
        let again = again.unwrap_or_default();
        prop_assert!(again.steps.is_empty(), "{}after {}{text}", print::text(&again), print::text(&plan));
        prop_assert_eq!(again.left, plan.left);
        Ok(())
    });
    result.unwrap();
    let (tried, some) = (tried.get(), planned_some.get());
    assert!(some * 3 > tried, "only {some} of {tried} files could be planned and changed something");
}

/// Two organisations: the operator's, where the caller works in the unit Main, and ACME.
fn world() -> State {
    let mut model = Model::new(State::default());
    model.found("OPS", "Main", "admin");
    model.organisation(
        "ACME",
        &["A", "B", "C"],
        &[("zoe", &["A", "B"], Some("A")), ("max", &["A"], Some("A"))],
    );
    model.key("ACME", "zoe", "billing");
    model.state
}

fn lines(text: &str, state: &State, prune: bool) -> Vec<String> {
    let plan = planned(&file::read(text).unwrap(), state, prune).unwrap();
    print::text(&plan).lines().map(str::to_owned).collect()
}

fn problems(text: &str, state: &State, prune: bool) -> Vec<String> {
    let problems = planned(&file::read(text).unwrap(), state, prune).unwrap_err();
    problems.into_iter().map(|problem| format!("{}: {}", problem.line, problem.text)).collect()
}

fn id_of(state: &State, code: &str, kind: Kind, name: &str) -> String {
    let organisation = state.organisations.iter().find(|each| each.thing.text("code") == code).unwrap();
    organisation.things(kind).iter().find(|each| each.text(kind.name()) == name).unwrap().id.clone()
}

#[test]
fn names_change_places() {
    let state = world();
    let unit = |name| id_of(&state, "ACME", Kind::Unit, name);
    let text = format!(
        "[[organisation]]\ncode = 'ACME'\n\
         [[organisation.unit]]\nid = '{}'\nname = 'B'\n\
         [[organisation.unit]]\nid = '{}'\nname = 'C'\n\
         [[organisation.unit]]\nid = '{}'\nname = 'A'\n",
        unit("A"),
        unit("B"),
        unit("C")
    );
    let (steps, meanwhile) = (lines(&text, &state, false), format!("renaming-{}", unit("A")));
    assert_eq!(
        steps,
        [
            format!("~ unit A of ACME: name A -> {meanwhile}, for a moment, so that names can change places"),
            "~ unit C of ACME: name C -> A".to_owned(),
            "~ unit B of ACME: name B -> C".to_owned(),
            format!("~ unit {meanwhile} of ACME: name {meanwhile} -> B"),
            "0 to create, 4 to change, 0 to delete.".to_owned(),
        ]
    );
    // A chain needs no other names, only another order.
    let text = format!(
        "[[organisation]]\ncode = 'ACME'\n\
         [[organisation.unit]]\nid = '{}'\nname = 'B'\n\
         [[organisation.unit]]\nid = '{}'\nname = 'D'\n\
         [[organisation.unit]]\nname = 'A'\n",
        unit("A"),
        unit("B"),
    );
    assert_eq!(
        lines(&text, &state, false)[..3],
        ["~ unit B of ACME: name B -> D", "~ unit A of ACME: name A -> B", "+ unit A of ACME"]
    );
}

#[test]
fn prune_spares_what_the_caller_needs_and_what_others_need() {
    let mut state = world();
    let told = lines("[[organisation]]\ncode = 'OPS'\n", &state, true);
    assert_eq!(
        told,
        [
            "- organisation ACME: with 3 units, 2 users, 1 key, ends its tokens",
            "0 to create, 0 to change, 1 to delete.",
            "Not named in the file and left all the same: user admin of OPS; you are logged in as it.",
            "Not named in the file and left all the same: unit Main of OPS; you work in it.",
        ]
    );
    let acme = "[[organisation]]\ncode = 'ACME'\n[[organisation.user]]\nusername = 'ZOE'\n";
    let told = lines(acme, &state, true);
    assert_eq!(
        told,
        [
            "~ user zoe of ACME: username zoe -> ZOE",
            "- key billing of ZOE (ACME): ends its tokens",
            "- user max of ACME: ends their tokens",
            "- unit B of ACME: takes it from ZOE, ends its tokens",
            "- unit C of ACME: ends its tokens",
            "0 to create, 1 to change, 4 to delete.",
            "Not named in the file and left all the same: unit A of ACME; it is the default unit of ZOE.",
            "Not named in the file and left all the same: organisation OPS; it is the operator organisation.",
        ]
    );
    // Without --prune none of it.
    assert_eq!(lines(acme, &state, false).len(), 2);
    // Logged in with a key of their own user.
    state.caller.has_key = true;
    state.caller.user = id_of(&state, "ACME", Kind::User, "zoe");
    let told = lines("[[organisation]]\ncode = 'ACME'\n", &state, true);
    assert!(
        told.iter().any(|line| line.contains("key billing of zoe (ACME); you are logged in")),
        "{told:?}"
    );
}

#[test]
fn what_would_end_ones_own_work_is_refused() {
    let mut state = world();
    let text = "[[organisation]]\ncode = 'OPS'\nstatus = 'suspended'\n\
                [[organisation.unit]]\nname = 'Main'\nstatus = 'disabled'\n\
                [[organisation.user]]\nusername = 'admin'\nrole = 'member'\nstatus = 'disabled'\nunits = []\n";
    let told = problems(text, &state, false);
    for (line, part) in told.iter().zip([
        "3: the operator organisation cannot be suspended",
        "6: disabling the unit that you work in would end your own token",
        "9: nobody changes their own role",
        "10: nobody changes their own status",
        "11: taking a unit from yourself would end your own token",
    ]) {
        assert!(line.starts_with(part), "{line}");
    }
    assert_eq!(told.len(), 5);
    // Who is no operator keeps to their own organisation, and to its name.
    state.caller.is_operator = false;
    let told = problems("[[organisation]]\ncode = 'NEW'\n[[organisation]]\ncode = 'ops'\n", &state, false);
    assert!(
        told[0].starts_with("1: there is no organisation 'NEW', or none that you may manage"),
        "{told:?}"
    );
    assert!(told[1].starts_with("4: 'code' is changed by administrators of the operator"), "{told:?}");
    assert_eq!(
        lines("[[organisation]]\ncode = 'OPS'\nname = 'Us'\n", &state, false)[0],
        "~ organisation OPS: name OPS -> Us"
    );
}

#[test]
fn what_cannot_be_is_told_with_its_line() {
    let mut model = Model::new(world());
    model.key("ACME", "zoe", "double");
    model.key("ACME", "zoe", "Double");
    let state = model.state;
    let key = |name| id_of(&state, "ACME", Kind::Key, name);
    let unit = |name| id_of(&state, "ACME", Kind::Unit, name);
    for (text, prune, told) in [
        (
            "[[organisation.user]]\nusername = 'zoe'\nunits = ['Q']\n".to_owned(),
            false,
            "5: 'units': there is no unit 'Q', neither in the file nor on the server".to_owned(),
        ),
        (
            "[[organisation.user]]\nusername = 'zoe'\nunits = ['b']\n".to_owned(),
            true,
            "5: 'units': the unit 'b' is not named in the file by itself, so --prune would delete it"
                .to_owned(),
        ),
        (
            "[[organisation.user]]\nusername = 'zoe'\ndefault_unit = 'C'\n".to_owned(),
            false,
            "5: 'default_unit' is not one of the user's units".to_owned(),
        ),
        (
            "[[organisation.key]]\nname = 'k'\nuser = 'ann'\n".to_owned(),
            false,
            "5: 'user': there is no user 'ann'".to_owned(),
        ),
        (
            "[[organisation.key]]\nname = 'double'\nuser = 'zoe'\n".to_owned(),
            false,
            format!(
                "4: there are 2 keys 'double'; give the 'id' of one: {}, {}",
                key("double"),
                key("Double")
            ),
        ),
        (
            format!("[[organisation.key]]\nname = 'billing'\nuser = 'max'\nid = '{}'\n", key("billing")),
            false,
            "5: a key stays with its user".to_owned(),
        ),
        (
            format!("[[organisation.unit]]\nname = 'B'\nid = '{}'\n", unit("A")),
            true,
            format!("4: the name 'B' is that of another unit, {}, which the file does not name", unit("B")),
        ),
        (
            format!("[[organisation.unit]]\nname = 'B'\nid = '{}'\n", id(77)),
            false,
            format!("4: the name 'B' is that of another unit, {}", unit("B")),
        ),
        (
            format!(
                "[[organisation.unit]]\nname = 'D'\nid = '{}'\n[[organisation.user]]\nusername='max'\nunits=['A']",
                unit("A")
            ),
            false,
            "8: 'units': there is no unit 'A'".to_owned(),
        ),
    ] {
        let text = format!("[[organisation]]\ncode = 'ACME'\n{text}");
        let found = problems(&text, &state, prune);
        assert!(found.len() == 1 && found[0].starts_with(&told), "{told}\n{found:?}");
    }
    // The id of one of two keys of one name is enough.
    let text = format!(
        "[[organisation]]\ncode = 'ACME'\n[[organisation.key]]\nname = 'double'\nuser = 'zoe'\nid = '{}'\n",
        key("double")
    );
    assert_eq!(lines(&text, &state, false), ["Nothing to change."]);
}

#[test]
fn tokens_end_where_the_server_ends_them() {
    let state = world();
    let text = "[[organisation]]\ncode = 'ACME'\nstatus = 'suspended'\n\
                [[organisation.unit]]\nname = 'A'\nstatus = 'disabled'\n\
                [[organisation.unit]]\nname = 'N'\nstatus = 'disabled'\n\
                [[organisation.user]]\nusername = 'zoe'\nunits = ['B']\nrole = 'administrator'\n\
                [[organisation.user]]\nusername = 'max'\nunits = ['A', 'N']\ndefault_unit = 'N'\n\
                [[organisation.key]]\nname = 'billing'\nuser = 'zoe'\nstatus = 'disabled'\n";
    assert_eq!(
        lines(text, &state, false),
        [
            "~ organisation ACME: status active -> suspended, ends its tokens",
            "~ unit A of ACME: status active -> disabled, ends its tokens",
            "+ unit N of ACME: status disabled",
            "~ user zoe of ACME: role member -> administrator, units [A, B] -> [B], default_unit A -> none, ends their tokens",
            "~ user max of ACME: units [A] -> [A, N], default_unit A -> N",
            "~ key billing of zoe (ACME): status active -> disabled, ends its tokens",
            "1 to create, 5 to change, 0 to delete.",
        ]
    );
}

#[test]
fn a_new_user_without_a_default_unit_has_none() {
    let text = "[[organisation]]\ncode = 'ACME'\n[[organisation.user]]\nusername = 'ann'\nunits = ['B']\ndefault_unit = ''\n";
    assert_eq!(
        lines(text, &world(), false)[..2],
        ["+ user ann of ACME: units [B], default_unit B", "~ user ann of ACME: default_unit B -> none"]
    );
}

#[test]
fn programs_read_names_and_no_ids_that_are_not_yet() {
    let text = "[[organisation]]\ncode = 'NEW'\n[[organisation.unit]]\nname = 'N'\n[[organisation.user]]\nusername = 'ann'\nunits = ['n']\n";
    let plan = planned(&file::read(text).unwrap(), &world(), false).unwrap();
    assert!(plan.steps.iter().all(|step| step.action == Action::Create && step.is_new_id));
    let json = print::json(&plan, 0);
    assert_eq!(
        json["changes"][2]["changes"][1],
        serde_json::json!({"member": "units", "from": null, "to": ["N"]})
    );
    assert_eq!(json["changes"][2]["id"], serde_json::Value::Null);
    assert_eq!(thing::text(&json["changes"][2]["organisation"]), "NEW");
}
