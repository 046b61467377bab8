use std::collections::HashMap;

use http::header::COOKIE;
use proptest::prelude::*;

use super::*;

const SECRET: &str = "correct horse & battery+staple/%=ü";
const ENCODED: &str = "correct+horse+%26+battery%2Bstaple%2F%25%3D%c3%bc";
const NOW: Duration = Duration::from_millis(1_700_000_000_250);
const LIFETIME: Duration = BypassSettings::DEFAULT_LIFETIME;

fn bypass(secret: &str) -> Bypass {
    Bypass::new(BypassKey::from_secret(secret).unwrap(), BypassSettings::default())
}

fn id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

fn tenant(id: &TenantId) -> Subject<'_> {
    Subject::Tenant { id, incarnation: 7 }
}

/// The `name=value` that a browser sends back.
fn pair(set_cookie: &HeaderValue) -> String {
    let text = std::str::from_utf8(set_cookie.as_bytes()).unwrap();
    text.split(';').next().unwrap().to_owned()
}

fn cookies(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, line.parse().unwrap());
    }
    headers
}

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn location(bypass: &Bypass, text: &str) -> Option<String> {
    let value = bypass.location_without_secret(&uri(text))?;
    Some(String::from_utf8(value.as_bytes().to_vec()).unwrap())
}

fn accepts(bypass: &Bypass, method: &Method, text: &str) -> bool {
    bypass
        .presented(method, &uri(text))
        .is_some_and(|secret| bypass.accepts(&secret))
}

#[test]
fn secrets_have_a_least_and_a_most_length() {
    for good in ["0123456789abcdef", "üüüüüüüüüüüüüüüü", &"x".repeat(256), SECRET] {
        assert!(BypassKey::from_secret(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "0123456789abcde",
        "üüüüüüüü",
        &"x".repeat(257),
        "0123456789abcdef\n",
        "0123456789\0abcdef",
    ] {
        assert!(BypassKey::from_secret(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_stored_form_comes_back_and_is_not_the_plain_hash() {
    let key = BypassKey::from_secret(SECRET).unwrap();
    let hex = key.to_hex();
    assert_eq!(hex.len(), 64);
    assert_eq!(BypassKey::from_hex(&hex).unwrap().to_hex(), hex);
    assert_eq!(BypassKey::from_hex(&hex.to_uppercase()).unwrap().to_hex(), hex);
    assert_ne!(hex, encode_hex(&Sha256::digest(SECRET)));
    for bad in ["", &hex[..63], &format!("{hex}0"), &format!("g{}", &hex[1..])] {
        assert!(BypassKey::from_hex(bad).is_err(), "{bad:?}");
    }
}

/// Nodes of two releases must agree, and stored keys must outlive an upgrade.
#[test]
fn the_formats_do_not_change() {
    let bypass = bypass("0123456789abcdef");
    assert_eq!(
        bypass.key.to_hex(),
        "b6b39131732e55db146d8ca314983df7c217e0cb0831c6399b89a6655550765c"
    );
    assert_eq!(
        bypass.issue(tenant(&id("acme")), NOW, true).as_bytes(),
        b"__Host-tenancy-bypass.acme=1.1700043200.7c2fb6ed7c052d98b015afe88176332f84918e85609df75d34304fd02bc237ad; \
          Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"
    );
}

#[test]
fn a_cookie_has_all_its_attributes_and_hides_in_debug_output() {
    let bypass = bypass(SECRET);
    let attributes = |value: &HeaderValue| {
        let text = String::from_utf8(value.as_bytes().to_vec()).unwrap();
        text.split_once("; ").unwrap().1.to_owned()
    };
    let secure = bypass.issue(Subject::Global, NOW, true);
    assert!(pair(&secure).starts_with("__Host-tenancy-bypass=1.1700043200."));
    assert_eq!(
        attributes(&secure),
        "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"
    );
    let plain = bypass.issue(tenant(&id("acme")), NOW, false);
    assert!(pair(&plain).starts_with("tenancy-bypass.acme=1.1700043200."));
    assert_eq!(
        attributes(&plain),
        "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"
    );
    assert_eq!(format!("{secure:?}"), "Sensitive");
}

#[test]
fn a_cookie_opens_what_it_was_made_for_and_nothing_else() {
    let (acme, acme_2) = (id("acme"), id("acme-2"));
    let subjects = [
        Subject::Global,
        tenant(&acme),
        tenant(&acme_2),
        Subject::Tenant {
            id: &acme,
            incarnation: 8,
        },
        Subject::Tenant {
            id: &acme,
            incarnation: 0,
        },
    ];
    let secrets = [SECRET, "another secret of mine"];
    let doors: Vec<_> = secrets
        .iter()
        .flat_map(|secret| subjects.map(|subject| (*secret, subject)))
        .flat_map(|(secret, subject)| [true, false].map(|secure| (secret, subject, secure)))
        .collect();
    for (made, (secret, subject, secure)) in doors.iter().enumerate() {
        let sent = pair(&bypass(secret).issue(*subject, NOW, *secure));
        let value = sent.split_once('=').unwrap().1;
        for (tried, (secret, subject, secure)) in doors.iter().enumerate() {
            let opens = |line: &str| bypass(secret).verify(*subject, &cookies(&[line]), NOW, *secure);
            assert_eq!(
                opens(&sent),
                made == tried,
                "{:?} {:?}",
                doors[made],
                doors[tried]
            );
            // Even under the name that is looked for.
            let other = pair(&bypass(secret).issue(*subject, NOW, *secure));
            let renamed = format!("{}={value}", other.split_once('=').unwrap().0);
            assert_eq!(
                opens(&renamed),
                made == tried,
                "{:?} {:?}",
                doors[made],
                doors[tried]
            );
        }
    }
}

#[test]
fn a_plain_cookie_does_not_count_under_tls() {
    let bypass = bypass(SECRET);
    let acme = id("acme");
    let plain = pair(&bypass.issue(tenant(&acme), NOW, false));
    let secure = pair(&bypass.issue(tenant(&acme), NOW, true));
    let unprefixed = secure.strip_prefix("__Host-").unwrap();
    let lower = secure.replace("__Host-", "__host-");
    for refused in [&plain, unprefixed, &format!("__Host-{plain}"), &lower] {
        assert!(
            !bypass.verify(tenant(&acme), &cookies(&[refused]), NOW, true),
            "{refused}"
        );
    }
    assert!(bypass.verify(tenant(&acme), &cookies(&[&secure]), NOW, true));
    assert!(bypass.verify(tenant(&acme), &cookies(&[&plain]), NOW, false));
}

#[test]
fn no_byte_of_a_cookie_can_be_changed() {
    let bypass = bypass(SECRET);
    let acme = id("acme");
    let sent = pair(&bypass.issue(tenant(&acme), NOW, true));
    for at in 0..sent.len() {
        for replacement in b'!'..=b'~' {
            let mut bytes = sent.clone().into_bytes();
            if bytes[at] == replacement {
                continue;
            }
            bytes[at] = replacement;
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_bytes(&bytes).unwrap());
            assert!(
                !bypass.verify(tenant(&acme), &headers, NOW, true),
                "{}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }
    for end in 0..sent.len() {
        assert!(!bypass.verify(tenant(&acme), &cookies(&[&sent[..end]]), NOW, true));
    }
}

#[test]
fn values_have_one_spelling() {
    let bypass = bypass(SECRET);
    let sent = pair(&bypass.issue(Subject::Global, NOW, true));
    let (name, value) = sent.split_once('=').unwrap();
    let rest = value.strip_prefix("1.").unwrap();
    let (expiry, tag) = rest.split_once('.').unwrap();
    for refused in [
        format!("{name}=\"{value}\""),
        format!("{name}=1.0{rest}"),
        format!("{name}=1.+{rest}"),
        format!("{name}=1.-{rest}"),
        format!("{name}=1. {rest}"),
        format!("{name}=2.{rest}"),
        format!("{name}=01.{rest}"),
        format!("{name}=.{rest}"),
        format!("{name}={rest}"),
        format!("{name}={value}."),
        format!("{name}={value}0"),
        format!("{name}=1.{expiry}.{}", tag.to_uppercase()),
        format!("{name}=1.{expiry}."),
        format!("{name}=1.99999999999999999999999.{tag}"),
        format!("{name}="),
        name.to_owned(),
        format!("{name} ={value}"),
        format!("{}={value}", name.to_uppercase()),
    ] {
        assert!(
            !bypass.verify(Subject::Global, &cookies(&[&refused]), NOW, true),
            "{refused}"
        );
    }
}

#[test]
fn a_cookie_ends_at_its_expiry_and_not_a_moment_later() {
    let bypass = bypass(SECRET);
    let sent = cookies(&[&pair(&bypass.issue(Subject::Global, NOW, true))]);
    let opens = |now| bypass.verify(Subject::Global, &sent, now, true);
    let expiry = Duration::from_secs(NOW.as_secs()) + LIFETIME;
    assert!(opens(NOW));
    assert!(opens(expiry - Duration::from_nanos(1)));
    assert!(!opens(expiry));
    assert!(!opens(expiry + LIFETIME));
    assert!(!opens(Duration::MAX));
}

#[test]
fn a_cookie_from_the_future_is_refused_beyond_a_clocks_error() {
    let bypass = bypass(SECRET);
    let from = |made: Duration| cookies(&[&pair(&bypass.issue(Subject::Global, made, true))]);
    let opens = |made| bypass.verify(Subject::Global, &from(made), NOW, true);
    assert!(opens(NOW + Duration::from_secs(60)));
    assert!(!opens(NOW + Duration::from_secs(61)));
    assert!(!opens(NOW + Duration::from_secs(10 * 365 * 86_400)));
    assert!(!opens(Duration::MAX));
}

#[test]
fn a_shorter_lifetime_ends_longer_cookies() {
    let key = BypassKey::from_secret(SECRET).unwrap();
    let short = BypassSettings::default().with_lifetime(Duration::from_secs(600));
    let sent = cookies(&[&pair(&bypass(SECRET).issue(Subject::Global, NOW, true))]);
    assert!(!Bypass::new(key, short).verify(Subject::Global, &sent, NOW, true));
}

#[test]
fn all_cookie_lines_are_read_but_not_too_many_candidates() {
    let bypass = bypass(SECRET);
    let sent = pair(&bypass.issue(Subject::Global, NOW, true));
    let opens = |lines: &[&str]| bypass.verify(Subject::Global, &cookies(lines), NOW, true);
    let wrong = "__Host-tenancy-bypass=1.1700043200.00";
    assert!(opens(&["a=b", "c; d=e", &format!(" x=y ;\t{sent} ; z")]));
    assert!(opens(&[
        wrong,
        wrong,
        wrong,
        wrong,
        &format!("{wrong};{wrong};{wrong};{sent}")
    ]));
    assert!(!opens(&[
        &sent, wrong, wrong, wrong, wrong, wrong, wrong, wrong, wrong
    ]));
    assert!(!opens(&[]));
    // Neighbours in name are no candidates.
    let neighbours = ["__Host-tenancy-bypass.acme=1"; 20].join("; ");
    assert!(opens(&[&neighbours, &sent]));
}

#[test]
fn the_secret_is_taken_from_the_query_of_reading_requests() {
    let bypass = bypass(SECRET);
    let link = format!("/a?tenancy-bypass={ENCODED}");
    for method in [Method::GET, Method::HEAD] {
        assert!(accepts(&bypass, &method, &link));
    }
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
    ] {
        assert!(!accepts(&bypass, &method, &link), "{method}");
    }
    for right in [
        format!("/?a=1&tenancy-bypass={ENCODED}&b"),
        format!("http://other.test/?tenancy-bypass={ENCODED}"),
        format!("/?tenancy%2Dbyp%61ss={ENCODED}"),
        format!("/?tenancy-bypass={}", ENCODED.replace('+', "%20")),
    ] {
        assert!(accepts(&bypass, &Method::GET, &right), "{right}");
    }
    for wrong in [
        "/".to_owned(),
        "/?".to_owned(),
        "/?tenancy-bypass".to_owned(),
        "/?tenancy-bypass=".to_owned(),
        format!("/?tenancy-bypass={ENCODED}x"),
        format!("/?tenancy-bypass=x{ENCODED}"),
        format!("/?tenancy-bypass={}", &ENCODED[..ENCODED.len() - 1]),
        format!("/?Tenancy-Bypass={ENCODED}"),
        format!("/?tenancy-bypass[]={ENCODED}"),
        format!("/?{ENCODED}"),
        format!("/tenancy-bypass={ENCODED}"),
        format!("/?tenancy-bypass={ENCODED}&tenancy-bypass={ENCODED}"),
        format!("/?tenancy-bypass={ENCODED}&tenancy%2dbypass"),
        format!("/?tenancy-bypass={}", "x".repeat(3 * 256 + 1)),
        // The stored form is no secret.
        format!(
            "/?tenancy-bypass={}",
            BypassKey::from_secret(SECRET).unwrap().to_hex()
        ),
    ] {
        assert!(!accepts(&bypass, &Method::GET, &wrong), "{wrong}");
    }
}

#[test]
fn an_overlong_secret_is_not_even_decoded() {
    let bypass = bypass(SECRET);
    let presented = |length| {
        let link = format!("/?tenancy-bypass={}", "x".repeat(length));
        bypass.presented(&Method::GET, &uri(&link))
    };
    assert!(presented(3 * BypassKey::MAX_SECRET_BYTES).is_some());
    assert!(presented(3 * BypassKey::MAX_SECRET_BYTES + 1).is_none());
}

#[test]
fn the_parameter_can_be_renamed_within_a_grammar() {
    let settings = BypassSettings::default().with_parameter("let_me-in.2").unwrap();
    let bypass = Bypass::new(BypassKey::from_secret(SECRET).unwrap(), settings);
    assert!(accepts(
        &bypass,
        &Method::GET,
        &format!("/?let_me-in.2={ENCODED}")
    ));
    assert!(!accepts(
        &bypass,
        &Method::GET,
        &format!("/?tenancy-bypass={ENCODED}")
    ));
    for bad in ["", "a=b", "a&b", "a b", "a+b", "a%20", "ä", &"a".repeat(65)] {
        assert!(BypassSettings::default().with_parameter(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_way_back_keeps_everything_but_the_secret() {
    let bypass = bypass(SECRET);
    for (from, to) in [
        ("/?tenancy-bypass=s", "/"),
        ("/a/b?tenancy-bypass=s", "/a/b"),
        ("/a?x=1&tenancy-bypass=s&y=%2f+%zz", "/a?x=1&y=%2f+%zz"),
        ("/a?tenancy-bypass=s&&x", "/a?&x"),
        ("/a?x==1&y&tenancy-bypass", "/a?x==1&y"),
        (
            "/%2e%2F/%C3%BC;p=1?q=?&tenancy-bypass=s",
            "/%2e%2F/%C3%BC;p=1?q=?",
        ),
        ("/a?tenancy-bypass=s&x=1&tenancy%2Dbypass=t", "/a?x=1"),
        (
            "/a?xtenancy-bypass=1&tenancy-bypass2=2",
            "/a?xtenancy-bypass=1&tenancy-bypass2=2",
        ),
        ("https://evil.test/a?tenancy-bypass=s&b", "/a?b"),
        ("https://evil.test?tenancy-bypass=s", "/"),
        ("/a?next=//evil.test&tenancy-bypass=s", "/a?next=//evil.test"),
        ("/ü?ü&tenancy-bypass=s", "/ü?ü"),
    ] {
        assert_eq!(location(&bypass, from).as_deref(), Some(to), "{from}");
    }
}

#[test]
fn the_way_back_never_leads_to_another_host() {
    let bypass = bypass(SECRET);
    for (from, to) in [
        ("//evil.test?tenancy-bypass=s", "/evil.test"),
        ("///evil.test/a?tenancy-bypass=s", "/evil.test/a"),
        ("/\\evil.test?tenancy-bypass=s", "/evil.test"),
        ("/\\/\\\\//evil.test?tenancy-bypass=s", "/evil.test"),
        ("https://ok.test//evil.test?tenancy-bypass=s", "/evil.test"),
        ("//?tenancy-bypass=s", "/"),
        ("/.//evil.test?tenancy-bypass=s", "/.//evil.test"),
        ("/%2fevil.test?tenancy-bypass=s", "/%2fevil.test"),
        ("/a//evil.test?tenancy-bypass=s", "/a//evil.test"),
        ("/javascript:alert(1)?tenancy-bypass=s", "/javascript:alert(1)"),
    ] {
        assert_eq!(location(&bypass, from).as_deref(), Some(to), "{from}");
    }
    assert_eq!(location(&bypass, "*"), None);
    assert_eq!(location(&bypass, "evil.test:443"), None);
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let bypass = bypass(SECRET);
    let presented = bypass
        .presented(&Method::GET, &uri(&format!("/?tenancy-bypass={ENCODED}")))
        .unwrap();
    let hex = bypass.key.to_hex();
    for shown in [
        format!("{bypass:?} {presented:?} {:?}", bypass.key),
        format!("{bypass:#?} {presented:#?}"),
        format!("{:?}", BypassKey::from_secret("too short").unwrap_err()),
    ] {
        for hidden in [
            SECRET,
            ENCODED,
            &hex,
            "too short",
            &format!("{:?}", bypass.key.stored),
        ] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}

/// `None` for the whole service.
type NameAndIncarnation = Option<(Vec<u8>, u64)>;

/// Reads a MAC input back, which shows that nothing else has the same one.
fn read_back(input: &[u8]) -> Option<(NameAndIncarnation, bool, u64)> {
    fn number<'a>(input: &mut &'a [u8]) -> Option<u64> {
        let (first, rest): (&'a [u8; 8], _) = input.split_first_chunk()?;
        *input = rest;
        Some(u64::from_be_bytes(*first))
    }
    let (kind, mut rest) = input.split_first()?;
    let subject = match kind {
        0 => None,
        1 => {
            let length = usize::try_from(number(&mut rest)?).ok()?;
            let (id, after) = rest.split_at_checked(length)?;
            rest = after;
            Some((id.to_vec(), number(&mut rest)?))
        }
        _ => return None,
    };
    let (secure, mut rest) = rest.split_first()?;
    let expiry = number(&mut rest)?;
    rest.is_empty().then_some((subject, *secure == 1, expiry))
}

#[test]
fn mac_inputs_of_all_near_neighbours_differ() {
    let ids: Vec<_> = ["a", "aa", "aaa", "global", "0", "1"].map(id).into();
    let numbers = [0, 1, 7, 97, 0x6161, 1 << 32, u64::MAX];
    let mut seen = HashMap::new();
    for secure in [true, false] {
        for expiry in numbers {
            let mut subjects = vec![Subject::Global];
            for id in &ids {
                subjects.extend(numbers.map(|incarnation| Subject::Tenant { id, incarnation }));
            }
            for subject in subjects {
                let what = format!("{subject:?} {secure} {expiry}");
                let twin = seen.insert(cookie::mac_input(subject, expiry, secure), what);
                assert_eq!(twin, None);
            }
        }
    }
}

proptest! {
    #[test]
    fn mac_inputs_can_be_read_back(
        name in proptest::option::of("[a-z0-9_][a-z0-9_-]{0,47}"),
        incarnation: u64,
        expiry: u64,
        secure: bool,
    ) {
        let id = name.as_deref().map(id);
        let subject = match &id {
            Some(id) => Subject::Tenant { id, incarnation },
            None => Subject::Global,
        };
        let expected = name.map(|name| (name.into_bytes(), incarnation));
        prop_assert_eq!(
            read_back(&cookie::mac_input(subject, expiry, secure)),
            Some((expected, secure, expiry))
        );
    }

    #[test]
    fn every_cookie_opens_its_own_door(
        name in "[a-z0-9_][a-z0-9_-]{0,47}",
        incarnation: u64,
        now in 0..u64::from(u32::MAX),
        secure: bool,
    ) {
        let (bypass, id, now) = (bypass(SECRET), id(&name), Duration::from_secs(now));
        let subject = Subject::Tenant { id: &id, incarnation };
        let sent = pair(&bypass.issue(subject, now, secure));
        prop_assert!(bypass.verify(subject, &cookies(&[&sent]), now, secure));
    }

    #[test]
    fn any_cookie_line_is_survived_and_refused(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = b"tenancy-bypass=1.".to_vec();
        bytes.extend(line);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, value);
            prop_assert!(!bypass(SECRET).verify(Subject::Global, &headers, NOW, false));
        }
    }

    /// One slash in front, then neither slash nor backslash, and nothing that ends a header line or that
    /// browsers leave out: then the URL standard reads it as a path.
    #[test]
    fn any_way_back_is_a_path_on_this_host(
        front in "[/\\\\.%]{0,6}",
        rest in "\\PC{0,30}",
        query in "[a-z=&%+/\\\\?]{0,30}",
    ) {
        let text = format!("/{front}{rest}?{query}&tenancy-bypass=s");
        if let Ok(uri) = text.parse::<Uri>() {
            let value = bypass(SECRET).location_without_secret(&uri).unwrap();
            let bytes = value.as_bytes();
            prop_assert_eq!(bytes[0], b'/');
            prop_assert!(!matches!(bytes.get(1), Some(b'/' | b'\\')));
            prop_assert!(bytes.iter().all(|b| *b > b' ' && *b != 0x7f));
            prop_assert!(!value.to_str().is_ok_and(|text| text.contains("tenancy-bypass")));
        }
    }

    #[test]
    fn any_secret_is_found_again_in_its_link(secret in "\\PC{16,60}") {
        let encoded: String = secret.bytes().map(|b| format!("%{b:02X}")).collect();
        let found = accepts(&bypass(&secret), &Method::GET, &format!("/?a&tenancy-bypass={encoded}"));
        prop_assert!(found);
    }
}
