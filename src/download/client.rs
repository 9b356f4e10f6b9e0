//! One request, and the redirects that follow from it.

use crate::error::Error;
use std::time::Duration;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

/// The most redirects that one request follows: real chains have one or two.
const REDIRECTS: usize = 8;

/// How long a server may be silent before the connection counts as dropped.
const SILENCE: Duration = Duration::from_secs(60);

/// How often, and after which pauses, a request is tried again after a failure that may pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How many times in a row it is tried again.
    pub times: u32,
    /// Pause after the first failure; each further one is twice as long.
    pub pause: Duration,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { times: 4, pause: Duration::from_millis(400) }
    }
}

impl Retries {
    /// Calls until the result is no [`Fault::Passing`], or the tries are used up.
    pub(super) fn run<T>(self, mut call: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
        let mut failures = 0;
        loop {
            match call() {
                Err(Fault::Passing(_)) if failures < self.times => self.wait(&mut failures),
                done => return done,
            }
        }
    }

    pub(super) fn wait(self, failures: &mut u32) {
        std::thread::sleep(self.pause * 2_u32.saturating_pow((*failures).min(6)));
        *failures += 1;
    }
}

/// Why nothing was fetched.
#[derive(Debug)]
pub(super) enum Fault {
    /// May be better in a moment: no connection, a dropped one, silence, a failure of the server's own.
    Passing(String),
    /// The server has no such file: status 404 or 410.
    Missing(String),
    /// Will not change by trying again.
    Lasting(String),
    /// The bytes came and could not be stored here.
    Local(Error),
}

impl Fault {
    pub(super) fn into_error(self, url: &str) -> Error {
        match self {
            Fault::Passing(why) | Fault::Missing(why) | Fault::Lasting(why) => {
                Error::Download { url: url.to_owned(), why }
            }
            Fault::Local(error) => error,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Local(error)
    }
}

/// The answer of a server at the end of the redirects.
pub(super) struct Reply {
    /// Headers of the host that was asked, from all its answers along the redirects. Those of other hosts are left
    /// out: a host for storage knows nothing of commits.
    pub(super) said: HeaderMap,
    pub(super) response: Response<Body>,
    /// Whether the answer came from the host that was asked, and not from one that it redirected to.
    pub(super) at_home: bool,
}

/// Returns a header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// Returns a header as a number.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// Sends requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    agent: Agent,
}

impl Client {
    pub(super) fn new() -> Client {
        let config = Agent::config_builder()
            .user_agent(concat!("otolith/", env!("CARGO_PKG_VERSION")))
            // redirects are followed by `send`, so that the token goes to one host only
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(SILENCE / 2))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE));
        Client { agent: config.build().new_agent() }
    }

    /// Requests an address. `token` is sent to its host and to no other.
    ///
    /// Replies are returned for the statuses 200, 206 and 416, and to HEAD also for a redirect to another host.
    pub(super) fn send(
        &self,
        method: &Method,
        url: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, Fault> {
        let first = parse(url)?;
        let (mut url, mut said) = (first.clone(), HeaderMap::new());
        for _ in 0..=REDIRECTS {
            let at_home = origin(&url) == origin(&first);
            let response = self.once(method, &url, token.filter(|_| at_home), headers)?;
            if at_home {
                said.extend(response.headers().clone());
            }
            let status = response.status();
            match status.as_u16() {
                200 | 206 | 416 => return Ok(Reply { said, response, at_home }),
                301 | 302 | 303 | 307 | 308 => {
                    let to = text(response.headers(), "location")
                        .ok_or_else(|| Fault::Lasting(format!("{status} without an address to go to")))?;
                    let next = join(&url, to)?;
                    if url.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                        return Err(Fault::Lasting(format!("redirected from https to {}", shown(&next))));
                    }
                    if method == Method::HEAD && origin(&next) != origin(&first) {
                        // the headers that are wanted have come; the address behind the redirect may allow GET only
                        return Ok(Reply { said, response, at_home: false });
                    }
                    url = next;
                }
                _ => return Err(refusal(status)),
            }
        }
        Err(Fault::Lasting(format!("more than {REDIRECTS} redirects")))
    }

    fn once(
        &self,
        method: &Method,
        url: &Uri,
        token: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Response<Body>, Fault> {
        // lengths and checksums are those of the bytes uncompressed
        let mut request = Request::builder().method(method).uri(url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|error| Fault::Lasting(format!("no request can be made: {error}")))?;
        let mut configured = self.agent.configure_request(request);
        if is_loopback(url) {
            configured = configured.proxy(None);
        }
        self.agent.run(configured.build()).map_err(|error| match error {
            ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
            | ureq::Error::ConnectProxyFailed(_) => Fault::Passing(format!("no answer from {}: {error}", shown(url))),
            error => Fault::Lasting(format!("{}: {error}", shown(url))),
        })
    }
}

fn refusal(status: StatusCode) -> Fault {
    match status.as_u16() {
        404 | 410 => Fault::Missing(format!("{status}: there is nothing at this address: check the name")),
        401 | 403 => {
            let advice = "check the name; where a login is needed, set HF_TOKEN to a token that may read it";
            Fault::Lasting(format!("{status}: access refused: {advice}"))
        }
        429 | 500..=599 => Fault::Passing(format!("{status}: the server cannot answer now: try again later")),
        _ => Fault::Lasting(format!("unexpected answer {status}")),
    }
}

fn parse(url: &str) -> Result<Uri, Fault> {
    let refuse = |why: &str| Fault::Lasting(format!("no address of the form https://host/path{why}"));
    let uri: Uri = url.parse().map_err(|error| refuse(&format!(": {error}")))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some() => Ok(uri),
        _ => Err(refuse("")),
    }
}

/// Resolves the target of a redirect, absolute or relative to the address where it was met.
fn join(from: &Uri, to: &str) -> Result<Uri, Fault> {
    let scheme = from.scheme_str().unwrap_or("https");
    let host = from.authority().map_or("", |authority| authority.as_str());
    if to.starts_with("http://") || to.starts_with("https://") {
        return parse(to);
    }
    if to.starts_with("//") {
        return parse(&format!("{scheme}:{to}"));
    }
    if to.starts_with('/') {
        return parse(&format!("{scheme}://{host}{to}"));
    }
    let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    parse(&format!("{scheme}://{host}{folder}/{to}"))
}

/// Returns scheme, host and port.
fn origin(url: &Uri) -> (Option<&str>, Option<String>, Option<u16>) {
    let usual = if url.scheme_str() == Some("http") { 80 } else { 443 };
    (url.scheme_str(), url.host().map(str::to_ascii_lowercase), url.port_u16().or(Some(usual)))
}

/// Writes an address without the parts that may be secret.
fn shown(url: &Uri) -> String {
    format!("{}://{}", url.scheme_str().unwrap_or(""), url.host().unwrap_or(""))
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_read_as_seen_from_where_they_were_met() {
        let from = parse("https://hub.example:8443/a/b/c?x=1").unwrap();
        for (to, expected) in [
            ("https://other.example/x", "https://other.example/x"),
            ("//other.example/x", "https://other.example/x"),
            ("/x?y", "https://hub.example:8443/x?y"),
            ("x", "https://hub.example:8443/a/b/x"),
        ] {
            assert_eq!(join(&from, to).unwrap().to_string(), expected);
        }
        assert!(parse("file:///etc/passwd").is_err() && parse("hub.example/x").is_err() && parse("").is_err());
    }

    #[test]
    fn the_usual_port_is_the_same_host_and_another_is_not() {
        let same = |a: &str, b: &str| origin(&parse(a).unwrap()) == origin(&parse(b).unwrap());
        assert!(same("https://hub.example/a", "https://HUB.example:443/b"));
        assert!(!same("https://hub.example/a", "https://hub.example:8443/a"));
        assert!(!same("https://hub.example/a", "http://hub.example/a"));
        assert!(!same("https://hub.example/a", "https://hub.example.evil/a"));
    }
}
