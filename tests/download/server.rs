//! A server on a loopback address that the test tells what to answer, request by request, and that remembers what it
//! was asked.

use otolith::download::Retries;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Tries that cost no time.
pub fn quick() -> Retries {
    Retries { times: 3, pause: Duration::from_millis(1) }
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Where the range begins that is asked for.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes of the body after which the connection is cut.
    cut: usize,
    /// Sent in chunks, its length not told.
    chunked: bool,
    /// Sent in chunks again and again, until the client has enough, or 1 GB of it.
    endless: bool,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Vec::new(), cut: usize::MAX, chunked: false, endless: false }
    }

    pub fn body(body: &[u8]) -> Reply {
        Reply { body: body.to_vec(), ..Reply::status(200) }
    }

    /// The whole, or the part that is asked for, as a server does that knows ranges.
    pub fn ranged(request: &Request, body: &[u8], etag: &str) -> Reply {
        let same = request.header("if-range").is_none_or(|tag| tag == etag);
        let reply = match request.range() {
            Some(from) if same && from >= body.len() => {
                Reply::status(416).with("Content-Range", &format!("bytes */{}", body.len()))
            }
            Some(from) if same => Reply { status: 206, ..Reply::body(&body[from..]) }
                .with("Content-Range", &format!("bytes {from}-{}/{}", body.len() - 1, body.len())),
            _ => Reply::body(body),
        };
        reply.with("ETag", etag)
    }

    pub fn with(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn chunked(self) -> Reply {
        Reply { chunked: true, ..self }
    }

    pub fn endless(self) -> Reply {
        Reply { endless: true, ..self.chunked() }
    }

    pub fn cut(self, cut: usize) -> Reply {
        Reply { cut, ..self }
    }
}

pub struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves until the process ends. `answer` gets each request and how many came before it.
    pub fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Server { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// Method and path of every request since the last call.
    pub fn take(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

/// One request a connection: a client that keeps connections must cope.
fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request, usize) -> Reply) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let request = Request { method, path, headers };
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let reply = answer(&request, before);
    let mut head = format!("HTTP/1.1 {} Some\r\nConnection: close\r\n", reply.status);
    head += &match reply.chunked {
        true => "Transfer-Encoding: chunked\r\n".to_owned(),
        false => format!("Content-Length: {}\r\n", reply.body.len()),
    };
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = if request.method == "HEAD" { &[][..] } else { &reply.body[..reply.cut.min(reply.body.len())] };
    let mut sent = Vec::new();
    if reply.chunked {
        for chunk in body.chunks(10_000) {
            sent.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
            sent.extend(chunk);
            sent.extend(b"\r\n");
        }
        if body.len() == reply.body.len() {
            sent.extend(b"0\r\n\r\n");
        }
    } else {
        sent.extend(body);
    }
    if reply.endless && request.method != "HEAD" {
        let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat();
        let mut sent = stream.write_all(format!("{head}\r\n").as_bytes());
        for _ in 0..(1 << 30) / body.len() {
            if sent.is_err() {
                return;
            }
            sent = stream.write_all(&chunk);
        }
        return;
    }
    // a client that has gone away is no affair of the server's
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(&sent));
}
