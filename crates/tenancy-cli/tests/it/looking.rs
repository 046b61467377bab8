//! `explain`, `order`, `status`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

use serde_json::{Value, json};

use crate::support::{Workplace, ended};

fn explained(place: &Workplace, arguments: &[&str], code: i32) -> Value {
    let ended = place.run(&[&["explain", "--json"], arguments].concat());
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (code, ""),
        "{arguments:?}: {}",
        ended.out
    );
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn explain_says_each_step() {
    let place = Workplace::with_tenants();
    let forged = ["--header", "X-Forwarded-Host: globex.localhost"];
    let request = [
        &["explain", "--host", "shop.acme.example", "--path", "/a?b"],
        &forged[..],
    ]
    .concat();
    assert_eq!(
        place.done(&request),
        "host                              shop.acme.example, named by the client\n\
         host                              forwarding headers are ignored: the peer is no trusted proxy\n\
         domain or subdomain of localhost  domain:shop.acme.example, leads to acme (snapshot)\n\
         look-up                           tenant acme, from the snapshot\n\
         =>                                tenant acme\n"
    );
}

#[test]
fn the_exit_code_of_explain_tells_the_outcome() {
    let place = Workplace::with_tenants();
    place.done(&["tenants", "maintenance", "acme", "on", "--status", "599"]);
    for (arguments, code, tenant, status) in [
        (
            &["--host", "globex.localhost"][..],
            0,
            json!("globex"),
            json!(null),
        ),
        (
            &["--host", "globex.localhost:8000", "--http2", "--method", "POST"],
            0,
            json!("globex"),
            json!(null),
        ),
        (&["--host", "localhost"], 0, json!(null), json!(null)),
        (&["--host", "nobody.localhost"], 3, json!(null), json!(404)),
        (&["--host", "elsewhere.example"], 3, json!(null), json!(404)),
        (&["--host", "acme.localhost"], 1, json!("acme"), json!(599)),
        (&["--host", "initech.localhost"], 1, json!("initech"), json!(503)),
        (&["--host", "a, b"], 1, json!(null), json!(400)),
        (
            &["--host", "globex.localhost", "--header", "Host: acme.localhost"],
            1,
            json!(null),
            json!(400),
        ),
        (
            &["--host", "globex.localhost", "--method", "CONNECT"],
            1,
            json!(null),
            json!(501),
        ),
    ] {
        let explanation = explained(&place, arguments, code);
        assert_eq!(
            (&explanation["tenant"], &explanation["status"]),
            (&tenant, &status),
            "{arguments:?}"
        );
    }
}

#[test]
fn explain_believes_the_proxies_that_settings_trust_and_no_others() {
    let place = Workplace::with_tenants();
    place.write("my.toml", "[tenancy]\ntrust_proxies = [\"10.0.0.0/8\"]\n");
    let request = [
        "--settings",
        "my.toml",
        "--host",
        "proxy.internal",
        "--header",
        "X-Forwarded-Host: globex.localhost",
    ];
    let from = |peer| [&request[..], &["--peer", peer]].concat();
    assert_eq!(explained(&place, &from("10.1.2.3"), 0)["tenant"], "globex");
    explained(&place, &from("11.1.2.3"), 3);
    explained(&place, &request, 3);
}

#[test]
fn explain_refuses_what_is_no_request() {
    let place = Workplace::with_tenants();
    for bad in [
        &["--host", "a\nb"][..],
        &["--host", "a b", "--http2"],
        &["--host", "localhost", "--path", "no-slash"],
        &["--host", "localhost", "--path", "/a b"],
        &["--host", "localhost", "--method", "GET /"],
        &["--host", "localhost", "--header", "no colon"],
    ] {
        place.fails(&[&["explain"], bad].concat(), 5);
    }
    assert_eq!(place.run(&["explain"]).code, 2);
    assert_eq!(
        place
            .run(&["explain", "--host", "localhost", "--peer", "nowhere"])
            .code,
        2
    );
}

#[test]
fn looking_leaves_nothing_behind() {
    let place = Workplace::with_tenants();
    for look in [
        &["explain", "--host", "acme.localhost"][..],
        &["status"],
        &["order"],
        &["tenants", "list"],
    ] {
        place.done(look);
    }
    let names: Vec<_> = fs::read_dir(place.path("tenancy-data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["catalogue.sqlite"]);
}

#[test]
fn order_shows_the_stages_of_the_settings_and_what_they_leave_out() {
    let place = Workplace::new();
    place.write(
        "my.toml",
        "[tenancy]\norder = [\"maintenance\", \"resolve\", \"body_limit\", \"cache_scope\"]\n",
    );
    assert_eq!(
        place.done(&["order", "--settings", "my.toml"]),
        "#  STAGE        WHAT IT DOES\n\
         1  maintenance  maintenance of the whole service\n\
         2  resolve      finds the tenant\n\
         3  body_limit   refuses bodies that are too large\n\
         4  cache_scope  opens the tenant's part of the cache\n\
         \n\
         Left out: panic_catch, gate, deadline, memory.\n"
    );
    let default = place.json(&["order"]);
    assert_eq!(default["stages"].as_array().unwrap().len(), 7);
    assert_eq!(
        (&default["stages"][2]["name"], &default["left_out"]),
        (&json!("resolve"), &json!(["memory"]))
    );
    assert!(!place.catalogue().exists(), "the order needs no catalogue");
}

#[test]
fn a_bad_order_is_refused_with_every_mistake() {
    let place = Workplace::new();
    place.write(
        "bad.toml",
        "[tenancy]\norder = [\"gate\", \"resolve\", \"resolve\", \"reslove\"]\n",
    );
    let error = place.fails(&["order", "--settings", "bad.toml"], 5);
    let text = error["details"][0].as_str().unwrap();
    for part in [
        "bad.toml:2",
        "tenancy.order",
        "\"reslove\"",
        "resolve is there twice",
        "resolve must come before gate",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn status_tells_where_the_catalogue_is_and_how_it_stands() {
    let place = Workplace::with_tenants();
    place.done(&["tenants", "suspend", "globex"]);
    let text = place.done(&["status"]);
    for part in [
        "schema version  3\n",
        "change number   5\n",
        "tenants         1 active, 1 suspended, 1 pending, 0 deleted\n",
        "domains         2\n",
        "settings file   none\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    place.write("my.toml", "");
    let json = place.json(&["status", "--settings", "my.toml"]);
    assert_eq!(
        json["tenants"],
        json!({ "pending": 1, "active": 1, "suspended": 1, "deleted": 0 })
    );
    assert!(json["file_bytes"].as_u64().unwrap() > 0);
    // The working directory may be reached by a link, so only the end is compared.
    let ends_with = |key: &str, end: &str| json[key].as_str().unwrap().ends_with(end);
    assert!(
        ends_with("catalogue", "/tenancy-data/catalogue.sqlite") && ends_with("settings_file", "/my.toml")
    );
}

#[test]
fn the_data_directory_comes_from_the_option_then_the_environment_then_the_file() {
    let place = Workplace::new();
    place.write("my.toml", "[catalogue]\ndata_dir = \"from-file\"\n");
    place.done(&["tenants", "create", "a", "--settings", "my.toml"]);
    let mut by_environment = place.command(&["tenants", "create", "b", "--settings", "my.toml"]);
    by_environment.env("TENANCY__CATALOGUE__DATA_DIR", "from-environment");
    assert_eq!(ended(by_environment).code, 0);
    let mut by_option = place.command(&["--data-dir", "deep/from-option", "tenants", "create", "c"]);
    by_option.env("TENANCY__CATALOGUE__DATA_DIR", "from-environment");
    assert_eq!(ended(by_option).code, 0);
    for (directory, id) in [
        ("from-file", "a"),
        ("from-environment", "b"),
        ("deep/from-option", "c"),
    ] {
        let list = place.json(&["tenants", "list", "--data-dir", directory]);
        assert_eq!(list["tenants"][0]["id"], id, "{directory}");
    }
}

#[test]
fn ignored_variables_are_named_in_the_status() {
    let place = Workplace::with_tenants();
    let mut status = place.command(&["status"]);
    status.env("TENANCY_PORT", "tcp://10.0.0.1:80");
    let ended = ended(status);
    assert_eq!(ended.code, 0);
    assert!(
        ended.out.contains("\nwarning: ") && ended.out.contains("TENANCY_PORT"),
        "{}",
        ended.out
    );
}

/// A server that gives this answer to whoever asks, as often as it is asked.
fn answering(answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut asked = [0; 1024];
            let read = connection.read(&mut asked).unwrap();
            assert!(asked[..read].starts_with(b"GET /memory HTTP/1.0\r\n"));
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

fn memory_of_a_server() -> Value {
    json!({
        "process": {
            "taken_at_ms": 1_000_000_000_000_u64,
            "allocator": "jemalloc",
            "heap": {
                "allocated": 10 << 20, "active": 12 << 20, "resident": 14 << 20, "mapped": 20 << 20, "retained": 0,
            },
            "resident": 30 << 20,
            "peak": 40 << 20,
            "control_group": { "limit": "unlimited", "current": "unavailable" },
            "beyond_live": 20 << 20,
            "unattributed": 16 << 20,
            "requests": 5_000,
            "growth": { "bytes_per_1000_requests": -2048, "samples": 9, "requests": 4_000 },
        },
        "purger": { "purges": 2, "given_back_bytes": 5 << 20, "last": null },
        "tenants": [
            { "name": "acme", "requests": 4_000, "allocated": 8 << 20, "peak": 1024, "retained": 0 },
            { "name": "globex", "requests": 1_000, "allocated": 1 << 20, "peak": 3 << 20, "retained": -5 },
        ],
        "routes": [{ "name": "/no\u{1b}tes", "requests": 5_000, "allocated": 9 << 20, "peak": 3 << 20, "retained": 1 }],
        "a_key_of_a_later_version": 1,
    })
}

#[test]
fn status_shows_the_memory_of_a_running_server() {
    let memory = memory_of_a_server();
    let answer = format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{memory}");
    let admin = format!("http://{}", answering(answer));
    let place = Workplace::new();
    let text = place.done(&["status", "--memory", "--admin", &admin]);
    for part in [
        "live                      10.0 MiB\n",
        "limit                     unlimited\n",
        "of it used                unavailable\n",
        "growth                    -2.0 KiB for 1,000 requests, over 4000 of them\n",
        "purges                    2, gave back 5.0 MiB\n",
        "seen at                   2001-09-09T01:46:40Z\n",
        "TENANT  REQUESTS  ALLOCATED  PEAK     RETAINED\nglobex  1000",
        "/no\\u{1b}tes",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(place.json(&["status", "--memory", "--admin", &admin]), memory);
    assert!(!place.catalogue().exists(), "memory needs no catalogue");
}

#[test]
fn status_says_where_no_memory_is_told() {
    let place = Workplace::new();
    // Bound and given back: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let free = format!("http://{free}");
    let error = place.fails(&["status", "--memory", "--admin", &free], 1);
    assert!(
        error["message"].as_str().unwrap().contains("does not answer"),
        "{error}"
    );
    let refusing = answering("HTTP/1.0 403 Forbidden\r\n\r\nnot here\n".to_owned());
    let refusing = format!("http://{refusing}");
    let error = place.fails(&["status", "--memory", "--admin", &refusing], 1);
    assert!(
        error["message"].as_str().unwrap().contains("403: not here"),
        "{error}"
    );
    place.fails(&["status", "--memory", "--admin", "https://localhost"], 2);
}
