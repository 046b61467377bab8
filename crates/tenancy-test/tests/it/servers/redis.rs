use tenancy_test::servers::{Redis, RedisCluster, RedisSentinel};

use super::{eventually, is_running, says_something};

#[tokio::test]
async fn databases_are_apart_empty_at_first_and_emptied_at_the_end() {
    let server = Redis::shared().await;
    let (a, b) = tokio::join!(server.database(), server.database());
    assert_ne!(a.url(), b.url());
    let get = |number| server.command(format!("SELECT {number}\nGET note"));
    server.command(format!("SELECT {}\nSET note 7", a.number())).await;
    assert_eq!(
        (get(a.number()).await, get(b.number()).await),
        (vec!["7".to_owned()], vec![String::new()])
    );
    let number = a.number();
    drop(a);
    assert_eq!(get(number).await, [""]);
}

#[tokio::test]
async fn it_wants_its_password_freezes_thaws_is_killed_and_restarted() {
    let server = Redis::start(&[("maxmemory", "10mb")]).await.unwrap();
    assert_eq!(
        server.command("CONFIG GET maxmemory").await,
        ["maxmemory", "10485760"]
    );
    // Refused, which is an answer.
    eventually("it answers", || says_something(server.address(), b"GET note\r\n")).await;
    server.freeze().await;
    assert!(!says_something(server.address(), b"GET note\r\n"));
    server.thaw().await;
    eventually("it answers", || says_something(server.address(), b"GET note\r\n")).await;

    let pid = server.pid();
    server.kill().await;
    assert!(!is_running(pid) && !says_something(server.address(), b"PING\r\n"));
    server.restart().await.unwrap();
    assert_eq!(server.command("PING").await, ["PONG"]);
}

#[tokio::test]
async fn a_wrong_setting_is_told() {
    let error = Redis::start(&[("no-such-setting", "1")]).await.unwrap_err();
    assert!(
        error.is_not_serving() && error.to_string().contains("no-such-setting"),
        "{error}"
    );
}

#[tokio::test]
async fn the_nodes_of_a_cluster_serve_a_third_of_the_slots_each() {
    let cluster = RedisCluster::start().await.unwrap();
    for key in ["a", "b", "c", "d", "e", "f"] {
        let slot: usize = cluster.nodes()[0].command(format!("CLUSTER KEYSLOT {key}")).await[0]
            .parse()
            .unwrap();
        let node = &cluster.nodes()[slot * 3 / 16_384];
        assert_eq!(node.command(format!("SET {key} 7")).await, ["OK"]);
    }
    let slots = cluster.nodes()[1].command("CLUSTER SLOTS").await;
    for node in cluster.nodes() {
        assert!(slots.contains(&node.address().port().to_string()), "{slots:?}");
    }
    assert_eq!(cluster.urls().len(), 3);
}

#[tokio::test]
async fn a_sentinel_makes_the_replica_the_master_by_hand_and_by_itself() {
    let sentinel = RedisSentinel::start().await.unwrap();
    let [first, second] = sentinel.servers();
    assert_eq!(sentinel.master().await.pid(), first.pid());
    first.command("SET note 7\nWAIT 1 10000").await;
    assert_eq!(second.command("GET note").await, ["7"]);

    sentinel.fail_over().await;
    assert_eq!(sentinel.master().await.pid(), second.pid());
    assert_eq!(first.command("ROLE").await[0], "slave");
    assert_eq!(second.command("INCR note").await, ["8"]);

    // A second time, back again, without being told.
    second.command("WAIT 1 10000").await;
    second.kill().await;
    for _ in 0..600 {
        if sentinel.master().await.pid() == first.pid() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(first.command("INCR note").await, ["9"]);
    assert!(sentinel.master_url().ends_with("@mymaster"));
}
