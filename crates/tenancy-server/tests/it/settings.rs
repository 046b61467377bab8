//! Settings, from all sources and with all mistakes.

use std::path::Path;

use axum::{Router, body::Body, http::Request, routing::get};
use tenancy::MemoryStore;
use tenancy_server::settings::{LogFormat, Settings, Sources};
use tower::ServiceExt;

fn settings(sources: Sources) -> Settings {
    sources.load().unwrap().settings
}

fn from_text(text: &str) -> Settings {
    settings(Sources::new().text("s.toml", text))
}

fn from_variables(variables: &[(&str, &str)]) -> Settings {
    settings(Sources::new().variables(variables.iter().copied()))
}

/// Source and key of each mistake, and the reason.
fn mistakes(sources: Sources) -> Vec<(String, String, String)> {
    let error = sources.load().unwrap_err();
    let mistakes = error.mistakes().iter();
    mistakes
        .map(|mistake| {
            (
                mistake.source.clone(),
                mistake.key.clone(),
                mistake.reason.clone(),
            )
        })
        .collect()
}

/// The one mistake, which must have this source, this key and this in its reason.
fn assert_refused(sources: Sources, source: &str, key: &str, reason: &str) {
    let found = mistakes(sources);
    let [(found_source, found_key, found_reason)] = &found[..] else {
        panic!("one mistake is expected: {found:#?}");
    };
    assert_eq!(
        (found_source.as_str(), found_key.as_str()),
        (source, key),
        "{found:?}"
    );
    assert!(found_reason.contains(reason), "{found:?} should say {reason:?}");
}

fn assert_text_refused(text: &str, line: usize, key: &str, reason: &str) {
    let source = format!("s.toml:{line}");
    assert_refused(Sources::new().text("s.toml", text), &source, key, reason);
}

mod order_of_sources {
    use super::*;

    #[test]
    fn without_sources_the_defaults_hold() {
        let loaded = Sources::new().load().unwrap();
        assert_eq!(loaded.settings, Settings::default());
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn overrides_beat_the_environment_which_beats_files_which_beat_defaults() {
        let file = "[server]\nlisten = \"127.0.0.1:1\"\ngrace_ms = 1\n[tenancy]\ndeadline_ms = 1\nbody_limit_bytes = 1\n";
        let loaded = settings(
            Sources::new()
                .set("--listen", "server.listen", "127.0.0.1:3")
                .variables([
                    ("TENANCY__SERVER__LISTEN", "127.0.0.1:2"),
                    ("TENANCY__SERVER__GRACE_MS", "2"),
                ])
                .text("s.toml", file),
        );
        assert_eq!(loaded.server.listen.port(), 3);
        assert_eq!(loaded.server.grace_ms, 2);
        assert_eq!(loaded.tenancy.deadline_ms, 1);
        assert_eq!(
            loaded.tenancy.max_stale_ms,
            Settings::default().tenancy.max_stale_ms
        );
    }

    #[test]
    fn a_later_file_beats_an_earlier_one_key_by_key() {
        let loaded = settings(
            Sources::new()
                .text("a.toml", "[server]\nlisten = \"127.0.0.1:1\"\ngrace_ms = 1\n")
                .text("b.toml", "[server]\ngrace_ms = 2\n"),
        );
        assert_eq!(loaded.server.listen.port(), 1);
        assert_eq!(loaded.server.grace_ms, 2);
    }

    #[test]
    fn a_wrong_value_is_refused_even_where_a_later_source_replaces_it() {
        assert_refused(
            Sources::new()
                .text("s.toml", "[server]\ngrace_ms = \"soon\"\n")
                .set("--grace", "server.grace_ms", 5),
            "s.toml:2",
            "server.grace_ms",
            "u64",
        );
    }

    #[test]
    fn an_impossible_value_is_blamed_on_the_source_that_has_the_last_word() {
        let file = "[tenancy]\nbase_domains = [\"com\"]\n";
        let variable = ("TENANCY__TENANCY__BASE_DOMAINS", "co.uk");
        let sources = || Sources::new().text("s.toml", file);
        let key = "tenancy.base_domains";
        assert_refused(sources(), "s.toml:2", key, "\"com\"");
        assert_refused(sources().variables([variable]), variable.0, key, "\"co.uk\"");
        let bases = vec!["github.io"];
        let overridden = sources().variables([variable]).set("--base-domain", key, bases);
        assert_refused(overridden, "--base-domain", key, "\"github.io\"");
    }
}

mod environment {
    use super::*;

    #[test]
    fn numbers_booleans_lists_and_texts_are_read() {
        let loaded = from_variables(&[
            ("TENANCY__TENANCY__BODY_LIMIT_BYTES", "65536"),
            ("TENANCY__TENANCY__MISSES_PER_SECOND", "7"),
            ("TENANCY__TENANCY__HIDE_SUSPENDED", "true"),
            ("TENANCY__TENANCY__ALWAYS_HTTPS", "false"),
            ("TENANCY__TENANCY__ACME_CHALLENGE", "true"),
            ("TENANCY__TENANCY__BASE_DOMAINS", "a.example, b.example,"),
            ("TENANCY__TENANCY__CENTRAL_HOSTS", "www.a.example"),
            ("TENANCY__TENANCY__TRUST_PROXIES", "10.0.0.0/8,::1"),
            ("TENANCY__TENANCY__OBSERVE", "resolve,gate"),
            ("TENANCY__CATALOGUE__DATA_DIR", "12"),
            ("TENANCY__CATALOGUE__DATABASE", "13"),
            ("TENANCY__LOG__FILTER", "info,tenancy=debug"),
            ("TENANCY__LOG__FORMAT", "json"),
        ]);
        assert_eq!(loaded.tenancy.body_limit_bytes, 65536);
        assert_eq!(loaded.tenancy.misses_per_second, 7);
        assert!(loaded.tenancy.hide_suspended);
        assert!(!loaded.tenancy.always_https);
        assert!(loaded.tenancy.acme_challenge);
        assert_eq!(loaded.tenancy.base_domains, ["a.example", "b.example"]);
        assert_eq!(loaded.tenancy.central_hosts.unwrap(), ["www.a.example"]);
        assert_eq!(loaded.tenancy.trust_proxies, ["10.0.0.0/8", "::1"]);
        assert_eq!(loaded.tenancy.observe, ["resolve", "gate"]);
        assert_eq!(
            loaded.catalogue.data_dir,
            Path::new("12"),
            "a path may be a number"
        );
        assert_eq!(loaded.catalogue.file(), Path::new("13"));
        assert_eq!(loaded.log.filter, "info,tenancy=debug", "a text may have commas");
        assert_eq!(loaded.log.format, LogFormat::Json);
    }

    #[test]
    fn an_empty_list_is_a_list_without_entries() {
        let loaded = from_variables(&[("TENANCY__TENANCY__CENTRAL_HOSTS", "")]);
        assert_eq!(loaded.tenancy.central_hosts, Some(Vec::new()));
    }

    #[test]
    fn what_others_set_is_ignored_with_one_warning_that_names_it() {
        let loaded = Sources::new()
            .variables([
                ("TENANCY_SERVICE_HOST", "10.0.0.1"),
                ("TENANCY_PORT", "tcp://10.0.0.1:80"),
                ("TENANCY__SERVER", "x"),
                ("TENANCY__A__B__C", "x"),
                ("TENANCY____LISTEN", "x"),
                ("TENANCYX", "x"),
                ("PATH", "/bin"),
                ("TENANCY__SERVER__GRACE_MS", "1"),
            ])
            .load()
            .unwrap();
        assert_eq!(loaded.settings.server.grace_ms, 1);
        let [warning] = &loaded.warnings[..] else {
            panic!("{:?}", loaded.warnings);
        };
        let names =
            "TENANCY_PORT, TENANCY_SERVICE_HOST, TENANCY__A__B__C, TENANCY__SERVER, TENANCY____LISTEN";
        assert!(warning.ends_with(&format!(": {names}")), "{warning}");
        assert!(warning.contains("TENANCY__SECTION__KEY"), "{warning}");
        for silent in ["TENANCYX", "PATH", "10.0.0.1", "GRACE_MS"] {
            assert!(!warning.contains(silent), "{silent} in {warning}");
        }
    }

    #[test]
    fn what_looks_like_a_setting_and_is_none_is_refused() {
        for (name, value, key, reason) in [
            ("TENANCY__SERVER__PORT", "80", "server.port", "unknown key"),
            (
                "TENANCY__SEVER__LISTEN",
                "127.0.0.1:1",
                "sever.listen",
                "unknown key",
            ),
            ("TENANCY__SERVER__GRACE_MS", "soon", "server.grace_ms", "\"soon\""),
            ("TENANCY__SERVER__GRACE_MS", "", "server.grace_ms", "u64"),
            ("TENANCY__SERVER__GRACE_MS", "-1", "server.grace_ms", "`-1`"),
            (
                "TENANCY__TENANCY__HIDE_SUSPENDED",
                "yes",
                "tenancy.hide_suspended",
                "boolean",
            ),
            (
                "TENANCY__SERVER__LISTEN",
                "8000",
                "server.listen",
                "socket address",
            ),
            ("TENANCY__LOG__FORMAT", "xml", "log.format", "`json`"),
            ("TENANCY__LOG__FILTER", "tenancy=loud", "log.filter", ""),
            (
                "TENANCY__TENANCY__BASE_DOMAINS",
                "",
                "tenancy.base_domains",
                "at least one",
            ),
            ("TENANCY__CATALOGUE__DATA_DIR", "", "catalogue.data_dir", "empty"),
        ] {
            assert_refused(Sources::new().variables([(name, value)]), name, key, reason);
        }
    }
}

mod lines {
    use super::*;

    #[test]
    fn a_key_is_found_however_it_is_spelled() {
        for text in [
            "[server]\nlisten = \"127.0.0.1:9\"",
            "\u{feff}[server]\r\nlisten = '127.0.0.1:9'\r\n",
            "server.listen = \"127.0.0.1:9\"",
            "server = { listen = \"127.0.0.1:9\" }",
            "[\"server\"]\n\"listen\" = \"127.0.0.1:9\"",
            "[ server ] # where\nlisten=\"\"\"127.0.0.1:9\"\"\"",
        ] {
            assert_eq!(from_text(text).server.listen.port(), 9, "{text}");
        }
    }

    #[test]
    fn the_line_is_right_however_the_key_is_spelled() {
        for (text, line) in [
            ("[server]\n\nlisten = 1\n", 3),
            ("[server]\r\n\r\nlisten = 1\r\n", 3),
            ("# a\n\nserver.listen = 1\n", 3),
            ("log.filter = 'x'\nserver.grace_ms = 1\nserver.listen = 1\n", 3),
            ("\nserver = { grace_ms = 1, listen = 1 }\n", 2),
            ("\nserver = {\n  grace_ms = 1,\n  listen = 1\n}\n", 4),
            ("[server] # [tenancy]\n# listen = 1\nlisten = 1\n", 3),
            (
                "[catalogue]\ndata_dir = '''\n[server]\nlisten = 1\n'''\n[server]\nlisten = 1\n",
                7,
            ),
            ("[ \"server\" ]\n'listen' = 1\n", 2),
            ("[server]\n\"l\\u0069sten\" = 1\n", 2),
            ("[server.listen]\nx = 1\n", 1),
            ("[server]\nlisten.x = 1\n", 2),
        ] {
            assert_text_refused(text, line, "server.listen", "socket address");
        }
    }

    #[test]
    fn impossible_values_have_the_line_too() {
        for (text, line, key, reason) in [
            ("tenancy.deadline_ms = 0", 1, "tenancy.deadline_ms", "above 0"),
            (
                "[tenancy]\n\nmisses_per_second = 0",
                3,
                "tenancy.misses_per_second",
                "above 0",
            ),
            (
                "[tenancy]\norder = [\n\"resolve\",\n\"resolv\"]",
                2,
                "tenancy.order",
                "resolv",
            ),
            (
                "[tenancy]\nobserve = [\"resolve\", \"everything\"]",
                2,
                "tenancy.observe",
                "everything",
            ),
            (
                "[tenancy]\norder = [\"cache_scope\", \"resolve\"]",
                2,
                "tenancy.order",
                "cache_scope",
            ),
            (
                "[tenancy]\ntrust_proxies = [\"10.0.0.0/8\", \"10.0.0.0/33\"]",
                2,
                "tenancy.trust_proxies",
                "\"10.0.0.0/33\"",
            ),
            (
                "[tenancy]\ntrust_proxies = [\"proxy.internal\"]",
                2,
                "tenancy.trust_proxies",
                "proxy.internal",
            ),
            (
                "[tenancy]\nbase_domains = [\"co.uk\"]",
                2,
                "tenancy.base_domains",
                "public suffix",
            ),
            (
                "[tenancy]\nbase_domains = []",
                2,
                "tenancy.base_domains",
                "at least one",
            ),
            (
                "[tenancy]\ncentral_hosts = [\"a b\"]",
                2,
                "tenancy.central_hosts",
                "\"a b\"",
            ),
            (
                "[tenancy]\ncentral_hosts = [\"www.example.com:443\"]",
                2,
                "tenancy.central_hosts",
                "ports",
            ),
            ("[log]\nfilter = \"a=b=c\"", 2, "log.filter", ""),
            (
                "[tenancy]\nmax_resources = 0",
                2,
                "tenancy.max_resources",
                "above 0",
            ),
            (
                "[tenancy]\npublic_url = \"example.com\"",
                2,
                "tenancy.public_url",
                "http:// or https://",
            ),
            (
                "[tenancy]\n\npublic_url = \"https://example.com/app\"",
                3,
                "tenancy.public_url",
                "only scheme, base domain and port",
            ),
            (
                "[tenancy]\ndev_tenant_even_in_release = true\ndev_tenant = \"ACME\"",
                3,
                "tenancy.dev_tenant",
                "ACME",
            ),
            (
                "[cache]\nredis_url = \"http://cache\"",
                2,
                "cache.redis_url",
                "redis://",
            ),
            ("[cache]\nmax_bytes = 1048575", 2, "cache.max_bytes", "1048576"),
            (
                "[memory]\nsample_every_ms = 9",
                2,
                "memory.sample_every_ms",
                "10 at least",
            ),
            (
                "[memory]\nwarn_over_bytes = 0",
                2,
                "memory.warn_over_bytes",
                "above 0",
            ),
            (
                "[admin]\nlisten = \"127.0.0.1:8000\"",
                2,
                "admin.listen",
                "server.listen",
            ),
            ("[admin]\nlisten = \"0.0.0.0:2113\"", 2, "admin.listen", "ssh -L"),
            ("[admin]\nlisten = \"[::]:2113\"", 2, "admin.listen", "127.0.0.1"),
            (
                "[admin]\nlisten = \"10.0.0.7:2113\"",
                2,
                "admin.listen",
                "127.0.0.1",
            ),
            (
                "[admin]\nlisten = \"localhost\"",
                2,
                "admin.listen",
                "socket address",
            ),
            (
                "[cache]\nstaleness_bound_ms = 99",
                2,
                "cache.staleness_bound_ms",
                "from 100",
            ),
            (
                "[cache]\nstaleness_bound_ms = 3600001",
                2,
                "cache.staleness_bound_ms",
                "3600000",
            ),
            ("[catalogue]\ndata_dir = \"\"", 2, "catalogue.data_dir", "empty"),
            ("[catalogue]\ndatabase = \"\"", 2, "catalogue.database", "empty"),
        ] {
            assert_text_refused(text, line, key, reason);
        }
    }
}

mod unknown {
    use super::*;

    #[test]
    fn keys_are_refused_with_those_that_are_known() {
        assert_text_refused(
            "[tenancy]\nbase_domain = \"example.com\"\n",
            2,
            "tenancy.base_domain",
            "unknown key `base_domain`, expected one of `base_domains`",
        );
        assert_text_refused("server.\"a.b\" = 1", 1, "server.a.b", "unknown key `a.b`");
    }

    #[test]
    fn a_section_is_refused_once_with_or_without_keys() {
        for text in [
            "\n[sever]\nlisten = 1\nport = 2\n",
            "\n[sever]\n",
            "\nsever.a.b = 1\n",
        ] {
            assert_text_refused(text, 2, "sever", "unknown key `sever`, expected one of `server`");
        }
    }

    #[test]
    fn keys_outside_of_sections_are_refused() {
        for text in [
            "# x\nlisten = \"127.0.0.1:1\"",
            "\nlisten = []",
            "\n[[listen]]\nx = 1",
        ] {
            assert_text_refused(text, 2, "listen", "[server]");
        }
        assert_text_refused("[[server]]\nlisten = '127.0.0.1:1'", 1, "server", "[server]");
    }

    #[test]
    fn an_override_of_an_unknown_key_is_refused() {
        assert_refused(
            Sources::new().set("--port", "server.port", 1),
            "--port",
            "server.port",
            "unknown",
        );
        assert_refused(
            Sources::new().set("--x", "nothing", 1),
            "--x",
            "nothing",
            "unknown",
        );
    }
}

mod files {
    use super::*;

    #[test]
    fn a_file_is_read_and_named_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.toml");
        std::fs::write(&path, "[server]\ngrace_ms = 5\n").unwrap();
        assert_eq!(settings(Sources::new().file(&path)).server.grace_ms, 5);
        std::fs::write(&path, "[server]\ngrace = 5\n").unwrap();
        let source = format!("{}:2", path.display());
        assert_refused(Sources::new().file(&path), &source, "server.grace", "unknown");
    }

    #[test]
    fn one_that_can_not_be_read_is_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let latin = directory.path().join("latin.toml");
        std::fs::write(&latin, b"[log]\nfilter = \"\xe9\"\n").unwrap();
        let missing = directory.path().join("missing.toml");
        for (path, reason) in [
            (latin.as_path(), "UTF-8"),
            (missing.as_path(), "can not be read"),
            (directory.path(), "can not be read"),
        ] {
            let source = path.display().to_string();
            assert_refused(Sources::new().file(path), &source, "", reason);
        }
    }

    #[test]
    fn broken_toml_is_refused_with_the_line() {
        for (text, line) in [
            ("[server]\ngrace_ms = 1\ngrace_ms = 2\n", 3),
            ("[server]\ngrace_ms = 1\n[server]\n", 3),
            ("server.grace_ms = 1\n[server]\nlisten = '127.0.0.1:1'\n", 2),
            ("[server]\ngrace_ms =\n", 2),
            ("\n[server\n", 2),
            ("[log]\nfilter = \"a\n", 2),
        ] {
            let found = mistakes(Sources::new().text("s.toml", text));
            let source = format!("s.toml:{line}");
            assert!(
                found.iter().any(|(at, _, _)| *at == source),
                "{text:?}: {found:?}"
            );
            assert!(
                found
                    .iter()
                    .all(|(_, key, reason)| key.is_empty() && !reason.is_empty())
            );
        }
    }
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_sources() {
    let text = "[server]\nlisten = 1\nport = 2\n[tenancy]\ndeadline_ms = 0\nbase_domains = [\"com\", \"ok.example\", \"*.a.example\"]\n[sever]\n";
    let found = mistakes(
        Sources::new()
            .file("/nowhere/s.toml")
            .text("a.toml", "[server")
            .text("b.toml", text)
            .variables([("TENANCY__LOG__FORMAT", "xml")])
            .set("--trust-proxy", "tenancy.trust_proxies", vec!["x", "::1", "y"]),
    );
    let mut places: Vec<(&str, &str)> = found
        .iter()
        .map(|(source, key, _)| (source.as_str(), key.as_str()))
        .collect();
    places.dedup();
    let expected = [
        ("/nowhere/s.toml", ""),
        ("a.toml:1", ""),
        ("b.toml:7", "sever"),
        ("b.toml:2", "server.listen"),
        ("b.toml:3", "server.port"),
        ("TENANCY__LOG__FORMAT", "log.format"),
        ("b.toml:6", "tenancy.base_domains"),
        ("--trust-proxy", "tenancy.trust_proxies"),
        ("b.toml:5", "tenancy.deadline_ms"),
    ];
    assert_eq!(places, expected, "{found:#?}");
    for each in ["\"com\"", "\"*.a.example\"", "\"x\"", "\"y\""] {
        assert!(found.iter().any(|(_, _, reason)| reason.contains(each)), "{each}");
    }
}

#[test]
fn the_error_has_a_line_for_each_mistake_and_indents_what_belongs_to_it() {
    let text = "[tenancy]\ndeadline_ms = 0\norder = [\"resolv\", \"gat\"]\n";
    let error = Sources::new().text("s.toml", text).load().unwrap_err();
    let text = error.to_string();
    let own_lines = text.lines().filter(|line| line.starts_with("  - ")).count();
    assert_eq!(own_lines, error.mistakes().len(), "{text}");
    assert!(text.lines().skip(1).all(|line| line.starts_with("  ")), "{text}");
    assert!(text.contains("  - s.toml:2: tenancy.deadline_ms: "), "{text}");
}

#[tokio::test]
async fn what_was_loaded_makes_a_stack_that_works_even_with_the_largest_values() {
    let largest = i64::MAX.to_string();
    let loaded = from_variables(&[
        ("TENANCY__SERVER__GRACE_MS", &largest),
        ("TENANCY__TENANCY__BODY_LIMIT_BYTES", &largest),
        ("TENANCY__TENANCY__DEADLINE_MS", &largest),
        ("TENANCY__TENANCY__MAX_STALE_MS", &largest),
        ("TENANCY__TENANCY__MISSES_PER_SECOND", "4294967295"),
        ("TENANCY__TENANCY__MAX_RESOURCES", &largest),
        ("TENANCY__TENANCY__HIDE_SUSPENDED", "true"),
        ("TENANCY__TENANCY__ORDER", "resolve,gate,body_limit,deadline"),
        ("TENANCY__TENANCY__CENTRAL_HOSTS", "www.Example.com."),
    ]);
    let tenancy = loaded
        .stack(MemoryStore::of(["acme"]).unwrap())
        .unwrap()
        .build()
        .unwrap();
    let order: Vec<String> = tenancy
        .order()
        .stages()
        .flatten()
        .map(|stage| stage.to_string())
        .collect();
    assert_eq!(order, ["resolve", "gate", "body_limit", "deadline"]);
    let slow = || async {
        // The deadline's timer is set only for who has to wait.
        tokio::task::yield_now().await;
        "here"
    };
    let app = tenancy.wrap(Router::new().route("/", get(slow)));
    let request = Request::get("/")
        .header("host", "acme.localhost")
        .body(Body::empty())
        .unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), 200);
}

#[test]
fn a_public_url_that_is_none_is_not_repeated() {
    let url = ("TENANCY__TENANCY__PUBLIC_URL", "https://ada:hunter2@example.com");
    let error = Sources::new().variables([url]).load().unwrap_err().to_string();
    assert!(error.contains(url.0) && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn links_and_the_dev_tenant_are_as_the_settings_say() {
    let loaded = from_variables(&[
        ("TENANCY__TENANCY__PUBLIC_URL", "https://example.com"),
        ("TENANCY__TENANCY__DEV_TENANT", "acme"),
        ("TENANCY__TENANCY__DEV_TENANT_EVEN_IN_RELEASE", "true"),
    ]);
    let store = MemoryStore::of(["acme"]).unwrap();
    let tenancy = loaded.stack(store).unwrap().build().unwrap();
    let url = async |tenant: tenancy::Tenant| tenant.url("/").unwrap();
    let app = tenancy.wrap(Router::new().route("/", get(url)));
    let mut request = Request::get("/")
        .header("host", "127.0.0.1:8000")
        .body(Body::empty())
        .unwrap();
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
    assert_eq!(body, "https://acme.example.com/");
}

#[test]
fn settings_that_are_written_out_are_read_in_again() {
    let text =
        "server.listen = '[::1]:9'\ntenancy.central_hosts = ['www.example.com']\nlog.format = 'json'\n";
    let loaded = from_text(text);
    assert_ne!(loaded, Settings::default());
    let written = toml::to_string(&loaded).unwrap();
    assert_eq!(from_text(&written), loaded);
}

#[tokio::test]
async fn challenges_of_acme_are_central_only_if_the_settings_say_so() {
    for (text, expected) in [("tenancy.acme_challenge = true\n", 200), ("", 404)] {
        let stack = from_text(text).stack(MemoryStore::of(["acme"]).unwrap()).unwrap();
        let challenge = get(|| async { "token.thumbprint" });
        let central = Router::new().route("/.well-known/acme-challenge/{token}", challenge);
        let app = stack.build().unwrap().routes().central(central).build();
        let request = Request::get("/.well-known/acme-challenge/token")
            .header("host", "shop.example")
            .body(Body::empty())
            .unwrap();
        assert_eq!(app.oneshot(request).await.unwrap().status(), expected, "{text}");
    }
}

#[test]
fn the_catalogue_may_be_on_a_server_and_its_password_is_not_shown() {
    const URL: &str = "postgres://app:hunter2@db.internal/app";
    let loaded = Sources::new()
        .variables([("TENANCY__CATALOGUE__URL", URL)])
        .load()
        .unwrap();
    let url = loaded.settings.catalogue.url.clone().unwrap();
    assert_eq!(url.as_str(), URL);
    assert_eq!(url.to_string(), "postgres://app@db.internal/app");
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(!toml::to_string(&loaded.settings).unwrap().contains("hunter2"));

    for (wrong, why) in [
        ("url = \"oracle://app:hunter2@db/app\"", "must begin with"),
        (
            "url = \"mysql://app:hunter2@db/app\"\ndatabase = \"app.db\"",
            "give one of them",
        ),
    ] {
        let text = format!("[catalogue]\n{wrong}\n");
        let error = Sources::new()
            .text("my.toml", text)
            .load()
            .unwrap_err()
            .to_string();
        assert!(error.contains("catalogue.url") && error.contains(why), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
