//! What a browser does with cookies, and what an attacker makes it do.

use std::collections::{BTreeMap, HashMap};

use axum::{
    body::{Body, to_bytes},
    http::{
        HeaderMap, Request, StatusCode,
        header::{LOCATION, SET_COOKIE},
        request::Builder,
    },
    response::Response,
};
use example_sign_in::Site;
use tower::ServiceExt;

pub(crate) struct Browser {
    pub(crate) site: Site,
    /// By host: none of the cookies has a `Domain`.
    cookies: HashMap<String, BTreeMap<String, String>>,
}

impl Browser {
    pub(crate) fn of(site: Site) -> Self {
        Self {
            site,
            cookies: HashMap::new(),
        }
    }

    /// Somebody else's, on the same site.
    pub(crate) fn another(&self) -> Self {
        Self::of(Site {
            app: self.site.app.clone(),
            tenants: self.site.tenants.clone(),
        })
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Answer {
        self.get_with_cookies_of(host, host, path).await
    }

    pub(crate) async fn get_with_cookies_of(&mut self, owner: &str, host: &str, path: &str) -> Answer {
        self.send(owner, host, Request::get(path), String::new()).await
    }

    pub(crate) async fn post(&mut self, host: &str, path: &str, form: &str) -> Answer {
        self.post_with_cookies_of(host, host, path, form).await
    }

    pub(crate) async fn post_with_cookies_of(
        &mut self,
        owner: &str,
        host: &str,
        path: &str,
        form: &str,
    ) -> Answer {
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        self.send(owner, host, request, form.to_owned()).await
    }

    pub(crate) async fn post_from(&mut self, origin: &str, host: &str, path: &str, form: &str) -> Answer {
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", origin)
            .header("sec-fetch-site", "same-site");
        self.send(host, host, request, form.to_owned()).await
    }

    async fn send(&mut self, owner: &str, host: &str, request: Builder, body: String) -> Answer {
        let jar = self.cookies.get(owner).into_iter().flatten();
        let pairs: Vec<String> = jar.map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = request.header("host", host);
        if !pairs.is_empty() {
            request = request.header("cookie", pairs.join("; "));
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.site.app.clone().oneshot(request).await.unwrap();
        self.keep_cookies(host, response.headers());
        Answer::read(response).await
    }

    fn keep_cookies(&mut self, host: &str, headers: &HeaderMap) {
        let jar = self.cookies.entry(host.to_owned()).or_default();
        for cookie in headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let body = to_bytes(body, 100_000).await.unwrap();
        Self {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Where it redirects to, which must be on this origin.
    pub(crate) fn path_on(&self, origin: &str) -> String {
        let location = self.headers[LOCATION].to_str().unwrap();
        let path = location
            .strip_prefix(origin)
            .unwrap_or_else(|| panic!("{location}"));
        assert!(path.starts_with('/'), "{location}");
        path.to_owned()
    }

    /// What the form of the provider asks for. A state has no character here that a query can not have, but `+`, `&`
    /// and `#` in its path.
    pub(crate) fn callback(&self) -> String {
        let value = |name: &str| {
            let after = self.text.split_once(&format!("name={name} value=\"")).unwrap().1;
            after.split_once('"').unwrap().0.to_owned()
        };
        format!("/callback?code={}&state={}", value("code"), value("state"))
    }

    /// The body, but for its random reference.
    pub(crate) fn without_reference(&self) -> String {
        let reference = self.headers["tenancy-reference"].to_str().unwrap();
        self.text.replace(reference, "REFERENCE")
    }
}
