use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::extract::ConnectInfo;
use clap::Args;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header, uri::Authority};
use tenancy::resolve::Explanation;

use crate::{CliContext, CliError, CommandStore, output::Output};

/// How long the list of tenants may take to be read.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Host that the request names, with or without a port
    #[arg(long, value_name = "HOST")]
    host: String,

    /// Path and query
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,

    /// Method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,

    /// A header, as `Name: value`; may be given more than once
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<String>,

    /// Address that the request comes from; the default is one that no proxy has
    #[arg(long, value_name = "ADDRESS", default_value = "192.0.2.1")]
    peer: IpAddr,

    /// Send it by HTTP/2, with the host as `:authority`
    #[arg(long)]
    http2: bool,
}

impl ExplainArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let request = self.request()?;
        let settings = context.settings()?.settings;
        let store = context.catalogue_to_read_of(&settings).await?;
        let tenancy = context.built_stack(&settings, CommandStore::catalogue(store.clone()))?;
        // Until then a tenant that is there could look like one that must be asked for.
        tokio::time::timeout(READY_LIMIT, tenancy.ready())
            .await
            .map_err(|_| CliError::no_catalogue("the list of tenants could not be read in time"))?;
        let explanation = tenancy.explain(&request).await;
        drop(tenancy);
        store.close().await;
        if out.is_json() {
            out.json(&explanation)?;
        } else {
            out.line(&explanation)?;
        }
        verdict(&explanation)
    }

    fn request(&self) -> Result<Request<()>, CliError> {
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| CliError::invalid(format!("{:?} is not a method", self.method)))?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = self.uri()?;
        if self.http2 {
            *request.version_mut() = Version::HTTP_2;
        } else {
            let host = HeaderValue::from_str(&self.host)
                .map_err(|_| CliError::invalid(format!("{:?} can not stand in a Host header", self.host)))?;
            request.headers_mut().insert(header::HOST, host);
        }
        for header in &self.headers {
            let (name, value) = parse_header(header)?;
            request.headers_mut().append(name, value);
        }
        let peer = SocketAddr::from((self.peer, 0));
        request.extensions_mut().insert(ConnectInfo(peer));
        Ok(request)
    }

    fn uri(&self) -> Result<Uri, CliError> {
        let not_a_path =
            || CliError::invalid(format!("{:?} is not a path with or without a query", self.path));
        if !self.path.starts_with('/') && self.path != "*" {
            return Err(not_a_path().advise("It begins with '/'."));
        }
        if !self.http2 {
            return self.path.parse().map_err(|_| not_a_path());
        }
        let authority: Authority = self
            .host
            .parse()
            .map_err(|_| CliError::invalid(format!("{:?} can not be an :authority", self.host)))?;
        Uri::builder()
            .scheme("https")
            .authority(authority)
            .path_and_query(self.path.as_str())
            .build()
            .map_err(|_| not_a_path())
    }
}

fn parse_header(header: &str) -> Result<(HeaderName, HeaderValue), CliError> {
    let invalid = || CliError::invalid(format!("{header:?} is not a header")).advise("Write `Name: value`.");
    let (name, value) = header.split_once(':').ok_or_else(invalid)?;
    Ok((
        name.parse().map_err(|_| invalid())?,
        HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| invalid())?,
    ))
}

/// The explanation itself is the answer; what is left for the error is the exit code.
fn verdict(explanation: &Explanation) -> Result<(), CliError> {
    match explanation.status {
        None => Ok(()),
        Some(404) if explanation.tenant.is_none() => {
            Err(CliError::not_found("no tenant answers to the request").told())
        }
        Some(status) => Err(CliError::failed(format!("the request is refused with {status}")).told()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let (name, value) = parse_header("X-Forwarded-Host:  a.example:8080 ").unwrap();
        assert_eq!(
            (name.as_str(), value.to_str().unwrap()),
            ("x-forwarded-host", "a.example:8080")
        );
        for bad in ["", "no colon", ": value", "na me: value", "name: a\nb"] {
            assert_eq!(parse_header(bad).unwrap_err().exit_code(), 5, "{bad:?}");
        }
    }
}
