//! Esker's micro-benchmarks (`cargo bench -p esker-benches`) and, in `src/bin`, load generators that drive a running
//! server. Here is what the load generators share; nothing else may import this crate.

use std::error::Error;

/// A fixed permutation of 64-bit numbers (SplitMix64's finish): spreads keys and picks reads.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of item `number`.
pub fn key(number: u64) -> String {
    format!("{:016x}", mix(number))
}

/// The host and port of an endpoint, `http://host:port`.
///
/// # Errors
/// What is wrong with it.
pub fn host_of(endpoint: &str) -> Result<&str, &'static str> {
    let host = endpoint.strip_prefix("http://").ok_or("--endpoint must start with http://")?;
    Ok(host.trim_end_matches('/'))
}

/// The body of a CreateTable for a table whose partition key is the string `id`.
pub fn create_table_body(table: &str) -> String {
    format!(
        r#"{{"TableName":"{table}","BillingMode":"PAY_PER_REQUEST",
            "AttributeDefinitions":[{{"AttributeName":"id","AttributeType":"S"}}],
            "KeySchema":[{{"AttributeName":"id","KeyType":"HASH"}}]}}"#
    )
}

/// The body of a DescribeTable.
pub fn describe_table_body(table: &str) -> String {
    format!(r#"{{"TableName":"{table}"}}"#)
}

/// Whether the answer to a DescribeTable says that the table can be used.
pub fn is_active(answer: &serde_json::Value) -> bool {
    answer["Table"]["TableStatus"] == "ACTIVE"
}

/// What a share `q` of the latencies, which are sorted and in microseconds, does not exceed; in milliseconds.
pub fn quantile_ms(sorted_us: &[u32], q: f64) -> f64 {
    let count = sorted_us.len();
    let rank = ((count as f64 * q).ceil() as usize).clamp(1, count.max(1));
    sorted_us.get(rank - 1).map_or(0.0, |&us| f64::from(us) / 1000.0)
}

/// The request line and the headers of an operation, up to the body's length.
pub fn call_head(host: &str, operation: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-amz-json-1.0\r\n\
         x-amz-target: DynamoDB_20120810.{operation}\r\nx-amz-date: 20260101T000000Z\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host;x-amz-date;x-amz-target, \
         Signature=00000000000000000000000000000000000000000000000000000000000000ff\r\n\
         content-length: "
    )
}

/// Where `what` begins in `bytes`.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The announced length of the body; every server that is compared announces it.
///
/// # Errors
/// What is wrong with the headers.
pub fn content_length(head: &[u8]) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.ok_or("an answer without Content-Length")?;
    Ok(length.trim().parse()?)
}

/// User and system time of a process in microseconds.
#[allow(clippy::disallowed_methods, reason = "a measurement asks the system")]
pub fn cpu_us(pid: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second field may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    // Linux counts these in hundredths of a second on every machine of today.
    Some((ticks(11)? + ticks(12)?) * 10_000.0)
}
