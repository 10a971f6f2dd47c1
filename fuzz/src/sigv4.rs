//! Signatures of requests: whatever stands in the headers and the query, nothing panics, and what is accepted is signed
//! over exactly its body.

use esker_server::fuzzing::is_signed;

const AUTHORIZATION: &str = "authorization:AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
SignedHeaders=host;x-amz-date, Signature=28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11";

/// Verifies `data`: a target, headers, and a body behind an empty line.
pub fn check(data: &[u8]) {
    if is_signed(data) != Some(true) {
        return;
    }
    let has_body = data.windows(2).any(|pair| pair == b"\n\n");
    let longer = [data, if has_body { b"x" } else { b"\n\nx" }].concat();
    assert_eq!(is_signed(&longer), Some(false), "a signature is good for another body too");
}

/// A signature in the header and one in the query, both good.
pub fn seeds() -> Vec<Vec<u8>> {
    let in_header = format!(
        "/?Param1=value1\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n{AUTHORIZATION}"
    );
    let in_query = "/?Param1=value1&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1\
%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Signature=\
a9ef26247f293bffe40eeff86a0480ba8c14d31503b2e0c3399e3a16bf1a3682\nhost:example.amazonaws.com";
    let seeds = [in_header, in_query.to_owned()];
    for seed in &seeds {
        assert_eq!(is_signed(seed.as_bytes()), Some(true), "{seed}");
    }
    seeds.map(String::into_bytes).to_vec()
}
