//! Sessions bound to tenants, single sign-on over one callback host, and impersonation.
//!
//! `cargo run -p example-sign-in`, then open `http://acme.localhost:3000/` in a browser: sign in as `7` with the
//! password `acme-7`, or by the provider. Then take the cookie to `http://globex.localhost:3000/`: 403.
//! Support (`sam`, `support`) signs in on `http://localhost:3000/`.

use std::io::{self, Write};

use example_sign_in::{Transport, site};

#[tokio::main]
async fn main() -> Result<(), tenancy::core::BoxError> {
    let site = site(Transport::PlainHttp { port: 3000 })?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    writeln!(
        io::stdout(),
        "open http://acme.localhost:3000/ or http://localhost:3000/"
    )?;
    axum::serve(listener, site.app).await?;
    Ok(())
}
