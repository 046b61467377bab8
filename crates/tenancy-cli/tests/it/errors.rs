use std::{fs, process::Stdio};

use crate::support::{Workplace, ended};

#[test]
fn without_a_catalogue_nothing_is_made_and_the_way_to_one_is_said() {
    let place = Workplace::new();
    for command in [
        &["tenants", "list"][..],
        &["tenants", "show", "acme"],
        &["tenants", "suspend", "acme"],
        &["tenants", "delete", "acme", "--yes"],
        &["tenants", "update", "acme", "--plan", "pro"],
        &["tenants", "maintenance", "acme", "on"],
        &["domains", "add", "acme", "acme.example"],
        &["domains", "list", "acme"],
        &["explain", "--host", "acme.localhost"],
        &["status"],
    ] {
        let error = place.fails(command, 6);
        assert!(
            error["message"].as_str().unwrap().contains("tenancy-data"),
            "{error}"
        );
        assert!(
            error["advice"].as_str().unwrap().contains("tenants create"),
            "{error}"
        );
    }
    assert!(!place.path("tenancy-data").exists());
}

#[test]
fn what_can_not_be_opened_as_a_catalogue_is_said() {
    let place = Workplace::new();
    fs::create_dir(place.path("tenancy-data")).unwrap();
    fs::write(
        place.catalogue(),
        "this is no SQLite file, but long enough to be looked at ".repeat(40),
    )
    .unwrap();
    let error = place.fails(&["tenants", "list"], 6);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("is not a SQLite file"),
        "{error}"
    );

    place.write("file", "");
    place.fails(&["tenants", "create", "acme", "--data-dir", "file/below"], 6);
}

#[test]
fn values_that_are_not_valid_are_refused() {
    let place = Workplace::with_tenants();
    for (command, part) in [
        (&["tenants", "create", "Acme"][..], "slug"),
        (&["tenants", "create", "www"], "reserved"),
        (&["tenants", "create", "new", "--id", "x!"], "id"),
        (&["tenants", "create", "new", "--domain", "no domain"], "domain"),
        (
            &["tenants", "create", "new", "--tenant-settings", "colour=green"],
            "expected",
        ),
        (&["tenants", "create", "new", "--plan", ""], "plan"),
        (&["tenants", "suspend", "../acme"], "id"),
        (&["tenants", "suspend", "a\u{1b}[31m"], "\\u{1b}"),
    ] {
        let error = place.fails(command, 5);
        assert!(
            error["message"].as_str().unwrap().contains(part),
            "{command:?}: {error}"
        );
    }
    place.fails(&["tenants", "create", "acme"], 4);
    place.fails(&["tenants", "create", "new", "--domain", "shop.acme.example"], 4);
    place.fails(&["tenants", "create", "new", "--id", "globex"], 4);
}

#[test]
fn bad_settings_are_refused_with_their_place() {
    let place = Workplace::with_tenants();
    place.write("bad.toml", "[tenancy]\nbase_domain = \"example.com\"\n");
    let error = place.fails(&["status", "--settings", "bad.toml"], 5);
    assert!(
        error["details"][0].as_str().unwrap().contains("bad.toml:2"),
        "{error}"
    );
    place.fails(&["status", "--settings", "missing.toml"], 5);
}

#[test]
fn a_command_line_that_is_not_valid_ends_with_two() {
    let place = Workplace::new();
    for bad in [
        &["frobnicate"][..],
        &["tenants"],
        &["tenants", "create"],
        &["tenants", "list", "--limit", "many"],
        &["tenants", "list", "--status", "asleep"],
        &["tenants", "list", "--all", "--limit", "3"],
        &["completions", "tcsh"],
    ] {
        let ended = place.run(bad);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{bad:?}");
        assert!(ended.err.contains("--help"), "{bad:?}: {}", ended.err);
    }
}

#[test]
fn help_tells_the_exit_codes() {
    let help = Workplace::new().done(&["--help"]);
    assert!(help.contains(tenancy_cli::EXIT_CODES), "{help}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = Workplace::new();
    let tenants: String = (0..1000)
        .map(|n| format!("[[tenant]]\nslug = \"t{n}\"\n"))
        .collect();
    place.write("many.toml", &tenants);
    place.done(&["tenants", "import", "many.toml"]);
    for form in [
        &["tenants", "list", "--all"][..],
        &["tenants", "list", "--all", "--json"],
    ] {
        let mut child = place.command(form).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (
                output.status.code(),
                String::from_utf8(output.stderr).unwrap().as_str()
            ),
            (Some(0), "")
        );
    }
}

/// Every write to `/dev/full` fails for want of room.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_can_not_be_written_is_an_error() {
    let place = Workplace::with_tenants();
    let mut list = place.command(&["tenants", "list"]);
    list.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let output = list.spawn().unwrap().wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("the output can not be written"), "{error}");
}

#[test]
fn who_acts_stands_in_the_change_log() {
    let place = Workplace::new();
    place.done(&["tenants", "create", "acme"]);
    let mut nobody = place.command(&["tenants", "suspend", "acme"]);
    nobody.env_remove("USER");
    assert_eq!(ended(nobody).code, 0);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let log = runtime.block_on(async {
        let store = tenancy_sqlx::store::SqlStore::connect(place.catalogue())
            .await
            .unwrap();
        store.changes_since(1, 10).await.unwrap()
    });
    let actors: Vec<_> = log
        .iter()
        .map(|change| (change.kind.as_str(), change.actor.as_deref()))
        .collect();
    assert_eq!(actors, [("create", Some("cli:ada")), ("suspend", Some("cli"))]);
}

#[test]
fn a_url_that_was_given_for_a_path_loses_its_password() {
    let place = Workplace::new();
    let url = "postgres://ada:hunter2@db.example/app?password=hunter2";
    for arguments in [
        &["--database", url, "status"][..],
        &["--database", url, "tenants", "list"],
        &["--database", url, "tenants", "create", "acme"],
        &["--database", url, "catalogue", "check"],
        &["--data-dir", url, "tenants", "list"],
        &["--settings", url, "order"],
    ] {
        let ended = place.run(arguments);
        assert_ne!(ended.code, 0, "{arguments:?}");
        assert!(ended.err.contains("ada:[redacted]@db.example"), "{}", ended.err);
        assert!(!ended.err.contains("hunter2"), "{}", ended.err);
        let json = place.run(&[arguments, &["--json"]].concat()).err;
        assert!(
            json.contains("ada:[redacted]") && !json.contains("hunter2"),
            "{json}"
        );
    }
    let directory = "made:/ada:hunter2@here";
    place.done(&["--data-dir", directory, "tenants", "create", "acme"]);
    let status = place.done(&["--data-dir", directory, "status"]);
    assert!(
        status.contains("ada:[redacted]@here") && !status.contains("hunter2"),
        "{status}"
    );
}
