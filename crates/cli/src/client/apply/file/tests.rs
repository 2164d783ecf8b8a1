//! What is read of a file, and each thing that can be wrong with one.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn a_file_is_read() {
    let wanted = read(
        "[[organisation]]\n\
         code = ' ACME '\n\
         id = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n\
         rules.'tokens.password_idle' = '90m'\n\
         [organisation.rules.addresses]\n\
         allow = ['10.1.*.*', '10.0.0.0/8', '10.1.0.0/16']\n\
         [organisation.rules.passwords]\n\
         min_length = 1_6\n\
         require_digit = true\n\
         max_age = 'never'\n\
         [[organisation.user]]\n\
         username = 'zoe'\n\
         email = ''\n\
         units = ['b', 'a']\n\
         default_unit = ''\n\
         [[organisation.key]]\n\
         name = 'k'\n\
         user = 'zoe'\n\
         expires_at = 2027-01-01T01:00:00.0005+01:00\n\
         allowed_addresses = ['::ffff:10.0.0.1', '10.0.0.1']\n\
         [[organisation.key]]\n\
         name = 'forever'\n\
         user = 'zoe'\n\
         expires_at = 'never'\n\
         verifier = true\n",
    );
    let organisation = &wanted.unwrap().organisations[0];
    let members = |thing: &WantedThing| json!(thing.members);
    assert_eq!(organisation.thing.id.as_deref(), Some("A".repeat(32).as_str()));
    assert_eq!(members(&organisation.thing), json!({"code": "ACME"}));
    assert_eq!(
        json!(organisation.rules),
        json!({
            "addresses.allow": ["10.0.0.0/8", "10.1.0.0/16"], "passwords.max_age": "never",
            "passwords.min_length": 16, "passwords.require_digit": true, "tokens.password_idle": "1h 30m"
        })
    );
    assert_eq!(
        members(&organisation.users[0]),
        json!({"username": "zoe", "email": null, "units": ["b", "a"], "default_unit": null})
    );
    assert_eq!(
        members(&organisation.keys[0]),
        json!({
            "name": "k", "user": "zoe", "expires_at": "2027-01-01T00:00:00.000Z", "allowed_addresses": ["10.0.0.1"]
        })
    );
    assert_eq!(members(&organisation.keys[1])["expires_at"], Value::Null);
    assert_eq!((organisation.users[0].line, organisation.users[0].line_of("units")), (11, 14));
}

/// Every wrong thing is told, with its line, and no value that may be a secret.
#[test]
fn what_is_wrong_is_told_with_its_line() {
    let organisation = "[[organisation]]\ncode = 'A'\n";
    let user = "[[organisation]]\ncode = 'A'\n[[organisation.user]]\nusername = 'zoe'\n";
    let key = "[[organisation]]\ncode = 'A'\n[[organisation.key]]\nname = 'k'\nuser = 'zoe'\n";
    for (above, text, line, part) in [
        ("", "[[organization]]\ncode = 'A'", 1, "'organization' is unknown; did you mean 'organisation'?"),
        ("", "[organisation]\ncode = 'A'", 1, "write each organisation under a heading [[organisation]]"),
        ("", "organisation = ['A']", 1, "'organisation' has an item that is none"),
        ("", "[[organisation]]\nname = 'A'", 1, "an organisation needs 'code'"),
        ("", "[[organisation]]\ncode = ''", 2, "'code' is empty"),
        ("", "[[organisation]]\ncode = \"a\\u0007b\"", 2, "'code' contains a control character"),
        ("", "[[organisation]]\ncode = 7", 2, "'code' is a number; write a text"),
        ("", "[[organisation]\n", 1, "]"),
        (organisation, "name = \n", 3, ""),
        (organisation, "code = 'B'", 3, "duplicate key"),
        (
            organisation,
            "[[organisation]]\ncode = 'ａ'",
            4,
            "the organisation 'ａ' is named twice, first in line 1",
        ),
        (organisation, "status = 'disabled'", 3, "'status' is 'disabled'; write active or suspended"),
        (organisation, "units = []", 3, "write each unit under a heading [[organisation.unit]]"),
        (organisation, "id = '7'", 3, "'id' is not an id"),
        (organisation, "rules = 1", 3, "'rules' is not a table"),
        (organisation, "rules.passwords.min_length = 3", 3, "it must be a whole number from 8 to 64"),
        (
            organisation,
            "rules.passwords.length = 3",
            3,
            "'passwords.length' is no rule; the rules are passwords.min",
        ),
        (organisation, "rules.passwords = 3", 3, "'passwords' is no rule"),
        (organisation, "rules.passwords.min_length = {}", 3, "the rule 'passwords.min_length' is a table"),
        (
            organisation,
            "rules.passwords.min_length = 16\nrules.'passwords.min_length' = 16",
            4,
            "given twice",
        ),
        (organisation, "rules.addresses.deny = ['x']", 3, "it is not a list of addresses: 'x'"),
        (organisation, "[[organisation.unit]]\nstatus = 'active'", 3, "a unit needs 'name'"),
        (
            organisation,
            "[[organisation.unit]]\nname='N'\n[[organisation.unit]]\nname='n'",
            6,
            "named twice, first in line 3",
        ),
        (user, "password = 'canary-canary'", 5, "`doorward user password`"),
        (user, "email = 'zoe'", 5, "'email' is not an e-mail address"),
        (user, "role = 'admin'", 5, "'role' is 'admin'; write member or administrator"),
        (user, "units = 'A'", 5, "'units' is a text; write a list of texts"),
        (user, "units = ['A', 7]", 5, "'units' is a list; write a list of texts"),
        (user, "stauts = 'active'", 5, "'stauts' is unknown; did you mean 'status'?"),
        (user, "colour = 'red'", 5, "a user has id, username, person_name"),
        (key, "secret = 'canary-canary'", 6, "see --secrets"),
        (key, "expires_at = '90d'", 6, "'expires_at' is '90d', which is no time"),
        (key, "expires_at = 2027-01-01T00:00:00", 6, "which is no time"),
        (key, "verifier = 'yes'", 6, "'verifier' is a text; write true or false"),
        (key, "allowed_addresses = ['10.0.0.1/8']", 6, "write 10.0.0.0/8 for the network"),
        (
            key,
            "[[organisation.key]]\nname = 'K'\nuser = 'ZOE'",
            7,
            "the key 'K' is named twice, first in line 3",
        ),
        (key, "[[organisation.key]]\nname = 'k2'", 6, "a key needs 'user'"),
    ] {
        let problems = read(&format!("{above}{text}\n")).unwrap_err();
        let told = problems.iter().any(|problem| problem.line == line && problem.text.contains(part));
        assert!(told, "{text}: {problems:?}");
        assert!(!format!("{problems:?}").contains("canary"), "{text}: {problems:?}");
    }
    let id = "b".repeat(32);
    let twice = format!("{organisation}id = '{id}'\n[[organisation.unit]]\nname = 'N'\nid = '{id}'\n");
    assert!(read(&twice).unwrap_err()[0].text.contains("is given twice, first in line 1"));
}

/// The examples of the documentation are read, and the long one shows every member.
#[test]
fn the_documented_files_are_read() {
    let (whole, short) =
        (include_str!("../../../../../../docs/tenants.md"), include_str!("../../../../../../README.md"));
    let example = |text: &str| {
        let begin = text.find("```toml\n").unwrap() + "```toml\n".len();
        text[begin..].split("```").next().unwrap().to_owned()
    };
    assert_eq!(read(&example(short)).unwrap().organisations.len(), 1);
    let wanted = read(&example(whole)).unwrap();
    let first = &wanted.organisations[0];
    assert_eq!((wanted.organisations.len(), first.rules.len()), (2, 3));
    for (kind, thing) in [
        (Kind::Organisation, &first.thing),
        (Kind::Unit, &first.units[0]),
        (Kind::User, &first.users[0]),
        (Kind::Key, &first.keys[0]),
    ] {
        assert_eq!(thing.members.len(), kind.members().len(), "{kind:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text =
        "[[organisation]]\ncode = 7\ncolour = 1\n[[organisation.unit]]\nname = 'N'\nstatus = 'on'\n[x]\n";
    let lines: Vec<_> = read(text).unwrap_err().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3, 6, 7]);
}

proptest! {
    /// Whatever a file holds, it is read or refused.
    #[test]
    fn no_file_is_too_strange(
        parts in prop::collection::vec(
            prop_oneof![
                Just("[[organisation]]\n"), Just("code = 'A'\n"), Just("[[organisation.user]]\n"), Just("= '"),
                Just("[organisation.rules]\n"), Just("username = \"\\u0000\"\n"), Just("units = [[1], {}]\n"),
                Just("a.b.'c.d' = 1979-05-27\n"), Just("'''"), Just("\u{feff}é\r\n"), Just("id = inf\n"),
            ],
            0..12,
        ),
        noise in "\\PC{0,20}",
    ) {
        let text = parts.concat() + &noise;
        if let Err(problems) = read(&text) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| (1..=text.lines().count() + 1).contains(&problem.line)));
        }
    }
}
