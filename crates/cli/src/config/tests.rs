use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Loads with this `doorward.toml`, these variables and these flags, in a folder of its own.
fn load_layers(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str, &str)],
) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("doorward.toml"), file).unwrap();
    let flags = flags.iter().map(|&(flag, key, value)| (flag.into(), key.into(), value.into())).collect();
    let sources = Sources { file: None, folder: folder.path().to_owned(), flags };
    load(&sources, variables.iter().map(|(name, value)| (name.into(), value.into())))
}

fn load_file(file: &str) -> Result<Loaded, ConfigError> {
    load_layers(file, &[], &[])
}

fn load_variable(name: &str, value: &str) -> Result<Loaded, ConfigError> {
    load_layers("", &[(name, value)], &[])
}

fn load_flag(key: &str, value: &str) -> Result<Loaded, ConfigError> {
    load_layers("", &[], &[("--flag", key, value)])
}

#[track_caller]
fn assert_refused(loaded: Result<Loaded, ConfigError>, text: &str) {
    assert_eq!(loaded.unwrap_err().to_string(), text);
    assert!(!text.contains('\n'), "an error is one line");
}

#[track_caller]
fn assert_shown(loaded: &Loaded, key: &str, shown: &str) {
    let setting = loaded.settings.iter().find(|setting| setting.key == key).unwrap();
    assert_eq!(setting.to_string(), format!("`{key}` = {shown}"));
}

#[test]
fn defaults_stand_when_nothing_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let sources = Sources { folder: folder.path().to_owned(), ..Sources::default() };
    let loaded = load(&sources, std::iter::empty()).unwrap();

    let Config { data, storage, cluster, listen, addresses, tokens, passwords, lockout, audit, log, limits } =
        &loaded.config;
    assert_eq!(data, Path::new("doorward-data"));
    assert_eq!(
        [storage.url.is_none(), storage.password_file.is_none(), storage.ca_file.is_none()],
        [true; 3]
    );
    assert_eq!(
        (storage.pool, storage.connect_timeout, storage.statement_timeout),
        (8, SECOND * 2, SECOND * 5)
    );
    assert_eq!((&cluster.name, cluster.memory), (&None, 1024));
    assert_eq!((cluster.lease, cluster.heartbeat), (SECOND * 5, SECOND));
    assert_eq!(cluster.poll_interval, SECOND / 10);
    assert_eq!(listen.api, SocketAddr::from(([127, 0, 0, 1], 8080)));
    assert_eq!(listen.admin, SocketAddr::from(([127, 0, 0, 1], 8081)));
    assert_eq!(listen.tls, None);
    assert_eq!([&listen.trusted_proxies, &addresses.allow, &addresses.deny], [&vec![]; 3]);
    assert_eq!((tokens.password_idle, tokens.password_cap), (HOUR, HOUR * 24 * 30));
    assert_eq!((tokens.api_key_lifetime, tokens.touch_interval), (HOUR * 2, MINUTE / 2));
    assert_eq!((passwords.memory_kib, passwords.iterations, passwords.parallelism), (19_456, 2, 1));
    assert_eq!((passwords.threads, passwords.queue), (0, 64));
    assert_eq!((passwords.rules(), &passwords.breached_file), (PasswordRules::default(), &None));
    assert_eq!((lockout.failures, lockout.window), (10, MINUTE * 15));
    assert_eq!((lockout.lock, lockout.longest_lock), (MINUTE, HOUR));
    assert_eq!(audit.retention, HOUR * 24 * 400);
    assert_eq!((log.format, log.level), (LogFormat::Text, LogLevel::Info));
    assert_eq!(limits.body_bytes, 65_536);
    assert_eq!((limits.header_timeout, limits.body_timeout), (MINUTE / 2, MINUTE / 6));
    assert_eq!(
        (limits.answer_timeout, limits.write_timeout, limits.connections),
        (MINUTE / 6, MINUTE / 2, 10_000)
    );

    assert_eq!(loaded.file, None);
    assert!(loaded.settings.iter().map(|setting| setting.key).eq(KEYS.iter().map(|key| key.name)));
    assert_shown(&loaded, "tokens.password_cap", "30d (default)");
    assert_shown(&loaded, "listen.tls.key", "(not set) (default)");
    assert_shown(&loaded, "listen.trusted_proxies", "[] (default)");
}

#[test]
fn the_example_of_the_reference_holds_the_defaults() {
    let reference = reference::render();
    let (_, example) = reference.split_once("```toml\n").unwrap();
    let example = example.strip_suffix("```\n").unwrap();
    assert_eq!(load_file(example).unwrap().config, load_file("").unwrap().config);
    let all = load_file(&example.replace("# ", "")).unwrap().config;
    assert!(all.listen.tls.is_some() && all.passwords.breached_file.is_some());
    assert_eq!(all.passwords.max_age, Some(HOUR * 24 * 365));
}

#[test]
fn each_layer_covers_the_one_below() {
    let file = "listen.api = '127.0.0.1:1'\nlisten.admin = '127.0.0.1:1'\nlog.level = 'warn'";
    let variables = [("DOORWARD_LISTEN__API", "127.0.0.1:2"), ("DOORWARD_LISTEN__ADMIN", "127.0.0.1:2")];
    let loaded = load_layers(file, &variables, &[("--listen-api", "listen.api", "127.0.0.1:3")]).unwrap();

    assert_shown(&loaded, "listen.api", "127.0.0.1:3 (--listen-api)");
    assert_shown(&loaded, "listen.admin", "127.0.0.1:2 (DOORWARD_LISTEN__ADMIN)");
    assert_shown(&loaded, "log.level", "warn (doorward.toml)");
    assert_shown(&loaded, "log.format", "text (default)");
    assert_eq!((loaded.config.listen.api.port(), loaded.config.listen.admin.port()), (3, 2));
    assert_eq!(loaded.config.log.level, LogLevel::Warn);
    assert!(loaded.file.unwrap().ends_with("doorward.toml"));
}

#[test]
fn values_take_the_type_of_their_key() {
    assert_eq!(load_variable("DOORWARD_DATA", "8080").unwrap().config.data, Path::new("8080"));
    assert_eq!(load_variable("DOORWARD_PASSWORDS__QUEUE", "8080").unwrap().config.passwords.queue, 8080);
    let tokens =
        load_file("tokens = { password_idle = '1h 30m', touch_interval = '500ms' }").unwrap().config.tokens;
    assert_eq!((tokens.password_idle, tokens.touch_interval), (MINUTE * 90, MINUTE / 120));
    let by_variable = load_variable("DOORWARD_PASSWORDS__REQUIRE_DIGIT", "true").unwrap().config;
    let by_file = load_file("passwords.require_digit = true").unwrap().config;
    assert!(by_variable.passwords.require_digit);
    assert_eq!(by_variable, by_file);
}

#[test]
fn the_rules_of_passwords_are_what_is_set() {
    let file = "[passwords]\nmin_length = 20\nrequire_alphabetic = true\nrequire_special = true\nblocklist = false\n\
                max_age = '90d'\nbreached_file = 'pwned.txt'";
    let passwords = load_file(file).unwrap().config.passwords;
    let rules = PasswordRules {
        min_length: 20,
        require_alphabetic: true,
        require_digit: false,
        require_special: true,
        blocklist: false,
        max_age: Some(HOUR * 24 * 90),
    };
    assert_eq!(passwords.rules(), rules);
    assert_eq!(passwords.breached_file, Some("pwned.txt".into()));
}

#[test]
fn unknown_keys_are_refused_in_every_layer() {
    let hint = "`doorward config show` lists the keys";
    assert_refused(load_file("colour = 1"), &format!("doorward.toml: unknown key `colour`; {hint}"));
    assert_refused(load_file("[theatre]"), &format!("doorward.toml: unknown key `theatre`; {hint}"));
    assert_refused(
        load_variable("DOORWARD_PORT", "1"),
        &format!("environment: unknown key `DOORWARD_PORT`; {hint}"),
    );
    assert_refused(load_flag("colour", "1"), &format!("--flag: unknown key `colour`; {hint}"));
    load_file("[tokens]").unwrap();
    load_variable("OTHER", "1").unwrap();
}

#[test]
fn the_key_that_was_meant_is_named_as_its_layer_spells_it() {
    for (file, written, meant) in [
        ("[tokens]\npassword_idel = '1h'", "tokens.password_idel", "tokens.password_idle"),
        ("[token]\npassword_idle = '1h'", "token.password_idle", "tokens.password_idle"),
        ("'tokens.password_idle' = '1h'", "\"tokens.password_idle\"", "tokens.password_idle"),
        ("listen.tls.cert = 'a'", "listen.tls.cert", "listen.tls.certificate"),
        ("log.\"form\\nat\" = 'text'", "log.form\u{fffd}at", "log.format"),
    ] {
        let text = format!("doorward.toml: unknown key `{written}`; did you mean `{meant}`?");
        assert_refused(load_file(file), &text);
    }
    assert_refused(
        load_variable("DOORWARD_LOG_LEVEL", "info"),
        "environment: unknown key `DOORWARD_LOG_LEVEL`; did you mean `DOORWARD_LOG__LEVEL`?",
    );
    assert_refused(
        load_flag("log.levle", "info"),
        "--flag: unknown key `log.levle`; did you mean `log.level`?",
    );
}

#[test]
fn wrong_types_are_refused_in_every_layer() {
    let refused = |origin: &str, value: &str| {
        format!(
            "{origin}: `passwords.queue` is {value}, but it must be a whole number from 1 to 100000, such as 64 (logins \
             that may wait for a hash; one more is answered 503)"
        )
    };
    for (written, shown) in [
        ("'64'", "\"64\""),
        ("true", "true"),
        ("64.5", "64.5"),
        ("[1, 'a\u{202e}', []]", "[1, \"a\\u{202e}\", []]"),
        ("{}", "a table"),
        ("'''a\nb'''", "\"a\\nb\""),
    ] {
        assert_refused(load_file(&format!("passwords.queue = {written}")), &refused("doorward.toml", shown));
    }
    let variable = "DOORWARD_PASSWORDS__QUEUE";
    assert_refused(load_variable(variable, "many"), &refused(variable, "\"many\""));
    assert_refused(load_flag("passwords.queue", ""), &refused("--flag", "\"\""));
    assert_refused(
        load_file("passwords.blocklist = 'false'"),
        "doorward.toml: `passwords.blocklist` is \"false\", but it must be true or false, such as true (whether a new \
         password is refused that is common, made of common words and patterns, or of the names of its user, the \
         organisation or the product; organisations may override it)",
    );
    let covered = load_layers("passwords.queue = 0", &[(variable, "1")], &[]);
    assert_refused(covered, &refused("doorward.toml", "0"));
}

#[test]
fn each_range_ends_where_it_says() {
    let long: (&[&str], &[&str]) =
        (&["1ms", "100 years"], &["0s", "0", "100 years 1ms", "1500us", "1", "-1s", ""]);
    let address: (&[&str], &[&str]) =
        (&["0.0.0.0:0", "[::1]:443"], &["localhost:80", ":80", "127.0.0.1", "1.1.1.1:65536"]);
    let flag: (&[&str], &[&str]) = (&["true", "false"], &["yes", "TRUE", "1", "0", ""]);
    for (key, (taken, refused)) in [
        ("data", (&["x", "8080"][..], &[""][..])),
        (
            "storage.url",
            (
                &["postgres://d@a:1,b:2/d?x=y", "postgresql:///d?host=/run"],
                &["", "mysql://a/d", "postgres://"],
            ),
        ),
        ("storage.password_file", (&["x"], &[""])),
        ("storage.ca_file", (&["x"], &[""])),
        ("storage.pool", (&["1", "1000"], &["0", "1001"])),
        ("storage.connect_timeout", (&["1ms", "5m"], &["0s", "6m"])),
        ("storage.statement_timeout", (&["1ms", "5m"], &["0s", "6m"])),
        ("cluster.name", (&["a", "berlin 1"], &["", "a\nb", &"x".repeat(65)])),
        ("cluster.lease", (&["3s", "5m"], &["0s", "6m"])),
        ("cluster.heartbeat", (&["1ms", "2s"], &["0s", "6m"])),
        ("cluster.poll_interval", (&["1ms", "4s"], &["0s", "6m"])),
        ("cluster.memory", (&["16", "16777216"], &["15", "16777217"])),
        ("listen.api", address),
        ("listen.admin", address),
        ("tokens.password_idle", (&["1ms", "30d"], &["0s", "49d 1ms", "1ms 1ns", "forever"])),
        ("tokens.password_cap", (&["1h", "100 years"], &["0s", "100 years 1ms", "3600000.5ms"])),
        ("tokens.api_key_lifetime", long),
        ("tokens.touch_interval", long),
        ("passwords.memory_kib", (&["19456", "4194304"], &["19455", "4194305", "99999999999999999999"])),
        ("passwords.iterations", (&["2", "1000"], &["1", "1001"])),
        ("passwords.parallelism", (&["1", "16"], &["0", "17"])),
        ("passwords.threads", (&["0", "256"], &["-1", "257"])),
        ("passwords.queue", (&["1", "100000"], &["0", "100001"])),
        ("passwords.min_length", (&["8", "64"], &["7", "65"])),
        ("passwords.require_alphabetic", flag),
        ("passwords.require_digit", flag),
        ("passwords.require_special", flag),
        ("passwords.blocklist", flag),
        ("passwords.breached_file", (&["x"], &[""])),
        ("passwords.max_age", long),
        ("lockout.failures", (&["1", "100"], &["0", "101"])),
        ("lockout.window", long),
        ("lockout.lock", (&["1ms", "1h"], &["0s", "101 years"])),
        ("lockout.longest_lock", (&["1m", "100 years"], &["0s", "101 years"])),
        ("log.format", (&["text", "json"], &["xml", "TEXT"])),
        ("log.level", (&["error", "warn", "info", "debug", "trace"], &["off", "Info"])),
        ("limits.body_bytes", (&["1024", "16777216"], &["1023", "16777217"])),
        ("limits.header_timeout", long),
        ("limits.body_timeout", long),
        ("limits.answer_timeout", long),
        ("limits.write_timeout", long),
        ("limits.connections", (&["16", "1000000"], &["15", "1000001"])),
    ] {
        for value in taken {
            assert_shown(&load_flag(key, value).unwrap(), key, &format!("{value} (--flag)"));
        }
        for value in refused {
            let error = load_flag(key, value).unwrap_err();
            assert!(matches!(error, ConfigError::Value { key: at, .. } if at == key), "{value}: {error}");
        }
    }
}

#[test]
fn durations_that_depend_on_each_other_are_in_order() {
    assert_refused(
        load_file("tokens.password_cap = '30m'"),
        "`tokens.password_cap` = 30m (doorward.toml) is less than `tokens.password_idle` = 1h (default); raise the first \
         or lower the second",
    );
    assert_refused(
        load_file("lockout.lock = '2h'"),
        "`lockout.longest_lock` = 1h (default) is less than `lockout.lock` = 2h (doorward.toml); raise the first or lower \
         the second",
    );
    load_file("lockout.lock = '1h'\ntokens = { password_idle = '49d', password_cap = '49d' }").unwrap();
}

#[test]
fn a_lease_outlasts_its_heartbeats_and_polls() {
    assert_refused(
        load_file("cluster.lease = '2s'"),
        "`cluster.lease` = 2s (doorward.toml) is too short for `cluster.heartbeat` = 1s (default): a lease must be longer \
         than two heartbeats and than the interval of polls; raise the first or lower the second",
    );
    assert_refused(
        load_file("cluster.poll_interval = '5s'"),
        "`cluster.lease` = 5s (default) is too short for `cluster.poll_interval` = 5s (doorward.toml): a lease must be \
         longer than two heartbeats and than the interval of polls; raise the first or lower the second",
    );
}

/// Row S1: what is refused is shown, but for what is secret in it.
#[test]
fn a_password_in_the_url_of_the_database_is_refused_and_not_shown() {
    for url in ["postgres://doorward:hunter2@db/doorward", "postgres://doorward@db/doorward?password=hunter2"]
    {
        for error in [load_flag("storage.url", url), load_variable("DOORWARD_STORAGE__URL", url)] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("***") && error.contains("`storage.password_file`"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}

#[test]
fn networks_are_arrays_in_the_file_and_texts_with_commas_elsewhere() {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Network>>();
    let file =
        "listen.trusted_proxies = ['127.0.0.1', '::1']\naddresses = { allow = ['10.0.*.*'], deny = [] }";
    let loaded = load_file(file).unwrap();
    let Config { listen, addresses, .. } = &loaded.config;
    assert_eq!(listen.trusted_proxies, networks(&["127.0.0.1", "::1"]));
    assert_eq!(addresses.allow, networks(&["10.0.0.0/16"]));
    assert_eq!(addresses.deny, networks(&[]));
    assert_shown(&loaded, "addresses.allow", "[\"10.0.*.*\"] (doorward.toml)");

    let loaded = load_variable("DOORWARD_ADDRESSES__DENY", "10.0.0.0/8, 2001:db8::/32").unwrap();
    assert_eq!(loaded.config.addresses.deny, networks(&["10.0.0.0/8", "2001:db8::/32"]));
    assert_shown(&loaded, "addresses.deny", "[\"10.0.0.0/8\", \"2001:db8::/32\"] (DOORWARD_ADDRESSES__DENY)");
    let covered = load_layers(file, &[], &[("--flag", "addresses.allow", " ")]).unwrap();
    assert_eq!(covered.config.addresses.allow, networks(&[]));
    assert_shown(&covered, "addresses.allow", "[] (--flag)");
}

#[test]
fn the_network_that_is_wrong_is_named() {
    let meaning = "addresses of the reverse proxies whose `X-Forwarded-For` is believed; none by default";
    let key = "listen.trusted_proxies";
    for (list, network, reason) in [
        (
            "['::1', '10.1.2.3/8']",
            "10.1.2.3/8",
            "has bits set beyond its prefix; write 10.0.0.0/8 for the network or 10.1.2.3 for the address",
        ),
        (
            "[\"a\\nb\"]",
            "a\u{fffd}b",
            "is no address or network; write it as 10.1.2.3, 10.0.0.0/8, 10.0.*.*, ::1 or 2001:db8::/32",
        ),
    ] {
        assert_refused(
            load_file(&format!("{key} = {list}")),
            &format!("doorward.toml: in `{key}`, '{network}' {reason} ({meaning})"),
        );
    }
    assert_refused(
        load_flag(key, "::1,,::2"),
        &format!(
            "--flag: in `{key}`, '' is empty; write an address such as 10.1.2.3 or a network such as 10.0.0.0/8 ({meaning})"
        ),
    );
    for (written, shown) in [("'::1'", "\"::1\""), ("['::1', 1]", "[\"::1\", 1]"), ("true", "true")] {
        assert_refused(
            load_file(&format!("{key} = {written}")),
            &format!(
                "doorward.toml: `{key}` is {shown}, but it must be a list of IP addresses and networks, such as \
                 [\"10.1.2.3\", \"2001:db8::/32\"] ({meaning})"
            ),
        );
    }
}

#[test]
fn tls_takes_a_certificate_and_a_key() {
    let both = load_file("listen.tls = { certificate = 'c.pem', key = 'k.pem' }").unwrap().config.listen.tls;
    assert_eq!(both, Some(Tls { certificate: "c.pem".into(), key: "k.pem".into() }));
    for (set, missing) in
        [("listen.tls.key", "listen.tls.certificate"), ("listen.tls.certificate", "listen.tls.key")]
    {
        assert_refused(
            load_flag(set, "a.pem"),
            &format!(
                "`{missing}` is missing beside `{set}` = a.pem (--flag); set both for TLS or neither for plain HTTP"
            ),
        );
    }
}

#[test]
fn variables_are_text_where_they_set_a_key_and_else_ignored() {
    let load_bytes = |name: &str| {
        load(&Sources::default(), std::iter::once((name.into(), OsString::from_vec(vec![b'a', 0xff]))))
    };
    assert_refused(
        load_bytes("DOORWARD_DATA"),
        "DOORWARD_DATA: the value is not valid UTF-8; set it again or remove the variable",
    );
    let defaults = load_file("").unwrap().config;
    for name in ["DOORWARD_SERVER", "DOORWARD_TOKEN", "OTHER"] {
        assert_eq!(load_bytes(name).unwrap().config, defaults);
    }
}

#[test]
fn a_named_file_is_read_and_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let [by_flag, by_variable] = ["flag.toml", "variable.toml"].map(|name| folder.path().join(name));
    fs::write(&by_flag, "log.level = 'error'").unwrap();
    fs::write(&by_variable, "log.level = 'debug'").unwrap();
    fs::write(folder.path().join("doorward.toml"), "log.level = 'trace'").unwrap();
    let load_named = |flag: Option<&Path>, variable: Option<&Path>| {
        let file = flag.map(Path::to_owned);
        let sources = Sources { file, folder: folder.path().to_owned(), flags: Vec::new() };
        load(&sources, variable.map(|path| ("DOORWARD_CONFIG".into(), path.into())).into_iter())
    };

    let loaded = load_named(Some(&by_flag), Some(&by_variable)).unwrap();
    assert_shown(&loaded, "log.level", &format!("error ({})", by_flag.display()));
    assert_eq!(loaded.file, Some(by_flag));
    assert_eq!(load_named(None, Some(&by_variable)).unwrap().config.log.level, LogLevel::Debug);
    assert_eq!(load_named(None, None).unwrap().config.log.level, LogLevel::Trace);
    assert_refused(
        load_named(None, Some(Path::new("none.toml"))),
        "none.toml: cannot read the file: No such file or directory (os error 2); mend it or name another by `--config` \
         or DOORWARD_CONFIG",
    );
    let unreadable = load_named(Some(folder.path()), None).unwrap_err();
    assert!(matches!(unreadable, ConfigError::Unreadable { .. }), "{unreadable}");
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    for (file, reason) in [
        ("log.level = 'info'\n|", "line 2, column 2: key with no value, expected `=`"),
        ("data = 'a'\ndata = 'b'", "line 2, column 1: duplicate key"),
        // The `config` crate reads numbers after the parser has let go of the lines.
        ("passwords.queue = 99999999999999999999", "number too large to fit in target type"),
    ] {
        assert_refused(load_file(file), &format!("doorward.toml: not valid TOML: {reason}"));
    }
}
