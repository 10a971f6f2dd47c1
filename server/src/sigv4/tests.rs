//! Signatures of AWS's own test suite (aws-signing-test-suite, version 4, of the AWS Common Runtime), and everything that
//! one may be refused for.

use hyper::Request;

use super::*;

const NOW: &str = "20150830T123600Z";

fn credentials() -> Credentials {
    Credentials::of("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").unwrap()
}

fn now() -> Moment {
    Moment::parse(NOW).unwrap()
}

/// Verifies a whole request, for our service or another.
fn verify(service: Option<&str>, parts: &Parts, body: &[u8], now: Moment) -> Result<(), WireError> {
    claim_for(service.unwrap_or(SERVICE), &credentials(), parts, now)?.verify(parts, &hash(body))
}

fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn authorization(names: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders={names}, Signature={signature}"
    )
}

/// Verifies a request that is signed in its header.
fn in_header(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    names: &str,
    signature: &str,
    body: &str,
) -> Result<(), WireError> {
    let authorization = authorization(names, signature);
    let mut headers = headers.to_vec();
    headers.push(("Host", "example.amazonaws.com"));
    headers.push(("X-Amz-Date", NOW));
    headers.push(("Authorization", &authorization));
    let parts = parts(method, target, &headers);
    verify(Some("service"), &parts, body.as_bytes(), now())
}

#[test]
fn the_test_suite_of_aws_is_accepted() {
    let vanilla = "host;x-amz-date";
    let form = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
    for (method, target, headers, names, signature, body) in [
        (
            "POST",
            "/",
            &[
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Content-Length", "13"),
                ("x-amz-content-sha256", form),
            ][..],
            "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
            "Param1=value1",
        ),
        (
            "POST",
            "/?Param1=value1",
            &[],
            vanilla,
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            "",
        ),
        (
            "GET",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            &[],
            vanilla,
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            "",
        ),
        (
            "GET",
            "/",
            &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
            "host;my-header1;my-header2;x-amz-date",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            "",
        ),
        (
            "GET",
            "/",
            &[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
            "host;my-header1;x-amz-date",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            "",
        ),
    ] {
        assert_eq!(in_header(method, target, headers, names, signature, body), Ok(()), "{target}");
        // Each byte counts: of the body, of the target, of the signature.
        let longer = format!("{body} ");
        assert!(in_header(method, target, headers, names, signature, &longer).is_err());
        let other = if target.contains('?') { format!("{target}&a=b") } else { "/?a=b".to_owned() };
        assert!(in_header(method, &other, headers, names, signature, body).is_err());
        for at in [0, 31, 63] {
            let mut wrong = signature.to_owned();
            let digit = if &wrong[at..=at] == "0" { "1" } else { "0" };
            wrong.replace_range(at..=at, digit);
            let error = in_header(method, target, headers, names, &wrong, body).unwrap_err();
            assert!(error.to_string().contains("InvalidSignatureException"), "{error}");
        }
    }
}

/// The target of a request that is signed in its query.
fn query(names: &str, signature: &str) -> String {
    format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2F\
         service%2Faws4_request&X-Amz-Date={NOW}&X-Amz-SignedHeaders={names}&\
         X-Amz-Expires=3600&X-Amz-Signature={signature}"
    )
}

#[test]
fn a_signature_in_the_query_is_accepted_until_it_expires() {
    let at = |seconds: i64, target: &str| {
        let parts = parts("POST", target, &[("Host", "example.amazonaws.com")]);
        verify(Some("service"), &parts, b"", now().plus(seconds))
    };
    let signature = "a9ef26247f293bffe40eeff86a0480ba8c14d31503b2e0c3399e3a16bf1a3682";
    let target = format!("/?Param1=value1&{}", query("host", signature));
    for seconds in [0, 3600, -SKEW_SECONDS] {
        assert_eq!(at(seconds, &target), Ok(()));
    }
    let error = at(3601, &target).unwrap_err().to_string();
    let says = "Signature expired: 20150830T133600Z is now earlier than 20150830T133601Z";
    assert!(error.contains(says), "{error}");
    assert!(at(-SKEW_SECONDS - 1, &target).is_err());
    assert!(at(0, &target.replace("=3600", "=3601")).is_err());
    for expires in ["=0", "=604801", "=a", "="] {
        let error = at(0, &target.replace("=3600", expires)).unwrap_err().to_string();
        assert!(error.contains("IncompleteSignatureException"), "{error}");
    }
}

/// What a POST without a body is told that has these headers and the usual host.
fn told(headers: &[(&str, &str)]) -> String {
    told_at("/", headers)
}

fn told_at(target: &str, headers: &[(&str, &str)]) -> String {
    let mut headers = headers.to_vec();
    headers.push(("Host", "example.amazonaws.com"));
    let parts = parts("POST", target, &headers);
    verify(None, &parts, b"", now()).unwrap_err().to_string()
}

#[test]
fn what_lacks_something_is_told_what() {
    assert!(told(&[]).contains("MissingAuthenticationTokenException"));
    assert!(told(&[("Authorization", "Basic dXNlcjpwYXNz")]).contains("MissingAuthentication"));
    let all = "IncompleteSignatureException: Authorization header requires 'Credential' parameter. \
               Authorization header requires 'Signature' parameter. Authorization header requires \
               'SignedHeaders' parameter. Authorization header requires existence of either a \
               'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256";
    assert!(told(&[("Authorization", "AWS4-HMAC-SHA256")]).ends_with(all), "{all}");
    let told_algorithm = told(&[("Authorization", "AWS4-ECDSA-P256-SHA256 Credential=a")]);
    assert!(told_algorithm.contains("Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."));
    let authorized = authorization("host;x-amz-date", &"0".repeat(64));
    let told_date = told(&[("Authorization", &authorized), ("X-Amz-Date", "2015-08-30")]);
    assert!(told_date.contains("Got '2015-08-30'"), "{told_date}");
    let four = authorized.replace("/us-east-1", "");
    let told_credential = told(&[("Authorization", &four), ("X-Amz-Date", NOW)]);
    assert!(told_credential.contains("exactly 5 slash-delimited elements"), "{told_credential}");
    let told_query = told_at("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=1", &[]);
    assert!(
        told_query.contains(
            "IncompleteSignatureException: AWS query-string parameters must include \
             'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Signature'. AWS \
             query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine"
        ),
        "{told_query}"
    );
    let both = [("Authorization", authorized.as_str())];
    assert!(told_at("/?X-Amz-Algorithm=AWS4-HMAC-SHA256", &both).contains("Found both"));
}

/// What is told of a signature that is whole and not right.
fn told_of(authorization: &str, date: &str, more: &[(&str, &str)]) -> String {
    let mut headers = more.to_vec();
    headers.extend([("Authorization", authorization), ("X-Amz-Date", date)]);
    told(&headers)
}

#[test]
fn a_signature_for_something_else_is_told_for_what() {
    let authorized = authorization("host;x-amz-date", &"0".repeat(64));
    let right = authorized.replace("/service/", "/dynamodb/");
    assert!(told_of(&authorized, NOW, &[]).ends_with(
        "InvalidSignatureException: Credential should be scoped to correct service: 'dynamodb'. "
    ));
    let told_terminator = told_of(&right.replace("aws4_request", "aws3"), NOW, &[]);
    assert!(told_terminator.contains("with a valid terminator: 'aws4_request', not 'aws3'. "));
    let told_day = told_of(&right, "20150831T003600Z", &[]);
    assert!(told_day.contains("Date in Credential scope does not match"), "{told_day}");
    let told_late = told_of(&right, "20150830T122059Z", &[]);
    assert!(
        told_late.ends_with(
            "InvalidSignatureException: Signature expired: 20150830T122059Z is now earlier than \
             20150830T122100Z (20150830T123600Z - 15 min.)"
        ),
        "{told_late}"
    );
    let told_early = told_of(&right, "20150830T125101Z", &[]);
    assert!(
        told_early.ends_with(
            "Signature not yet current: 20150830T125101Z is still later than 20150830T125100Z \
             (20150830T123600Z + 15 min.)"
        ),
        "{told_early}"
    );
    let unknown = told_of(&right.replace("AKIDEXAMPLE", "AKIDOTHER"), NOW, &[]);
    assert!(
        unknown.ends_with(
            "UnrecognizedClientException: The security token included in the request is invalid."
        ),
        "{unknown}"
    );
    let wrong = told_of(&right, NOW, &[]);
    assert!(wrong.contains("does not match the signature you provided"), "{wrong}");
    assert!(wrong.contains("'POST\n/\n\nhost:example.amazonaws.com\nx-amz-date:"), "{wrong}");
    for short in ["", "0", "zz"] {
        let signature = format!("Signature={short}");
        let cut = right.replace(&format!("Signature={}", "0".repeat(64)), &signature);
        assert!(told_of(&cut, NOW, &[]).contains("does not match the signature"));
    }
}

#[test]
fn a_signature_covers_what_makes_the_request() {
    let dynamodb = |names| authorization(names, &"0".repeat(64)).replace("/service/", "/dynamodb/");
    assert!(told_of(&dynamodb("x-amz-date"), NOW, &[]).contains("'Host' or ':authority' must be"));
    assert!(told_of(&dynamodb("host"), NOW, &[]).contains("'x-amz-date' must be a 'SignedHeader'"));
    let target = [("X-Amz-Target", "DynamoDB_20120810.ListTables")];
    let told_target = told_of(&dynamodb("host;x-amz-date"), NOW, &target);
    assert!(told_target.contains("'x-amz-target' must be a 'SignedHeader'"), "{told_target}");
    // A name that stands there a thousand times would be copied as often.
    assert!(told_of(&dynamodb("host;host;x-amz-date"), NOW, &[]).contains("named twice"));
}

#[test]
fn what_our_own_client_signs_is_accepted() {
    let key = AccessKey {
        id: "AKIDEXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        region: "eu-west-1".to_owned(),
    };
    let (host, target) = ("localhost:8000", "DynamoDB_20120810.ListTables");
    let (date, authorization) = sign(&key, host, target, b"{}", now()).unwrap();
    let headers = [
        ("Host", host),
        ("X-Amz-Date", &date),
        ("X-Amz-Target", target),
        ("Authorization", &authorization),
    ];
    let verified = |body: &[u8]| verify(None, &parts("POST", "/", &headers), body, now());
    assert_eq!(verified(b"{}"), Ok(()));
    assert!(verified(b"{ }").is_err());
}

#[test]
fn moments_are_read_as_they_are_written() {
    for text in ["19700101T000000Z", "20261123T235959Z", "20240229T120000Z", "99991231T235959Z"] {
        assert_eq!(Moment::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "20261123T235960Z",
        "20250229T120000Z",
        "20261323T000000Z",
        "20261123 000000Z",
        "20261123T000000",
        "+0261123T000000Z",
        "2026112\u{e9}T00000Z",
        "20261123T240000Z",
    ] {
        assert_eq!(Moment::parse(text), None, "{text}");
    }
    let http = Moment::parse_http("Sun, 30 Aug 2015 12:36:00 GMT").unwrap();
    assert_eq!(http.to_string(), NOW);
    assert_eq!(Moment::parse_http("yesterday"), None);
}
