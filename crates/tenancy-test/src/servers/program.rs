//! Where the servers' programs are, and how they are started: without rights, and never outliving this process.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{LazyLock, mpsc},
    thread,
};

use super::ServerError;

/// `nobody` on every Linux: the user of servers that root's tests start, since most servers refuse to run as root.
const NOBODY: u32 = 65_534;

/// Whom a server's files must belong to, where that is not this process's own user.
pub(super) fn user_of_servers() -> Option<u32> {
    rustix::process::geteuid().is_root().then_some(NOBODY)
}

/// A program on `PATH`, in a directory for servers, or in the newest of the directories that `pattern` stands for.
pub(super) fn find(
    program: &'static str,
    package: &'static str,
    versions: Option<(&str, &str)>,
) -> Result<PathBuf, ServerError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions
        .and_then(|(parent, below)| newest_version(Path::new(parent), below, program))
        .or_else(|| {
            std::env::split_paths(&path)
                .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
                .map(|directory| directory.join(program))
                .find(|candidate| candidate.is_file())
        })
        .ok_or_else(|| ServerError::not_installed(program, package))
}

/// `/usr/lib/postgresql/15/bin/postgres` for the greatest number there is.
fn newest_version(parent: &Path, below: &str, program: &str) -> Option<PathBuf> {
    fs::read_dir(parent)
        .ok()?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let version: u32 = name.to_str()?.parse().ok()?;
            let candidate = parent.join(&name).join(below).join(program);
            candidate.is_file().then_some((version, candidate))
        })
        .max_by_key(|(version, _)| *version)
        .map(|(_, candidate)| candidate)
}

/// A command run by the servers' user, in `directory`, without what this process has in its environment.
///
/// It is ended when the thread ends that starts it: start it with [`spawn`].
pub(super) fn command(program: impl AsRef<OsStr>, directory: &Path) -> Result<Command, ServerError> {
    let mut command = without_rights(directory)?;
    command.args(["--pdeathsig", "KILL"]).arg(program);
    Ok(command)
}

/// The same for a program that outlives this process.
pub(super) fn command_that_stays(
    program: impl AsRef<OsStr>,
    directory: &Path,
) -> Result<Command, ServerError> {
    let mut command = without_rights(directory)?;
    command.args(["--pdeathsig", "clear"]).arg(program);
    Ok(command)
}

fn without_rights(directory: &Path) -> Result<Command, ServerError> {
    let mut command = Command::new(find("setpriv", "util-linux", None)?);
    if user_of_servers().is_some() {
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
    }
    command
        .current_dir(directory)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", directory)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        // An interrupt from the keyboard is for the test program; what it started ends with it.
        .process_group(0);
    Ok(command)
}

/// Runs a program that prepares something, to its end.
pub(super) fn run(name: &'static str, mut command: Command) -> Result<String, ServerError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output: Output = spawn(command)
        .and_then(Child::wait_with_output)
        .map_err(|error| ServerError::io(format!("{name} could not be run"), error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(ServerError::ended(
        name,
        text + &String::from_utf8_lossy(&output.stderr),
    ))
}

struct Order {
    command: Command,
    reply: mpsc::SyncSender<io::Result<Child>>,
}

/// Starts a process from one thread that never ends.
///
/// The kernel sends the death signal when the *thread* ends that started the process: a server started by a test's own
/// thread would end with that test.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for mut order in orders {
                // Nobody waits for a process that was not wanted any more; then it is ended.
                if let Err(mpsc::SendError(Ok(mut child))) = order.reply.send(order.command.spawn()) {
                    let _ = child.kill();
                }
            }
        });
        sender
    });
    let (reply, answer) = mpsc::sync_channel(1);
    STARTER
        .send(Order { command, reply })
        .map_err(|_| io::Error::other("the thread that starts servers has ended"))?;
    answer.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_with_its_package() {
        let error = find("no-such-server", "no-such-package", None).unwrap_err();
        assert!(error.is_not_installed());
        let text = error.to_string();
        assert!(
            text.contains("no-such-server") && text.contains("no-such-package"),
            "{text}"
        );
    }

    #[test]
    fn the_newest_version_is_the_greatest_number_that_has_the_program() {
        let folder = super::super::folder::Folder::create().unwrap();
        for (version, program) in [
            ("9", "server"),
            ("15", "server"),
            ("17", "client"),
            ("18-old", "server"),
        ] {
            let directory = folder.path().join(version).join("bin");
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(program), "").unwrap();
        }
        let newest = newest_version(folder.path(), "bin", "server");
        assert_eq!(newest, Some(folder.path().join("15/bin/server")));
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_failed_program_said_is_in_the_error() {
        let mut command = command("sh", Path::new("/")).unwrap();
        command.args(["-c", "echo to stdout; echo to stderr >&2; exit 3"]);
        let error = run("sh", command).unwrap_err();
        assert!(error.is_not_serving());
        let text = error.to_string();
        assert!(text.contains("to stdout") && text.contains("to stderr"), "{text}");
    }
}
