use proptest::prelude::*;

use super::*;

fn network(text: &str) -> Network {
    text.parse().unwrap_or_else(|error| panic!("'{text}' {error}"))
}

fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| network(text)).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn networks_are_read_in_every_form_and_written_in_one() {
    for (text, canonical) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 10.1.2.3\t", "10.1.2.3"),
        ("10.1.2.3/32", "10.1.2.3"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.*.*", "10.0.0.0/16"),
        ("192.168.1.*", "192.168.1.0/24"),
        ("*.*.*.*", "0.0.0.0/0"),
        ("::1", "::1"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/80", "::/80"),
    ] {
        assert_eq!(network(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn what_is_no_network_is_refused_with_the_remedy() {
    for (text, refusal) in [
        ("", InvalidNetwork::Empty),
        (" ", InvalidNetwork::Empty),
        (&"1".repeat(65), InvalidNetwork::TooLong),
        ("localhost", InvalidNetwork::Malformed),
        ("10.0.0", InvalidNetwork::Malformed),
        ("010.0.0.0/8", InvalidNetwork::Malformed),
        ("10.0.0.0/8/8", InvalidNetwork::PrefixLength { most: 32 }),
        ("10.0.0.0/33", InvalidNetwork::PrefixLength { most: 32 }),
        ("10.0.0.0/+8", InvalidNetwork::PrefixLength { most: 32 }),
        ("10.0.0.0/08", InvalidNetwork::PrefixLength { most: 32 }),
        ("10.0.0.0/", InvalidNetwork::PrefixLength { most: 32 }),
        ("10.0.0.0/255.0.0.0", InvalidNetwork::PrefixLength { most: 32 }),
        ("::/129", InvalidNetwork::PrefixLength { most: 128 }),
        ("fe80::1%eth0", InvalidNetwork::Malformed),
        ("10.*", InvalidNetwork::Malformed),
        ("10.0.*.*.*", InvalidNetwork::Malformed),
        ("1*.0.*.*", InvalidNetwork::Malformed),
        ("010.0.*.*", InvalidNetwork::Malformed),
        ("256.0.*.*", InvalidNetwork::Malformed),
        ("10.0.*.*/16", InvalidNetwork::Malformed),
        ("2001:db8::*", InvalidNetwork::Malformed),
        ("10.*.0.1", InvalidNetwork::StarInside),
        ("*.0.0.1", InvalidNetwork::StarInside),
    ] {
        assert_eq!(text.parse::<Network>(), Err(refusal), "{text}");
    }
    for (text, remedy) in [
        ("10.1.2.3/8", "write 10.0.0.0/8 for the network or 10.1.2.3 for the address"),
        ("2001:db8::1/32", "write 2001:db8::/32 for the network or 2001:db8::1 for the address"),
        ("::ffff:10.1.2.3/104", "write 10.0.0.0/8 for the network or 10.1.2.3 for the address"),
    ] {
        let error = text.parse::<Network>().unwrap_err();
        assert_eq!(error.to_string(), format!("has bits set beyond its prefix; {remedy}"), "{text}");
    }
}

#[test]
fn an_ipv4_address_inside_ipv6_is_the_ipv4_address() {
    for text in ["10.0.0.0/8", "::ffff:10.0.0.0/104", "10.*.*.*"] {
        assert!(network(text).contains(address("10.9.9.9")), "{text}");
        assert!(network(text).contains(address("::ffff:10.9.9.9")), "{text}");
        assert!(!network(text).contains(address("::ffff:11.0.0.0")), "{text}");
        assert!(!network(text).contains(address("::a00:1")), "{text}");
    }
    assert!(!network("::/0").contains(address("::ffff:10.9.9.9")));
    assert!(!network("*.*.*.*").contains(address("::1")));
}

#[test]
fn deny_wins_and_an_empty_allow_list_allows_all() {
    let rules = |allow: &[&str], deny: &[&str]| AddressRules { allow: networks(allow), deny: networks(deny) };
    for (rules, permitted, refused) in [
        (rules(&[], &[]), &["10.1.0.1", "2001:db8::1"][..], &[][..]),
        (rules(&["10.0.0.0/8"], &[]), &["10.1.0.1", "::ffff:10.1.0.1"], &["11.0.0.1", "2001:db8::1"]),
        (rules(&[], &["10.0.0.0/8"]), &["11.0.0.1", "2001:db8::1"], &["10.1.0.1", "::ffff:10.1.0.1"]),
        (rules(&["10.0.0.0/8"], &["10.1.0.0/16"]), &["10.2.0.1"], &["10.1.0.1", "11.0.0.1"]),
        (rules(&["10.1.0.1"], &["10.1.0.1"]), &[], &["10.1.0.1"]),
        (rules(&["::1", "10.1.0.1"], &[]), &["::1", "10.1.0.1"], &["::2"]),
    ] {
        for text in permitted {
            assert!(rules.permits(Some(address(text))), "{text} by {rules:?}");
        }
        for text in refused {
            assert!(!rules.permits(Some(address(text))), "{text} by {rules:?}");
        }
        assert_eq!(rules.permits(None), rules == AddressRules::default(), "{rules:?}");
    }
}

#[test]
fn one_client_is_an_ipv4_address_or_64_bits() {
    for (text, client) in [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
    ] {
        assert_eq!(client_network(address(text)), network(client), "{text}");
    }
}

#[track_caller]
fn assert_client(peer: &str, values: &[&[u8]], expected: &str) {
    let proxies = TrustedProxies::new(networks(&["10.0.0.0/8", "fd00::/8"]));
    let found = proxies.client(address(peer), values.iter().copied());
    assert_eq!(found, address(expected), "{:?}", values.iter().map(|v| v.escape_ascii()).collect::<Vec<_>>());
}

#[test]
fn h1_the_list_is_read_from_its_end_up_to_the_first_who_is_not_trusted() {
    assert_client("192.0.2.9", &[b"192.0.2.1"], "192.0.2.9");
    assert_client("10.0.0.1", &[], "10.0.0.1");
    assert_client("10.0.0.1", &[b"192.0.2.1"], "192.0.2.1");
    assert_client("::ffff:10.0.0.1", &[b"::ffff:192.0.2.1"], "192.0.2.1");
    assert_client("fd00::1", &[b"2001:db8::1,10.0.0.2"], "2001:db8::1");
    // What the client sent itself.
    assert_client("10.0.0.1", &[b"192.0.2.7, 192.0.2.1 ,\t10.0.0.2"], "192.0.2.1");
    assert_client("10.0.0.1", &[b"192.0.2.7", b"10.0.0.3,192.0.2.1", b"10.0.0.2"], "192.0.2.1");
    // A proxy that is itself the client.
    assert_client("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"], "10.0.0.3");
}

#[test]
fn h1_what_is_no_address_ends_the_walk() {
    for garbage in [
        &b""[..],
        b" ",
        b"unknown",
        b"\xff",
        b"10.0.0",
        b"10.0.0.256",
        b"[10.0.0.2]",
        b"[fd00::2",
        b"fd00::2]",
        b"10.0.0.2:port",
        b"10.0.0.2:99999",
        b"for=10.0.0.2",
        b"\"10.0.0.2\"",
        b"10.0.0.2 10.0.0.2",
        b"10.0.0.2;192.0.2.8",
    ] {
        assert_client("10.0.0.1", &[b"192.0.2.1", garbage], "10.0.0.1");
        assert_client("10.0.0.1", &[b"192.0.2.1", garbage, b"10.0.0.2"], "10.0.0.2");
        assert_client("10.0.0.1", &[&[garbage, b",10.0.0.2"].concat()], "10.0.0.2");
        assert_client("10.0.0.1", &[garbage, b"192.0.2.1"], "192.0.2.1");
    }
}

#[test]
fn h1_ports_and_brackets_are_no_part_of_an_address() {
    for (element, expected) in [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
    ] {
        assert_client("10.0.0.1", &[element.as_bytes()], expected);
        assert_client("10.0.0.1", &[element.as_bytes(), b"10.0.0.2:80, [fd00::2]:80"], expected);
    }
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::V4), any::<Ipv6Addr>().prop_map(IpAddr::V6)]
}

fn any_network() -> impl Strategy<Value = Network> {
    (any_address(), 0..=128u8).prop_map(|(address, prefix)| {
        let most = IpNet::from(address).max_prefix_len();
        Network::canonical(IpNet::new(address, prefix % (most + 1)).unwrap())
    })
}

/// What a client may put into a header: bytes that look like a list, and bytes that do not.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(any_address(), 0..4).prop_map(|addresses| {
            let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            texts.join(", ").into_bytes()
        }),
        "[0-9.,: \\[\\]]{0,40}".prop_map(String::into_bytes),
        Just(b"10.0.0.1, 10.0.0.2".to_vec()),
    ]
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same_network(network in any_network()) {
        prop_assert_eq!(network.to_string().parse(), Ok(network));
    }

    #[test]
    fn nothing_that_is_read_panics(text in "[0-9a-f.:*/ ]{0,30}|\\PC{0,80}") {
        if let Ok(network) = text.parse::<Network>() {
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    #[test]
    fn a_network_contains_what_begins_as_it_does(base in any::<u32>(), other in any::<u32>(), prefix in 0..=32u8) {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let network = network(&format!("{}/{prefix}", Ipv4Addr::from(base & mask)));
        for address in [other, other & !mask | base & mask] {
            let is_inside = address & mask == base & mask;
            let address = Ipv4Addr::from(address);
            prop_assert_eq!(network.contains(address.into()), is_inside);
            prop_assert_eq!(network.contains(address.to_ipv6_mapped().into()), is_inside);
        }
    }

    #[test]
    fn a_client_is_in_its_own_network_alone(one in any_address(), other in any_address()) {
        prop_assert!(client_network(one).contains(one));
        prop_assert_eq!(client_network(one).contains(other), client_network(one) == client_network(other));
    }

    /// Whatever the client sends, with each proxy adding whom it got the request from, to the last value or as one of
    /// its own, the first proxy's word counts.
    #[test]
    fn h1_no_client_behind_trusted_proxies_chooses_its_address(
        client in any_address(),
        sent in proptest::collection::vec(any_value(), 0..4),
        hops in proptest::collection::vec((any::<[u8; 3]>(), any::<bool>()), 1..5),
    ) {
        let networks = networks(&["10.0.0.0/8"]);
        prop_assume!(!is_in(&networks, client));
        let (mut values, mut from) = (sent, client);
        for ([a, b, c], has_own_line) in hops {
            let text = from.to_string().into_bytes();
            match values.last_mut() {
                Some(last) if !has_own_line => last.extend([b", ".to_vec(), text].concat()),
                _ => values.push(text),
            }
            from = IpAddr::from([10, a, b, c]);
        }
        let found = TrustedProxies::new(networks).client(from, values.iter().map(Vec::as_slice));
        prop_assert_eq!(found, client.to_canonical());
    }

    #[test]
    fn h1_without_a_trusted_peer_the_list_is_not_looked_at(
        peer in any_address(),
        trusted in proptest::collection::vec(any_network(), 0..4),
    ) {
        prop_assume!(!is_in(&trusted, peer));
        let unread = std::iter::once_with(|| -> &[u8] { panic!("the list was looked at") });
        prop_assert_eq!(TrustedProxies::new(trusted).client(peer, unread), peer.to_canonical());
    }
}
