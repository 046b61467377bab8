//! As much HTTP/1.1 as the tests need, byte by byte: clients of libraries do not send what some tests send.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Server, in_time};

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(raw: &[u8]) -> Option<Self> {
        let text = String::from_utf8(raw.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let answer = Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        };
        let length = answer
            .header("content-length")
            .map(|length| length.parse().unwrap());
        // 304 says how long the body is that the client has.
        let expected = if status == 304 { length } else { Some(body.len()) };
        assert_eq!(length, expected, "cut short, or of unknown length: {text}");
        Some(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One connection to the server.
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads until the server closes. `None` when it closes without a word.
    pub(crate) async fn answer(mut self) -> Option<Answer> {
        let mut raw = Vec::new();
        // A reset is a close too: the server had not read everything.
        let _ = in_time("an answer", self.0.read_to_end(&mut raw)).await;
        (!raw.is_empty()).then(|| Answer::parse(&raw).expect("an answer"))
    }

    /// Reads `100 Continue`.
    pub(crate) async fn expect_continue(&mut self) {
        let mut interim = [0; 25];
        in_time("100 Continue", self.0.read_exact(&mut interim))
            .await
            .unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Reads one answer from a connection that stays open.
    pub(crate) async fn next_answer(&mut self) -> Answer {
        let mut raw = Vec::new();
        loop {
            let mut byte = [0];
            in_time("an answer", self.0.read_exact(&mut byte)).await.unwrap();
            raw.push(byte[0]);
            if raw.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let head = String::from_utf8(raw.clone()).unwrap().to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        in_time("a body", self.0.read_exact(&mut body)).await.unwrap();
        raw.extend(body);
        Answer::parse(&raw).unwrap()
    }
}

impl Server {
    pub(crate) async fn connect(&self) -> Connection {
        Connection(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends these bytes and reads the answer. They must ask for the connection to be closed.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.connect().await;
        // The server may refuse and close before it was sent all.
        let _ = connection.0.write_all(bytes.as_ref()).await;
        connection.answer().await.expect("an answer")
    }

    pub(crate) async fn get(&self, host: &str, path: &str) -> Answer {
        self.get_with(host, path, "").await
    }

    /// `headers` are whole lines, each with its end.
    pub(crate) async fn get_with(&self, host: &str, path: &str, headers: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        self.raw(request).await
    }

    pub(crate) async fn post(&self, host: &str, path: &str, body: &str) -> Answer {
        let head = head_of_post(host, path, "application/json", body.len());
        self.raw(format!("{head}{body}")).await
    }

    /// The texts of a tenant's notes, the newest first.
    pub(crate) async fn notes(&self, host: &str) -> Vec<String> {
        let answer = self.get(host, "/notes").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let notes = answer.json();
        let notes = notes.as_array().unwrap().iter();
        notes
            .map(|note| note["text"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) async fn add_note(&self, host: &str, text: &str) {
        let body = serde_json::json!({ "text": text }).to_string();
        let answer = self.post(host, "/notes", &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

pub(crate) fn head_of_post(host: &str, path: &str, content_type: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}
