//! Real proxies, with the files of `deploy/`, between hostile clients and an API that trusts them; and what Traefik and
//! Envoy ask, as they ask it.

mod cases;
mod replay;
mod rig;
mod spoofs;
mod tap;
mod upstream;
mod wire;

/// The cases as tests of one proxy, which count as ignored where it is not installed.
macro_rules! tests_of {
    ($module:ident, $proxy:ident, $missing:ident, $package:literal, [$($case:ident,)*]) => {
        mod $module {
            use super::{cases, rig::Proxy};

            $(
                #[test]
                #[cfg_attr($missing, ignore = concat!($package, " is not installed"))]
                fn $case() {
                    cases::$case(Proxy::$proxy);
                }
            )*
        }
    };
}

macro_rules! tests_of_all {
    ($($case:ident,)*) => {
        tests_of!(nginx, Nginx, missing_nginx, "nginx", [$($case,)*]);
        tests_of!(caddy, Caddy, missing_caddy, "caddy", [$($case,)*]);
        tests_of!(haproxy, Haproxy, missing_haproxy, "haproxy", [$($case,)*]);
        tests_of!(apache, Apache, missing_apache, "apache2 (with lua-socket)", [$($case,)*]);
    };
}

tests_of_all!(
    a_valid_token_passes_and_an_ended_one_gets_the_envelope,
    a_use_slides_and_a_release_is_in_force_at_once,
    a_route_demands_more,
    f3_a_demand_holds_for_every_spelling_of_its_path,
    methods_bodies_and_old_clients_pass,
    a_large_body_streams_through_and_doorward_gets_none,
    a_websocket_opens_for_a_valid_token_only,
    f1_an_outage_is_503_and_never_a_pass,
    f1_no_answer_but_a_yes_is_a_yes,
    f2_identity_headers_are_doorwards_whatever_the_client_sends,
    f2_connection_removes_no_identity_header,
    f2_names_are_passed_on_as_doorward_writes_them,
    f3_no_path_bypasses_the_check,
    f3_no_header_or_method_bypasses_the_check,
    f3_no_framing_smuggles_a_request_past_the_check,
    f3_only_a_websocket_is_an_upgrade,
    h1_the_address_is_that_of_the_connection,
    h2_a_token_in_the_query_reaches_neither_the_api_nor_a_log,
);
