//! Redis by TLS, with certificates of the test's own.

use std::{
    env,
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use futures_util::StreamExt;
use tempfile::TempDir;
use tenancy::cache::shared::{Ask, Message, SharedLevel};
use tenancy_test::servers::Redis;

use crate::{
    own::acme,
    place::{level, newest, raise, scope},
};

const URL: &str = "TENANCY_REDIS_TEST_TLS_URL";
const IS_TRUSTED: &str = "TENANCY_REDIS_TEST_TLS_IS_TRUSTED";

/// An authority, and what it has signed.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server runs as somebody else.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let authority = Self(folder);
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority \
             -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem",
        );
        authority
    }

    /// Of a server that is at this address.
    fn sign(&self, address: &str) {
        fs::write(self.path("names"), format!("subjectAltName=IP:{address}")).unwrap();
        self.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=redis -keyout server.key -out server.csr",
        );
        self.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
        );
        fs::set_permissions(self.path("server.key"), Permissions::from_mode(0o644)).unwrap();
    }

    fn openssl(&self, arguments: &str) {
        let ran = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output();
        let ran = ran.expect("openssl is installed");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The server, and where it takes TLS.
    async fn start_redis(&self) -> (Redis, String) {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
            .to_string();
        let [certificate, key, authority] =
            ["server.pem", "server.key", "ca.pem"].map(|name| self.path(name).display().to_string());
        let settings = [
            ("tls-port", &*free),
            ("tls-cert-file", &certificate),
            ("tls-key-file", &key),
            ("tls-ca-cert-file", &authority),
            ("tls-auth-clients", "no"),
        ];
        let redis = Redis::start(&settings).await.unwrap();
        let url = format!("rediss://:{}@127.0.0.1:{free}", redis.password());
        (redis, url)
    }
}

/// What a process that trusts this authority alone finds.
fn is_as_expected(url: &str, trusted: &Path, is_trusted: bool) {
    let ran = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "tls::is_the_process_that_trusts_one_authority",
            "--nocapture",
        ])
        .env(URL, url)
        .env(IS_TRUSTED, is_trusted.to_string())
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// What the system trusts is the environment's to say, which a test may not change for all. In a test run it is nothing.
#[tokio::test]
async fn is_the_process_that_trusts_one_authority() {
    let (Ok(url), Ok(is_trusted)) = (env::var(URL), env::var(IS_TRUSTED)) else {
        return;
    };
    let (level, scope) = (level(&url), scope("acme"));
    let redis = acme(&level).await;
    if is_trusted == "true" {
        let mut heard = level.listen();
        assert_eq!(heard.next().await, Some(Message::Gap));
        newest(&level, &scope).await;
        raise(&level, &scope, 1).await;
        assert!(matches!(heard.next().await, Some(Message::Raised { .. })));
        assert_eq!(redis.counter("a").add(1).await.unwrap().value, 1);
    } else {
        let ask = Ask { scope, seen: 0 };
        assert!(level.renew(&[ask]).await.is_err());
        let error = redis.get::<u64>("a").await.unwrap_err();
        assert!(error.is_unavailable() && !error.may_have_been_done());
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("certificate"), "{cause}");
    }
}

#[tokio::test]
async fn a_server_whose_certificate_is_trusted_serves_calls_and_messages() {
    let authority = Authority::new();
    authority.sign("127.0.0.1");
    let (_redis, url) = authority.start_redis().await;
    is_as_expected(&url, &authority.path("ca.pem"), true);
}

#[tokio::test]
async fn a_server_of_another_authority_is_sent_nothing() {
    let authority = Authority::new();
    authority.sign("127.0.0.1");
    let (_redis, url) = authority.start_redis().await;
    is_as_expected(&url, &Authority::new().path("ca.pem"), false);
}

#[tokio::test]
async fn a_server_with_the_certificate_of_another_one_is_sent_nothing() {
    let authority = Authority::new();
    authority.sign("127.0.0.2");
    let (_redis, url) = authority.start_redis().await;
    is_as_expected(&url, &authority.path("ca.pem"), false);
}
