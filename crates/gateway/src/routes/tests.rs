use super::*;

const FILE: &str = r#"
[[route]]
path = "/"
upstream = "http://127.0.0.1:9000"

[[route]]
path = "/public"
upstream = "http://127.0.0.1:9000"
public = true

[[route]]
path = "/admin"
methods = ["GET", "POST"]
upstream = "https://admin.internal/base"
strip_prefix = true
require = { organisation = ["ACME", "Zoë & Co"], role = "administrator", key_address = true }

[[route]]
path = "/admin"
methods = ["DELETE"]
upstream = "http://127.0.0.1:9001"
require.unit = "Warehouse"

[[route]]
path = "/a:b"
upstream = "http://127.0.0.1:9002"
strip_prefix = true
"#;

fn find(routes: &Routes, path: &str, method: &str) -> Result<(String, String), NoRoute> {
    let place = routes.find(&Path::new(path).unwrap(), &method.parse().unwrap())?;
    let route = &routes.all()[place];
    Ok((route.upstream.to_string(), route.forwarded(&Path::new(path).unwrap()).to_owned()))
}

#[test]
fn the_longest_prefix_decides() {
    let routes = Routes::read(FILE).unwrap();
    assert!(routes.by_method());
    for (path, method, upstream, forwarded) in [
        ("/", "GET", "http://127.0.0.1:9000/", "/"),
        ("/administrator", "PUT", "http://127.0.0.1:9000/", "/administrator"),
        ("/admin", "GET", "https://admin.internal/base", "/"),
        ("/admin/", "HEAD", "https://admin.internal/base", "/"),
        ("/admin/x/y", "POST", "https://admin.internal/base", "/x/y"),
        ("/%61dmin/x", "DELETE", "http://127.0.0.1:9001/", "/admin/x"),
        ("/a%3ab/x%3A", "GET", "http://127.0.0.1:9002/", "/x%3A"),
        ("/a:b", "GET", "http://127.0.0.1:9002/", "/"),
        ("/a%3Abc", "GET", "http://127.0.0.1:9000/", "/a%3Abc"),
    ] {
        assert_eq!(find(&routes, path, method), Ok((upstream.into(), forwarded.into())), "{method} {path}");
    }
    assert_eq!(find(&routes, "/admin/x", "PUT"), Err(NoRoute::NoMethod("DELETE, GET, POST".into())));
    let requirements: Vec<_> =
        routes.all().iter().filter_map(|route| route.requirements.as_deref()).collect();
    let first = "organisation=ACME&organisation=Zo%C3%AB+%26+Co&role=administrator&key_address=true";
    assert_eq!(requirements, [first, "unit=Warehouse"]);
}

/// F3: to a server that ignores case `/ADMIN` is `/admin`, and to one that does not `/Public` is not `/public`.
#[test]
fn f3_case_leads_to_no_laxer_route() {
    let routes = Routes::read(FILE).unwrap();
    for path in ["/ADMIN", "/Admin/x", "/PUBLIC/x", "/%41dmin"] {
        assert_eq!(find(&routes, path, "GET"), Err(NoRoute::OtherCase), "{path}");
    }
    assert!(find(&routes, "/public/ADMIN", "GET").is_ok());
    assert_eq!(
        find(&Routes::read("[[route]]\npath='/a'\nupstream='http://h'").unwrap(), "/b", "GET"),
        Err(NoRoute::NoPath)
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let ok = "[[route]]\npath = '/a'\nupstream = 'http://h'\n";
    for (text, said) in [
        ("", "line 1: there is no [[route]]"),
        (
            "[[route]]\npath = 'a'\nupstream = 'http://h'",
            "line 2: the path 'a' does not begin with '/'; write",
        ),
        ("[[route]]\npath = '/a/'\nupstream = 'http://h'", "line 2: the path '/a/' is written '/a'"),
        ("[[route]]\npath = '/%61'\nupstream = 'http://h'", "line 2: the path '/%61' is written '/a'"),
        ("[[route]]\npath = '/a/../b'\nupstream = 'http://h'", "line 2: the path '/a/../b' has a segment"),
        (
            "[[route]]\npath = '/a'\nupstream = 'ftp://h'",
            "line 3: the upstream 'ftp://h' is no HTTP address; write",
        ),
        ("[[route]]\npath = '/a'\nupstream = 'h:1'", "line 3: the upstream 'h:1' is no HTTP address"),
        (
            "[[route]]\npath = '/a'\nupstream = 'http://h/?x=1'",
            "line 3: the upstream 'http://h/?x=1' has a query",
        ),
        ("[[route]]\npath = '/a'\nupstream = 'http://u:canary@h'", "line 3: the upstream has a username"),
        ("[[route]]\npath = '/a'", "line 1: missing field 'upstream'"),
        (
            "[[route]]\npath = '/a'\nupstream = 'http://h'\npubic = true",
            "line 4: unknown field 'pubic', expected",
        ),
        ("[[route]]\npath = 5\nupstream = 'http://h'", "line 2: invalid type: integer"),
        (&*format!("{ok}methods = ['get']"), "line 4: the method 'get' cannot"),
        (&*format!("{ok}methods = ['TRACE']"), "line 4: the method 'TRACE' cannot"),
        (&*format!("{ok}methods = ['GET', 'GET']"), "line 4: the method 'GET' is named twice"),
        (&*format!("{ok}require = {{}}"), "line 4: 'require' demands nothing"),
        (&*format!("{ok}public = true\nrequire.role = 'member'"), "a public route cannot require"),
        (
            &*format!("{ok}require.role = 'admin'"),
            "line 4: 'admin' is no role; write member or administrator",
        ),
        (&*format!("{ok}require.unit = []"), "line 4: the list 'unit' is empty"),
        (&*format!("{ok}require.unit = ' '"), "line 4: ' ' is no unit; write its name or its id"),
        (&*format!("{ok}require.key_address = false"), "line 4: 'key_address' can only be true"),
        (&*format!("{ok}\n{ok}"), "line 5: the path '/a' has a route for the same method in line 1 already"),
        ("[[route]\n", "line 1: "),
    ] {
        let error = Routes::read(text).unwrap_err().to_string();
        assert!(
            error.contains(said) && !error.contains("canary") && !error.contains('\n'),
            "{text}: {error}"
        );
    }
    let two = "[[route]]\npath = 'a'\nupstream = 'x'\n";
    assert_eq!(Routes::read(two).unwrap_err().0.len(), 2);
}
