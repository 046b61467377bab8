mod end_of_parent;
mod mariadb;
mod pgbouncer;
mod postgres;
mod proxy;
mod redis;

use std::{fs, io::Read, net::TcpStream, path::Path, time::Duration};

/// Waits for something that has no signal of its own. Gives up after a minute.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} within a minute");
}

fn is_running(pid: u32) -> bool {
    // A process that ended and was not waited for has the state Z.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, fields)| !fields.starts_with('Z'))
    })
}

fn children_of(pid: u32) -> Vec<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|child: &u32| {
            fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| {
                let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
                fields.split(' ').nth(1) == Some(&pid.to_string())
            })
        })
        .collect()
}

/// Whether a connection is answered, and not only accepted, within a moment: a wrong password is an answer.
fn says_something(address: std::net::SocketAddr, hello: &[u8]) -> bool {
    use std::io::Write;
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.write_all(hello).unwrap();
    stream.read(&mut [0; 16]).is_ok_and(|bytes| bytes > 0)
}

fn is_gone(path: &Path) -> bool {
    !path.exists()
}
