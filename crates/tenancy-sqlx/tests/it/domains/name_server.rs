//! A name server on loopback that knows a few names.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, task::JoinHandle};

/// What is known of a name.
#[derive(Clone)]
pub(super) enum Entry {
    /// Records, each of several strings.
    Texts(Vec<Vec<String>>),
    /// An alias.
    Alias(&'static str),
    /// Other records.
    NoText,
    /// The server fails, with this code.
    Fails(u8),
    /// The server does not answer.
    Silent,
}

/// Stops when dropped.
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    names: Arc<Mutex<HashMap<String, Entry>>>,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl NameServer {
    pub(super) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let names = Arc::<Mutex<HashMap<String, Entry>>>::default();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (known, noted) = (Arc::clone(&names), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let (name, question_end) = name_at(&buffer[..length], 12);
                noted.lock().unwrap().push(name.clone());
                let answer = answer(&buffer[..question_end + 4], &name, &known.lock().unwrap());
                if let Some(answer) = answer {
                    socket.send_to(&answer, client).await.unwrap();
                }
            }
        });
        Self {
            address,
            names,
            asked,
            task,
        }
    }

    pub(super) fn set(&self, name: &str, entry: Entry) {
        self.names.lock().unwrap().insert(name.to_owned(), entry);
    }

    pub(super) fn set_text(&self, name: &str, text: &str) {
        self.set(name, Entry::Texts(vec![vec![text.to_owned()]]));
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The name that begins there, with a dot at its end, and where it ends.
fn name_at(message: &[u8], mut at: usize) -> (String, usize) {
    let mut name = String::new();
    while message[at] != 0 {
        let length = usize::from(message[at]);
        name += std::str::from_utf8(&message[at + 1..=at + length]).unwrap();
        name.push('.');
        at += length + 1;
    }
    (name.to_lowercase(), at + 1)
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.trim_end_matches('.').split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn record(owner: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [owner, &[0, kind, 0, 1, 0, 0, 0, 0], &length, data].concat()
}

fn answer(asked: &[u8], name: &str, names: &HashMap<String, Entry>) -> Option<Vec<u8>> {
    const QUESTION: &[u8] = &[0xc0, 12];
    let mut answers = Vec::new();
    let mut code = 0;
    let mut owner = QUESTION.to_vec();
    let mut entry = names.get(name);
    if let Some(Entry::Alias(target)) = entry {
        answers.push(record(&owner, 5, &encoded(target)));
        owner = encoded(target);
        entry = names.get(*target);
    }
    match entry {
        None => code = 3,
        Some(Entry::Texts(texts)) => {
            for strings in texts {
                let data = strings.iter().flat_map(|text| {
                    let length = u8::try_from(text.len()).unwrap();
                    std::iter::once(length).chain(text.bytes())
                });
                answers.push(record(&owner, 16, &data.collect::<Vec<_>>()));
            }
        }
        Some(Entry::NoText | Entry::Alias(_)) => {}
        Some(Entry::Fails(with)) => code = *with,
        Some(Entry::Silent) => return None,
    }
    let count = u8::try_from(answers.len()).unwrap();
    let head = [asked[0], asked[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    Some([&head, &asked[12..], &answers.concat()].concat())
}
