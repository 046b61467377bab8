use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::body::{Body, Bytes};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::TcpStream;

use super::{Challenge, CheckAnswer, DomainCheck, DomainError, public_address::is_public};

/// The answer has 64 bytes; some servers add a line break.
const BODY_LIMIT: usize = 128;

/// A domain may have many addresses. So many are tried.
const MAX_ADDRESSES: usize = 3;

/// Asks the domain itself, at `http://` and port 80, for what [`Domains::challenge_routes`](super::Domains::challenge_routes)
/// answers.
///
/// A proof shows that the domain leads to this service, not who has it in hand. So it decides only where one tenant claims
/// a domain that no other ever had; a domain that was pointed at the service before anybody claimed it goes to whoever
/// claims it first. Where that matters, use [`DnsCheck`](super::DnsCheck).
///
/// A customer chooses what is asked, so that this is all that a check can do:
///
/// * One `GET` of one path, without credentials, to port 80. Redirects are not followed.
/// * The name is looked up once, as an absolute one, and the connection goes to an address that was found: only to
///   those of the public Internet, unless [allowed](Self::allow_addresses).
/// * At most 128 bytes of the answer are read, and none of them is shown to anybody.
/// * It ends after 5 seconds, unless set.
///
/// Nothing at that address, and an answer of 500 or above, prove nothing either way.
#[derive(Clone)]
pub struct HttpCheck {
    deadline: Duration,
    allowed: Arc<[IpNet]>,
    #[cfg(test)]
    leads_to: Option<SocketAddr>,
}

/// What became of a request.
struct Answer {
    status: StatusCode,
    body: Option<Bytes>,
}

impl HttpCheck {
    /// A check of domains that lead to public addresses.
    pub fn new() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            allowed: Arc::new([]),
            #[cfg(test)]
            leads_to: None,
        }
    }

    /// Networks that may be asked though they are not public, such as `10.1.0.0/16`, where the service has its addresses
    /// there. Every customer can then find out what answers on port 80 in them. Default: none.
    ///
    /// # Errors
    /// Invalid when an entry is neither an address nor a network.
    pub fn allow_addresses<'a>(
        mut self,
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, DomainError> {
        let network = |entry: &str| {
            let network = entry.parse::<IpNet>().ok();
            let network = network.or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from));
            network.ok_or_else(|| {
                DomainError::invalid(format!("{entry:?} is neither an IP address nor a network"))
            })
        };
        self.allowed = networks.into_iter().map(network).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// How long a check may take. Default: 5 s.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = after;
        self
    }

    async fn check_now(&self, challenge: &Challenge) -> CheckAnswer {
        let domain = challenge.domain();
        let Ok(found) = self.addresses(domain).await else {
            // A name that is not there can not be told from a name server that is away.
            return CheckAnswer::could_not_tell(format!(
                "{domain} leads to no address, as far as can be told"
            ));
        };
        let allowed: Vec<_> = found
            .into_iter()
            .filter(|address| self.may_ask(*address))
            .collect();
        if allowed.is_empty() {
            return CheckAnswer::not_yet(format!("{domain} leads to no public address"));
        }
        let mut stream = None;
        for address in allowed.into_iter().take(MAX_ADDRESSES) {
            stream = TcpStream::connect(address).await.ok();
            if stream.is_some() {
                break;
            }
        }
        let Some(stream) = stream else {
            return CheckAnswer::could_not_tell(format!("nothing answers at http://{domain}, port 80"));
        };
        match ask(stream, challenge).await {
            Ok(answer) => judge(challenge, &answer),
            Err(error) => {
                tracing::debug!(target: "tenancy::domains", domain, %error, "a check by HTTP failed");
                CheckAnswer::not_yet(format!("what answers at http://{domain} does not speak HTTP"))
            }
        }
    }

    /// The dot at the end makes it absolute: no search domain is tried.
    async fn addresses(&self, domain: &str) -> io::Result<Vec<SocketAddr>> {
        #[cfg(test)]
        if let Some(address) = self.leads_to {
            return Ok(vec![address]);
        }
        let found = tokio::net::lookup_host((format!("{domain}."), 80)).await?;
        Ok(found.collect())
    }

    fn may_ask(&self, address: SocketAddr) -> bool {
        let address = address.ip().to_canonical();
        is_public(address) || self.allowed.iter().any(|network| network.contains(&address))
    }
}

async fn ask(
    stream: TcpStream,
    challenge: &Challenge,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(64)
        .handshake(TokioIo::new(stream))
        .await?;
    let request = Request::get(challenge.http_path())
        .header(header::HOST, challenge.domain())
        .header(header::USER_AGENT, "tenancy-domain-check")
        .header(header::ACCEPT, "text/plain")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = if status == StatusCode::OK {
            Limited::new(Body::new(response.into_body()), BODY_LIMIT)
                .collect()
                .await
                .ok()
        } else {
            None
        };
        Ok(Answer {
            status,
            body: body.map(http_body_util::Collected::to_bytes),
        })
    };
    tokio::pin!(exchange, connection);
    // In this task, so that what is dropped leaves no connection behind.
    tokio::select! {
        answer = &mut exchange => answer,
        driven = &mut connection => {
            driven?;
            exchange.await
        }
    }
}

fn judge(challenge: &Challenge, answer: &Answer) -> CheckAnswer {
    let url = format!("http://{}{}", challenge.domain(), challenge.http_path());
    let expected = challenge.http_body();
    match &answer.body {
        Some(body) if body.trim_ascii() == expected.as_bytes() => CheckAnswer::Proven,
        _ if answer.status == StatusCode::OK => CheckAnswer::not_yet(format!(
            "{url} answers with something else: the domain does not lead here"
        )),
        _ if answer.status.is_redirection() => CheckAnswer::not_yet(format!(
            "{url} answers with a redirect: this path must be served over plain HTTP"
        )),
        // Of this service too, where it is flooded.
        _ if answer.status.is_server_error() => CheckAnswer::could_not_tell(format!(
            "{url} answers with the status {}",
            answer.status.as_u16()
        )),
        _ => CheckAnswer::not_yet(format!(
            "{url} answers with the status {}",
            answer.status.as_u16()
        )),
    }
}

impl DomainCheck for HttpCheck {
    async fn check(&self, challenge: &Challenge) -> CheckAnswer {
        match tokio::time::timeout(self.deadline, self.check_now(challenge)).await {
            Ok(answer) => answer,
            Err(_) => CheckAnswer::could_not_tell(format!(
                "http://{} did not answer within {:?}",
                challenge.domain(),
                self.deadline
            )),
        }
    }

    fn shows_control(&self) -> bool {
        false
    }
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HttpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCheck")
            .field("deadline", &self.deadline)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn challenge() -> Challenge {
        Challenge::new("shop.example", "0123456789abcdef0123456789abcdef")
    }

    /// Answers one connection with these bytes, and returns what was asked.
    async fn checked(answer: String, networks: &[&str]) -> (CheckAnswer, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut check = HttpCheck::new()
            .allow_addresses(networks.iter().copied())
            .unwrap();
        check.leads_to = Some(listener.local_addr().unwrap());
        let (asked_sender, asked) = tokio::sync::oneshot::channel();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let read = stream.read_buf(&mut asked).await.unwrap();
                assert_ne!(read, 0);
            }
            asked_sender.send(String::from_utf8(asked).unwrap()).unwrap();
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let answer = check.check(&challenge()).await;
        server.abort();
        // What was sent before it ended is still there.
        (answer, asked.await.unwrap_or_default())
    }

    fn response(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn only_the_answer_of_this_service_proves() {
        let right = challenge().http_body();
        let (flooded, _) = checked(response("503 Service Unavailable", ""), &["127.0.0.0/8"]).await;
        assert_eq!(flooded.as_str(), "could_not_tell", "{flooded}");
        for (answer, proves, part) in [
            (response("200 OK", &right), true, ""),
            (response("200 OK", &format!("{right}\r\n")), true, ""),
            (response("200 OK", challenge().token()), false, "something else"),
            (response("200 OK", &right.repeat(100)), false, "something else"),
            (response("404 Not Found", &right), false, "the status 404"),
            (
                format!(
                    "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: {}\r\n\r\n{right}",
                    right.len()
                ),
                false,
                "a redirect",
            ),
            ("SSH-2.0-OpenSSH_9.9\r\n".to_owned(), false, "does not speak HTTP"),
        ] {
            let (found, _) = checked(answer.clone(), &["127.0.0.0/8"]).await;
            assert_eq!(found.is_proven(), proves, "{answer}: {found}");
            assert!(
                found.reason().unwrap_or_default().contains(part),
                "{answer}: {found}"
            );
        }
    }

    #[tokio::test]
    async fn the_request_says_the_domain_and_nothing_of_this_machine() {
        let (answer, asked) = checked(response("200 OK", &challenge().http_body()), &["127.0.0.1"]).await;
        assert!(answer.is_proven());
        assert_eq!(
            asked,
            "GET /.well-known/tenancy-challenge/0123456789abcdef0123456789abcdef HTTP/1.1\r\nhost: shop.example\r\n\
             user-agent: tenancy-domain-check\r\naccept: text/plain\r\nconnection: close\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn an_address_that_is_not_public_is_not_connected_to() {
        for networks in [&[][..], &["10.0.0.0/8"]] {
            let (answer, asked) = checked(response("200 OK", &challenge().http_body()), networks).await;
            assert!(answer.reason().unwrap().contains("no public address"), "{answer}");
            assert_eq!(asked, "");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_ends_with_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut check = HttpCheck::new().allow_addresses(["127.0.0.1"]).unwrap();
        check.leads_to = Some(listener.local_addr().unwrap());
        let answer = check.check(&challenge()).await;
        assert_eq!(answer.as_str(), "could_not_tell", "{answer}");
    }
}
