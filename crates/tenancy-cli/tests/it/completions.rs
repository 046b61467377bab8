use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::support::Workplace;

#[test]
fn every_shell_gets_every_command() {
    let place = Workplace::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.done(&["completions", shell]);
        for word in [
            "tenants",
            "maintenance",
            "generate-secret",
            "domains",
            "unclaim",
            "dns-server",
            "explain",
            "http2",
            "order",
            "status",
            "migrate",
            "stop-at",
            "rollback",
            "keep-going",
            "psql",
            "as-owner",
            "doctor",
            "import-data",
            "drop-old",
            "data-dir",
        ] {
            assert!(script.contains(word), "{word} for {shell}");
        }
        assert_eq!(place.json(&["completions", shell])["script"], script.as_str());
    }
    assert!(!place.path("tenancy-data").exists());
}

#[cfg(unix)]
#[test]
fn bash_understands_its_script_and_completes_with_it() {
    let place = Workplace::new();
    let mut script = place.done(&["completions", "bash"]);
    script.push_str("COMP_WORDS=(tenancy tenants res); COMP_CWORD=2; _tenancy tenancy res tenants; echo \"${COMPREPLY[@]}\"\n");
    let mut bash = Command::new("bash")
        .arg("--norc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        words.split_whitespace().collect::<Vec<_>>(),
        ["resume", "restore", "reset"]
    );
}
