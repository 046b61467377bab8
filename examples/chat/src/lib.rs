//! A chat of many customers in one process. Channels of one name are as many channels as there are tenants.

mod channels;

use std::time::Duration;

use axum::{
    Router,
    extract::{
        Path, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tenancy::{Tenancy, Tenant, routes::TenancyApp, scope};
use tokio::sync::broadcast::error::RecvError;

pub use self::channels::Channels;
use self::channels::Seat;

const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// How long a client may take to hear that its socket closes.
const GOODBYE: Duration = Duration::from_secs(5);

/// `GET /channels/{channel}`, on each tenant's own host.
pub fn app(tenancy: &Tenancy, channels: Channels) -> TenancyApp {
    let router = Router::new()
        .route("/channels/{channel}", get(join))
        .with_state(channels);
    tenancy.wrap(router)
}

/// An application with a login checks it here, and the `Origin` too: browsers let any site open a socket to any other,
/// cookies included.
async fn join(
    tenant: Tenant,
    State(channels): State<Channels>,
    Path(channel): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(seat) = channels.join(&tenant, &channel) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // The request ends here, and axum calls back from a task of its own: the scope is taken along.
    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .on_upgrade(scope::carry_callback(move |socket| serve(socket, seat)))
}

/// Runs long after its request, and ends when the tenant is suspended, deleted or purged.
async fn serve(mut socket: WebSocket, seat: Seat) {
    let Some(tenant) = scope::current_tenant() else {
        return;
    };
    let reason = tokio::select! {
        reason = talk(&mut socket, seat) => reason,
        _ = tenant.until_not_served() => Some("this service is not available any more"),
    };
    if let Some(reason) = reason {
        let close = CloseFrame {
            code: close_code::POLICY,
            reason: reason.into(),
        };
        // A client that does not read is not waited for.
        let _ = tokio::time::timeout(GOODBYE, socket.send(Message::Close(Some(close)))).await;
    }
}

/// Returns why the socket should be closed, or nothing if the client has left.
async fn talk(socket: &mut WebSocket, mut seat: Seat) -> Option<&'static str> {
    for said in std::mem::take(&mut seat.history) {
        socket.send(Message::text(&*said)).await.ok()?;
    }
    loop {
        tokio::select! {
            received = socket.recv() => match received?.ok()? {
                Message::Text(said) => seat.say(&said),
                Message::Close(_) => return None,
                Message::Binary(_) => return Some("only text is spoken here"),
                // axum answers pings.
                Message::Ping(_) | Message::Pong(_) => {}
            },
            said = seat.live.recv() => match said {
                Ok(said) => socket.send(Message::text(&*said)).await.ok()?,
                Err(RecvError::Lagged(_)) => return Some("too slow: messages were lost"),
                Err(RecvError::Closed) => return None,
            },
        }
    }
}
