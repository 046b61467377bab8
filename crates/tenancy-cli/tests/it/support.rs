use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A working directory, and the binary run in it with nothing of this process's environment.
pub(crate) struct Workplace {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
        }
    }

    /// With the tenants acme (plan, type, two domains), globex and initech (pending).
    pub(crate) fn with_tenants() -> Self {
        let place = Self::new();
        place.done(&[
            "tenants",
            "create",
            "acme",
            "--plan",
            "pro",
            "--type",
            "customer",
            "--domain",
            "shop.acme.example",
            "--domain",
            "Bücher.example",
            "--tenant-settings",
            r#"{"colour":"green"}"#,
        ]);
        place.done(&["tenants", "create", "globex"]);
        place.done(&["tenants", "create", "initech", "--pending"]);
        place
    }

    /// Sets a variable for all commands after it.
    pub(crate) fn set(&mut self, variable: &str, value: impl Into<String>) {
        self.environment.push((variable.to_owned(), value.into()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn catalogue(&self) -> PathBuf {
        self.path("tenancy-data/catalogue.sqlite")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenancy"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("USER", "ada")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments))
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::from(child.wait_with_output().unwrap())
    }

    /// Runs what must succeed, and returns its output.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}");
        ended.out
    }

    /// Runs what must succeed with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let out = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{out}"))
    }

    /// Runs what must fail with a code, in text and in JSON, and returns the message as JSON has it.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32) -> Value {
        let text = self.run(arguments);
        assert_eq!(
            (text.code, text.out.as_str()),
            (code, ""),
            "{arguments:?}: {}",
            text.err
        );
        let json = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(
            (json.code, json.out.as_str()),
            (code, ""),
            "{arguments:?}: {}",
            json.err
        );
        let mut report: Value = serde_json::from_str(&json.err).unwrap();
        let error = report["error"].take();
        assert_eq!(error["code"], code);
        let message = error["message"].as_str().unwrap();
        assert!(
            text.err.starts_with(&format!("error: {message}\n")),
            "{}",
            text.err
        );
        error
    }
}

pub(crate) fn ended(mut command: Command) -> Ended {
    Ended::from(command.output().unwrap())
}

impl From<std::process::Output> for Ended {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A table without its last column, whose times differ from run to run.
pub(crate) fn without_times(table: &str) -> Vec<String> {
    let line = |line: &str| match line.rsplit_once("  ") {
        Some((rest, last)) if last.ends_with('Z') || last == "CREATED" || last == "ADDED" => {
            rest.trim_end().to_owned()
        }
        _ => line.to_owned(),
    };
    table.lines().map(line).collect()
}
