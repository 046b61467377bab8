//! A running server: started, stopped, killed, frozen and thawed, on one port.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    ServerError,
    folder::{Folder, random},
    program,
};

const PAUSE: Duration = Duration::from_millis(10);
/// Counted in pauses: a minute, since machines of continuous integration are slow.
const PAUSES: usize = 6_000;
/// A second free port, beside the one of clients: the bus of Redis Cluster.
pub(super) type Ports = [u16; 2];

/// What differs between servers.
pub(super) trait Recipe: Send + Sync {
    fn name(&self) -> &'static str;
    fn command(&self, folder: &Folder, ports: Ports) -> Result<Command, ServerError>;
    /// Whether it answers, asked through its Unix socket: behind a port there could be another server.
    fn is_ready(&self, folder: &Path, port: u16) -> bool;
    /// The signal upon which it ends its connections and itself.
    fn stop_signal(&self) -> Signal;
}

pub(super) struct Daemon {
    recipe: Box<dyn Recipe>,
    ports: Ports,
    // Before the folder: it ends before its files go.
    child: Mutex<Child>,
    folder: Folder,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon")
            .field("name", &self.recipe.name())
            .field("ports", &self.ports)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Daemon {
    /// Starts the server on a free port and returns when it answers.
    pub(super) fn start(recipe: Box<dyn Recipe>, folder: Folder) -> Result<Self, ServerError> {
        for _ in 0..20 {
            let ports = free_ports()?;
            match launch(recipe.as_ref(), &folder, ports) {
                Ok(child) => {
                    return Ok(Self {
                        recipe,
                        ports,
                        child: Mutex::new(child),
                        folder,
                    });
                }
                Err(error) if error.is_lost_port() => {}
                Err(error) => return Err(error),
            }
        }
        Err(ServerError::ended(
            recipe.name(),
            "each port was in use".to_owned(),
        ))
    }

    pub(super) fn port(&self) -> u16 {
        self.ports[0]
    }

    pub(super) fn second_port(&self) -> u16 {
        self.ports[1]
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(super) fn pid(&self) -> u32 {
        self.child().id()
    }

    /// The end of what it logged since it was last started.
    pub(super) fn log(&self) -> String {
        end_of_log(&self.folder)
    }

    /// Ends it as an operator would, and waits for that. A frozen one is thawed first; one that has ended stays so.
    pub(super) fn stop(&self) {
        let mut child = self.child();
        if has_ended(&mut child) {
            return;
        }
        signal_all(&family(child.id()), Signal::CONT);
        signal_all(&[child.id()], self.recipe.stop_signal());
        for _ in 0..PAUSES / 2 {
            if has_ended(&mut child) {
                return;
            }
            thread::sleep(PAUSE);
        }
        kill(&mut child);
    }

    /// Ends all of its processes at once, as a power cut would.
    pub(super) fn kill(&self) {
        kill(&mut self.child());
    }

    /// Stops it where it runs, and starts it on the same port over the same data.
    pub(super) fn restart(&self) -> Result<(), ServerError> {
        self.stop();
        let mut child = self.child();
        let mut outcome = launch(self.recipe.as_ref(), &self.folder, self.ports);
        for _ in 0..20 {
            match outcome {
                // Its own old connections may hold the port for a moment.
                Err(error) if error.is_lost_port() => thread::sleep(10 * PAUSE),
                _ => break,
            }
            outcome = launch(self.recipe.as_ref(), &self.folder, self.ports);
        }
        *child = outcome?;
        Ok(())
    }

    /// Stops all of its processes where they are: connections stay open and nothing answers.
    pub(super) fn freeze(&self) {
        let main = self.child().id();
        let mut frozen = HashSet::new();
        // The parent is frozen first, and forks no more; a second look finds what it had just forked.
        loop {
            let running: Vec<u32> = family(main)
                .into_iter()
                .filter(|pid| frozen.insert(*pid))
                .collect();
            if running.is_empty() {
                return;
            }
            signal_all(&running, Signal::STOP);
        }
    }

    pub(super) fn thaw(&self) {
        signal_all(&family(self.pid()), Signal::CONT);
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(recipe: &dyn Recipe, folder: &Folder, ports: Ports) -> Result<Child, ServerError> {
    let name = recipe.name();
    let cannot_log = |error| ServerError::io(format!("{name}: its log could not be made"), error);
    let log = File::create(folder.path().join("log")).map_err(cannot_log)?;
    let mut command = recipe.command(folder, ports)?;
    command.stdout(log.try_clone().map_err(cannot_log)?).stderr(log);
    let mut child = program::spawn(command)
        .map_err(|error| ServerError::io(format!("{name} could not be started"), error))?;
    for _ in 0..PAUSES {
        if has_ended(&mut child) {
            return Err(ServerError::ended(name, end_of_log(folder)));
        }
        if recipe.is_ready(folder.path(), ports[0]) {
            return Ok(child);
        }
        thread::sleep(PAUSE);
    }
    kill(&mut child);
    Err(ServerError::silent(name, end_of_log(folder)))
}

fn end_of_log(folder: &Folder) -> String {
    let log = fs::read(folder.path().join("log")).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(4096)..]).into_owned()
}

fn has_ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}

fn kill(child: &mut Child) {
    if has_ended(child) {
        return;
    }
    // Frozen first, so that none starts another meanwhile.
    signal_all(&[child.id()], Signal::STOP);
    let family = family(child.id());
    signal_all(&family, Signal::KILL);
    let _ = child.wait();
    // Its children are not this process's to wait for.
    for _ in 0..PAUSES {
        if !family.iter().any(|pid| is_running(*pid)) {
            return;
        }
        thread::sleep(PAUSE / 10);
    }
}

/// A process and all below it.
fn family(main: u32) -> Vec<u32> {
    let mut children = HashMap::<u32, Vec<u32>>::new();
    for (pid, parent) in processes() {
        children.entry(parent).or_default().push(pid);
    }
    let mut family = vec![main];
    let mut looked_at = 0;
    while let Some(pid) = family.get(looked_at).copied() {
        family.extend(children.remove(&pid).unwrap_or_default());
        looked_at += 1;
    }
    family
}

/// Each process of the machine with its parent.
fn processes() -> impl Iterator<Item = (u32, u32)> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some((pid, state_and_parent(pid)?.1))
    })
}

/// One that has ended and that its parent has not waited for does not run.
fn is_running(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before them may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let (state, rest) = fields.split_once(' ')?;
    Some((state.chars().next()?, rest.split(' ').next()?.parse().ok()?))
}

fn signal_all(pids: &[u32], signal: Signal) {
    for pid in pids {
        // One that has ended needs no signal.
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

fn free_ports() -> Result<Ports, ServerError> {
    Ok([free_port()?, free_port()?])
}

/// A port that nobody listens on, below those that the kernel gives to outgoing connections.
///
/// One of those could be taken by any client while its server restarts, or be answered by a client that connects to itself.
fn free_port() -> Result<u16, ServerError> {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok())
        .filter(|first| *first > 12_000)
        .unwrap_or(32_768);
    for _ in 0..1_000 {
        let below = u128::from(first - 10_000);
        let port = u16::try_from(random::<4>()? % below).unwrap_or_default() + 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(ServerError::ended(
        "the search for a free port",
        "each one tried is in use".to_owned(),
    ))
}
