use std::{ffi::OsString, process::Stdio};

use tenancy::core::TenantRecord;
use tenancy_sqlx::database::{ClientHome, Login, TenantHomes};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use super::tell::{Done, Ended};
use crate::databases::{engine::CliEngine, homes::reason_of};

/// A program, and as whom it may log in.
pub(super) struct Program {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) login: Login,
    pub(super) is_read_only: bool,
}

/// What is kept of what one program writes.
const MOST_BYTES: usize = 4 * 1024 * 1024;

impl Program {
    pub(super) async fn run<DB: CliEngine>(&self, homes: &TenantHomes<DB>, record: &TenantRecord) -> Done {
        let home = match homes.client(record, self.login) {
            Ok(home) => home,
            Err(error) => return Done::Failed(reason_of(&error)),
        };
        match self.command::<DB>(&home, record) {
            Ok(command) => ended(command)
                .await
                .unwrap_or_else(|error| Done::Failed(format!("{} can not be run: {error}", self.name()))),
            Err(reason) => Done::Failed(reason),
        }
    }

    fn command<DB: CliEngine>(&self, home: &ClientHome, record: &TenantRecord) -> Result<Command, String> {
        if home.is_behind_pooler() && (!home.settings().is_empty() || self.is_read_only) {
            return Err("a pooler in transaction mode stands in between, which keeps no session".to_owned());
        }
        let environment = DB::environment(home, self.is_read_only)
            .ok_or("a program can be kept from writing on PostgreSQL alone")?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            // What is left over from the operator's own session belongs to no tenant.
            .env_remove("PGOPTIONS")
            .env("TENANT_ID", record.id.as_str())
            .env("TENANT_SLUG", record.slug())
            .env("DATABASE_URL", DB::url(home, self.is_read_only))
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }
}

async fn ended(mut command: Command) -> Result<Done, std::io::Error> {
    let mut child = command.spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err, status) = tokio::join!(all_of(out), all_of(err), child.wait());
    let status = status?;
    Ok(Done::Ended(Ended {
        code: status.code(),
        is_success: status.success(),
        out: out?,
        err: err?,
    }))
}

/// Reads to the end, so that nobody waits for a reader, and keeps the beginning.
async fn all_of(from: Option<impl AsyncRead + Unpin>) -> Result<String, std::io::Error> {
    let Some(mut from) = from else {
        return Ok(String::new());
    };
    let mut kept = Vec::new();
    let mut part = vec![0; 16 * 1024];
    let mut is_cut = false;
    loop {
        match from.read(&mut part).await? {
            0 => break,
            read => {
                let room = MOST_BYTES.saturating_sub(kept.len()).min(read);
                kept.extend_from_slice(&part[..room]);
                is_cut |= room < read;
            }
        }
    }
    let mut text = String::from_utf8_lossy(&kept).into_owned();
    if is_cut {
        text.push_str("\n[the rest is left out]\n");
    }
    Ok(text)
}
