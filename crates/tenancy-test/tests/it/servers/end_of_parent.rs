use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use tenancy_test::servers::Postgres;

use super::{children_of, eventually, is_gone, is_running};

/// Tells the same test in another process that it is to be the one that is killed.
const PARENT: &str = "TENANCY_TEST_IS_PARENT";

#[tokio::test]
async fn a_server_and_its_folder_go_when_the_test_program_is_killed() {
    if std::env::var_os(PARENT).is_some() {
        return be_the_parent().await;
    }
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("servers::end_of_parent::a_server_and_its_folder_go_when_the_test_program_is_killed")
        .env(PARENT, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(parent.stdout.take().unwrap());
    let line = output
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.split_once("started: ").map(|(_, rest)| rest.to_owned()));
    let (pid, data) = line.as_deref().and_then(|line| line.split_once(' ')).unwrap();
    let (pid, folder) = (pid.parse().unwrap(), Path::new(data).parent().unwrap());
    let processes: Vec<u32> = children_of(pid).into_iter().chain([pid]).collect();
    assert!(processes.len() > 3 && folder.is_dir());

    parent.kill().unwrap(); // SIGKILL: nothing of its own runs any more
    parent.wait().unwrap();
    for pid in processes {
        eventually("the server's processes end", || !is_running(pid)).await;
    }
    eventually("its folder goes", || is_gone(folder)).await;
}

/// The server is frozen, which no signal but SIGKILL gets through.
#[expect(clippy::print_stdout, reason = "it tells the test what it started")]
async fn be_the_parent() {
    let server = Postgres::shared().await;
    let data = &server.sql("SHOW data_directory").await[0];
    server.freeze().await;
    println!("started: {} {data}", server.pid());
    std::future::pending::<()>().await;
}
