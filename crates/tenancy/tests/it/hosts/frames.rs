//! HTTP/2 by hand: h2 speaks the protocol and reads the answers, and each header block that it writes is exchanged
//! for one that no client library would send.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpStream, tcp::OwnedWriteHalf},
};

use super::{Site, wire::Answer};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

/// A header block: names and values in the order in which they are sent.
pub(super) type Block = Vec<(Vec<u8>, Vec<u8>)>;

/// What came of a stream.
#[derive(Debug)]
pub(super) enum Outcome {
    Answer(Answer),
    Reset(h2::Reason),
}

/// Sends these header blocks, each on a stream of its own, over one connection.
pub(super) async fn ask(site: &Site, blocks: &[Block]) -> Vec<Outcome> {
    let socket = TcpStream::connect(site.address).await.unwrap();
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(exchange(theirs, socket, blocks.to_vec()));
    let (mut sender, connection) = h2::client::handshake(ours).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut outcomes = Vec::new();
    for _ in blocks {
        sender = sender.ready().await.unwrap();
        let any = http::Request::get("http://to.be.exchanged/").body(()).unwrap();
        let (answer, _) = sender.send_request(any, true).unwrap();
        outcomes.push(match answer.await {
            Ok(answer) => Outcome::Answer(read(answer).await),
            Err(error) => Outcome::Reset(error.reason().expect("the server resets, or answers")),
        });
    }
    connection.abort();
    outcomes
}

/// Sends one header block.
pub(super) async fn ask_one(site: &Site, block: &Block) -> Outcome {
    ask(site, std::slice::from_ref(block)).await.remove(0)
}

async fn read(answer: http::Response<h2::RecvStream>) -> Answer {
    let (parts, mut stream) = answer.into_parts();
    let headers = parts.headers.iter();
    let headers: Vec<(String, String)> = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let mut body = Vec::new();
    while let Some(Ok(data)) = stream.data().await {
        let _ = stream.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let mut raw = format!("{} {headers:?} ", parts.status).into_bytes();
    raw.extend_from_slice(&body);
    Answer {
        status: parts.status.as_u16(),
        headers,
        body,
        raw,
    }
}

/// Carries bytes both ways, and puts the next block in the place of each header block from the client.
async fn exchange(client: DuplexStream, server: TcpStream, blocks: Vec<Block>) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, to_server) = server.into_split();
    tokio::join!(
        async {
            let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
            let _ = to_client.shutdown().await;
        },
        async {
            let _ = carry_frames(&mut from_client, to_server, blocks).await;
        },
    );
}

async fn carry_frames(
    from: &mut (impl AsyncReadExt + Unpin),
    mut to: OwnedWriteHalf,
    blocks: Vec<Block>,
) -> std::io::Result<()> {
    let mut preface = vec![0; PREFACE.len()];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    let mut blocks = blocks.iter();
    loop {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload).await?;
        if head[3] == HEADERS
            && let Some(block) = blocks.next()
        {
            payload = literal(block);
            head[..3].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
            head[4] = END_HEADERS | END_STREAM;
        }
        to.write_all(&[head.as_slice(), &payload].concat()).await?;
    }
}

/// RFC 7541 §6.2.2: literal fields without indexing, new names, no Huffman code. Leaves the tables as they are.
fn literal(block: &Block) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in block {
        bytes.push(0);
        for text in [name, value] {
            push_length(&mut bytes, text.len());
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

/// RFC 7541 §5.1, with a prefix of seven bits.
fn push_length(bytes: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return bytes.push(length as u8);
    }
    bytes.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
}

/// A block of text.
pub(super) fn block<const N: usize>(fields: [(&str, &str); N]) -> Block {
    let owned = |(name, value): (&str, &str)| (name.into(), value.into());
    fields.map(owned).into()
}

/// A GET of `/x`, with these fields after the pseudo-headers that are always there.
pub(super) fn get<const N: usize>(fields: [(&str, &[u8]); N]) -> Block {
    let mut all = block([(":method", "GET"), (":scheme", "http"), (":path", "/x")]);
    all.extend(fields.map(|(name, value)| (name.into(), value.into())));
    all
}

/// Bytes that a message can show.
pub(super) fn shown_block(block: &Block) -> String {
    let line = |(name, value): &(Vec<u8>, Vec<u8>)| {
        format!("    {}: {}\n", name.escape_ascii(), value.escape_ascii())
    };
    block.iter().map(line).collect()
}
