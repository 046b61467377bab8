use std::{fmt, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, InvalidHeaderValue},
};
use sha2::{Digest, Sha256};
use tenancy_core::BoxError;

use super::{
    Grant, HandoffAudit, HandoffError, HandoffRefusal, HandoffRequest, HandoffStep, HandoffToken, Handoffs,
    Purpose, ReturnPath,
    redeem::{Browser, Presented},
    token::random_bytes,
};
use crate::{
    Tenancy, Tenant, TenantRef,
    hex::{decode_hex, encode_hex},
};

/// How long a user may take at the identity provider.
const STATE_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Single sign-on of all tenants over one callback host.
///
/// An identity provider knows one redirect address, on the central host. Four steps bring a user from a tenant's
/// host there and back:
///
/// 1. [`begin`](Self::begin), on the tenant's host: makes the `state` for the provider, and a cookie.
/// 2. The provider signs the user in and sends the browser to the central host, with the `state`.
/// 3. [`receive`](Self::receive) and [`answer`](Self::answer), on the central host: find out which tenant asked, and
///    make a token for the user. Send the browser to the tenant's host with it.
/// 4. [`redeem`](Self::redeem), on the tenant's host: opens the session.
///
/// The `state` is signed and holds the tenant, the return path, an expiry of 10 minutes, and a hash of what is in the
/// cookie. Nothing is stored for it, so that whoever asks for sign-in pages fills nothing up. The token is redeemed only
/// by the browser that has the cookie: a link to the callback or with a token, sent to somebody else, signs nobody in.
/// A browser that begins twice finishes the later one.
#[derive(Clone)]
pub struct SignOn {
    tenancy: Tenancy,
    handoffs: Handoffs,
    key: Hmac<Sha256>,
    plain_http: bool,
}

/// What begins a sign-on: where the browser goes, and what it must bring back.
pub struct SignOnStart {
    state: String,
    set_cookie: HeaderValue,
    oidc_nonce: String,
}

/// Who asked, as a `state` that came back says. Used up by [`SignOn::answer`].
#[derive(Debug)]
pub struct SignOnAsked {
    tenant: Tenant,
    return_to: ReturnPath,
    browser: [u8; 32],
}

impl SignOn {
    /// Sign-on with tokens of these handoffs. `secret` signs the `state`; all processes share it.
    ///
    /// # Errors
    /// When the secret has fewer than 32 bytes.
    pub fn new(tenancy: &Tenancy, handoffs: &Handoffs, secret: &[u8]) -> Result<Self, HandoffError> {
        if secret.len() < 32 {
            let reason = "a secret has at least 32 random bytes";
            return Err(HandoffError::invalid(handoffs.home(), reason));
        }
        let key = Sha256::new()
            .chain_update(b"tenancy sign-on key v1\0")
            .chain_update(secret)
            .finalize();
        // RFC 2104 pads short keys with zeros; a key of block size cannot have a wrong length.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&key);
        Ok(Self {
            tenancy: tenancy.clone(),
            handoffs: handoffs.clone(),
            key: Hmac::new(&block.into()),
            plain_http: false,
        })
    }

    /// Cookies without `Secure` and `__Host-`, which browsers do not take over plain HTTP. For local development alone:
    /// a neighbouring host can plant such a cookie.
    #[must_use]
    pub fn over_plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// Begins a sign-on for this tenant: send the browser to the provider with [`SignOnStart::state`], and set the
    /// cookie. Does not wait.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn begin(&self, tenant: &Tenant, return_to: &ReturnPath) -> Result<SignOnStart, HandoffError> {
        let secret = random_bytes().map_err(|error| self.unavailable(error))?;
        let browser = browser_hash(&secret);
        let expiry = self.now().saturating_add(STATE_LIFETIME).as_secs();
        let set_cookie = self
            .cookie(&encode_hex(&secret), STATE_LIFETIME)
            .map_err(|error| self.unavailable(error))?;
        Ok(SignOnStart {
            state: self.sign(&tenant.reference(), expiry, &browser, return_to),
            set_cookie,
            oidc_nonce: encode_hex(&browser),
        })
    }

    /// Reads the `state` that came back to the central host. Looks the tenant up; may wait for the catalogue.
    ///
    /// # Errors
    /// When it is forged or expired, or its tenant is gone or not served (refused); or the catalogue could not
    /// tell.
    pub async fn receive(&self, state: &str) -> Result<SignOnAsked, HandoffError> {
        let read = self
            .verify(state)
            .ok_or_else(|| self.refuse(None, HandoffRefusal::Malformed))?;
        if self.now().as_secs() >= read.expiry {
            return Err(self.refuse(Some(read.tenant), HandoffRefusal::Expired));
        }
        match self.tenancy.enter_ref(&read.tenant).await {
            Ok(tenant) => Ok(SignOnAsked {
                tenant,
                return_to: read.return_to,
                browser: read.browser,
            }),
            Err(error) if error.is_unavailable() => Err(self.unavailable(error)),
            Err(_) => Err(self.refuse(Some(read.tenant), HandoffRefusal::TenantNotServed)),
        }
    }

    /// Makes the token for the user whom the provider has signed in. Check before that this user belongs to
    /// [`SignOnAsked::tenant`]. `issued_by` names the provider, for the audit.
    ///
    /// # Errors
    /// As [`Handoffs::issue`].
    pub async fn answer(
        &self,
        asked: SignOnAsked,
        user: &str,
        issued_by: &str,
    ) -> Result<HandoffToken, HandoffError> {
        let mut request = HandoffRequest::new(Purpose::SIGN_ON, user, issued_by).return_to(asked.return_to);
        request.browser = Some(asked.browser);
        self.handoffs.issue(&asked.tenant, request).await
    }

    /// Redeems the token on the tenant's host, for the browser that began. Begin a new session then, and clear the
    /// cookie with [`clear_cookie`](Self::clear_cookie).
    ///
    /// # Errors
    /// As [`Handoffs::redeem`]; also when the request does not have the cookie, and for tokens that
    /// [`answer`](Self::answer) has not made: these are for any browser.
    pub async fn redeem(
        &self,
        tenant: &Tenant,
        token: &str,
        headers: &HeaderMap,
    ) -> Result<Grant, HandoffError> {
        self.handoffs
            .redeem_presented(Presented {
                tenant,
                purpose: &Purpose::SIGN_ON,
                token,
                browser: Browser::With(self.browser_of(headers)),
            })
            .await
    }

    /// A `Set-Cookie` that takes the cookie away.
    pub fn clear_cookie(&self) -> HeaderValue {
        self.cookie("", Duration::ZERO)
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn now(&self) -> Duration {
        self.handoffs.home().clock.unix_time()
    }

    fn refuse(&self, tenant: Option<TenantRef>, refusal: HandoffRefusal) -> HandoffError {
        let mut audit = HandoffAudit::new(HandoffStep::Refused(refusal));
        audit.presented_to = tenant;
        audit.presented_for = Some(Purpose::SIGN_ON);
        audit.write(self.handoffs.home());
        HandoffError::refused(self.handoffs.home(), refusal)
    }

    fn unavailable(&self, source: impl Into<BoxError>) -> HandoffError {
        HandoffError::unavailable(self.handoffs.home(), source)
    }

    fn cookie_name(&self) -> &'static str {
        if self.plain_http {
            "tenancy-sign-on"
        } else {
            "__Host-tenancy-sign-on"
        }
    }

    fn cookie(&self, value: &str, lifetime: Duration) -> Result<HeaderValue, InvalidHeaderValue> {
        let name = self.cookie_name();
        let secure = if self.plain_http { "" } else { "; Secure" };
        let max_age = lifetime.as_secs();
        let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
        let mut cookie = HeaderValue::try_from(text)?;
        cookie.set_sensitive(true);
        Ok(cookie)
    }

    /// What the one cookie of the name hashes to. Two of them are none: somebody planted one.
    fn browser_of(&self, headers: &HeaderMap) -> Option<[u8; 32]> {
        let lines = headers.get_all(COOKIE).iter();
        let mut values = lines
            .flat_map(|line| line.as_bytes().split(|b| *b == b';'))
            .filter_map(|pair| {
                let equals = pair.iter().position(|b| *b == b'=')?;
                let (name, value) = pair.split_at(equals);
                (name.trim_ascii() == self.cookie_name().as_bytes()).then(|| value[1..].trim_ascii())
            });
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        let secret = decode_hex(std::str::from_utf8(value).ok()?)?;
        Some(browser_hash(&secret))
    }

    /// `1.<expiry>.<id>.<incarnation>.<hash>.<mac>.<path>`: only the path, which is last, may have further dots.
    fn sign(&self, tenant: &TenantRef, expiry: u64, browser: &[u8; 32], path: &ReturnPath) -> String {
        let head = format!("1.{expiry}.{tenant}.{}", encode_hex(browser));
        let mac = encode_hex(&self.mac(&head, path.as_str()).finalize().into_bytes());
        format!("{head}.{mac}.{path}")
    }

    fn mac(&self, head: &str, path: &str) -> Hmac<Sha256> {
        // The head has no slash and the path begins with one: the two can not be split otherwise.
        self.key
            .clone()
            .chain_update(b"tenancy sign-on state v1\0")
            .chain_update(head)
            .chain_update(path)
    }

    fn verify(&self, state: &str) -> Option<State> {
        let mut parts = state.splitn(7, '.');
        let mut next = || parts.next();
        let (version, expiry, id, incarnation) = (next()?, next()?, next()?, next()?);
        let (browser, mac, path) = (next()?, next()?, next()?);
        let head = format!("{version}.{expiry}.{id}.{incarnation}.{browser}");
        // Compares in constant time.
        self.mac(&head, path).verify_slice(&decode_hex(mac)?).ok()?;
        if version != "1" {
            return None;
        }
        Some(State {
            expiry: expiry.parse().ok()?,
            tenant: format!("{id}.{incarnation}").parse().ok()?,
            browser: decode_hex(browser)?,
            return_to: ReturnPath::new(path).ok()?,
        })
    }
}

struct State {
    expiry: u64,
    tenant: TenantRef,
    browser: [u8; 32],
    return_to: ReturnPath,
}

fn browser_hash(secret: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"tenancy sign-on browser v1\0")
        .chain_update(secret)
        .finalize()
        .into()
}

impl SignOnStart {
    /// The `state` for the provider: visible ASCII, 800 bytes at most. Percent-encode it in the query.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// A `nonce` for OpenID Connect: the id token that comes back must have the same as [`SignOnAsked::oidc_nonce`]
    /// says. Else a token that was made for another sign-on can be slipped in.
    pub fn oidc_nonce(&self) -> &str {
        &self.oidc_nonce
    }

    /// The `Set-Cookie` that binds the sign-on to this browser: host-only, `HttpOnly`, for 10 minutes.
    pub fn set_cookie(&self) -> &HeaderValue {
        &self.set_cookie
    }
}

impl SignOnAsked {
    /// Whose user is to be signed in.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Where the user wanted to go.
    pub fn return_to(&self) -> &ReturnPath {
        &self.return_to
    }

    /// The `nonce` that the id token must have.
    pub fn oidc_nonce(&self) -> String {
        encode_hex(&self.browser)
    }
}

impl fmt::Debug for SignOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignOn")
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SignOnStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignOnStart(redacted)")
    }
}
